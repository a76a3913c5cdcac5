"""Image files to arrays of pixels, all of one size and one mode, or a sentence that names the file."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ancestral.errors import InvalidInput

CHANNELS = {"1": 1, "L": 1, "RGB": 3}
MAX_PIXELS = 64 * 2**20
"""Larger images are refused before they are decoded: a small file can claim any size."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm"}


@dataclass(frozen=True)
class ImageFormat:
    """How images become arrays.

    Args:
        gray: convert colour to luma, 0.299 R + 0.587 G + 0.114 B (PIL's "L").
        size: (height, width) to bring every image to: scaled with the Lanczos filter until it covers the size, then
            cropped about its centre; None leaves images as they are.
    """

    gray: bool = False
    size: tuple[int, int] | None = None


class ImageDecoder:
    """Decodes images one by one, and holds them to the shape and the mode of the first.

    Args:
        form: how images become arrays.

    Attributes:
        shape: (channels, height, width) of the images decoded so far; None before the first.
        levels: 2 for bilevel images, which give 0 and 1; 256 for others.
    """

    def __init__(self, form: ImageFormat) -> None:
        self.form = form
        self.shape: tuple[int, int, int] | None = None
        self.levels = 256
        self._mode = ""
        self._first = ""

    def __call__(self, images: Sequence[dict[str, Any] | None], names: Sequence[str]) -> NDArray[np.uint8]:
        """Decode images.

        Args:
            images: cells of a column of images, {"bytes": ..., "path": ...}, where either may be None.
            names: what to call each in errors; its path is added.

        Returns:
            (n, channels, height, width).

        Raises:
            InvalidInput: if one cannot be read, is too large, or differs from those before it; the image is named.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return np.stack([self._one(image or {}, name) for image, name in zip(images, names, strict=True)])

    def _one(self, image: dict[str, Any], name: str) -> NDArray[np.uint8]:
        content, path = image.get("bytes"), image.get("path")
        name = f"{name} ({path})" if path else name
        if content is None and not path:
            raise InvalidInput(f"{name} is empty, expected an image: leave the row out")
        try:
            with _open(content, path or "") as picture:
                pixels = self._pixels(picture, name)
        except InvalidInput:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise InvalidInput(f"{name} claims too many pixels ({error}): scale it down first") from error
        except Exception as error:  # the decoders raise whatever a broken file leads them to
            raise InvalidInput(f"{name} cannot be read as an image ({error}): repair it or leave it out") from error
        return self._hold(pixels, name)

    def _pixels(self, picture: Image.Image, name: str) -> NDArray[np.uint8]:
        """Return the picture's pixels, (height, width) or (height, width, channels)."""
        if picture.width * picture.height > MAX_PIXELS:
            raise InvalidInput(
                f"{name} is of {picture.height} x {picture.width} pixels, expected at most {MAX_PIXELS}: scale it down first"
            )
        if picture.mode == "P" and "transparency" not in picture.info:
            picture = picture.convert("RGB")  # a palette of colours: nothing is lost
        if picture.mode not in CHANNELS:
            raise InvalidInput(
                f"{name} is of mode {picture.mode}, expected gray (L), bilevel (1) or RGB of 8 bits: convert it first"
            )
        if self.form.gray and picture.mode == "RGB":
            picture = picture.convert("L")
        if self.form.size is not None:
            if picture.mode == "1":
                picture = picture.convert("L")  # filters need grey levels
            height, width = self.form.size
            picture = ImageOps.fit(picture, (width, height), method=Image.Resampling.LANCZOS)
        if not self._mode:
            self._mode, self._first = picture.mode, name
            self.levels = 2 if picture.mode == "1" else 256
        elif picture.mode != self._mode:
            raise InvalidInput(
                f"{name} is of mode {picture.mode}, expected {self._mode} as {self._first} is: pass gray=true, or convert it"
            )
        return np.asarray(picture).astype(np.uint8, copy=False)

    def _hold(self, pixels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Return pixels as (channels, height, width), of the first image's shape."""
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        shape = (pixels.shape[0], pixels.shape[1], pixels.shape[2])
        if self.shape is None:
            self.shape = shape
        elif shape != self.shape:
            raise InvalidInput(
                f"{name} is of {shape[1]} x {shape[2]} pixels, expected {self.shape[1]} x {self.shape[2]} as {self._first} is:"
                " pass size= to bring all to one size"
            )
        return pixels


def _open(content: bytes | None, path: str) -> Image.Image:
    if content is not None:
        return Image.open(io.BytesIO(content))
    if "://" in path:  # a streamed file of the hub or of an object store
        import fsspec

        with fsspec.open(path, "rb") as file:
            return Image.open(io.BytesIO(file.read()))
    return Image.open(path)


def find_images(folder: Path) -> Sequence[Path]:
    """Return the image files below `folder`, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
