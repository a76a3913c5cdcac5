import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.verbs import pictures


def test_a_grid_shows_every_pixel_enlarged():
    event = Event.integers((1, 2, 2), 17)
    x = torch.tensor([[[[0, 16], [8, 4]]], [[[16, 16], [16, 16]]]], dtype=torch.uint8)
    grid = np.asarray(pictures.image_grid(x, event, columns=2))
    zoom = grid.shape[0] // 4  # a border, two rows of pixels, a border
    assert min(grid.shape) > 300
    assert grid[zoom::zoom, zoom::zoom][:2, :2].tolist() == [[0, 255], [128, 64]]
    assert (grid[zoom : 3 * zoom, 4 * zoom : 6 * zoom] == 255).all()


@pytest.mark.parametrize(
    ("event", "x"),
    [
        (Event.binary((1, 8, 8)), torch.ones(7, 1, 8, 8, dtype=torch.uint8)),
        (Event.integers((3, 4, 4), 256), torch.randint(256, (9, 3, 4, 4), dtype=torch.uint8)),
        (Event.integers((2, 4, 4), 3), torch.randint(3, (2, 2, 4, 4), dtype=torch.uint8)),
        (Event.real((1, 4, 4)), torch.randn(3, 1, 4, 4)),
        (Event.real((1,)), torch.randn(20, 1)),
        (Event.real((2,)), torch.randn(20, 2)),
        (Event.real((9,)), torch.randn(20, 9)),
        (Event.binary((30,)), torch.randint(2, (20, 30), dtype=torch.uint8)),
        (Event.integers((5,), 7), torch.randint(7, (1, 5), dtype=torch.uint8)),
        (Event.real((4, 3)), torch.randn(2, 4, 3)),
    ],
)
def test_every_event_has_a_picture(tmp_path, event, x):
    path = tmp_path / "new" / "samples.png"
    pictures.samples(event, x, path)
    with Image.open(path) as image:
        assert min(image.size) > 150
        assert len(np.unique(np.asarray(image))) > 1
    assert [p.name for p in path.parent.iterdir()] == ["samples.png"]


def test_colours_are_kept():
    x = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    x[:, 0] = 255
    grid = np.asarray(pictures.image_grid(x, Event.integers((3, 4, 4), 256)))
    assert grid[grid.shape[0] // 2, grid.shape[1] // 2].tolist() == [255, 0, 0]


def test_refused(tmp_path):
    event = Event.binary((1, 2, 2))
    with pytest.raises(InvalidInput, match="no data to draw"):
        pictures.samples(event, torch.zeros(0, 1, 2, 2), tmp_path / "a.png")
    with pytest.raises(InvalidInput, match=r"use \.png"):
        pictures.samples(event, torch.zeros(1, 1, 2, 2), tmp_path / "a.txt")
    with pytest.raises(InvalidInput, match=r"use \.png"):
        pictures.samples(Event.real((2,)), torch.zeros(1, 2), tmp_path / "a.txt")
    with pytest.raises(InvalidInput, match="expected integers"):
        pictures.samples(event, torch.full((1, 1, 2, 2), 3), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_learning_curve(tmp_path):
    rows = [
        (s, split, m, v) for s in range(5) for split, m, v in (("train", "loss", 3.0 - s), ("validation", "nats", 3.5 - s))
    ]
    metrics = pd.DataFrame(rows, columns=["step", "split", "metric", "value"])
    pictures.learning_curve(metrics, tmp_path / "curve.png")
    pictures.learning_curve(metrics[:0], tmp_path / "empty.png", monitor="critic")
    assert len(list(tmp_path.iterdir())) == 2


def test_no_global_state_of_matplotlib(tmp_path):
    pictures.samples(Event.real((2,)), torch.randn(5, 2), tmp_path / "a.png")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_example_conditions():
    assert pictures.example_conditions(None, 3) is None
    assert pictures.example_conditions(Event.label(2), 3).tolist() == [0, 1, 0]
    assert pictures.example_conditions(Event.real((2,), (1.0, 2.0), (1.0, 1.0)), 2).tolist() == [[1, 2], [1, 2]]
    assert pictures.example_conditions(Event.binary((2,)), 1).tolist() == [[0, 0]]
