"""Archives beside what a person would pick: image by image, and all images as one stream."""

import bz2
import io
import lzma
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ancestral.data import load
from ancestral.event import Event
from ancestral.verbs.codec import compress, decompress
from ancestral.verbs.inputs import open_model
from ancestral.zoo import entries

PAIRS = (
    ("mnist", "mnist-gated-pixelcnn"),
    ("cifar10", "cifar10-gated-pixelcnn"),
    ("binarized-mnist", "binarized-mnist-gated-pixelcnn"),
)
"""Data sets, of which the test split is compressed, and models of the zoo."""
WEIGHTS = "model.safetensors"


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return a table for each data set whose model is trained."""
    trained = {entry.name: entry for entry in entries() if entry.trained}
    return [_table(data, name, trained[name].path, 20 if tiny else None) for data, name in PAIRS if name in trained]


def _table(data: str, name: str, folder: Path, count: int | None) -> dict[str, Any]:
    split = load(data).split("test")
    x, _ = split.batch(torch.arange(count or len(split)))
    event = open_model(name).model.event
    images = _pixels(x, event)
    entries_ = x.numel()
    rows, best = [], float("inf")
    for codec, run in _per_image().items():
        begun = time.perf_counter()
        size = sum(len(run(image)) for image in images)
        rows.append([codec, f"{size / len(x):.1f}", f"{8 * size / entries_:.3f}", f"{time.perf_counter() - begun:.1f}", ""])
        best = min(best, size)
    stream = np.ascontiguousarray(np.packbits(x.numpy()) if event.is_binary else np.stack(images)).tobytes()
    for codec, whole in _streams().items():
        begun = time.perf_counter()
        size = len(whole(stream))
        rows.append([codec, f"{size / len(x):.1f}", f"{8 * size / entries_:.3f}", f"{time.perf_counter() - begun:.1f}", ""])
        best = min(best, size)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "a.anc"
        result = compress(name, x, path, verify=False)
        begun = time.perf_counter()
        restored = decompress(path, model=name)
        back = time.perf_counter() - begun
        if not torch.equal(restored.x, x):
            raise RuntimeError(f"{name} does not give back what it compressed")
    ours = [f"{result.bytes / len(x):.1f}", f"**{result.bits_per_dim:.3f}**", f"{result.seconds:.1f}", f"{back:.1f}"]
    rows.append(["**ancestral**", *ours])
    size = (folder / WEIGHTS).stat().st_size
    gain = (best - result.bytes) / len(x)
    even = f"{size / gain:,.0f} images on" if gain > 0 else "no number of images on"
    return {
        "title": f"{data}: {len(x):,} test images, `{name}`",
        "header": ["codec", "bytes an image", "bits/dim", "encoding, s", "decoding, s"],
        "rows": rows,
        "notes": [
            f"The model, which the archive does not hold, is {size / 2**20:.1f} MiB; counted in, it is smaller than the best"
            f" other of this table from {even}. Sizes are of files, everything included; {result.overhead:,.0f} bytes are not"
            f" the model's nats ({result.overhead / (result.bytes - result.overhead):.2%})."
        ],
    }


def _pixels(x: torch.Tensor, event: Event) -> list[NDArray[np.uint8]]:
    scaled = (x.numpy() * (255 // ((event.levels or 2) - 1))).astype(np.uint8)
    return [image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)) for image in scaled]


def _saved(image: NDArray[np.uint8], form: str, **options: Any) -> bytes:
    file, picture = io.BytesIO(), Image.fromarray(image)
    if form == "PNG" and set(np.unique(image)) <= {0, 255}:
        picture = picture.convert("1")
    picture.save(file, form, **options)
    return file.getvalue()


def _per_image() -> dict[str, Callable[[NDArray[np.uint8]], bytes]]:
    found: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {
        "PNG, each image": lambda image: _saved(image, "PNG", optimize=True),
        "WebP lossless, each image": lambda image: _saved(image, "WEBP", lossless=True, quality=100, method=6),
    }
    try:
        import imagecodecs
    except ImportError:
        return found
    found["JPEG XL lossless, each image"] = lambda image: imagecodecs.jpegxl_encode(image, lossless=True, effort=7)
    return found


def _streams() -> dict[str, Callable[[bytes], bytes]]:
    found: dict[str, Callable[[bytes], bytes]] = {
        "xz -9e, all as one": lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
        "bzip2 -9, all as one": lambda content: bz2.compress(content, 9),
    }
    try:
        import brotli
        import zstandard
    except ImportError:
        return found
    found["brotli -q 11, all as one"] = lambda content: brotli.compress(content, quality=11, lgwin=24)
    found["zstd --ultra -22, all as one"] = lambda content: zstandard.ZstdCompressor(level=22).compress(content)
    return found
