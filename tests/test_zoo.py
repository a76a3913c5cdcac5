import functools
import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

import ancestral
from ancestral import zoo
from ancestral.data import catalogue
from ancestral.data.mnist_scenes import caption_event
from ancestral.encoding import BagOfWords
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import registry
from ancestral.recipe import read_recipe
from ancestral.verbs.fit import settings_for

RECIPES = sorted((Path(__file__).parents[1] / "zoo").glob("*/recipe*.yaml"))


@pytest.fixture
def own_zoo(tmp_path: Path, digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "zoo"
    for name in ("config.json", "model.safetensors"):
        (place / "digits-made").mkdir(parents=True, exist_ok=True)
        shutil.copy(digits_run / name, place / "digits-made" / name)
    test = {"nats": 100.0, "bits_per_dim": 2.25, "kind": "exact"}
    (place / "digits-made" / "figures.json").write_text(json.dumps({"test": test}))
    (place / "digits-planned").mkdir()
    (place / "digits-planned" / "recipe.yaml").write_text("model:\n  name: made\ndata: digits\n")
    (place / "notes").mkdir()
    monkeypatch.setenv("ANCESTRAL_ZOO", str(place))
    monkeypatch.chdir(tmp_path)
    return place


def test_names_figures_and_recipes_are_listed(own_zoo):
    entries = {entry.name: entry for entry in zoo.entries() if entry.path.parent == own_zoo}
    assert set(entries) == {"digits-made", "digits-planned"}
    made = entries["digits-made"]
    assert (made.model, made.data, made.trained) == ("made", "digits", True)
    assert made.figure == "100.00 nats, 2.250 bits/dim, exact"
    assert not entries["digits-planned"].trained
    planned = entries["digits-planned"]
    assert (planned.model, planned.data, planned.trained, planned.figure) == ("made", "digits", False, "")


def test_translations_tell_their_bleu(own_zoo):
    path = own_zoo / "digits-made" / "figures.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bleu": {"test": {"bleu": 38.404}}}))
    (made,) = (entry for entry in zoo.entries() if entry.name == "digits-made")
    assert made.figure == "100.00 nats, 2.250 bits/dim, exact, BLEU 38.40"


@pytest.mark.parametrize(
    ("recorded", "figure"),
    [
        ({"unit": "bits/sample"}, "2.250 bits/sample"),
        ({"perplexity": 4.0, "bits_per_byte": 1.5}, "1.500 bits/byte"),
        ({"perplexity": 4.0}, "2.250 bits/token"),
        ({"nats_per_point": 3.5}, "3.500 nats/point"),
    ],
)
def test_figures_are_in_the_unit_of_their_data(own_zoo, recorded, figure):
    test = {"nats": 100.0, "bits_per_dim": 2.25, "kind": "exact", **recorded}
    (own_zoo / "digits-made" / "figures.json").write_text(json.dumps({"test": test}))
    (made,) = (entry for entry in zoo.entries() if entry.name == "digits-made")
    assert made.figure == f"100.00 nats, {figure}, exact"


def test_one_recipe_for_many_data_sets_is_a_group(own_zoo):
    group = own_zoo / "tables"
    shutil.copytree(own_zoo / "digits-made", group / "digits")
    (group / "digits" / "figures.json").unlink()
    (group / "recipe.yaml").write_text("model:\n  name: made\n")
    test = {"nats": 50.0, "bits_per_dim": 1.125, "kind": "exact"}
    (group / "figures.json").write_text(json.dumps({"sets": {"digits": {"test": test}}}))
    entries = {entry.name: entry for entry in zoo.entries()}
    assert "tables" not in entries
    assert entries["tables/digits"].figure == "50.00 nats, 1.125 bits/dim, exact"
    assert zoo.find("tables/digits") == group / "digits"


def test_a_damaged_recipe_is_named(own_zoo):
    (own_zoo / "digits-planned" / "recipe.yaml").write_text("model: [")
    with pytest.raises(InvalidInput, match=r"recipe\.yaml is not YAML"):
        zoo.entries()


def test_a_zoo_name_a_folder_and_a_path_load(own_zoo, digits_run):
    for name in ("digits-made", str(digits_run), digits_run, "zoo/digits-made"):
        model = ancestral.load(name)
        assert model.name == "made"
        assert not model.training


def test_near_matches(own_zoo):
    with pytest.raises(InvalidInput, match=r"Did you mean digits-made.*`ancestral zoo` lists"):
        zoo.find("digits-mad")
    with pytest.raises(InvalidInput, match=r"no weights: train it with `ancestral fit --config .*recipe.yaml"):
        zoo.find("digits-planned")


