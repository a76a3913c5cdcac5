"""Tables and images at the edge, and models without codes: an answer, or one line, exit status 2 and nothing half-written."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ancestral.cli.main import main
from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.training import TrainConfig, fit
from ancestral.verbs.evaluate import evaluate
from tests.test_bad_input import Refused, here, refused, says

__all__ = ["here", "refused"]

TRAINING = ["--train.steps", "3", "--train.samples", "0", "--train.loggers", "csv", "--quiet"]
MODELS = {
    "vae": ["--model.hidden", "4", "--model.latent", "7"],  # more latents than columns
    "mixture-vae": ["--model.hidden", "4", "--model.latent", "7", "--model.autoencoders", "3"],
    "rnade": ["--model.hidden", "4"],
    "maf": ["--model.hidden", "8", "--model.layers", "2"],
    "realnvp": [],
    "spline-flow": ["--model.hidden", "8", "--model.layers", "2"],
}
EACH = pytest.mark.parametrize("model", MODELS)


def rows(n: int = 40) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(n, 3))


def save(name: str, x: NDArray[np.float64], header: str = "a,b,c") -> None:
    np.savetxt(name, x, delimiter=",", header=header, comments="")


def works(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that must succeed, and return what it prints."""
    status = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out


# Tables


TABLES: dict[str, Callable[[], NDArray[np.float64]]] = {
    "a constant column": lambda: rows() * [1.0, 0.0, 1.0] + [0.0, 2.5, 0.0],
    "one row many times": lambda: np.repeat(rows(1), 40, axis=0),
    "three rows": lambda: rows(3),
}


@EACH
@pytest.mark.parametrize("table", TABLES)
def test_tables_without_variety_are_learned_and_scored(
    here: Path, capsys: pytest.CaptureFixture[str], model: str, table: str
) -> None:
    save("t.csv", TABLES[table]())
    works(capsys, "fit", model, "t.csv", *MODELS[model], *TRAINING, "-o", "run")
    figures = json.loads(works(capsys, "evaluate", "run", "--json", "--quiet"))
    assert math.isfinite(figures["nats"])
    works(capsys, "sample", "run", "-n", "5", "-o", "s.npy", "--quiet")
    x = np.load("s.npy")
    assert x.shape == (5, 3)
    assert np.isfinite(x).all()


def test_infinite_values_are_named_by_column_and_row(refused: Refused, here: Path) -> None:
    for value in (np.inf, -np.inf, np.nan):
        x = rows()
        x[5, 1] = value
        save("t.csv", x)
        says(refused("fit", "vae", "t.csv"), "column 'b' of t.csv", "NaN or infinite in row 5", "drop those rows")
    save("huge.csv", 1e300 * rows())  # beyond single precision
    says(refused("fit", "vae", "huge.csv"), "huge.csv", "infinite", "expected finite numbers")


