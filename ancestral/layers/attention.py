"""Causal self-attention over a sequence: all positions at once, or one position with the keys and values before it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput

BASE = 10_000.0
"""The slowest rotation of rotary positions takes 2 pi times about so many positions."""
Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of rotary positions, (positions, features // 2) each."""


class Places(NamedTuple):
    """Which keys steps keep where.

    Args:
        slots: at a position: where its key is kept, None for nowhere, and where the keys are that it attends to.
        held: before a position: whose key lies in each place, (kept,), below 0 for none.
        attends: whether positions attend to others, as booleans, of the shape that the two broadcast to.
    """

    slots: Callable[[int], tuple[int | None, slice]]
    held: Callable[[int], Tensor]
    attends: Callable[[Tensor, Tensor], Tensor]


def rotation(positions: Tensor, features: int, like: Tensor) -> Rotation:
    r"""Return cos and sin of the angles t BASE^(-2 i / features), for i = 0, ..., features / 2 - 1.

    Angles are computed in float64: in float32 those of late positions would be off by more than neighbours differ.

    Args:
        positions: t, (positions,).
        features: features of a head, even.
        like: a tensor of the wanted type and device.

    References:
        RoFormer: Enhanced Transformer with Rotary Position Embedding (Su et al., 2021), https://arxiv.org/abs/2104.09864.

    >>> cos, sin = rotation(torch.arange(3), 4, torch.zeros(1))
    >>> cos.shape, sin[0].tolist()
    (torch.Size([3, 2]), [0.0, 0.0])
    """
    rates = BASE ** (-torch.arange(0, features, 2, dtype=torch.float64, device=like.device) / features)
    angles = positions.to(rates)[:, None] * rates
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate pairs of features, so that products of queries and keys depend on how far apart they are.

    Args:
        x: (..., positions, features); feature i is paired with i + features / 2.
        by: from `rotation`.

    Returns:
        (..., positions, features).
    """
    cos, sin = by
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def step_rotations(by: Rotation) -> list[Rotation]:
    """Return what rotates one position of queries and keys together, for each position: see `CausalSelfAttention.step`.

    Args:
        by: from `rotation`.

    Returns:
        Factors of features and of those they are paired with, (2, 1, features) each, of queries and of keys; those of queries
        are divided by sqrt(features), as their products with keys will be.
    """
    cos, sin = (torch.cat(parts, dim=-1) for parts in ((by[0], by[0]), (-by[1], by[1])))
    scales = cos.new_tensor([cos.shape[-1] ** -0.5, 1.0]).view(2, 1, 1)
    return [(scales * c, scales * s) for c, s in zip(cos, sin, strict=True)]


class CausalSelfAttention(nn.Module):
    r"""y_t = W_o sum_{s <= t} softmax_s(q_t . k_s / sqrt(d)) v_s in each head, of the `window` last positions s.

    Args:
        width: features of a position.
        heads: heads, which share the features evenly.
        window: positions that a position attends to, itself included; None for all before it.
        dropout: probability of dropping a weight of the attention, in training.

    Raises:
        InvalidInput: if the features cannot be shared evenly, an odd number to a head, or the window is empty.

    References:
        Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762.
        Longformer: The Long-Document Transformer (Beltagy, Peters & Cohan, 2020), https://arxiv.org/abs/2004.05150, for
        windows.

    >>> CausalSelfAttention(8, heads=2, window=3)(torch.zeros(1, 10, 8)).shape
    torch.Size([1, 10, 8])
    """

    def __init__(self, width: int, heads: int, window: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or width % (2 * heads):
            raise InvalidInput(
                f"{heads} heads cannot share attention of width {width}: the width must be a multiple of twice their number"
            )
        if window is not None and window < 1:
            raise InvalidInput(f"an attention window needs at least 1 position, got {window}")
        self.heads, self.window, self.dropout = heads, window, dropout
        self.inputs = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values of (batch, positions, width), (batch, heads, positions, features) each."""
        n, t, width = x.shape
        return self.inputs(x).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor, by: Rotation | None = None) -> Tensor:
        """Attend at all positions at once.

        Args:
            x: (batch, positions, width).
            by: rotation of each position; None for none.

        Returns:
            (batch, positions, width).
        """
        q, k, v = self._split(x)
        if by is not None:
            q, k = rotate(q, by), rotate(k, by)
        y = self.attend(q, k, v, self.dropout if self.training else 0.0)
        return self.output(y.transpose(1, 2).flatten(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        """Return what each position gathers from those that it attends to, (batch, heads, positions, features).

        Args:
            q: queries, (batch, heads, positions, features).
            k: keys, of the same shape.
            v: values, of the same shape.
            dropout: probability of dropping a weight.
        """
        return windowed_attention(q, k, v, q.shape[2] if self.window is None else self.window, dropout)

    # Steps: they carry no gradient.

    def start(self, like: Tensor, positions: int) -> "KeyValueMemory":
        """Return memory for the keys and values of a batch.

        Args:
            like: (batch, ...), of the type and device that steps have.
            positions: steps that there will be.
        """
        size = positions if self.window is None else min(self.window, positions)
        return self._memory(like, size, Places(partial(ring, size), partial(ring_held, size), partial(in_window, size)))

    def _memory(self, like: Tensor, size: int, places: Places) -> "KeyValueMemory":
        shape = (len(like), self.heads, size, self.output.in_features // self.heads)
        return KeyValueMemory(like.new_zeros(shape), like.new_zeros(shape), places)

    def step(self, x: Tensor, memory: "KeyValueMemory", t: int, by: Rotation | None = None) -> Tensor:
        """Attend at position `t`.

        Args:
            x: (batch, width).
            memory: from `start`; the position is added to it.
            t: the position, from 0.
            by: rotation of this position, from `step_rotations`; None for none.

        Returns:
            (batch, width).
        """
        qkv = self.inputs(x).view(len(x), 3, self.heads, -1)  # (b, 3, heads, features)
        qk, v = qkv[:, :2], qkv[:, 2]
        if by is None:
            q, k = qk[:, 0] * qk.shape[-1] ** -0.5, qk[:, 1]
        else:
            paired = qk.unflatten(-1, (2, -1)).flip(-2).flatten(-2)
            q, k = torch.addcmul(qk * by[0], paired, by[1]).unbind(1)
        keys, values = memory.add(k, v, t)  # (b, heads, positions, features)
        y = torch.softmax(q[:, :, None] @ keys.mT, dim=-1) @ values  # (b, heads, 1, features)
        return self.output(y.flatten(1))

    def prefill(self, x: Tensor, memory: "KeyValueMemory", t: int, by: Rotation | None = None) -> Tensor:
        """Attend at several positions in one pass, to what `step` after `step` leads to.

        Args:
            x: of positions t, t + 1, ..., (batch, positions, width).
            memory: from `start`; the positions are added to it.
            t: the first position, from 0.
            by: rotation of each position, from `rotation`; None for none.

        Returns:
            (batch, positions, width).
        """
        q, k, v = self._split(x)
        if by is not None:
            q, k = rotate(q, by), rotate(k, by)
        keys, values, seen = memory.extend(k, v, t)
        y = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen)
        y = y.masked_fill(~seen.any(1, keepdim=True), 0.0)  # who attends to none gathers nothing
        return self.output(y.transpose(1, 2).flatten(2))


def ring(size: int, t: int) -> tuple[int, slice]:
    """Keep the last `size` positions: position t at t modulo their number, for softmax does not care for order.

    >>> ring(3, 1), ring(3, 7)
    ((1, slice(None, 2, None)), (1, slice(None, 3, None)))
    """
    return t % size, slice(min(t + 1, size))


def ring_held(size: int, t: int) -> Tensor:
    """Return which positions lie where in a ring before position `t`, (size,), below 0 for none.

    >>> ring_held(3, 2).tolist(), ring_held(3, 7).tolist()
    ([0, 1, -1], [6, 4, 5])
    """
    return t - 1 - (t - 1 - torch.arange(size)) % size


def in_window(size: int, query: Tensor, key: Tensor) -> Tensor:
    """Return whether positions are among the last `size` ones of others, themselves included."""
    return (key <= query) & (query - key < size)


@dataclass
class KeyValueMemory:
    """Keys and values that later positions attend to, (batch, heads, kept, features) each, written in place.

    Rotary positions are in the keys, so that it does not matter where a key lies.

    Args:
        keys: of the positions that are kept.
        values: of the positions that are kept.
        places: where which position lies.
    """

    keys: Tensor
    values: Tensor
    places: Places

    def add(self, k: Tensor, v: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Put in position `t`, (batch, heads, features) each, and return all that it attends to."""
        place, seen = self.places.slots(t)
        if place is not None:
            self.keys[:, :, place] = k
            self.values[:, :, place] = v
        return self.keys[:, :, seen], self.values[:, :, seen]

    def extend(self, k: Tensor, v: Tensor, t: int) -> tuple[Tensor, Tensor, Tensor]:
        """Put in positions t, t + 1, ..., (batch, heads, positions, features) each.

        Returns:
            Keys and values of those that were kept and of these, (batch, heads, all, features) each, and which of them each
            of these attends to, (positions, all).
        """
        now = torch.arange(t, t + k.shape[2])
        before, after = self.places.held(t), self.places.held(t + k.shape[2])
        past, new = (before >= 0).nonzero()[:, 0], (after >= t).nonzero()[:, 0]
        seen = self.places.attends(now[:, None], torch.cat((before[past], now))).to(k.device)
        keys, values = (torch.cat((kept[:, :, past], x), dim=2) for kept, x in ((self.keys, k), (self.values, v)))
        self.keys[:, :, new], self.values[:, :, new] = (x[:, :, after[new] - t] for x in (k, v))
        return keys, values, seen


def windowed_attention(q: Tensor, k: Tensor, v: Tensor, window: int, dropout: float = 0.0) -> Tensor:
    """Attend to the `window` last positions, in time and memory that grow as the positions times the window.

    Positions are cut into blocks of `window`: the first block attends to itself, each later one also to the block before it.

    Args:
        q: queries, (batch, heads, positions, features).
        k: keys, of the same shape.
        v: values, of the same shape.
        window: positions attended to, itself included.
        dropout: probability of dropping a weight.

    Returns:
        (batch, heads, positions, features).
    """
    shape = q.shape
    if window >= shape[2]:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
    q, k, v = (fold(x, window) for x in (q, k, v))  # (b * h, blocks, window, f)
    first = F.scaled_dot_product_attention(q[:, :1], k[:, :1], v[:, :1], dropout_p=dropout, is_causal=True)
    k, v = (torch.cat((x[:, :-1], x[:, 1:]), dim=2) for x in (k, v))  # (b * h, blocks - 1, 2 window, f)
    query = torch.arange(window, device=q.device)[:, None]
    key = torch.arange(-window, window, device=q.device)
    near = (key <= query) & (key > query - window)  # (window, 2 window)
    rest = F.scaled_dot_product_attention(q[:, 1:], k, v, attn_mask=near, dropout_p=dropout)
    return unfold(torch.cat((first, rest), dim=1), shape)


def fold(x: Tensor, size: int) -> Tensor:
    """Cut positions into blocks, the last one filled up with zeros.

    Args:
        x: (batch, heads, positions, features).
        size: positions of a block.

    Returns:
        (batch * heads, blocks, size, features): blocks take the place of heads.
    """
    n, heads, positions, features = x.shape
    return F.pad(x, (0, 0, 0, -positions % size)).reshape(n * heads, -1, size, features)


def unfold(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo `fold` of a tensor of the given shape."""
    n, heads, positions, features = shape
    return x.reshape(n, heads, -1, features)[:, :, :positions]
