"""What a data set is to the rest of the library: named splits of one event."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ancestral.errors import InvalidInput, near_matches
from ancestral.event import Event

Batch = tuple[Tensor, Tensor | None]


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
    """

    def __init__(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        transform: Callable[[Tensor, torch.Generator | None], Tensor] | None = None,
    ) -> None:
        if condition is not None and len(condition) != len(x):
            raise InvalidInput(f"got {len(x)} data and {len(condition)} conditions: give one condition for each datum")
        self.x = x
        self.condition = condition
        self.transform = transform

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Batch:
        x = self.x.index_select(0, indices)
        if self.transform is not None:
            x = self.transform(x, generator)
        return x, None if self.condition is None else self.condition[indices]


@dataclass
class Data:
    """A data set: one event, explicit splits, and where it came from.

    Args:
        name: the name it was asked for by.
        event: what a datum is.
        splits: by name: train, validation, test.
        condition: event of the conditions (labels) that the splits carry, or None.
        about: one line: what it is and how it was split.
        record: JSON-able facts recorded with a run: source, split sizes, seed, preprocessing.
    """

    name: str
    event: Event
    splits: dict[str, Split]
    condition: Event | None = None
    about: str = ""
    record: dict[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> Split:
        """Return the split `name`.

        Raises:
            InvalidInput: if there is none.
        """
        if name not in self.splits:
            have = ", ".join(f"{key} ({len(value)})" for key, value in self.splits.items())
            raise InvalidInput(f"{self.name} has no split {name!r}.{near_matches(name, self.splits)} It has: {have}")
        return self.splits[name]
