import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ancestral.cli.main import main
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.store import save
from ancestral.verbs.outliers import outliers


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_on_screen_a_file_and_a_picture(digits_run, capsys):
    assert main(["outliers", str(digits_run), "-o", "scores.parquet", "--picture", "outliers.png"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].endswith(" of 100 data (digits, test split) are outliers at p = 0.05")
    assert lines[1:3] == ["100 inliers (digits, validation split); likelihood exact", ""]
    assert lines[3].split() == ["index", "likelihood", "p_value"]
    assert len(lines) == 4 + 20 + 1
    assert lines[-1] == "... and 80 more, less unusual: -o writes all"
    assert err == "wrote 100 data to scores.parquet\nwrote 100 data to outliers.png\n"
    pd.testing.assert_frame_equal(pd.read_parquet("scores.parquet"), outliers(digits_run).table)
    with Image.open("outliers.png") as image:
        assert image.mode == "L"


def test_json_and_the_auroc(digits_run, capsys):
    noise = np.random.default_rng(0).integers(0, 17, (30, 1, 8, 8))
    np.save("noise.npy", noise)
    arguments = ["outliers", str(digits_run), "digits", "--score", "all", "--limit", "9", "--against", "noise.npy"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["auroc"]) == {"likelihood", "typicality", "complexity", "all"}
    assert found["against"] == "noise.npy"
    assert found["count"] == 9
    assert len(found["outliers"]) == 9
    assert main(arguments) == 0
    assert "AUROC against noise.npy" in capsys.readouterr().out


def test_image_files_are_named(here, digits_run, capsys):
    (here / "new").mkdir()
    for name, value in (("blank", 0), ("white", 255)):
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(here / "new" / f"{name}.png")
    assert main(["outliers", str(digits_run), "new", "-o", "a.csv", "--quiet"]) == 0
    table = pd.read_csv("a.csv")
    assert sorted(table["file"]) == ["new/blank.png", "new/white.png"]
    assert "new/white.png" in capsys.readouterr().out


def test_a_background_model_is_trained_and_named(here, capsys, digits_run):
    assert main(["outliers", str(digits_run), "--score", "ratio", "--background", "noise", "--quiet"]) == 0
    out, err = capsys.readouterr()
    name = err.strip().removeprefix("trained a background model: give it with --background ")
    assert (here / name / "model.safetensors").exists()
    assert main(["outliers", str(digits_run), "--score", "ratio", "--background", name]) == 0
    assert capsys.readouterr().out == out


def test_refused(here, digits_run, capsys):
    save(create("gan", Event.integers((1, 8, 8), 17)), here / "gan")
    for argv, message in (
        (["outliers", "gan", "digits"], "has no log_prob. Models that have: "),
        (["outliers", str(digits_run), "-o", "a.png"], "its suffix is .png, expected one of .csv"),
        (["outliers", str(digits_run), "--score", "ratio"], "ratio needs background="),
        (["outliers", str(digits_run), "--split", "validation"], "data and inliers are both digits, validation split"),
        (["outliers", str(digits_run), "--contamination", "0.001"], "give at least 999"),
        (["outliers", str(digits_run), "--calibration", "nothing.npy"], "there is no file or folder nothing.npy"),
    ):
        assert main(argv) == 2
        line = capsys.readouterr().err
        assert message in line
        assert line.count("\n") == 1
    assert sorted(p.name for p in here.iterdir()) == ["gan"]
