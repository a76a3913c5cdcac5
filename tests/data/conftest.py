"""Every test of data has its own cache and its own data folder, and no network."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ANCESTRAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "data").mkdir()


@pytest.fixture
def folder(tmp_path) -> Path:
    """An empty folder for a test's own files."""
    made = tmp_path / "own"
    made.mkdir()
    return made


def pictures(count, shape=(6, 5), seed=0):
    """Random 8-bit images, (count, *shape)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def save_pictures(folder, arrays, suffix=".png"):
    """Save images as 00.png, 01.png ... in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{i:02d}{suffix}")


def contents(data, split):
    """All of a split's data and conditions."""
    import torch

    part = data.split(split)
    return part.batch(torch.arange(len(part)), torch.Generator().manual_seed(0))


def equal_splits(a, b):
    """Whether two data sets have the same splits, to the bit."""
    import torch

    if list(a.splits) != list(b.splits) or a.event != b.event or a.condition != b.condition:
        return False
    for split in a.splits:
        (x, c), (y, d) = contents(a, split), contents(b, split)
        if not torch.equal(x, y) or (c is None) != (d is None) or (c is not None and not torch.equal(c, d)):
            return False
    return True