def test_a_file_and_a_missing_path_are_no_repositories(own_zoo, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    for name in ("zoo/absent", "/nowhere/absent", "a/b/c", "../absent"):
        with pytest.raises(InvalidInput, match="there is no model"):
            zoo.find(name)
    with pytest.raises(InvalidInput, match="is a file"):
        zoo.find(own_zoo / "digits-made" / "config.json")


@pytest.fixture
def hub(monkeypatch):
    """A hub that answers with what the test puts in: the answer to each of the two requests, or an error."""
    answers = {"info": SimpleNamespace(sha="abc"), "snapshot": None, "asked": []}

    def answer(kind):
        def respond(*args, **options):
            answers["asked"].append((kind, *args[-1:], options))
            if isinstance(answers[kind], Exception):
                raise answers[kind]
            return answers[kind]

        return respond

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", answer("info"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer("snapshot"))
    return answers


def test_a_repository_is_fetched_without_code_or_pickles(own_zoo, digits_run, hub):
    hub["snapshot"] = str(digits_run)
    assert ancestral.load("someone/digits").name == "made"
    assert hub["asked"] == [
        ("info", "someone/digits", {"timeout": 5.0}),
        ("snapshot", "someone/digits", {"revision": "abc", "allow_patterns": ["config.json", "model.safetensors"]}),
    ]


@pytest.mark.parametrize(("kind", "error"), [("info", ConnectionError("down")), ("snapshot", LocalEntryNotFoundError("cut"))])
def test_an_unreachable_hub(own_zoo, hub, kind, error):
    hub[kind] = error
    with pytest.raises(InvalidInput, match="'someone/digits', and the hub cannot be reached"):
        zoo.find("someone/digits")


def test_offline_the_cache_is_asked_and_the_hub_is_not(own_zoo, hub, digits_run, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub["snapshot"] = str(digits_run)
    assert zoo.find("someone/digits") == digits_run
    assert [kind for kind, *_ in hub["asked"]] == ["snapshot"]


def test_a_repository_that_is_not_there(own_zoo, hub):
    hub["info"] = RepositoryNotFoundError("404 Client Error\nmore", response=SimpleNamespace(headers={}, request=None))
    with pytest.raises(InvalidInput, match=r"none on the hub that can be read \(404 Client Error\)"):
        zoo.find("someone/digits")


def test_damaged_figures_are_named(own_zoo):
    (own_zoo / "digits-made" / "figures.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"figures\.json is not JSON"):
        zoo.entries()


def described(event: str) -> Event:
    """Return an event like that which the catalogue has in words, such as 1x28x28 binary."""
    found = re.search(r"(\d+) levels", event)
    levels = int(found[1]) if found else 2
    if event.startswith("drawings of up to "):
        return Event.drawing(int(event.split()[4]))
    if event.startswith("up to "):
        return Event.sentences(int(event.split()[2]), levels - 1)
    if event.startswith("documents as counts of "):
        return Event.documents(BagOfWords(tuple(f"word{i}" for i in range(int(event.split()[4])))))
    return Event.integers(tuple(map(int, event.partition(" ")[0].split("x"))), levels)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_recipes_of_the_repository_can_be_built(path):
    recipe = read_recipe(path)
    event = described(catalogue.find(recipe["data"]["name"]).event)
    options = {key: value for key, value in recipe["model"].items() if key != "name"}
    told = Event.labels((10, 2)) if "labelled" in recipe["data"] else None  # ten classes, and whether each is known
    if recipe["data"].get("condition") == "caption":
        told = caption_event()
    model = registry.create(recipe["model"]["name"], event, event if event.end else told, **options)
    settings_for(type(model), recipe["train"])
    if path.name == "recipe.yaml":
        half = sum(2 * p.numel() for p in model.parameters())
        assert half <= 8 * 2**20, "weights of the zoo are at most 8 MB in half precision"


def test_recording_an_energy_estimates_log_z_of_what_is_stored(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("record", Path(__file__).parents[1] / "zoo" / "record.py")
    record = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(record)
    rows = np.random.default_rng(0).integers(0, 2, (60, 8)).astype(np.uint8)
    np.savez(tmp_path / "coins.npz", train=rows, validation=rows[:20], test=rows[20:40])
    monkeypatch.setattr("ancestral.models.energy.rbm.MAX_ENUMERATED", 4)
    train = {"steps": 3, "samples": 0, "loggers": ("csv",)}
    run = ancestral.fit(
        "rbm", str(tmp_path / "coins.npz"), output=tmp_path / "run", model_options={"hidden": 6}, train=train, progress=False
    )
    (tmp_path / "zoo" / "coins-rbm").mkdir(parents=True)
    (tmp_path / "zoo" / "coins-rbm" / "recipe.yaml").write_text("model:\n  name: rbm\n")
    (tmp_path / "zoo" / "published.yaml").write_text("coins-rbm: {reach: 6.0}\n")
    monkeypatch.setattr(record, "ZOO", tmp_path / "zoo")
    monkeypatch.setattr(record, "partition", functools.partial(record.partition, chains=50, distributions=50))
    figures = record.record(run, "coins-rbm")
    for split in ("validation", "test"):
        assert figures[split]["kind"].startswith("estimate (50 samples, log Z ±")
        assert figures[split]["nats"] == pytest.approx(8 * np.log(2), abs=0.2)
    assert figures["partition"]["distributions"] == 50
    assert ancestral.load(tmp_path / "zoo" / "coins-rbm").likelihood.kind == "estimate"
    with pytest.raises(InvalidInput, match="read once"):
        record.record(run, "coins-rbm")
