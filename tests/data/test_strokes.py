"""Drawings from stroke-3 files: how they are padded, what is refused, and that the rounding of offsets is undone."""

import numpy as np
import pytest
import torch

from ancestral.data import load
from ancestral.errors import InvalidInput
from ancestral.event import Event

POINTS = np.array([[3, 0, 0], [0, -4, 1], [5, 5, 1], [1, 2, 0], [2, 1, 1]], np.int16)


def save(path, points=POINTS, lengths=(3, 2), **others):
    np.savez(path, train_strokes=points, train_lengths=np.array(lengths, np.int32), **others)
    return str(path)


def held(name, **options):
    return load(name, validation=0, test=0, **options)


def test_drawings_end_with_their_last_point(tmp_path):
    data = held(save(tmp_path / "a.npz", POINTS + np.float32([0.25, 0, 0])))
    assert str(data.event) == "drawings of up to 3 points"
    x, _ = data.split("train").batch(torch.arange(2))
    assert sorted(x.tolist()) == [
        [[1.25, 2.0, 0.0], [2.25, 1.0, 2.0], [0.0, 0.0, 2.0]],
        [[3.25, 0.0, 0.0], [0.25, -4.0, 1.0], [5.25, 5.0, 2.0]],
    ]


def test_one_loc_and_scale_for_each_of_dx_and_dy_over_the_points_there_are(tmp_path):
    event = held(save(tmp_path / "a.npz", POINTS + np.float32([0.25, 0, 0]))).event
    points = POINTS + np.array([0.25, 0, 0])
    for i in range(2):
        assert event.loc[i] == pytest.approx(points[:, i].mean())
        assert event.scale[i] == pytest.approx(points[:, i].std())
    assert event.loc[2:6] == (0.0, *event.loc[:2], 0.0)
    assert event.scale[2] == 1.0


def test_the_rounding_of_whole_numbers_is_undone(tmp_path):
    data = held(save(tmp_path / "a.npz"))
    assert any("uniform on [-1/2, 1/2)" in step for step in data.record["preprocessing"])
    split = data.split("train")
    many = torch.zeros(4000, dtype=torch.long)
    x, _ = split.batch(many, torch.Generator().manual_seed(0))
    again, _ = split.batch(many, torch.Generator().manual_seed(0))
    assert torch.equal(x, again)
    data.event.check(x)
    noise = (x - x.round())[:, 0, :2]
    assert float(noise.min()) >= -0.5
    assert float(noise.max()) < 0.5
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.var()) - 1 / 12) < 0.01
    live = torch.arange(9) < data.event.counted(x)[:, None]
    assert not x.flatten(1)[~live].reshape(-1, 3)[:, :2].any()


def test_splits_that_are_held_are_drawn_once(tmp_path):
    path = save(tmp_path / "a.npz", test_strokes=POINTS, test_lengths=np.array([3, 2]))
    one, other = (
        load(path, validation=0).split("test").batch(torch.arange(2), torch.Generator().manual_seed(i)) for i in (0, 1)
    )
    assert torch.equal(one[0], other[0])


def test_one_drawing_of_an_array_file(tmp_path):
    np.save(tmp_path / "mine.npy", POINTS[:3])
    data = load(str(tmp_path / "mine.npy"), event="drawing")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 1}
    wider = load(str(tmp_path / "mine.npy"), event=Event.drawing(7))
    assert wider.event.shape == (7, 3)
    with pytest.raises(InvalidInput, match="a drawing of 3 points, expected at most 2"):
        load(str(tmp_path / "mine.npy"), event=Event.drawing(2))


@pytest.mark.parametrize(
    ("points", "lengths", "message"),
    [
        (np.where([[1, 0, 0]], np.nan, POINTS), (3, 2), "NaN or infinite values in 5 of 5 points"),
        (POINTS, (3, 3), "has 5 points, its lengths sum to 6"),
        (POINTS, (5, 0), "expected a count of 1 or more"),
        (POINTS[:, :2], (3, 2), r"expected numbers of shape \(points, 3\)"),
        (POINTS * [1, 1, 2], (3, 2), r"has pens 0, 2, expected 0 \(down\) or 1"),
    ],
)
def test_strokes_that_cannot_be_used_are_refused(tmp_path, points, lengths, message):
    with pytest.raises(InvalidInput, match=message):
        held(save(tmp_path / "a.npz", points, lengths))


def test_strokes_without_lengths_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", train_strokes=POINTS, test_lengths=np.array([5]))
    with pytest.raises(InvalidInput, match="without the lengths of its drawings, expected train_lengths"):
        load(str(tmp_path / "a.npz"))


def test_strokes_are_drawings_and_nothing_else(tmp_path):
    with pytest.raises(InvalidInput, match=r"but .* is drawings of up to 3 points: leave it out"):
        held(save(tmp_path / "a.npz"), event="real")


@pytest.mark.parametrize(("name", "sizes"), [("kanji-strokes", (10000, 600, 500)), ("omniglot-strokes", (30000, 1000, 1000))])
def test_real_strokes(real_data, monkeypatch, name, sizes):
    monkeypatch.setenv("ANCESTRAL_DATA", str(real_data))
    data = load(name)
    assert tuple(len(split) for split in data.splits.values()) == sizes
    data.event.check(data.split("test").batch(torch.arange(100))[0])
