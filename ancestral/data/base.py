"""What a data set is to the rest of the library: named splits of one event."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ancestral.data.stream import StreamSplit
from ancestral.errors import InvalidInput, near_matches
from ancestral.event import Event

Batch = tuple[Tensor, Tensor | None]
Transform = Callable[[Tensor, torch.Generator | None], Tensor]


class Split(Protocol):
    """Data that can be indexed: what training, evaluation and the verbs read."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Return the data at `indices`, (n,), as (x, condition), with x of (n, *event.shape).

        `generator` is the source of randomness for splits that have some (dynamic binarization).
        """
        ...


class ArraySplit:
    """A split in memory (or memory-mapped).

    Args:
        x: (n, *event.shape), in the event's storage type.
        condition: (n, *condition.shape) or None.
        transform: applied to each batch of x with the generator; None for none.
        names: what each datum is called or how it begins, where it has a name or is a text; None where none has.

    >>> split = ArraySplit(torch.arange(6).view(3, 2))
    >>> split.batch(torch.tensor([2, 0]))
    (tensor([[4, 5],
            [0, 1]]), None)
    """

    def __init__(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        transform: Transform | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        if condition is not None and len(condition) != len(x):
            raise InvalidInput(f"got {len(x)} data and {len(condition)} conditions: give one condition for each datum")
        self.x = x
        self.condition = condition
        self.transform = transform
        self.names = names

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Batch:
        x = self.x.index_select(0, indices)
        if self.transform is not None:
            x = self.transform(x, generator)
        return x, None if self.condition is None else self.condition.index_select(0, indices)


class Subset:
    """Some rows of another split, without a copy: how memory-mapped data are split.

    Args:
        split: the split that holds the data.
        rows: (n,), the rows of `split` that this one has, in order.

    >>> Subset(ArraySplit(torch.arange(6).view(3, 2)), torch.tensor([2])).batch(torch.tensor([0]))[0]
    tensor([[4, 5]])
    """

    def __init__(self, split: Split, rows: Tensor) -> None:
        self.base = split
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Batch:
        return self.base.batch(self.rows.index_select(0, indices), generator)


@dataclass
class Data:
    """A data set: one event, explicit splits, and where it came from.

    Args:
        name: what `load` takes to find it again: a known name, a path or a hub id.
        event: what a datum is.
        splits: by name: train, validation, test.
        condition: event of the conditions (labels) that the splits carry, or None.
        about: one line: what it is and how it was split.
        record: JSON-able facts recorded with a run: source, split sizes, seed, preprocessing, class names, and
            `options`, with which `load(name, **options)` gives the same splits.
        streams: splits that can only be read in order, by name (`load(..., stream=True)`).
    """

    name: str
    event: Event
    splits: dict[str, Split]
    condition: Event | None = None
    about: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, StreamSplit] = field(default_factory=dict)

    def split(self, name: str) -> Split:
        """Return the split `name`.

        Raises:
            InvalidInput: if there is none, or if it is streamed.
        """
        if name in self.splits:
            return self.splits[name]
        if name in self.streams:
            raise InvalidInput(
                f"the split {name!r} of {self.name} is streamed, and cannot be indexed: load without stream=True"
            )
        have = ", ".join(
            [f"{key} ({len(value)})" for key, value in self.splits.items()] + [f"{key} (streamed)" for key in self.streams]
        )
        known = [*self.splits, *self.streams]
        raise InvalidInput(f"{self.name} has no split {name!r}.{near_matches(name, known)} It has: {have}")
