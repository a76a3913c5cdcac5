"""Archives beside what a person would pick: image by image, all images as one picture, and all as one stream.

python -m benchmarks.codecs --data mnist olivetti --count 100     print some tables, of some images
python -m benchmarks.codecs --data mnist --save                   put one table in the place of an earlier one, then the page
"""

import argparse
import io
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ancestral.data import load
from ancestral.event import Event
from ancestral.verbs.baselines import Codec, stream_codecs
from ancestral.verbs.compress import Compressed, compress
from ancestral.verbs.decompress import decompress
from ancestral.verbs.inputs import open_model
from ancestral.zoo import WEIGHTS, Entry, entries
from benchmarks import page

DATA = ("mnist", "binarized-mnist", "omniglot", "frey-faces", "olivetti", "cifar10")
"""Data sets, of which the test split is compressed."""
MODEL = "gated-pixelcnn"
"""Which of the zoo's models of a data set."""
LATENT = "vae"
"""Which of them codes by bits-back, beside it."""
Pixels = NDArray[np.uint8]


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return a table for each data set whose model is trained; codecs take no chances, so that nothing is repeated."""
    return tables(("binarized-mnist",), 2) if tiny else tables(DATA, None)


def tables(names: Sequence[str], count: int | None) -> list[dict[str, Any]]:
    """Return a table for each data set whose model is trained; the last one notes which are not.

    Args:
        names: of the data sets.
        count: test images of each, evenly spaced; all where None.
    """
    trained = {entry.data: entry for entry in entries() if entry.trained and entry.model == MODEL}
    found = [_table(data, trained[data], count) for data in names if data in trained]
    absent = [data for data in names if data not in trained]
    if found and absent:
        found[-1]["notes"].append(f"Not measured, for want of a trained model: {', '.join(absent)}.")
    return found


def _table(data: str, entry: Entry, count: int | None) -> dict[str, Any]:
    split = load(data).split("test")
    n = min(count or len(split), len(split))
    x, _ = split.batch(torch.arange(n) * len(split) // n)  # some test splits are in order of their classes
    event = open_model(entry.name).model.event
    images = _pixels(x, event)
    stream = (np.packbits(x.numpy()) if event.is_binary else np.stack(images)).tobytes()
    of_images = _image_codecs("L" if images[0].ndim == 2 else "RGB")
    timed = [(f"{codec.name}, each image", _run(codec, images)) for codec in of_images]
    timed += [(f"{codec.name}, all as one image", _run(codec, [mosaic(images)])) for codec in of_images]
    timed += [(f"{codec.name}, all as one", _run(codec, [stream])) for codec in stream_codecs()]
    best = min(size for _, (size, _, _) in timed)
    result, figures = _archive(entry.name, x)
    timed.append(("**ancestral**", figures))
    for other in entries():
        if other.trained and (other.data, other.model) == (data, LATENT):
            timed.append((f"ancestral, `{other.name}` by bits-back", _archive(other.name, x)[1]))
    weights = (entry.path / WEIGHTS).stat().st_size
    gain = (best - result.bytes) / len(x)
    even = f"{weights / gain:,.0f} images on" if gain > 0 else "no number of images on"
    part = f"{len(x):,} test images" if len(x) == len(split) else f"{len(x):,} of {len(split):,} test images, evenly spaced"
    return {
        "data": data,
        "title": f"{data}: {part}, `{entry.name}`",
        "header": ["codec", "bytes an image", "bits/dim", "encoding, s", "images/s", "decoding, s", "images/s"],
        "rows": [_row(name, x, *figures) for name, figures in timed],
        "notes": [
            f"The model, which the archive does not hold, is {weights / 2**20:.1f} MiB; counted in, the archive is smaller"
            f" than the best other of this table from {even}. Sizes are of files, everything included; {result.overhead:,.0f}"
            f" bytes are not the model's nats ({result.overhead / (result.bytes - result.overhead):.2%})."
        ],
    }


def _archive(name: str, x: torch.Tensor) -> tuple[Compressed, tuple[int, float, float]]:
    """Return what an archive of data came to, and its bytes, with the seconds that encoding and decoding took."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "a.anc"
        result = compress(name, x, path, verify=False)
        restored = decompress(path, model=name)
    if not torch.equal(restored.x, x):
        raise RuntimeError(f"{name} does not give back what it compressed")
    return result, (result.bytes, result.encode_seconds, restored.seconds)


