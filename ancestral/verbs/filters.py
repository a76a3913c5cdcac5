"""Filters: what the units of a model's first layer look for, drawn as a grid."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import registry
from ancestral.verbs.inputs import Named, check_counts, open_model
from ancestral.verbs.pictures import image_grid, save_image

FILES = (".png", ".pdf")
"""Suffixes of the files that are written."""


@runtime_checkable
class Filtered(Protocol):
    """A model with units that look at a whole datum, or at a part of an image, wherever that is."""

    def filters(self) -> Tensor:
        """Return what each unit weighs the entries by, (units, *event.shape), or less high and wide than that for parts."""
        ...


def filters(model: Named, count: int = 100, *, first: bool = False, seed: int = 0) -> Tensor:
    """Return filters of a model's first layer, each scaled so that its largest weight in size is 1.

    Args:
        model: a model with `filters`, or its zoo name, run directory or hub repository.
        count: filters; all where the model has fewer.
        first: take the first ones, and not some at random.
        seed: which ones are taken.

    Returns:
        (count, *event.shape), or less high and wide for units that look at parts of images; in [-1, 1], on the CPU.

    Raises:
        Unsupported: if the model has none.

    >>> from ancestral.models import create
    >>> filters(create("rbm", Event.binary((1, 4, 4)), hidden=9), 4).shape
    torch.Size([4, 1, 4, 4])
    """
    check_counts(count=count)
    opened = open_model(model).model
    if not isinstance(opened, Filtered):
        able = [name for name in registry.names() if callable(getattr(registry.get(name), "filters", None))]
        raise Unsupported(f"{opened.name or type(opened).__name__} has no filters. Models that have: {', '.join(able)}")
    weights = opened.filters().detach().float().cpu()
    chosen = torch.arange(len(weights))
    if not first and count < len(weights):
        chosen = torch.randperm(len(weights), generator=torch.Generator().manual_seed(seed))[:count].sort().values
    found = weights[chosen[:count]]
    size = found.flatten(1).abs().amax(1).view(-1, *[1] * (found.dim() - 1))
    return found / size.clamp(min=1e-12)


def draw_filters(found: Tensor, event: Event, path: Path | str) -> None:
    """Draw filters side by side, zero as mid-grey, and write the picture.

    Args:
        found: from `filters`, (count, *event.shape).
        event: what a datum is.
        path: the file, .png or .pdf.

    Raises:
        InvalidInput: if the data are no images.
    """
    if not event.is_image:
        raise InvalidInput(
            f"a picture is of filters of images, the model is of {event}: use ancestral.filters for the numbers"
        )
    shown = Event.integers(event.shape, 256)
    save_image(image_grid((127.5 + 127.5 * found).round(), shown), path)
