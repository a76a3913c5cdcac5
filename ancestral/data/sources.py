"""Names to data sets."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ancestral.data.base import ArraySplit, Data, Split
from ancestral.errors import InvalidInput
from ancestral.event import Event


def load(name: str, *, condition: str | None = None, **options: Any) -> Data:
    """Return the data set `name`."""
    root = Path(os.environ.get("ANCESTRAL_DATA", "data"))
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
