"""Animations of images being drawn, one frame for every few steps."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.files import replacing
from ancestral.verbs import pictures

if TYPE_CHECKING:
    from PIL import Image

ANIMATIONS = (".gif", ".mp4")
"""Suffixes of the files that animations are written to."""
FRAMES = 80
"""Frames of an animation, about."""
SECONDS = 6.0
"""Length of an animation, before its last frame is held."""
HOLD = 2.0
"""Seconds for which the last frame is held."""


class Recorder:
    """What `sample` calls after each step, so that an animation can be written: `sample(..., watch=recorder)`.

    Args:
        event: an image event.
        frames: frames wanted, about.

    Raises:
        Unsupported: if the event is no image.

    >>> recorder = Recorder(Event.binary((1, 2, 2)), frames=2)
    >>> known = torch.tensor([True, True, False, False]).view(1, 1, 2, 2)
    >>> recorder(torch.ones(1, 1, 2, 2), known)
    >>> recorder.frames[-1].flatten().tolist()
    [1.0, 1.0, 0.5, 0.5]
    """

    def __init__(self, event: Event, frames: int = FRAMES) -> None:
        if not event.is_image:
            raise Unsupported(f"animations are of images, this model is of {event} data: write an array (.npy) or a table")
        self.event, self.wanted = event, frames
        self.frames: list[Tensor] = []

    def __call__(self, x: Tensor, known: Tensor) -> None:
        """Keep a frame where another share of the entries has been drawn.

        Args:
            x: data so far, (n, *event.shape).
            known: whether each entry is drawn, same shape.
        """
        if float(known.double().mean()) * self.wanted >= len(self.frames) + 1:
            self.frames.append(torch.where(known, x.double(), self._grey()))

    def _grey(self) -> Tensor:
        if self.event.levels is not None:
            return torch.tensor((self.event.levels - 1) / 2.0, dtype=torch.float64)
        return self.event.from_network(torch.zeros(1, *self.event.shape, dtype=torch.float64))

    def images(self) -> "list[Image.Image]":
        """Return the frames as pictures, all in one scale of grey.

        Raises:
            InvalidInput: if nothing was drawn.
        """
        if not self.frames:
            raise InvalidInput("no step was recorded: give the recorder to `sample` as watch=")
        n = len(self.frames[0])
        pixels = torch.from_numpy(pictures.to_pixels(torch.cat(self.frames), self.event)).permute(0, 3, 1, 2)
        event = Event.integers(tuple(pixels.shape[1:]), 256)
        return [pictures.image_grid(frame, event) for frame in pixels.split(n)]

    def save(self, path: Path | str) -> None:
        """Write the animation as .gif or .mp4, whole or not at all.

        Raises:
            InvalidInput: for another suffix, or .mp4 without ffmpeg.
        """
        check_animation(path)
        images = self.images()
        with replacing(path) as temporary:
            (save_gif if Path(path).suffix.lower() == ".gif" else _save_mp4)(images, temporary)


def check_animation(path: Path | str) -> None:
    """Raise unless an animation can be written to `path`; called before anything is drawn.

    Raises:
        InvalidInput: for a suffix of no animation, or .mp4 without ffmpeg.
    """
    from matplotlib.animation import FFMpegWriter

    suffix = Path(path).suffix.lower()
    if suffix not in ANIMATIONS:
        raise InvalidInput(f"cannot write {path}: an animation's suffix is {' or '.join(ANIMATIONS)}")
    if suffix == ".mp4" and not FFMpegWriter.isAvailable():
        raise InvalidInput(
            f"cannot write {path}: .mp4 needs the program ffmpeg, which is not here: install it, or write a .gif"
        )


def save_gif(images: "list[Image.Image]", path: Path) -> None:
    """Write pictures as a .gif that holds the last one for a while before it begins again."""
    each = round(1000 * SECONDS / len(images))
    durations = [each] * (len(images) - 1) + [round(1000 * HOLD)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)


def _save_mp4(images: "list[Image.Image]", path: Path) -> None:
    import numpy as np
    from matplotlib.animation import FFMpegWriter
    from matplotlib.figure import Figure

    rate = max(1, round(len(images) / SECONDS))
    dpi = 100
    figure = Figure(figsize=(images[0].width / dpi, images[0].height / dpi), dpi=dpi)
    writer = FFMpegWriter(fps=rate)
    with writer.saving(figure, str(path), dpi):
        for image in [*images, *[images[-1]] * round(HOLD * rate)]:
            figure.clear()
            figure.figimage(np.asarray(image.convert("RGB")))
            writer.grab_frame()
