"""Stored values to the values that are modelled: inverted, thresholded, with fewer levels, or binarized anew."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ancestral.data.base import Transform
from ancestral.data.material import Options
from ancestral.errors import InvalidInput
from ancestral.event import Event


@dataclass(frozen=True)
class Values:
    """How stored values become data.

    Args:
        event: the event of the data.
        fixed: stored values to data (or to what `draw` takes), in the storage type; the same at every reading.
        draw: draws data anew at each reading; None where nothing is drawn.
        steps: what is done, in words, for the record.
    """

    event: Event
    fixed: Callable[[Tensor], Tensor]
    draw: Transform | None
    steps: tuple[str, ...]


def binarize_dynamically(levels: int) -> Transform:
    r"""Return the transform that draws each entry as 1 with probability x / (levels - 1).

    >>> draw = binarize_dynamically(256)
    >>> draw(torch.tensor([0, 255], dtype=torch.uint8), torch.Generator().manual_seed(0))
    tensor([0, 1], dtype=torch.uint8)
    """

    def draw(x: Tensor, generator: torch.Generator | None) -> Tensor:
        # Exact, and cheaper than floats: of the levels - 1 equally likely integers, x are below x.
        return torch.randint(levels - 1, x.shape, dtype=torch.uint8, generator=generator).lt(x).to(torch.uint8)

    return draw


def values_of(event: Event, options: Options, invert: bool, what: str) -> Values:
    """Return how values of `event`, as stored, become the data that `options` ask for.

    Args:
        event: the event of the stored values.
        options: `binarize` and `levels` count here.
        invert: exchange low and high values first.
        what: what to call the data in errors.

    Raises:
        InvalidInput: if the options do not fit the event.
    """
    steps: list[str] = []
    asked = options.binarize if options.binarize is not None else options.levels
    if event.levels is None or event.levels > 256:
        return _of_numbers(event, options, what)
    if asked is not None and event.is_binary:
        raise InvalidInput(f"{what} is binary already: leave binarize= and levels= out")
    table = torch.arange(event.levels)
    if invert:
        table = event.levels - 1 - table
        steps.append(f"x = {event.levels - 1} - stored value")
    draw = None
    if options.binarize == "dynamic":
        draw = binarize_dynamically(event.levels)
        steps.append(
            f"binarized anew at each reading of train, P(1) = x / {event.levels - 1}; the other splits drawn once, with seed"
            f" {options.seed}"
        )
    elif options.binarize is not None:
        threshold = float(options.binarize)
        if not 0 < threshold <= event.levels - 1:
            raise InvalidInput(
                f"binarize= takes a threshold above 0 and up to {event.levels - 1} for {what}, got {threshold:g}"
            )
        table = (table >= threshold).long()
        steps.append(f"binarized: 1 where x >= {threshold:g}")
    elif options.levels is not None:
        if options.levels >= event.levels:
            raise InvalidInput(f"{what} has {event.levels} levels, expected levels= to be fewer, got {options.levels}")
        table = table * options.levels // event.levels
        steps.append(f"reduced to {options.levels} levels: floor(x * {options.levels} / {event.levels})")
    levels = 2 if options.binarize is not None else options.levels or event.levels
    result = replace(event, levels=levels)
    if torch.equal(table, torch.arange(event.levels)):
        return Values(result, lambda x: _as_stored(x, event), draw, tuple(steps))
    table = table.to(torch.uint8)

    def look_up(x: Tensor) -> Tensor:
        values = torch.empty_like(x, dtype=torch.uint8)
        for old, new in zip(x.split(4096), values.split(4096), strict=True):
            new.copy_(table[old.long()])
        return values

    return Values(result, look_up, draw, tuple(steps))


def _as_stored(x: Tensor, event: Event) -> Tensor:
    """Return `x`, whose values are in the event's support, in the event's storage type."""
    return x.to(event.dtype)


def _of_numbers(event: Event, options: Options, what: str) -> Values:
    """Values of real events, and of integers with more levels than a table of bytes has."""
    if options.levels is not None or options.binarize == "dynamic":
        option = "levels=" if options.levels is not None else "binarize='dynamic'"
        raise InvalidInput(f"{option} takes data of at most 256 levels, but {what} is {event}: leave it out")
    if options.binarize is None:
        return Values(event, lambda x: _as_stored(x, event), None, ())
    threshold = float(options.binarize)
    result = Event.binary(event.shape, event.axes)
    return Values(result, lambda x: (x >= threshold).to(torch.uint8), None, (f"binarized: 1 where x >= {threshold:g}",))
