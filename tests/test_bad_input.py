"""What a person can get wrong on the command line: one line, exit status 2, and nothing half-written."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ancestral.cli.main import main

Refused = Callable[..., str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without network, data folder or cache of its own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ANCESTRAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def refused(here: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused: return its line, having checked status, shape and that no file changed."""

    def run(*argv: object) -> str:
        before, folders = tree(here), {p for p in here.rglob("*") if p.is_dir()}
        status = main([str(a) for a in argv])
        out, err = capsys.readouterr()
        assert status == 2, err
        assert out == ""
        assert err.startswith("ancestral: error: ")
        assert err.count("\n") == 1, err
        assert tree(here) == before
        assert {p for p in here.rglob("*") if p.is_dir()} == folders
        return err.removeprefix("ancestral: error: ")

    return run


def says(line: str, *parts: str) -> None:
    for part in parts:
        assert part in line, line


def save_images(folder: Path, shapes: list[tuple[int, ...]]) -> None:
    folder.mkdir()
    for i, shape in enumerate(shapes):
        pixels = np.random.default_rng(i).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


# Data


def test_a_data_name_that_does_not_exist(refused: Refused) -> None:
    says(refused("fit", "made", "binarised-mnist"), "'binarised-mnist'", "Did you mean binarized-mnist", "`ancestral data`")


def test_an_offline_hub(refused: Refused) -> None:
    says(refused("fit", "made", "someone/pictures"), "'someone/pictures'", "HF_HUB_OFFLINE")
    says(refused("evaluate", "someone/model"), "'someone/model'", "hub cannot be reached", "give the folder")


def test_an_empty_folder(refused: Refused, here: Path) -> None:
    (here / "empty").mkdir()
    says(refused("fit", "made", "empty"), "empty", "holds no")


def test_images_of_mixed_sizes(refused: Refused, here: Path) -> None:
    save_images(here / "mixed", [(8, 8)] * 12 + [(8, 9)])
    says(refused("fit", "made", "mixed"), "12.png", "8 x 9", "--data.size")


def test_images_of_mixed_modes(refused: Refused, here: Path) -> None:
    save_images(here / "mixed", [(8, 8)] * 12 + [(8, 8, 3)])
    says(refused("fit", "made", "mixed"), "12.png", "--data.gray")


def test_a_corrupt_image(refused: Refused, here: Path) -> None:
    save_images(here / "images", [(8, 8)] * 12)
    (here / "images" / "7.png").write_bytes((here / "images" / "7.png").read_bytes()[:60])
    says(refused("fit", "made", "images"), "7.png")


def test_values_outside_the_support(refused: Refused, here: Path) -> None:
    np.save(here / "counts.npy", np.array([[0, 1], [2, 1]] * 10))
    says(refused("fit", "fvsbn", "counts.npy", "--data.event", "binary"), "[0, 2]", "expected integers in [0, 1]")
    np.save(here / "table.npy", np.full((20, 2), np.inf))
    says(refused("fit", "made", "table.npy"), "infinite")


def test_nan_in_a_table(refused: Refused, here: Path) -> None:
    (here / "table.csv").write_text("a,b\n" + "1.5,2.5\n" * 20 + "1.5,\n")
    says(refused("fit", "made", "table.csv"), "table.csv", "'b'", "fill those cells")


# Models and conditions


def test_a_model_that_cannot_take_the_event(refused: Refused, here: Path) -> None:
    np.savetxt(here / "table.csv", np.random.default_rng(0).normal(size=(30, 3)), delimiter=",", header="a,b,c", comments="")
    says(refused("fit", "gated-pixelcnn", "table.csv"), "gated-pixelcnn takes images", "3 real", "made")


def test_a_model_that_does_not_exist(refused: Refused) -> None:
    says(refused("fit", "gatedpixelcnn", "digits"), "'gatedpixelcnn'", "Did you mean gated-pixelcnn", "`ancestral models`")


def test_options_and_settings_that_do_not_exist_or_fit(refused: Refused) -> None:
    says(refused("fit", "made", "digits", "--model.hiden", "3"), "--model.hiden", "Did you mean --model.hidden")
    says(refused("fit", "made", "digits", "--train.epoch", "3"), "--train.epoch", "Did you mean --train.epochs")
    says(refused("fit", "made", "digits", "--train.epochs", "many"), "--train.epochs is many, expected a whole number")
    says(refused("fit", "made", "digits", "--train.epochs", "0"), "epochs is 0, expected a positive")
    says(refused("fit", "made", "digits", "--model.hidden", "a"), "--model.hidden", "expected a whole number")
    says(refused("fit", "made"), "got no data")
    says(refused("fit"), "got no model")


def test_a_condition_that_is_missing(refused: Refused, conditional_run: Path) -> None:
    says(refused("sample", conditional_run), "needs a condition", "0 to 9", "all")
    says(refused("fit", "made", "digits", "--data.condition", "colour"), "'colour'", "label")
    np.save("digits.npy", np.random.default_rng(0).integers(0, 17, (30, 1, 8, 8)))
    says(refused("evaluate", conditional_run, "digits.npy", "--data.event", "17"), "label")


def test_a_condition_out_of_range(refused: Refused, conditional_run: Path, digits_run: Path) -> None:
    says(refused("sample", conditional_run, "--condition", "10"), "condition", "[10, 10]", "[0, 9]")
    says(refused("sample", conditional_run, "--condition", "nine"), "'nine'", "all")
    says(refused("sample", digits_run, "--condition", "1"), "without a condition", "leave it out")


