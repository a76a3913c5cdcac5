"""Names to data sets."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ancestral.data.base import ArraySplit, Data, Split
from ancestral.errors import InvalidInput
from ancestral.event import Event

IMAGES = {  # name: (folder, image column, label column, validation rows taken from the end of train)
    "mnist": ("mnist", "image", "label", 10_000),
    "dynamic-mnist": ("mnist", "image", "label", 10_000),
    "cifar10": ("cifar10", "img", "label", 5_000),
    "omniglot": ("omniglot", "image", "label", None),
    "frey-faces": ("frey_faces", "image", None, None),
    "olivetti": ("olivetti", "image", "label", None),
    "yale-faces": ("yale_faces", "image", "subject", None),
}


def _decode(path: Path, image: str, label: str | None) -> tuple[Tensor, Tensor | None]:
    """Return the images of a parquet file, (n, channel, height, width), and their labels."""
    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(path, columns=[image, label] if label else [image])
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in table[image].to_pylist()])
    x = torch.from_numpy(pixels.astype(np.uint8))
    x = x[:, None] if x.dim() == 3 else x.permute(0, 3, 1, 2).contiguous()
    return x, None if label is None else torch.tensor(table[label].to_pylist())


def _binarize(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw each pixel with probability x / 255."""
    return (torch.randint(255, x.shape, dtype=torch.uint8, generator=generator) < x).to(torch.uint8)


def _images(name: str, root: Path, condition: str | None) -> Data:
    folder, image, label, tail = IMAGES[name]
    x, y = _decode(root / folder / "train.parquet", image, label)
    n = len(x)
    order = torch.arange(n) if tail else torch.randperm(n, generator=torch.Generator().manual_seed(0))
    held = tail or (200 if name == "frey-faces" else n // 10)
    index = {"train": order[:-held], "validation": order[-held:]}
    if (root / folder / "test.parquet").exists():
        xt, yt = _decode(root / folder / "test.parquet", image, label)
        x, y = torch.cat([x, xt]), None if y is None or yt is None else torch.cat([y, yt])
        index["test"] = torch.arange(n, len(x))
    else:
        index = {"train": order[: -2 * held], "validation": order[-2 * held : -held], "test": order[-held:]}
    event = Event.integers(x.shape[1:], 256)
    if name == "omniglot":
        x, event = 1 - x, Event.binary(x.shape[1:])
    transform = None
    if name == "dynamic-mnist":
        event, transform = Event.binary(event.shape), _binarize
        fixed = torch.Generator().manual_seed(0)
        for key in ("validation", "test"):
            x[index[key]] = _binarize(x[index[key]], fixed)
    labelled = condition is not None and y is not None
    splits: dict[str, Split] = {
        k: ArraySplit(x[i], y[i] if labelled and y is not None else None, transform if k == "train" else None)
        for k, i in index.items()
    }
    classes = int(y.max()) + 1 if labelled and y is not None else 0
    return Data(name, event, splits, Event.label(classes) if labelled else None)


def load(name: str, *, condition: str | None = None, **options: Any) -> Data:
    """Return the data set `name`."""
    root = Path(os.environ.get("ANCESTRAL_DATA", "data"))
    if name in IMAGES:
        return _images(name, root, condition)
    if name == "digits":
        from sklearn.datasets import load_digits

        bunch = load_digits()
        x = torch.from_numpy(bunch.images.astype(np.uint8))[:, None]
        y = torch.from_numpy(bunch.target)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        parts = {"train": order[:1297], "validation": order[1297:1497], "test": order[1497:]}
        labelled = condition == "label"
        splits: dict[str, Split] = {k: ArraySplit(x[i], y[i] if labelled else None) for k, i in parts.items()}
        return Data(name, Event.integers((1, 8, 8), 17), splits, Event.label(10) if labelled else None)
    if name == "binarized-mnist" or name.startswith("binary"):
        path = root / ("binarized_mnist/binarized_mnist.npz" if name == "binarized-mnist" else name + ".npz")
        with np.load(path) as z:
            arrays = {
                k: torch.from_numpy(np.unpackbits(z[v], axis=1)[:, : int(z["n_cols"])])
                for k, v in {"train": "train", "validation": "valid", "test": "test"}.items()
                if v in z
            }
        shape = (1, 28, 28) if name == "binarized-mnist" else (next(iter(arrays.values())).shape[1],)
        return Data(name, Event.binary(shape), {k: ArraySplit(v.view(-1, *shape)) for k, v in arrays.items()})
    raise InvalidInput(f"there is no data set {name!r}")
