r"""Dynamic evaluation by steps that every machine takes alike: rounded gradients, and arithmetic that IEEE 754 fixes.

The gradients of one model differ from machine to machine by some error below `TOLERANCE`. They are rounded to a grid of
`GRID` steps, far coarser than that. Two machines could still round apart where an entry lies within `TOLERANCE` of the
boundary between two cells: the encoder names such entries, the exceptions, and everyone puts those into the lower cell.
What follows are additions, multiplications, divisions and roots in float64, one at a time, which are the same everywhere.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.coding import Damage
from ancestral.errors import InvalidInput
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.base import Model

GRID = 2**12
"""Cells of the grid of gradients in a nat per unit of a weight."""
TOLERANCE = 2.0**-42
"""By how much an entry of a gradient may differ between two machines: 2.3e-13."""
LARGEST = 8.0
"""Gradients with an entry as large as this are not learned from: their error may be larger too."""
MAX_EXCEPTIONS = 256
"""Exceptions of a gradient, at most; one that has more is not learned from."""
RATE, SEGMENT = 1e-4, 32
"""Learning rate and tokens of a segment, where none are given."""
FORGET = 0.999
"""What is kept of the mean squares of gradients at a step."""
EPSILON = 1e-4
"""Added to the root of the mean squares."""
_BLOCK = 2**15
"""Weights worked on at once, which stay in the processor's cache."""

Vector = NDArray[np.floating]