def test_data_of_another_event(refused: Refused, digits_run: Path) -> None:
    np.save("other.npy", np.random.default_rng(0).integers(0, 17, (30, 1, 9, 9)))
    says(refused("evaluate", digits_run, "other.npy", "--data.event", "17"), "1x8x8 17 levels", "1x9x9 17 levels")


# Runs and files


def test_a_run_directory_that_is_not_one(refused: Refused, here: Path) -> None:
    (here / "folder").mkdir()
    says(refused("evaluate", "folder"), "folder is not a run directory", "config.json", "ancestral fit")
    says(refused("fit", "--resume", "folder"), "folder is not a run directory")
    says(refused("sample", "nowhere"), "there is no model 'nowhere'", "`ancestral zoo`")


@pytest.fixture
def run(here: Path, digits_run: Path) -> Path:
    return Path(shutil.copytree(digits_run, here / "run"))


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_model_of_another_version(refused: Refused, run: Path) -> None:
    change(run / "config.json", format=99, version="9.0")
    says(refused("evaluate", run), "format 99", "reads format 1", "9.0")


def test_weights_with_wrong_shapes(refused: Refused, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["model"]["options"]["hidden"] = [17]
    change(run / "config.json", model=config["model"])
    says(refused("evaluate", run), "model.safetensors", "has shape (16,", "needs (17,")


def test_weights_that_are_truncated(refused: Refused, run: Path) -> None:
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    says(refused("sample", run), "model.safetensors is damaged", "train again")


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").glob("*.safetensors"))[-1]


def test_a_checkpoint_of_another_version(refused: Refused, run: Path) -> None:
    change(newest(run).with_suffix(".json"), format=99)
    says(refused("fit", "--resume", run), newest(run).name, "has format 99, expected 1")


def test_a_checkpoint_that_was_altered(refused: Refused, run: Path) -> None:
    path = newest(run)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    says(refused("fit", "--resume", run), path.name, "altered", "good")


def test_a_checkpoint_with_wrong_shapes(refused: Refused, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["model"]["options"]["hidden"] = [17]
    change(run / "config.json", model=config["model"])
    says(refused("fit", "--resume", run), "checkpoint", "shape")


@pytest.mark.parametrize("place", ["/proc/nothing", "file/inside"])
def test_an_output_that_cannot_be_written(refused: Refused, here: Path, digits_run: Path, place: str) -> None:
    (here / "file").touch()
    says(refused("fit", "made", "digits", "-o", place), "cannot write", place, "-o")
    says(refused("sample", digits_run, "-o", f"{place}/a.png"), "cannot write", place, "-o")
    says(refused("score", digits_run, "-o", f"{place}/a.csv"), "cannot write", place, "-o")
    says(refused("demo", "-o", place), "cannot write", place, "-o")


def test_an_output_that_is_taken_or_of_unknown_kind(refused: Refused, run: Path) -> None:
    says(refused("fit", "made", "digits", "-o", run), "holds a run already", "--resume", "--overwrite")
    says(refused("sample", run, "-o", "a.doc"), "its suffix is .doc", ".png")
    says(refused("sample", run, "-o", run), "its suffix is missing")
    says(refused("score", run, "-o", "a.png"), "its suffix is .png", ".csv")


def test_a_disk_that_fills_up_during_a_checkpoint(here: Path) -> None:
    child = start(here, "--model.hidden", "300", "--train.checkpoint_every", "1")
    wait_for_checkpoint(child, here)
    size = newest(here / "run").stat().st_size
    # From now on no file can grow to the size of a checkpoint; smaller ones can be written.
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (size - 1, size - 1))
    _, err = child.communicate(timeout=120)
    assert child.returncode == 2, err
    assert err.count("\n") == 1, err
    says(err, "ancestral: error: the checkpoint of step", "File too large", "the last good one", "is kept")
    left = sorted(p.name for p in (here / "run" / "checkpoints").iterdir())
    assert left
    assert all(name.startswith("step-") for name in left), "temporary files are removed"
    assert main(["fit", "--resume", str(here / "run"), "--train.steps", "1", "--quiet"]) == 0, (
        "the last good one can be resumed"
    )


def test_ctrl_c_saves_and_says_how_to_resume(here: Path) -> None:
    child = start(here)
    wait_for_checkpoint(child, here)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    says(err, "stopped at step", "and saved", "ancestral fit --resume run")
    step = int(newest(here / "run").stem.removeprefix("step-"))
    assert f"step {step} " in err
    assert main(["fit", "--resume", "run", "--train.steps", str(step + 2), "--quiet"]) == 0
    assert int(newest(here / "run").stem.removeprefix("step-")) == step + 2


def start(here: Path, *options: str) -> "subprocess.Popen[str]":
    argv = ["fit", "made", "digits", "-o", "run", "--quiet", "--model.hidden", "16", "--train.steps", "1000000"]
    argv += ["--train.samples", "0", "--train.loggers", "csv", "--train.checkpoint_every", "2", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "ancestral", *argv], cwd=here, env=environment, stderr=subprocess.PIPE, text=True
    )


def wait_for_checkpoint(child: "subprocess.Popen[str]", here: Path) -> None:
    deadline = time.monotonic() + 240
    while not list((here / "run" / "checkpoints").glob("step-*.json")):
        assert child.poll() is None, child.stderr.read() if child.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
