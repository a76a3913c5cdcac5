import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ancestral.cli.main import main
from ancestral.data import load
from ancestral.verbs.complete import complete


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_halves_of_the_test_split(digits_run, capsys):
    assert main(["complete", str(digits_run), "--observed", "top", "-n", "3", "--limit", "2"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["datum", "method", "log", "p(completion", "|", "observed),", "nats"]
    assert len(lines) == 3
    assert lines[1].startswith("0      exact (prefix)  -")
    assert len(lines[1].split()) == 6
    assert err == "wrote 3 completions of 2 data (exact) to completions.png\n"
    with Image.open("completions.png") as image:
        assert image.mode == "L"
        assert image.size[0] > image.size[1] > 100


def test_data_on_disk_agree_with_the_verb(digits_run):
    assert main(["complete", str(digits_run), "digits", "--split", "validation", "--limit", "2", "--observed", "top",
                 "-n", "2", "-o", "a.npy", "--seed", "3"]) == 0  # fmt: skip
    x = load("digits", limit=100).split("validation").x[:2]
    assert np.array_equal(np.load("a.npy")[:, 0, :, :4], x[:, :, :4])
    assert np.array_equal(np.load("a.npy"), complete(digits_run, x, "top", 2, seed=3).x)


def test_json_and_tables_tell_of_particles(digits_run, capsys):
    arguments = ["complete", str(digits_run), "--observed", "left", "-n", "2", "--limit", "1", "--particles", "30"]
    assert main([*arguments, "--json", "-o", "a.csv"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["kind"] == "estimate (30 samples)"
    row = found["completions"][0]
    assert list(row) == ["datum", "method", "log_prob", "log_evidence", "effective_sample_size"]
    assert row["method"] == "sequential Monte Carlo"
    assert 1 <= row["effective_sample_size"] <= 30
    assert pd.read_csv("a.csv")["log_prob"].tolist() == pytest.approx(row["log_prob"])
    assert ("collapsed" in err) == (row["effective_sample_size"] < 4)
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("effective sample size")


def test_image_files_and_masks(here, digits_run, capsys):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:, 3] = 255
    (here / "many").mkdir()
    for path in ("half.png", "many/a.png", "many/b.png"):
        Image.fromarray(pixels).save(path)
    mask = np.zeros((8, 8), bool)
    mask[:2] = True
    Image.fromarray(mask).save("mask.png")
    assert main(["complete", str(digits_run), "half.png", "many", "--observed", "mask.png", "-n", "2", "-o", "a.npy"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == ["datum", "half.png", "many/a.png", "many/b.png"]
    x = np.load("a.npy")
    assert x.shape == (3, 2, 1, 8, 8)
    assert (x[:, :, 0, :2, 3] == 16).all()
    assert (x[:, :, 0, :2, :3] == 0).all()


def test_conditions(conditional_run):
    assert main(["complete", str(conditional_run), "--observed", "top", "--limit", "2", "-o", "a.npy"]) == 0
    assert (
        main(["complete", str(conditional_run), "--observed", "top", "--limit", "2", "-o", "b.npy", "--condition", "3"]) == 0
    )
    assert not np.array_equal(np.load("a.npy"), np.load("b.npy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--observed is missing: give one of top, bottom"),
        (["--observed", "upper"], "there is no part 'upper'"),
        (["--observed", "small.png"], "observed has shape (2, 2), expected"),
        (["--observed", "absent.png"], "the mask (absent.png) cannot be read as an image"),
        (["--observed", "top", "-n", "0"], "n is 0"),
        (["--observed", "top", "--limit", "0"], "limit is 0"),
        (["--observed", "top", "-o", "a.txt"], "its suffix is .txt"),
        (["--observed", "top", "--condition", "1"], "without a condition"),
        (["small.png", "--observed", "top"], "small.png is an image of 1x2x2 (channels, height, width)"),
        (["small.png", "digits", "--observed", "top"], "digits is no image and no folder of images"),
    ],
)
def test_errors_are_one_line(digits_run, capsys, arguments, message):
    Image.fromarray(np.zeros((2, 2), np.uint8)).save("small.png")
    assert main(["complete", str(digits_run), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
