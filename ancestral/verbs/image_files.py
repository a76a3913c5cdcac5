"""Image files to pixels and back, with their names and modes: what an archive of images keeps."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ancestral.coding import Damage, inflate
from ancestral.data.images import SUFFIXES, find_images
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.files import replacing

LOSSLESS = {".png", ".bmp", ".pgm", ".ppm", ".pbm", ".tif", ".tiff"}
"""Suffixes of the files whose pixels are coded; others were compressed with loss, or hold more than pixels."""
MAX_NAMES_BYTES = 2**28
_KEPT = {"transparency", "icc_profile", "exif"}


class NamedImage(NamedTuple):
    """The name of an image file below its folder, and its mode."""

    name: str
    mode: str


@dataclass(frozen=True)
class Images:
    """Images of a folder.

    Args:
        x: pixels of those that fit an event, (n, *event.shape).
        names: of these.
        files: the others, by name.
    """

    x: Tensor
    names: list[NamedImage]
    files: list[tuple[str, Path]]


def is_image_source(path: Path) -> bool:
    """Return whether a path is an image file or a folder that holds some."""
    if path.is_file():
        return path.suffix.lower() in SUFFIXES
    return path.is_dir() and bool(find_images(path))


def read_lossless(path: Path, event: Event) -> Images:
    """Return the images of a folder, or the one image that `path` is.

    Raises:
        InvalidInput: if the event is not of images with 2 or 256 levels and 1 or 3 channels.
    """
    if not event.is_image or event.levels not in (2, 256) or event.shape[0] not in (1, 3):
        raise InvalidInput(
            f"image files hold 1 or 3 channels of 2 or 256 levels, the model is of {event}: give an array (.npy) or a data set"
        )
    root, paths = (path.parent, [path]) if path.is_file() else (path, find_images(path))
    pixels, names, files = [], [], []
    for item in paths:
        name = item.relative_to(root).as_posix()
        read = _read(item, event)
        if read is None:
            files.append((name, item))
        else:
            pixels.append(read[0])
            names.append(NamedImage(name, read[1]))
    x = np.stack(pixels) if pixels else np.empty((0, *event.shape), np.uint8)
    return Images(torch.from_numpy(x), names, files)


def _read(path: Path, event: Event) -> tuple[np.ndarray, str] | None:
    """Return an image as (channels, height, width), with its mode; None where it is not of the event."""
    if path.suffix.lower() not in LOSSLESS:
        return None
    try:
        with Image.open(path) as image:
            size = (event.shape[2], event.shape[1])
            if image.size != size or getattr(image, "n_frames", 1) > 1 or _KEPT & set(image.info):
                return None
            mode = image.mode
            if mode not in ("1", "L", "RGB") or len(image.getbands()) != event.shape[0]:
                return None
            values = np.asarray(image).astype(np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # kept as it is, whatever it is
    if event.levels == 2 and mode != "1":
        if not np.isin(values, (0, 255)).all():
            return None
        values = values // 255
    elif event.levels == 256 and mode == "1":
        return None
    return (values[None] if values.ndim == 2 else values.transpose(2, 0, 1)), mode


def write_images(folder: Path, x: Tensor, names: list[NamedImage], files: dict[str, bytes], index: Tensor) -> None:
    """Write images to a folder, each whole or not at all.

    Args:
        folder: the folder; it is made where absent.
        x: pixels, (n, channel, height, width).
        names: of each; numbers where there are none.
        files: content of other files by name.
        index: number of each, (n,), for names.

    Raises:
        InvalidInput: if a name leads out of the folder, or the data are no images.
    """
    if len(x) and (x.dim() != 4 or x.shape[1] not in (1, 3) or int(x.max()) > 255):
        raise InvalidInput(f"data of shape {tuple(x.shape[1:])} are no images: write them to an .npy file")
    if not names:
        binary = len(x) > 0 and int(x.max()) <= 1
        mode = "1" if binary and x.shape[1] == 1 else "L" if len(x) and x.shape[1] == 1 else "RGB"
        names = [NamedImage(f"{i:06d}.png", mode) for i in index.tolist()]
    for name in (*(item.name for item in names), *files):
        check_name(name)
    for values, item in zip(x.numpy(), names, strict=True):
        with replacing(folder / item.name) as temporary:
            _image(values, item.mode, binary=bool(x.max() <= 1)).save(temporary)
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def _image(values: np.ndarray, mode: str, *, binary: bool) -> Image.Image:
    if mode == "1":
        return Image.fromarray(values[0].astype(bool))
    values = values * 255 if binary else values
    return Image.fromarray(values[0] if len(values) == 1 else np.ascontiguousarray(values.transpose(1, 2, 0)))


def check_name(name: str) -> None:
    """Raise unless a file name stays within the folder it is put in.

    Raises:
        InvalidInput: if it is absolute, empty, or leads upwards.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise InvalidInput(f"the archive holds a file called {name!r}, which leads out of its folder: it is not ours")


def pack_names(names: list[NamedImage]) -> bytes:
    """Return names and modes in few bytes; `unpack_names` reads them back.

    >>> unpack_names(pack_names([NamedImage("a/b.png", "L")]))
    [NamedImage(name='a/b.png', mode='L')]
    """
    return zlib.compress(json.dumps([[n for n, _ in names], [m for _, m in names]], ensure_ascii=False).encode(), 9)


def unpack_names(content: bytes) -> list[NamedImage]:
    """Return what `pack_names` packed.

    Raises:
        Damage: if it is of another form.
    """
    try:
        names, modes = json.loads(inflate(content, MAX_NAMES_BYTES))
        return [NamedImage(str(name), str(mode)) for name, mode in zip(names, modes, strict=True)]
    except (ValueError, TypeError, UnicodeDecodeError) as error:
        raise Damage(f"the names of the images cannot be read ({error})") from error
