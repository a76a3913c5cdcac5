"""Drawings from the command line: stroke files in, pictures out, and a hand to go on in."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ancestral.cli.main import main
from ancestral.data import load
from ancestral.event import Event
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.sample import sample
from ancestral.verbs.score import score
from ancestral.verbs.stroke_pictures import lines_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with zigzags, and the run of a small model of them."""
    place = tmp_path_factory.mktemp("strokes")
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, n in (("train", 40), ("valid", 6), ("test", 6)):
        lengths = rng.integers(2, 9, n)
        points = np.stack(
            (np.full(lengths.sum(), 10), rng.integers(-20, 20, lengths.sum()), rng.integers(0, 2, lengths.sum())), 1
        )
        arrays |= {f"{split}_strokes": points.astype(np.int16), f"{split}_lengths": lengths.astype(np.int32)}
    np.savez(place / "zigzags.npz", **arrays)
    options = ["--model.hidden", "8", "--model.components", "2", "--train.steps", "2", "--train.samples", "4", "--quiet"]
    assert main(["fit", "handwriting-rnn", str(place / "zigzags.npz"), *options, "-o", str(place / "run")]) == 0
    return place


def test_samples_are_drawn_as_lines(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.svg", "a.png"):
        assert main(["sample", str(folder / "run"), "-n", "5", "-o", str(tmp_path / name)]) == 0
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image.convert("L")).min() < 100
    assert (folder / "run" / "samples.png").is_file()
    assert "not exact" not in capsys.readouterr().err


def test_a_bias_is_said_to_be_no_draw_from_the_model(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(folder / "run"), "-n", "2", "--bias", "1.5", "-o", str(tmp_path / "a.png")]) == 0
    assert "not exact draws from the model: bias 1.5" in capsys.readouterr().err
    assert main(["sample", str(folder / "run"), "-n", "2", "--temperature", "0.5", "-o", str(tmp_path / "b.png")]) != 0
    assert "has a density" in capsys.readouterr().err


def test_a_bias_narrows_draws(folder: Path) -> None:
    def spread(bias: float) -> float:
        return float(sample(str(folder / "run"), 300, bias=bias)[:, 0, 1].std())

    assert spread(2.0) < 0.5 * spread(0.0)


def test_a_hand_is_gone_on_in(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hand = np.array([[10, 3, 0], [10, -4, 1]], np.int16)
    np.save(tmp_path / "hand.npy", hand)
    command = ["sample", str(folder / "run"), "-n", "3", "--prompt-file", str(tmp_path / "hand.npy")]
    assert main([*command, "-o", str(tmp_path / "x.npy")]) == 0
    drawn = np.load(tmp_path / "x.npy")
    assert (drawn[:, :2] == hand).all()
    np.save(tmp_path / "hand.npy", np.full((2, 3), np.nan))
    assert main([*command, "-o", str(tmp_path / "y.npy")]) != 0
    assert "the prompt holds 6 NaN or infinite values" in capsys.readouterr().err
    assert main(["sample", str(folder / "run"), "--prompt", "text"]) != 0
    assert "models of text" in capsys.readouterr().err


def test_figures_are_per_drawing_and_per_point(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(str(folder / "run"))
    table = score(str(folder / "run"))
    points = int(np.load(folder / "zigzags.npz")["test_lengths"].sum())
    nats = -float(table["log_prob"].sum())
    assert found.nats_per_point == pytest.approx(nats / points, rel=1e-6)
    assert found.bits_per_dim == pytest.approx(nats / (3 * points * math.log(2)), rel=1e-6)
    assert "nats/point" in str(found)
    assert table["points"].sum() == points
    assert float((table["nats_per_point"] * table["points"]).sum()) == pytest.approx(nats, rel=1e-6)
    assert main(["evaluate", str(folder / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nats_per_point"] == pytest.approx(found.nats_per_point)


def test_a_persons_drawing_is_scored(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.array([[10, 3, 0], [10, -4, 1]], np.int16))
    table = score(str(folder / "run"), str(tmp_path / "mine.npy"), split="train")
    assert len(table) == 1
    assert math.isfinite(float(table["log_prob"][0]))


def test_lines_are_the_strokes_of_the_data(folder: Path) -> None:
    data = load(str(folder / "zigzags.npz"))
    x, _ = data.split("test").batch(torch.arange(6))
    for one in x:
        lines = lines_of(data.event, one)
        points = int(data.event.counted(one[None])[0]) // 3
        assert sum(map(len, lines)) == points
        assert len(lines) == 1 + int((one[: points - 1, 2] == 1).sum())
        torch.testing.assert_close(torch.from_numpy(lines[-1][-1]), one[:points, :2].double().sum(0))


def test_a_drawing_that_fills_its_bound_has_all_its_points() -> None:
    event = Event.drawing(2)
    assert [len(line) for line in lines_of(event, torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]))] == [1, 1]
