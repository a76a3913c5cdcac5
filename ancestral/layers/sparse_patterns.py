"""The strided and the fixed pattern of the Sparse Transformer: who attends to whom, and attention block by block.

A pattern has two parts, which take turns from layer to layer, so that any position reaches any later one in two layers.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.attention import fold, in_window, ring, ring_held, unfold, windowed_attention
from ancestral.layers.mlp import check_choice

PATTERNS = ("strided", "fixed")
"""Sparse patterns by name: a window and every l-th position before, or blocks and the last c positions of each."""
SUMMARY = 8
"""Summary columns of a block where none are given, of blocks long enough."""


class ScoreEntries(NamedTuple):
    """Products of a query and a key.

    Args:
        computed: those of the kernel, the ones that a mask then takes away included.
        needed: those of the pattern.
    """

    computed: int
    needed: int

    def __add__(self, other: object) -> "ScoreEntries":
        if not isinstance(other, ScoreEntries):
            return NotImplemented
        return ScoreEntries(self.computed + other.computed, self.needed + other.needed)


@dataclass(frozen=True)
class Part(ABC):
    """One part of a pattern: which positions a position attends to.

    `attends` is the definition. The kernel, its counts, the memory of steps and the mask of FlexAttention are held to it.

    Args:
        stride: l, positions.
    """

    stride: int

    @abstractmethod
    def attends(self, query: Tensor, key: Tensor) -> Tensor:
        """Return whether positions attend to others, as booleans, of the shape that the two broadcast to.

        Args:
            query: the positions that attend, whole numbers from 0.
            key: the positions attended to.
        """

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        """Return what each position gathers, zeros where it attends to none; block by block, never n x n.

        Args:
            q: queries, (batch, heads, n, features).
            k: keys, of the same shape.
            v: values, of the same shape.
            dropout: probability of dropping a weight.

        Returns:
            (batch, heads, n, features).
        """

    @abstractmethod
    def entries(self, n: int) -> ScoreEntries:
        """Return the score entries of `n` positions and one head; those computed are queries times keys of each product."""

    @abstractmethod
    def kept(self, n: int) -> int:
        """Return how many keys steps over `n` positions keep at most."""

    @abstractmethod
    def slots(self, n: int, t: int) -> tuple[int | None, slice]:
        """Return where steps over `n` positions keep the key of position `t`, and where those are that it attends to."""

    def held(self, n: int, t: int) -> Tensor:
        """Return whose keys lie where before position `t` of `n`, (kept,), below 0 for none; those of a ring, as here."""
        return ring_held(self.kept(n), t)

    def layout(self, n: int) -> tuple[Tensor, Tensor]:
        """Return the positions of queries and of keys in an order in which those that belong together are neighbours.

        Returns:
            (n,), and (keys,): those that any position attends to.
        """
        return torch.arange(n), torch.arange(n)


class Window(Part):
    """The last l positions, itself included: the first part of the strided pattern."""

    def attends(self, query: Tensor, key: Tensor) -> Tensor:
        return in_window(self.stride, query, key)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        return windowed_attention(q, k, v, self.stride, dropout)

    def entries(self, n: int) -> ScoreEntries:
        size = min(self.stride, n)
        blocks = -(-n // size)  # the first one attends to itself, each other one to two
        return ScoreEntries(size * size * (2 * blocks - 1), size * (size + 1) // 2 + (n - size) * size)

    def kept(self, n: int) -> int:
        return min(self.stride, n)

    def slots(self, n: int, t: int) -> tuple[int | None, slice]:
        return ring(self.kept(n), t)


class Columns(Part):
    """Every l-th position back from itself: the second part of the strided pattern.

    In rows of l positions these are columns, each of which is a short sequence with causal attention.
    """

    def attends(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & ((query - key) % self.stride == 0)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        shape, size = q.shape, min(self.stride, q.shape[2])
        q, k, v = (fold(x, size).transpose(1, 2) for x in (q, k, v))  # (b * h, l, rows, f)
        return unfold(_causal(q, k, v, dropout).transpose(1, 2), shape)

    def entries(self, n: int) -> ScoreEntries:
        rows, rest = divmod(n, self.stride)
        computed = min(self.stride, n) * (-(-n // self.stride)) ** 2
        return ScoreEntries(computed, self.stride * rows * (rows + 1) // 2 + rest * (rows + 1))

    def kept(self, n: int) -> int:
        return min(self.stride, n) * -(-n // self.stride)

    def slots(self, n: int, t: int) -> tuple[int | None, slice]:
        row, column = divmod(t, self.stride)
        first = column * -(-n // self.stride)
        return first + row, slice(first, first + row + 1)

    def held(self, n: int, t: int) -> Tensor:
        positions = torch.arange(-(-n // self.stride) * self.stride).view(-1, self.stride)[:, :n].T.flatten()
        return torch.where(positions < t, positions, -1)

    def layout(self, n: int) -> tuple[Tensor, Tensor]:
        order = torch.arange(-(-n // self.stride) * self.stride).view(-1, self.stride).T.flatten()
        return order[order < n], order[order < n]


class Blocks(Part):
    """The positions of its own block of l, up to itself: the first part of the fixed pattern."""

    def attends(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key // self.stride == query // self.stride)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        shape, size = q.shape, min(self.stride, q.shape[2])
        q, k, v = (fold(x, size) for x in (q, k, v))  # (b * h, blocks, l, f)
        return unfold(_causal(q, k, v, dropout), shape)

    def entries(self, n: int) -> ScoreEntries:
        size = min(self.stride, n)
        blocks, rest = divmod(n, size)
        needed = blocks * size * (size + 1) // 2 + rest * (rest + 1) // 2
        return ScoreEntries(-(-n // size) * size * size, needed)

    def kept(self, n: int) -> int:
        return min(self.stride, n)

    def slots(self, n: int, t: int) -> tuple[int | None, slice]:
        return t % self.stride, slice(t % self.stride + 1)


@dataclass(frozen=True)
class Summaries(Part):
    """The last c positions of each block of l, up to itself: the second part of the fixed pattern.

    Positions before the first summary attend to none, and gather zeros.

    Args:
        stride: l, positions of a block.
        summary: c, summary positions of a block.
    """

    summary: int

    def attends(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key % self.stride >= self.stride - self.summary)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        shape, count, rest = q.shape, self.kept(q.shape[2]), self.stride - self.summary
        if not count:
            return torch.zeros_like(q)
        q, k, v = (fold(x, self.stride) for x in (q, k, v))  # (b * h, blocks, l, f)
        keys, values = (x[:, None, :, rest:].flatten(2, 3)[:, :, :count] for x in (k, v))  # (b * h, 1, count, f)
        # Summaries attend to summaries, up to themselves: they are a sequence of their own.
        summaries = _causal(q[:, None, :, rest:].flatten(2, 3)[:, :, :count], keys, values, dropout)
        summaries = F.pad(summaries, (0, 0, 0, q.shape[1] * self.summary - count))
        summaries = summaries.view(len(q), -1, self.summary, shape[3])  # (b * h, blocks, c, f)
        others = F.pad(self._from_earlier(q, keys, values, dropout), (0, 0, 0, 0, 1, 0))  # the first block has none before it
        return unfold(torch.cat((others, summaries), dim=2), shape)

    def _from_earlier(self, q: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
        """Return what positions that are no summaries gather from the blocks before theirs, (b * h, blocks - 1, l - c, f)."""
        rows = q[:, 1:, : self.stride - self.summary].transpose(1, 2)  # (b * h, l - c, blocks - 1, f)
        if not rows.numel():
            return rows.transpose(1, 2)
        blocks = rows.shape[2]
        keys, values = keys[:, :, : blocks * self.summary], values[:, :, : blocks * self.summary]
        block = torch.arange(blocks, device=q.device)
        mask = block.repeat_interleave(self.summary) <= block[:, None]  # (blocks - 1, (blocks - 1) c)
        gathered = []
        # All rows have these keys; l / c rows at once make the gradients of their copies no larger than those of q.
        for part in rows.split(max(1, self.stride // self.summary), dim=1):
            shape = (-1, part.shape[1], -1, -1)
            k, v = keys.expand(shape), values.expand(shape)
            gathered.append(F.scaled_dot_product_attention(part, k, v, attn_mask=mask, dropout_p=dropout))
        return torch.cat(gathered, dim=1).transpose(1, 2)

    def entries(self, n: int) -> ScoreEntries:
        rest, count = self.stride - self.summary, self.kept(n)
        blocks, left = divmod(n, self.stride)
        before = -(-n // self.stride) - 1
        needed = self.summary * (rest * blocks * (blocks - 1) // 2 + min(left, rest) * blocks) + count * (count + 1) // 2
        return ScoreEntries(rest * before * before * self.summary + count * count, needed)

    def kept(self, n: int) -> int:
        blocks, rest = divmod(n, self.stride)
        return blocks * self.summary + max(0, rest - (self.stride - self.summary))

    def slots(self, n: int, t: int) -> tuple[int | None, slice]:
        count = self.kept(t + 1)
        return count - 1 if t % self.stride >= self.stride - self.summary else None, slice(count)

    def held(self, n: int, t: int) -> Tensor:
        positions = self.layout(n)[1]
        return torch.where(positions < t, positions, -1)

    def layout(self, n: int) -> tuple[Tensor, Tensor]:
        positions = torch.arange(n)
        return positions, positions[positions % self.stride >= self.stride - self.summary]


def make_parts(pattern: str, n: int, stride: int | None = None, summary: int | None = None) -> tuple[Part, Part]:
    r"""Return the two parts of a pattern, of which layers have one in turn.

    Strided: {j: i - l < j <= i} and {j <= i: (i - j) mod l = 0}. Fixed: {j <= i: floor(j / l) = floor(i / l)} and
    {j <= i: j mod l >= l - c}.

    Args:
        pattern: "strided", for data whose structure aligns with the stride, or "fixed", for text.
        n: positions.
        stride: l, positions; None for the root of `n`, rounded.
        summary: c, summary columns of a block in the fixed pattern; None for 8, or a quarter of the stride where that is
            less.

    Raises:
        InvalidInput: if there is no such pattern, or a number is out of its range.

    References:
        Generating Long Sequences with Sparse Transformers (Child, Gray, Radford & Sutskever, 2019),
        https://arxiv.org/abs/1904.10509. The window holds l positions, as in the authors' code, and not l + 1: the
        position l back is in the column. All heads have the same summary columns.

    >>> make_parts("fixed", 64)
    (Blocks(stride=8), Summaries(stride=8, summary=2))
    """
    check_choice("pattern", pattern, PATTERNS)
    length = max(1, round(math.sqrt(n))) if stride is None else stride
    if length < 1:
        raise InvalidInput(f"stride must be at least 1, got {stride}")
    if pattern == "strided":
        if summary is not None:
            raise InvalidInput(f"got summary={summary}: summary columns are of the fixed pattern, leave them out or take it")
        return Window(length), Columns(length)
    columns = max(1, min(SUMMARY, length // 4)) if summary is None else summary
    if not 1 <= columns <= length:
        raise InvalidInput(f"summary must be from 1 to the stride of {length}, got {summary}")
    return Blocks(length), Summaries(length, columns)


def score_entries(n: int, pattern: str, stride: int | None = None, summary: int | None = None) -> ScoreEntries:
    """Return the score entries of two layers, which have one part of a pattern each, for one head; dense ones have 2 n^2.

    Args:
        n: positions.
        pattern: as in `make_parts`.
        stride: as in `make_parts`.
        summary: as in `make_parts`.

    >>> score_entries(4096, "strided")
    ScoreEntries(computed=782336, needed=393248)
    """
    first, second = make_parts(pattern, n, stride, summary)
    return first.entries(n) + second.entries(n)


def _causal(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