@dataclass(frozen=True)
class Dynamic:
    """How a model goes on learning as it reads.

    Args:
        rate: learning rate: about what a weight changes by at a step; 0 where the weights stay.
        segment: tokens, or data where they are no text, of a step.
        cache: whether counts of n-grams are mixed in, see `coding.ngrams`; of text alone.
        given: `digest_of` the text that is counted before, which both sides have; empty where there is none.

    Raises:
        InvalidInput: if one is out of its range.
    """

    rate: float = RATE
    segment: int = SEGMENT
    cache: bool = False
    given: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate < 1.0:
            raise InvalidInput(f"the rate of dynamic evaluation is {self.rate}, expected one between 0 and 1: try {RATE}")
        if self.segment < 1:
            raise InvalidInput(f"segment is {self.segment}, expected at least 1: try {SEGMENT}")

    def to_json(self) -> str:
        """Return the fields as JSON; the same fields are always the same text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def of(
        cls, model: Model, rate: bool | float, segment: int | None, cache: bool = False, given: Tensor | None = None
    ) -> "Dynamic | None":
        """Return what a verb's arguments ask for; None where nothing is to be learned.

        Args:
            model: the model.
            rate: the learning rate; true for `RATE`, false for no learning.
            segment: tokens or data of a segment; where None `SEGMENT`, or half of what the model reads if that is less, and
                one datum where data are no text.
            cache: whether counts of n-grams are mixed in.
            given: tokens of a text that is counted before, (count,).

        Raises:
            InvalidInput: if one is out of its range, or asked for without what it belongs to.
        """
        if given is not None and not cache:
            raise InvalidInput("given is a text to count n-grams of, which is not asked for: give cache=True or --cache")
        if rate is False and not cache:
            if segment is not None:
                raise InvalidInput("segment is for dynamic evaluation, which is not asked for: give dynamic=True or --dynamic")
            return None
        if rate is not False and not rate > 0.0:
            raise InvalidInput(f"the rate of dynamic evaluation is {rate}, expected one between 0 and 1: try {RATE}")
        encoding = model.event.encoding
        if cache and (encoding is None or encoding.period > 1):
            raise InvalidInput(f"cache counts words, characters or bytes, and this is a model of {model.event}: leave it out")
        if segment is None:
            segment = 1 if encoding is None else max(1, min(SEGMENT * encoding.period, model.event.numel // 2))
        digest = "" if given is None else digest_of(given)
        return cls(RATE if rate is True else float(rate), segment, cache, digest)


def digest_of(tokens: Tensor) -> str:
    """Return the first half of the SHA-256 of tokens, (count,), as 64-bit whole numbers, least significant byte first."""
    return hashlib.sha256(tokens.numpy().astype("<i8").tobytes()).hexdigest()[:32]


class Learner:
    r"""Takes a model's weights from step to step, along gradients of the data that it has just read.

    Given a gradient, rounded to integers q, g = q / GRID, v <- FORGET v + (1 - FORGET) g^2, and
    w <- w - rate g / (sqrt(v / (1 - FORGET^t)) + EPSILON) at step t.

    Args:
        model: whose weights change; they are held in the type that they have.
        rate: learning rate.

    References:
        Dynamic Evaluation of Neural Sequence Models (Krause et al., 2018), https://arxiv.org/abs/1709.07432. Differences:
        mean squares are those of the gradients so far, with weights that fall off, where the paper takes them from the
        training data; weights do not decay towards the trained ones.
    """

    def __init__(self, model: Model, rate: float) -> None:
        self.model, self.rate = model, rate
        self.parameters = list(model.parameters())
        self.weights: Vector = torch.cat([p.detach().flatten() for p in self.parameters]).cpu().numpy().copy()
        self.squares: Vector = np.zeros_like(self.weights)
        self.power = 1.0  # FORGET^t
        self._views = self._split(torch.from_numpy(self.weights))
        for parameter, view in zip(self.parameters, self._views, strict=True):
            parameter.data = view.to(parameter.device)

    def _split(self, flat: Tensor) -> list[Tensor]:
        sizes = [p.numel() for p in self.parameters]
        return [part.view(p.shape) for part, p in zip(flat.split(sizes), self.parameters, strict=True)]

    def gradient(self, nats: Tensor) -> Vector:
        """Return the gradient of a loss, (), as one vector, (weights,)."""
        parts = torch.autograd.grad(nats, self.parameters, allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts]).cpu().numpy()

    def learn(self, nats: Tensor) -> list[int]:
        """Take a step along the gradient of a loss, (); return its exceptions."""
        if self.rate == 0.0:
            return []
        gradient = self.gradient(nats)
        exceptions = self.exceptions(gradient)
        self.step(gradient, exceptions)
        return exceptions

    def exceptions(self, gradient: Vector) -> list[int]:
        """Return the places of entries that another machine may round apart; the number of weights, where not to learn."""
        if not np.abs(gradient).max(initial=0.0) < LARGEST:  # also NaN
            return [len(gradient)]
        place = gradient * GRID - 0.5
        found = np.flatnonzero(np.abs(place - np.rint(place)) <= TOLERANCE * GRID)
        return found.tolist() if len(found) <= MAX_EXCEPTIONS else [len(gradient)]

    def step(self, gradient: Vector, exceptions: Sequence[int] = ()) -> None:
        """Change the weights.

        Args:
            gradient: (weights,).
            exceptions: from the encoder's `exceptions`.

        Raises:
            Damage: if no encoder would have learned from this gradient.
        """
        if len(gradient) in exceptions:
            return
        if not np.abs(gradient).max(initial=0.0) < 2.0 * LARGEST:
            raise Damage("the model has learned what no text teaches")
        cells = np.floor(gradient * GRID + 0.5)
        for at in exceptions:
            cells[at] = np.rint(gradient[at] * GRID - 0.5)
        self._descend(cells)
        for parameter, view in zip(self.parameters, self._views, strict=True):
            if parameter.device.type != "cpu":  # else the parameter is the view
                parameter.data.copy_(view)

    def _descend(self, cells: Vector) -> None:
        self.power *= FORGET
        for start in range(0, len(cells), _BLOCK):
            block = slice(start, start + _BLOCK)
            g, squares = cells[block] / GRID, self.squares[block]
            squares *= FORGET
            squares += (1.0 - FORGET) * g * g
            self.weights[block] -= self.rate * g / (np.sqrt(squares / (1.0 - self.power)) + EPSILON)

    def state(self) -> tuple[Vector, Vector, float]:
        """Return what has been learned."""
        return self.weights.copy(), self.squares.copy(), self.power

    def restore(self, state: tuple[Vector, Vector, float]) -> None:
        """Go back to what had been learned."""
        self.weights[:], self.squares[:], self.power = state
        for parameter, view in zip(self.parameters, self._views, strict=True):
            parameter.data.copy_(view)


Segment = tuple[int, int, int]
"""Where a model begins to read, the first entry that it is asked for and learns, and the one after the last."""


def segments(total: int, length: int, segment: int, given: int = 0) -> Iterator[Segment]:
    """Yield the stretches in which a sequence is read by a model that learns from each of them.

    Args:
        total: entries of the sequence, those given included.
        length: entries that the model reads at once, at least those of a segment.
        segment: entries of a segment.
        given: entries before the first segment.

    >>> list(segments(7, 4, 2)), list(segments(7, 4, 2, given=3))
    ([(0, 0, 2), (0, 2, 4), (2, 4, 6), (4, 6, 7)], [(1, 3, 5), (3, 5, 7)])
    """
    for first in range(given, total, segment):
        yield max(0, first + segment - length), first, min(total, first + segment)


def window(model: SequenceModel, segment: int) -> tuple[int, int]:
    """Return how many entries a model reads at once when it learns from segments, and the entries of a segment.

    Args:
        model: the model; where it is one of text, both are multiples of its encoding's period, such as 8 bits.
        segment: entries of a segment that are asked for.

    Raises:
        InvalidInput: if the model reads less than a segment.
    """
    period = 1 if model.event.encoding is None else model.event.encoding.period
    segment = period * math.ceil(segment / period)
    if model.longest is None:
        return period * math.ceil(((model.receptive_field or 0) + segment) / period), segment
    length = model.longest - model.longest % period
    if segment > length:
        raise InvalidInput(f"segment is {segment}, and the model reads {length} tokens at once: give {length // 2}, or fewer")
    return length, segment


def read_segment(model: SequenceModel, tokens: Tensor, part: Segment) -> tuple[Tensor, Tensor]:
    """Return the raw parameters of a segment's entries, (entries, parameters), and their -log p, (entries,), nats.

    Args:
        model: made for as many entries as it reads at once.
        tokens: the sequence, (count,).
        part: the segment.
    """
    begin, first, stop = part
    own = slice(first - begin, stop - begin)
    x = torch.zeros(1, model.event.numel, dtype=model.event.dtype)  # what lies after an entry has no effect on it
    x[0, : stop - begin] = tokens[begin:stop]
    x = x.to(model.device)
    raw = model(x)
    return raw[0, own], -model.entry_log_prob(raw, x)[0, own]
