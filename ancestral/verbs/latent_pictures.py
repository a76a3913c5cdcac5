"""What the verbs over latents show, as pictures, animations and arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.files import replacing
from ancestral.verbs import pictures
from ancestral.verbs.animate import save_gif
from ancestral.verbs.latents import Sum

if TYPE_CHECKING:
    from PIL import Image

FILES = (".png", ".pdf", ".npy")
"""Suffixes of the files that are written."""


def save_grid(x: Tensor, event: Event, path: Path | str, captions: Sequence[str] = ()) -> None:
    """Write rows of data by the suffix: an array (.npy), or a picture, in which images stand in rows and columns.

    Other data than images are drawn as `ancestral.verbs.pictures.samples` draws them, row after row.

    Args:
        x: (rows, columns, *event.shape).
        event: what a datum is.
        path: the file; it is whole or not changed at all.
        captions: below each image, (rows columns,); none where empty.

    Raises:
        InvalidInput: for another suffix.
    """
    if Path(path).suffix.lower() == ".npy":
        with replacing(path) as temporary:
            np.save(temporary, x.numpy(), allow_pickle=False)
    elif event.is_image:
        flat = x.flatten(0, 1)
        columns = x.shape[1]
        image = (
            pictures.captioned_grid(flat, event, captions, columns) if captions else pictures.image_grid(flat, event, columns)
        )
        pictures.save_image(image, path)
    else:
        pictures.samples(event, x.flatten(0, 1), path)


def save_ways(x: Tensor, event: Event, path: Path | str) -> None:
    """Write ways from one datum to another as an animation, a frame for each step.

    Args:
        x: (ways, steps, *event.shape).
        event: an image event.
        path: a .gif file.

    Raises:
        InvalidInput: if the data are no images.
    """
    if not event.is_image:
        raise InvalidInput(f"animations are of images, the data are {event}: write a picture or an array (.npy)")
    ways, steps = x.shape[:2]
    pixels = torch.from_numpy(pictures.to_pixels(x.flatten(0, 1), event)).permute(0, 3, 1, 2)  # all in one scale of grey
    shown = Event.integers(tuple(pixels.shape[1:]), 256)
    frames: list[Image.Image] = [pictures.image_grid(f, shown) for f in pixels.unflatten(0, (ways, steps)).unbind(1)]
    with replacing(path) as temporary:
        save_gif(frames, temporary)


def save_sum(found: Sum, event: Event, path: Path | str) -> None:
    """Write the terms of a sum of groups and what it comes to, as `save_grid` does; of an array, the sum comes last."""
    x = torch.stack([*(group.x for group in found.groups), found.x])
    captions = [f"{'+' if group.sign > 0 else '-'} {group.name}" for group in found.groups]
    save_grid(x[None], event, path, [*captions, "="])