def _row(name: str, x: torch.Tensor, size: int, encoding: float, decoding: float) -> list[str]:
    speeds = [_number(value) for seconds in (encoding, decoding) for value in (seconds, len(x) / seconds)]
    return [name, f"{size / len(x):.1f}", f"{8 * size / x.numel():.3f}", *speeds]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _pixels(x: torch.Tensor, event: Event) -> list[Pixels]:
    """Return data as images, (height, width) or (height, width, 3), from 0 to 255."""
    scaled = (x.numpy() * (255 // ((event.levels or 2) - 1))).astype(np.uint8)
    return [image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)) for image in scaled]


def mosaic(images: Sequence[Pixels]) -> Pixels:
    """Return images of one size as one, row by row, as square as they go; what is left over is black."""
    columns = math.ceil(math.sqrt(len(images)))
    left = -len(images) % columns
    tiles = np.stack([*images, *[np.zeros_like(images[0])] * left])
    height, width, *channels = images[0].shape
    grid = tiles.reshape(-1, columns, height, width, *channels).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(-1, columns * width, *channels))


# Codecs


def _run(codec: Codec, items: Sequence[Any]) -> tuple[int, float, float]:
    """Return bytes, seconds of encoding and seconds of decoding, or raise unless everything comes back."""
    begun = time.perf_counter()
    codes = [codec.encode(item) for item in items]
    encoded = time.perf_counter()
    back = [codec.decode(code) for code in codes]
    decoded = time.perf_counter()
    if not all(np.array_equal(a, b) for a, b in zip(items, back, strict=True)):
        raise RuntimeError(f"{codec.name} does not give back what it compressed")
    return sum(map(len, codes)), encoded - begun, decoded - encoded


def _image_codecs(mode: str) -> list[Codec]:
    """Return the codecs of images of a mode of PIL that can be had here."""

    def read(code: bytes) -> Pixels:
        with Image.open(io.BytesIO(code)) as picture:
            return np.asarray(picture.convert(mode))  # WebP knows colour alone, and PNG of two values bits

    found = [
        Codec("PNG", lambda image: _save(image, "PNG", optimize=True), read),
        Codec("WebP lossless", lambda image: _save(image, "WEBP", lossless=True, quality=100, method=6), read),
    ]
    try:
        from imagecodecs import jpegxl_decode, jpegxl_encode
    except ImportError:
        return found
    return [*found, Codec("JPEG XL lossless, effort 9", lambda x: jpegxl_encode(x, lossless=True, effort=9), jpegxl_decode)]


def _save(image: Pixels, form: str, **options: Any) -> bytes:
    file, picture = io.BytesIO(), Image.fromarray(image)
    if form == "PNG" and np.isin(image, (0, 255)).all():
        picture = picture.convert("1")
    picture.save(file, form, **options)
    return file.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=DATA, choices=DATA, help="data sets")
    parser.add_argument("--count", type=int, help="test images of each, evenly spaced; default: all")
    parser.add_argument("--save", action="store_true", help="keep what is measured, and write the page")
    given = parser.parse_args()
    facts = {"table": "codecs", "machine": page.machine(), "threads": torch.get_num_threads()}
    if not given.save:
        print(page.render({**facts, "tables": tables(given.data, given.count)}))
        return 0
    for data in given.data:  # each takes long: none is lost if a later one is stopped
        for table in tables([data], given.count):
            page.keep_among(facts, table, "data", DATA)
    page.write(page.OUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
