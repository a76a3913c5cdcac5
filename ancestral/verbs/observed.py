"""Which part of a datum was observed: by name, from a file or as a mask."""

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event

PARTS = ("top", "bottom", "left", "right", "center")
"""Parts of an image that can be called by name."""
SEQUENCE_PARTS = ("start", "end", "middle", "ends")
"""Parts of a sequence, such as a sound, that can be called by name."""


def read_observed(event: Event, observed: str) -> Tensor:
    """Return a mask by its name, or from a file.

    Args:
        event: what a datum is.
        observed: top, bottom, left, right or center, the half of an image's height, width or (center) both; start, end,
            middle or ends, the first half of a sequence, its last one, that in the middle, or all but that; the name of an
            image file of its height and width, in which what was observed is white; or of an .npy file that holds a mask.

    Returns:
        (height, width) of images, (entries,) of sequences, or, from an .npy file, whatever it holds.

    Raises:
        InvalidInput: if there is no such part or file, or it does not fit.

    >>> read_observed(Event.binary((1, 2, 3)), "left").tolist()
    [[True, True, False], [True, True, False]]
    >>> read_observed(Event.binary((4,), ("time",)), "ends").tolist()
    [True, False, False, True]
    """
    from ancestral.data.files import read_numbers
    from ancestral.data.images import SUFFIXES, ImageDecoder, ImageFormat

    suffix = Path(observed).suffix.lower()
    if suffix == ".npy":
        return read_numbers(Path(observed)).clone()
    if suffix not in SUFFIXES and observed not in PARTS + SEQUENCE_PARTS:
        known = f"{', '.join(PARTS)} of images, {', '.join(SEQUENCE_PARTS)} of sequences"
        raise InvalidInput(f"there is no part {observed!r}: give one of {known}, or a file such as mask.png or mask.npy")
    if observed in SEQUENCE_PARTS:
        return _part_of_sequence(event, observed)
    if not event.is_image:
        raise InvalidInput(f"{observed!r} is a part of images, the data are {event}: give a mask of shape {event.shape}")
    _, height, width = event.shape
    if observed not in PARTS:
        decoder = ImageDecoder(ImageFormat(gray=True))
        pixels = torch.from_numpy(decoder([{"path": observed}], ["the mask"])[0, 0])
        return pixels >= decoder.levels // 2
    row, column = torch.arange(height)[:, None], torch.arange(width)
    upper, lower = row < (height + 1) // 2, row >= height // 2
    before, after = column < (width + 1) // 2, column >= width // 2
    middle = (row >= height // 4) & (row < height - height // 4) & (column >= width // 4) & (column < width - width // 4)
    parts = {"top": upper, "bottom": lower, "left": before, "right": after, "center": middle}
    return parts[observed].expand(height, width)


def _part_of_sequence(event: Event, observed: str) -> Tensor:
    if not event.is_sequence:
        raise InvalidInput(f"{observed!r} is a part of sequences, the data are {event}: give a mask of shape {event.shape}")
    n, place = event.numel, torch.arange(event.numel)
    middle = (place >= n // 4) & (place < n - n // 4)
    parts = {"start": place < (n + 1) // 2, "end": place >= n // 2, "middle": middle, "ends": ~middle}
    return parts[observed]


def check_observed(event: Event, x: Tensor | NDArray[Any], observed: Tensor | NDArray[Any] | str) -> tuple[Tensor, Tensor]:
    """Return data, zero where not observed, and which entries were, both (batch, *event.shape), on the CPU.

    Args:
        event: what a datum is.
        x: (batch, *event.shape) or (*event.shape,).
        observed: bool, (batch, *event.shape), (*event.shape,) or, for images, (height, width); or as in `read_observed`.

    Raises:
        InvalidInput: if the data or the mask do not fit the event.
    """
    x = torch.as_tensor(x).detach().cpu()
    if x.shape == event.shape:
        x = x[None]
    event.check_shape(x)
    if len(x) == 0:
        raise InvalidInput("got no data, expected at least one: give some to complete")
    mask = read_observed(event, observed) if isinstance(observed, str) else torch.as_tensor(observed).detach().cpu()
    if mask.dtype != torch.bool:
        raise InvalidInput(f"observed is of type {mask.dtype}, expected bool: compare it, as in observed > 0")
    fits = mask.shape in (x.shape, event.shape) or (event.is_image and mask.shape == event.shape[1:])
    if not fits:
        also = f" or {event.shape[1:]}" if event.is_image else ""
        raise InvalidInput(
            f"observed has shape {tuple(mask.shape)}, expected {tuple(x.shape)}, {event.shape}{also}: give a mask of the data"
        )
    mask = mask.expand(x.shape)
    x = torch.where(mask, x, torch.zeros((), dtype=x.dtype))
    # What is not observed after an end that is, follows from it.
    event.check(torch.where(mask, x, event.closed(x)), "the observed part of x")
    return x.to(event.dtype), mask
