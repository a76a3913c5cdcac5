import json

import pytest
import yaml

from ancestral.cli.main import main
from ancestral.training import Run

QUICK = ["--train.samples", "0", "--train.loggers", "csv", "--quiet"]
TINY = [*QUICK, "--train.steps", "2"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def config(path):
    return json.loads((path / "config.json").read_text())


@pytest.mark.parametrize(
    "argv",
    [
        ["made", "digits", "--model.hidden", "5,6", "--data.limit", "40"],
        ["made", "digits", "--model.hidden", "[5,6]", "--data.limit=40"],
        ["--model.hidden=5,6", "--data.limit", "40", "made", "digits"],
        ["made", "--data", "digits", "--model.hidden=[5, 6]", "--data.limit", "40"],
        ["made", "--data=digits", "--model.hidden", "5", "--model.hidden", "5,6", "--data.limit", "40"],
    ],
)
def test_names_and_flags_in_any_spelling(here, argv):
    assert main(["fit", *argv, "-o", "run", *TINY]) == 0
    found = config(here / "run")
    assert found["model"] == {"name": "made", "options": {**found["model"]["options"], "hidden": [5, 6]}}
    assert found["data"]["name"] == "digits"
    assert found["data"]["record"]["options"] == {"limit": 40}
    assert found["training"]["steps"] == 2
    assert found["training"]["loggers"] == ["csv"]


def test_lists_of_one_and_conditions(here):
    assert main(["fit", "made", "digits", "-o", "run", "--model.hidden", "7", "--data.condition", "label", *TINY]) == 0
    found = config(here / "run")
    assert found["model"]["options"]["hidden"] == [7]
    assert found["condition"]["levels"] == 10


@pytest.fixture
def recipe(here):
    sections = {
        "model": {"name": "made", "hidden": [9], "residual": False},
        "data": {"name": "digits", "limit": 40, "condition": "label"},
        "train": {"steps": 2, "samples": 0, "loggers": ["csv"], "learning_rate": 0.01},
    }
    (here / "recipe.yaml").write_text(yaml.safe_dump(sections))
    return here / "recipe.yaml"


def test_a_recipe_is_the_flags_and_flags_go_first(here, recipe):
    assert main(["fit", "--config", str(recipe), "-o", "a", "--quiet"]) == 0
    assert main(["fit", "--config", str(recipe), "-o", "b", "--quiet", "--model.hidden", "8", "--train.steps", "3"]) == 0
    a, b = config(here / "a"), config(here / "b")
    assert a["model"]["options"]["hidden"] == [9]
    assert a["condition"]["levels"] == 10
    assert a["training"]["learning_rate"] == 0.01
    assert b["model"]["options"]["hidden"] == [8]
    assert b["training"]["steps"] == 3
    assert b["training"]["learning_rate"] == 0.01


def test_a_recipe_runs_on_other_data_with_the_condition_and_without_their_options(here, recipe, tmp_path):
    (here / "table.csv").write_text("a,b,label\n" + "".join(f"{i % 7},{i % 3},{i % 2}\n" for i in range(60)))
    assert main(["fit", "--config", str(recipe), "--data", "table.csv", "-o", "run", "--quiet"]) == 0
    found = config(here / "run")
    assert found["data"]["record"]["options"] == {"condition": "label"}
    assert found["event"]["shape"] == [2]
    assert found["condition"]["levels"] == 2


def test_short_recipes(here):
    (here / "short.yaml").write_text("model: made\ndata: digits\n")
    assert main(["fit", "--config", "short.yaml", "-o", "run", "--data.limit", "40", *TINY]) == 0
    (here / "train.yaml").write_text("train: {steps: 1}\n")
    assert main(["fit", "fvsbn", "table.npy", "--config", "train.yaml", "-o", "other", *QUICK]) == 2
    assert main(["fit", "made", "digits", "--config", "train.yaml", "-o", "other", *QUICK]) == 0
    assert config(here / "other")["training"]["steps"] == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("model: {name: made, hiden: [3]}\ndata: digits", ["recipe.yaml", "--model.hiden", "Did you mean --model.hidden"]),
        ("model: {name: made, hidden: [x]}\ndata: digits", ["recipe.yaml", "--model.hidden is x", "a whole number"]),
        ("model: made\ndata: digits\ntrain: {epochs: soon}", ["recipe.yaml", "--train.epochs is soon"]),
        ("model: made", ["got no data"]),
        ("data: digits", ["got no model"]),
    ],
)
def test_recipes_that_are_refused(here, text, parts, capsys):
    (here / "recipe.yaml").write_text(text)
    assert main(["fit", "--config", "recipe.yaml", "-o", "run"]) == 2
    err = capsys.readouterr().err
    for part in parts:
        assert part in err
    assert not (here / "run").exists()


def test_resume_goes_on_to_the_new_end(here, capsys):
    assert main(["fit", "made", "digits", "-o", "run", "--data.limit", "40", *TINY]) == 0
    assert main(["fit", "--resume", "run", "--train.steps", "4", "--quiet"]) == 0
    assert sorted(p.stem for p in Run("run").checkpoints.glob("*.json"))[-1] == "step-000000004"
    assert main(["fit", "--resume", "run", "--model.hidden", "4"]) == 2
    assert main(["fit", "--resume", "run", "made", "digits"]) == 2
    assert "only training settings" in capsys.readouterr().err


def test_help_shows_the_options_of_the_model_and_the_settings_that_suit_it(capsys):
    assert main(["fit", "gated-pixelcnn", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--model.channels" in out
    assert "features of each stack" in out
    assert "default: 0.002" in out, "the learning rate that suits the model"
    assert main(["fit", "--help"]) == 0
    general = capsys.readouterr().out
    assert "--model.channels" not in general
    assert "--train.learning_rate" in general


def test_what_is_next_is_said_and_quiet_is_quiet(here, capsys):
    quick = [a for a in TINY if a != "--quiet"]
    assert main(["fit", "made", "digits", "-o", "run", "--data.limit", "40", *quick]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "run directory: run" in err
    assert "ancestral evaluate run" in err
    assert "ancestral sample run" in err
    assert "ancestral sample run" in (here / "run" / "README.md").read_text()
    assert main(["fit", "psd", "digits", "-o", "codes", "--data.limit", "40", *quick, "--model.atoms", "4"]) == 0
    err = capsys.readouterr().err + (here / "codes" / "README.md").read_text()
    assert "ancestral probe codes" in err
    assert "sample" not in err, "it draws none"
    assert main(["fit", "made", "digits", "-o", "other", "--data.limit", "40", *TINY]) == 0
    assert capsys.readouterr() == ("", "")