def test_data_with_infinite_values_are_not_scored(refused: Refused, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("t.csv", rows())
    works(capsys, "fit", "vae", "t.csv", *MODELS["vae"], *TRAINING, "-o", "run")
    x = rows()
    x[2, 0] = np.inf
    save("other.csv", x)
    for verb in (["evaluate"], ["score", "-o", "scores.csv"], ["reconstruct", "-o", "r.npy"]):
        says(refused(verb[0], "run", "other.csv", *verb[1:]), "other.csv", "infinite")


def test_one_example_is_too_few_to_hold_any_out(refused: Refused, here: Path) -> None:
    for n in (1, 2):
        save("t.csv", rows(n))
        says(refused("fit", "vae", "t.csv"), f"t.csv has {n} data", "leaves none for train", "--data.validation")


@pytest.mark.parametrize("model", ["vae", "mixture-vae", "maf", "realnvp"])
def test_one_example_in_each_split_is_learned(tmp_path: Path, model: str) -> None:
    data = Data("one", Event.real((3,)), {name: ArraySplit(torch.ones(1, 3)) for name in ("train", "validation", "test")})
    run = fit(create(model, data.event), data, tmp_path / "run", TrainConfig(steps=3, samples=0), progress=False)
    figures = evaluate(run.model(), data)
    assert figures.count == 1
    assert math.isfinite(figures.nats)


# Models without codes


def test_verbs_over_codes_name_the_models_that_have_them(refused: Refused, digits_run: Path) -> None:
    for argv in (
        ["reconstruct", digits_run],
        ["interpolate", digits_run, "0", "1"],
        ["manifold", digits_run],
        ["arithmetic", digits_run, "--plus", "3"],
        ["traverse", digits_run],
        ["disentangle", digits_run],
    ):
        says(refused(*argv), "made (autoregressive) has no encode", "Models that have codes: ", "mixture-vae", "vae")
    says(refused("probe", digits_run, "digits"), "has no encode", "Models that have", "denoising-autoencoder")


# Conditions


def test_conditions_out_of_range(here: Path, refused: Refused, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{a},{b},{c},{('red', 'green', 'blue')[i % 3]}" for i, (a, b, c) in enumerate(rows())]
    Path("t.csv").write_text("\n".join(["a,b,c,kind", *lines]) + "\n")
    for model in ("mixture-vae", "maf"):
        given = ["--data.condition", "kind"]
        works(capsys, "fit", model, "t.csv", *given, *MODELS[model], *TRAINING, "-o", model)
        says(refused("sample", model, "--condition", "3"), "condition", "[0, 2]")
        says(refused("sample", model, "--condition", "-1"), "condition")
        works(capsys, "sample", model, "--condition", "2", "-n", "2", "-o", "s.npy", "--quiet")
    model = create("mixture-vae", Event.real((3,)), Event.label(3), hidden=(4,), latent=2, autoencoders=2).eval()
    for wrong in (torch.tensor([3, 0]), torch.tensor([-1, 0]), torch.tensor([0])):
        with pytest.raises(InvalidInput, match="condition"):
            model.responsibilities(torch.zeros(2, 3), wrong)
        with pytest.raises(InvalidInput, match="condition"):
            model.decode(torch.zeros(2, 6), wrong)


# Images


IMAGES = {
    "vae": ["--model.hidden", "4", "--model.latent", "3", "--model.network", "conv", "--model.channels", "4"],
    "mixture-vae": ["--model.hidden", "4", "--model.latent", "3", "--model.autoencoders", "2"],
    "pixel-vae": ["--model.hidden", "4", "--model.latent", "3", "--model.pixel_channels", "4", "--model.layers", "1"],
    "realnvp": ["--model.channels", "4"],
    "glow": ["--model.channels", "4", "--model.flow_steps", "1"],
}


@pytest.mark.parametrize("model", IMAGES)
@pytest.mark.parametrize("size", [(7, 5), (6, 10)])
def test_images_of_any_height_and_width_are_an_answer_or_a_sentence(
    here: Path, refused: Refused, capsys: pytest.CaptureFixture[str], model: str, size: tuple[int, int]
) -> None:
    np.save("x.npy", np.random.default_rng(0).integers(0, 4, (30, 1, *size)))
    argv = ["fit", model, "x.npy", "--data.event", "4", *IMAGES[model], *TRAINING, "-o", "run"]
    if model == "glow" and (size[0] % 2 or size[1] % 2):
        says(refused(*argv), "needs an even height and width", f"1x{size[0]}x{size[1]}", "pad or crop", "realnvp")
        return
    works(capsys, *argv)
    works(capsys, "sample", "run", "-n", "2", "-o", "s.npy", "--quiet")
    assert np.load("s.npy").shape == (2, 1, *size)
    if model != "pixel-vae":
        works(capsys, "reconstruct", "run", "--limit", "3", "-o", "r.npy", "--quiet")
        assert np.load("r.npy").shape[-2:] == size
