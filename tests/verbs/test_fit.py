import json
from dataclasses import fields

import pytest
import torch

import ancestral
from ancestral.data import load
from ancestral.errors import InvalidInput
from ancestral.models import create, registry
from ancestral.recipe import read_recipe
from ancestral.training import TrainConfig
from ancestral.verbs import fit as module
from ancestral.verbs.fit import fit, new_folder, settings_for

QUICK = {"epochs": 1, "samples": 0, "loggers": ("csv",)}


def test_keywords_go_to_the_model_and_to_the_training(tmp_path):
    run = fit("made", "digits", output=tmp_path / "a", hidden=(4,), data_options={"limit": 50}, progress=False, **QUICK)
    config = json.loads((run.path / "config.json").read_text())
    assert config["model"]["options"]["hidden"] == [4]
    assert config["training"]["epochs"] == 1
    assert config["data"]["record"]["options"] == {"limit": 50}
    assert run.model().sample(2).shape == (2, 1, 8, 8)


def test_no_option_of_a_model_is_named_like_a_setting():
    settings = {f.name for f in fields(TrainConfig)}
    clashes = {name: settings & set(registry.get(name).options()) for name in registry.names()}
    assert not {name for name, clash in clashes.items() if clash}, clashes


def test_the_seed_decides_the_weights(tmp_path):
    first, second, other = (
        fit("fvsbn", data(), output=tmp_path / str(i), seed=seed, progress=False, **QUICK).model().weight
        for i, seed in enumerate((1, 1, 2))
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def data():
    return load(torch.randint(2, (40, 5), generator=torch.Generator().manual_seed(0)).numpy(), event="binary")


def test_a_model_that_was_built(tmp_path):
    table = data()
    run = fit(create("fvsbn", table.event), table, output=tmp_path / "a", progress=False, **QUICK)
    assert run.config["model"]["name"] == "fvsbn"
    with pytest.raises(InvalidInput, match="built already"):
        fit(create("made", table.event, hidden=(4,)), table, output=tmp_path / "b", hidden=(5,), progress=False)


def test_training_starts_from_the_weights_of_another_run(tmp_path):
    first = fit("made", data(), output=tmp_path / "a", hidden=(4,), progress=False, **QUICK)
    # With a rate of next to nothing the weights stay where they started.
    again = fit("made", data(), output=tmp_path / "b", start=str(first.path), learning_rate=1e-12, progress=False, **QUICK)
    assert again.model().config["hidden"] == (4,)
    for name, weight in first.model().state_dict().items():
        torch.testing.assert_close(again.model().state_dict()[name], weight, atol=1e-9, rtol=0.0)
    assert json.loads((again.path / "config.json").read_text())["training"]["start"] == str(first.path)
    built = create("made", data().event, hidden=(4,))
    fit(built, data(), output=tmp_path / "c", start=str(first.path), learning_rate=1e-12, progress=False, **QUICK)
    torch.testing.assert_close(built.state_dict(), again.model().state_dict(), atol=1e-9, rtol=0.0)


def test_weights_that_do_not_fit_are_refused_before_a_run_begins(tmp_path):
    first = str(fit("made", data(), output=tmp_path / "a", hidden=(4,), progress=False, **QUICK).path)
    wide = load(torch.randint(2, (40, 6)).numpy(), event="binary")
    for model, rows, options, message in (
        ("made", data(), {"hidden": (5,)}, r"do not fit: layers.0.bias is \(4, 1\) there and \(5, 1\) here"),
        ("made", wide, {}, r"do not fit: .* take data of the same kind, 5 binary"),
        ("fvsbn", data(), {}, "a made: a fvsbn can start from weights of a fvsbn alone"),
    ):
        with pytest.raises(InvalidInput, match=message):
            fit(model, rows, output=tmp_path / "b", start=first, progress=False, **options, **QUICK)
    with pytest.raises(InvalidInput, match="nowhere"):
        fit("made", data(), output=tmp_path / "b", start="nowhere", progress=False, **QUICK)
    assert not (tmp_path / "b").exists()


def test_folders_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(new_folder("uci/yacht", "made")) == "runs/uci-yacht-made-1"
    first = fit("fvsbn", data(), progress=False, **QUICK)
    second = fit("fvsbn", data(), progress=False, **QUICK)
    assert [str(first.path), str(second.path)] == ["runs/array-fvsbn-1", "runs/array-fvsbn-2"]


def test_what_can_be_refused_is_refused_before_data_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "load", lambda *_, **__: pytest.fail("data were loaded"))
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="is a file"):
        fit("made", "digits", output=tmp_path / "file")
    with pytest.raises(InvalidInput, match="cannot write"):
        fit("made", "digits", output=tmp_path / "file" / "run")
    with pytest.raises(InvalidInput, match="holds files"):
        fit("made", "digits", output=tmp_path)
    with pytest.raises(InvalidInput, match="Did you mean made"):
        fit("mad", "digits")
    with pytest.raises(
        InvalidInput, match=r"'hiden' is neither an option of made nor a training setting\. Did you mean hidden"
    ):
        fit("made", "digits", hiden=(3,))
    with pytest.raises(InvalidInput, match="batch_size is 0"):
        fit("made", "digits", batch_size=0)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_earlier_run_leaves_nothing_behind_when_it_is_written_over(tmp_path):
    fit("fvsbn", data(), output=tmp_path, steps=20, samples=2, loggers=("csv",), progress=False)
    kept = tmp_path / "notes.txt"
    kept.touch()
    run = fit(
        "made", data(), output=tmp_path, steps=2, hidden=(3,), samples=0, loggers=("csv",), overwrite=True, progress=False
    )
    assert run.model().name == "made"
    assert {p.stem for p in run.checkpoints.iterdir()} <= {"step-000000001", "step-000000002"}
    assert run.metrics["step"].max() == 2
    assert not (tmp_path / "samples.png").exists()
    assert kept.exists()


def test_a_limit_that_is_given_replaces_the_models_own():
    class Model(registry.get("made")):
        training_defaults = {"epochs": 7, "learning_rate": 0.5}

    assert settings_for(Model, {}).epochs == 7
    assert settings_for(Model, {"minutes": 1.0}).epochs is None
    assert settings_for(Model, {"steps": 3}).learning_rate == 0.5
    assert settings_for(Model, {"learning_rate": 0.1}).learning_rate == 0.1


def test_recipes(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("model: {name: made, hidden: [3]}\ndata: digits\ntrain:\n  epochs: 2\n")
    assert read_recipe(path) == {"model": {"name": "made", "hidden": [3]}, "data": {"name": "digits"}, "train": {"epochs": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mdoel: made", "section 'mdoel', expected model, data, train. Did you mean model"),
        ("train: 3", "section train is 3"),
        ("train: made", "section train is 'made'"),
        ("- made", "is no recipe"),
        ("model: [", "is not YAML"),
        ("model: !!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_recipes_that_are_refused(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_recipe(path)
    with pytest.raises(InvalidInput, match="No such file"):
        read_recipe(tmp_path / "absent.yaml")


def test_the_public_names_are_the_verbs():
    assert ancestral.fit is fit
    assert all(getattr(ancestral, name) is not None for name in ancestral.__all__)
    assert set(ancestral.__all__) <= set(dir(ancestral))
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        ancestral.smaple
