"""Image files to pixels and back, with their names and modes: what an archive of images keeps."""

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
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
MODES = ("1", "L", "RGB")
"""Modes of the images whose pixels are coded."""
NAME_BYTES = 2**12
"""Bytes that the name of a datum may take, at most, before they are deflated."""
LOST_NAMES_BYTES = 2**24
"""Bytes that the names of data that are lost may take besides."""
_KEPT = {"transparency", "icc_profile", "exif"}
_SHOWN = 100
"""Characters of a name that an error shows, at most."""
_UNDECODED = "surrogateescape"
"""How Python gives names of files that are not UTF-8, which so are kept to the byte."""


class NamedImage(NamedTuple):
    """The name of an image file below its folder, and its mode."""

    name: str
    mode: str


class ImageFolder:
    """Images below a folder, read as they are asked for.

    Args:
        root: the folder.
        paths: the image files below it.
        event: of the images that are read; others are left as files.

    Attributes:
        names: of the images read so far.
        files: the others so far, by name.
    """

    def __init__(self, root: Path, paths: Sequence[Path], event: Event) -> None:
        self.paths = paths
        self._root, self._event = root, event
        self.names: list[NamedImage] = []
        self.files: list[tuple[str, Path]] = []

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield the pixels of the images, (n, *event.shape), `size` at a time."""
        pixels: list[np.ndarray] = []
        for path in self.paths:
            name = path.relative_to(self._root).as_posix()
            read = _read(path, self._event)
            if read is None:
                self.files.append((name, path))
                continue
            pixels.append(read[0])
            self.names.append(NamedImage(name, read[1]))
            if len(pixels) == size:
                yield torch.from_numpy(np.stack(pixels))
                pixels = []
        if pixels:
            yield torch.from_numpy(np.stack(pixels))


def open_images(path: Path, event: Event) -> ImageFolder | None:
    """Return the images below a folder, or the one image that `path` is; None where it is neither.

    Raises:
        InvalidInput: if the event is not of images with 2 or 256 levels and 1 or 3 channels.
    """
    if path.is_file():
        root, paths = path.parent, [path] if path.suffix.lower() in SUFFIXES else []
    else:
        root, paths = path, list(find_images(path)) if path.is_dir() else []
    if not paths:
        return None
    if not event.is_image or event.levels not in (2, 256) or event.shape[0] not in (1, 3):
        raise InvalidInput(
            f"image files hold 1 or 3 channels of 2 or 256 levels, the model is of {event}: give an array (.npy) or a data set"
        )
    return ImageFolder(root, paths, event)


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
            if mode not in MODES or len(image.getbands()) != event.shape[0]:
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


def write_images(
    folder: Path, x: Tensor, names: list[NamedImage], files: dict[str, bytes], index: Tensor, levels: int
) -> None:
    """Write images to a folder, each whole or not at all.

    Args:
        folder: the folder; it is made where absent.
        x: pixels, (n, channel, height, width).
        names: of each; numbers where there are none.
        files: content of other files by name.
        index: number of each, (n,), for names.
        levels: values of a pixel; of two, the second is white.

    Raises:
        InvalidInput: if a name leads out of the folder, is of no format without loss, or the data are no images.
    """
    if x.dim() != 4 or x.shape[1] not in (1, 3) or levels > 256:
        raise InvalidInput(
            f"data of shape {tuple(x.shape[1:])} with {levels} levels are no images: write them to an .npy file"
        )
    if not names:
        mode = "RGB" if x.shape[1] == 3 else "1" if levels == 2 else "L"
        names = [NamedImage(f"{i:06d}.png", mode) for i in index.tolist()]
    for name in (*(item.name for item in names), *files):
        check_name(name)
    for item in names:
        if PurePath(item.name).suffix.lower() not in LOSSLESS:
            raise InvalidInput(
                f"the archive holds pixels called {item.name[:_SHOWN]!r}, expected one of {sorted(LOSSLESS)}: it is not ours"
            )
    for values, item in zip(x.numpy(), names, strict=True):
        with replacing(folder / item.name) as temporary:
            _image(values, item.mode, levels).save(temporary)
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def _image(values: np.ndarray, mode: str, levels: int) -> Image.Image:
    if mode == "1" and levels == 2 and len(values) == 1:
        return Image.fromarray(values[0].astype(bool))
    values = values * 255 if levels == 2 else values
    return Image.fromarray(values[0] if len(values) == 1 else np.ascontiguousarray(values.transpose(1, 2, 0)))


def check_name(name: str) -> None:
    """Raise unless a file name stays within the folder it is put in.

    Raises:
        InvalidInput: if it is absolute, empty, leads upwards, or is the name of no file.
    """
    path = PurePath(name)  # of this system: a colon and a backslash mean something on some
    try:
        name.encode(errors=_UNDECODED)
    except UnicodeEncodeError:
        path = PurePath()
    if not path.parts or path.drive or path.root or ".." in path.parts or "\0" in name:
        raise InvalidInput(f"the archive holds a file called {name[:_SHOWN]!r}, which leads out of its folder: it is not ours")


def pack_names(names: list[NamedImage]) -> bytes:
    """Return names and modes in few bytes; `unpack_names` reads them back.

    >>> unpack_names(pack_names([NamedImage("a/b.png", "L")]), 1)
    [NamedImage(name='a/b.png', mode='L')]
    """
    content = json.dumps([[n for n, _ in names], [m for _, m in names]], ensure_ascii=False)
    return zlib.compress(content.encode(errors=_UNDECODED), 9)


def unpack_names(content: bytes, count: int) -> list[NamedImage]:
    """Return what `pack_names` packed.

    Args:
        content: the names, deflated.
        count: data that there are, which bound what is inflated: names of lost data may come on top.

    Raises:
        Damage: if it is of another form, or larger.
    """
    try:
        names, modes = json.loads(inflate(content, NAME_BYTES * count + LOST_NAMES_BYTES).decode(errors=_UNDECODED))
        named = [NamedImage(str(name), str(mode)) for name, mode in zip(names, modes, strict=True)]
    except (ValueError, TypeError, RecursionError) as error:
        raise Damage(f"the names of the images cannot be read ({error})") from error
    unknown = {mode for _, mode in named} - set(MODES)
    if unknown:
        raise Damage(f"the names of the images say that they are of mode {unknown.pop()[:_SHOWN]!r}")
    return named


def pack_file(name: str, path: Path) -> bytes:
    """Return the content of a file with its name; `unpack_file` takes them apart."""
    encoded = name.encode(errors=_UNDECODED)
    return len(encoded).to_bytes(2, "big") + encoded + path.read_bytes()


def unpack_file(content: bytes) -> tuple[str, bytes]:
    r"""Return the name and the content that `pack_file` put together.

    >>> unpack_file(b"\x00\x05a.jpgcontent")
    ('a.jpg', b'content')
    """
    end = 2 + int.from_bytes(content[:2], "big")
    return content[2:end].decode(errors=_UNDECODED), content[end:]
