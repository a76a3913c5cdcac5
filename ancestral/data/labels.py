"""Labels for some data only: which are kept, and how a batch gets enough of them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data.base import Batch, Split
from ancestral.errors import InvalidInput
from ancestral.event import Event

MISSING = -1
"""Number of the class of a datum without a label, until it is known which labels are kept."""


def some_labelled(event: Event | None) -> bool:
    """Return whether conditions of an event are a class and whether it is known: those of `load(..., labelled=n)`.

    >>> some_labelled(Event.labels((10, 2))), some_labelled(Event.label(10))
    (True, False)
    """
    return event is not None and event.classes is not None and len(event.classes) == 2 and event.classes[1] == 2


def with_known(label: Tensor) -> Tensor:
    """Return classes, (n,), as (class, whether it is known), (n, 2); a class that is not known is 0.

    >>> with_known(torch.tensor([2, MISSING])).tolist()
    [[2, 1], [0, 0]]
    """
    known = label != MISSING
    return torch.stack((torch.where(known, label, 0), known.to(label.dtype)), dim=1)


def spread(y: NDArray[np.int64], n: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return `n` rows drawn at random, class after class in turn, so that few labels miss no class.

    Args:
        y: class of each row.
        n: how many rows.
        random: source of randomness.
    """
    order = random.permutation(len(y))
    turn = np.empty(len(y), np.int64)  # the how-manieth of its class a row is
    for label in np.unique(y):
        rows = order[y[order] == label]
        turn[rows] = np.arange(len(rows))
    return order[np.argsort(turn[order], kind="stable")][:n]


class SomeLabelled:
    """A split with few labels: each datum once without its label, and as many data with one, the labelled ones in turn.

    So half of a shuffled batch is labelled, however few labels there are.

    Args:
        split: data with conditions (class, whether it is known).
        labelled: how many labels are kept, drawn evenly over the classes.
        seed: of that draw.
        what: what to call the data in errors.

    Raises:
        InvalidInput: if there are fewer labels.
    """

    def __init__(self, split: Split, labelled: int, seed: int, what: str) -> None:
        self.base = split
        condition = torch.cat([self._condition(rows) for rows in torch.arange(len(split)).split(2**16)])
        have = torch.nonzero(condition[:, 1])[:, 0].numpy()
        if len(have) < labelled:
            raise InvalidInput(f"labelled= is {labelled}, {what} has {len(have)} labels in train: ask for fewer")
        chosen = spread(condition[:, 0].numpy().astype(np.int64)[have], labelled, np.random.default_rng(seed))
        self.rows = torch.from_numpy(np.sort(have[chosen]))

    def _condition(self, rows: Tensor) -> Tensor:
        condition = self.base.batch(rows, torch.Generator().manual_seed(0))[1]
        return torch.empty(0, 2) if condition is None else condition

    def __len__(self) -> int:
        return 2 * len(self.base)

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Batch:
        n = len(self.base)
        labelled = indices >= n
        rows = torch.where(labelled, self.rows[(indices - n) % len(self.rows)], indices)
        x, condition = self.base.batch(rows, generator)
        return x, None if condition is None else condition * labelled[:, None].to(condition.dtype)
