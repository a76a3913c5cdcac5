import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ancestral.cli.main import main
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.score import score


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_evaluate_prints_json_with_the_promised_keys(digits_run, capsys):
    assert main(["evaluate", str(digits_run), "--split", "test", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    keys = ["model", "data", "split", "nats", "bits_per_dim", "standard_error", "kind", "count"]
    assert list(found)[: len(keys)] == keys
    assert found["nats"] == evaluate(digits_run).nats
    assert found["kind"] == "exact"


def test_evaluate_prints_a_line(digits_run, capsys):
    assert main(["evaluate", str(digits_run), "digits", "--split", "validation", "--limit", "9"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{digits_run} on digits (validation, 9 examples): ")
    assert line.rstrip().endswith("bits/dim, exact")


def test_data_may_follow_the_flags(digits_run, capsys):
    assert main(["evaluate", "--limit", "9", str(digits_run), "--json", "digits"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "digits"


def test_errors_of_data_name_the_flags(digits_run, capsys):
    assert main(["evaluate", str(digits_run), "digits", "--data.levels", "4", "--data.binarize", "dynamic"]) == 2
    line = capsys.readouterr().err
    assert "--data.binarize and --data.levels: give one" in line
    assert "levels=" not in line


def test_score_to_stdout_and_to_files(digits_run, capsys):
    assert main(["score", str(digits_run), "digits", "--limit", "5"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "index,log_prob,bits_per_dim"
    assert len(out.splitlines()) == 6
    assert err == ""
    assert main(["score", str(digits_run), "-o", "scores.parquet"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "wrote 100 scores (exact) to scores.parquet" in err
    pd.testing.assert_frame_equal(pd.read_parquet("scores.parquet"), score(digits_run), check_exact=False)


def test_sample_writes_what_the_suffix_says(digits_run, capsys):
    assert main(["sample", str(digits_run), "-n", "3", "-o", "a/samples.npy", "--seed", "4"]) == 0
    assert main(["sample", str(digits_run), "-n", "3", "-o", "b.npy", "--seed", "4"]) == 0
    assert np.array_equal(np.load("a/samples.npy"), np.load("b.npy"))
    assert np.load("b.npy").shape == (3, 1, 8, 8)
    assert main(["sample", str(digits_run)]) == 0
    with Image.open("samples.png") as image:
        assert image.mode == "L"
    assert "wrote 64 samples (1x8x8 17 levels) to samples.png" in capsys.readouterr().err


def test_sample_takes_conditions(conditional_run):
    assert main(["sample", str(conditional_run), "--condition", "3", "-n", "2", "-o", "three.npy"]) == 0
    assert main(["sample", str(conditional_run), "--condition", "all", "-n", "12", "-o", "all.png"]) == 0


def test_compare_prints_a_table_and_json(digits_run, conditional_run, capsys):
    assert main(["compare", str(digits_run), str(conditional_run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "digits, test split, 100 examples"
    assert lines[1].split()[0] == "model"
    assert "best" in lines[2]
    assert "p(x | condition)" in lines[3] or "p(x)" in lines[3]
    assert all(line == line.rstrip() for line in lines)
    assert main(["compare", str(digits_run), str(conditional_run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"][0]["difference"] == 0
    assert main(["compare", str(digits_run)]) == 2


def test_data_says_how_a_name_is_read(capsys):
    assert main(["data", "digits", "--data.condition", "label", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["event"] == "1x8x8 17 levels"
    assert found["splits"] == {"train": 1297, "validation": 200, "test": 300}
    assert main(["data", "digits"]) == 0
    assert "1x8x8 17 levels" in capsys.readouterr().out


def test_a_device_that_is_not_there(digits_run, capsys):
    assert main(["evaluate", str(digits_run), "--device", "abacus"]) == 2
    assert "there is no device 'abacus' here: use auto or cpu" in capsys.readouterr().err
