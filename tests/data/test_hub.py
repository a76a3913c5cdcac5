import socket
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Pillow

from ancestral.data import catalogue, hub, load, readers
from ancestral.errors import InvalidInput

from .conftest import contents, equal_splits, pictures


def held(n, seed=0):
    from datasets import ClassLabel, Dataset, Features, Image

    rows = {"img": [Pillow.fromarray(a) for a in pictures(n, seed=seed)], "label": [i % 2 for i in range(n)]}
    return Dataset.from_dict(rows, Features({"img": Image(), "label": ClassLabel(names=["no", "yes"])}))


@pytest.fixture
def online(monkeypatch):
    """A hub that has one data set, someone/things, with train and test."""
    import datasets
    from huggingface_hub import HfApi

    asked = []

    def dataset_info(self, name, revision=None, timeout=None):
        assert timeout is not None
        return type("Info", (), {"sha": "abc123"})()

    def load_dataset(name, subset, revision, streaming):
        asked.append((name, subset, revision, streaming))
        splits = datasets.DatasetDict(train=held(20), test=held(4, seed=1))
        return {k: v.to_iterable_dataset() for k, v in splits.items()} if streaming else splits

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_a_data_set_of_the_hub(online):
    data = load("someone/things", condition="label", validation=5)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 15, "validation": 5, "test": 4}
    assert np.array_equal(contents(data, "test")[0][:, 0].numpy(), pictures(4, seed=1))
    assert data.record["classes"] == ["no", "yes"]
    assert data.record["source"] == "hub: someone/things"
    assert online[0] == ("someone/things", None, "abc123", False)
    assert data.record["options"] == {"condition": "label", "validation": 5, "revision": "abc123"}
    assert equal_splits(data, load(data.name, **data.record["options"]))


def test_subset_and_stream_reach_the_hub(online):
    data = load("someone/things", subset="small", stream=True, validation=4, buffer=8)
    assert online[0] == ("someone/things", "small", "abc123", True)
    assert len(data.split("validation")) == 4
    assert sum(len(x) for x, _ in data.streams["train"].batches(4)) == 16


def test_known_names_come_from_the_hub_where_the_files_are_absent(online, monkeypatch):
    cifar10 = replace(catalogue.find("cifar10"), hub="someone/things", read=readers.pictures("img", tail=5))
    monkeypatch.setattr(catalogue, "KNOWN", (cifar10,))
    data = load("cifar10", condition="label")
    assert online[0][0] == "someone/things"
    assert data.name == "cifar10"
    assert np.array_equal(contents(data, "validation")[0][:, 0].numpy(), pictures(20)[-5:])


def fail(monkeypatch, error):
    from huggingface_hub import HfApi

    def dataset_info(*args, **kwargs):
        raise error

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(HfApi, "dataset_info", dataset_info)


def test_offline_is_one_sentence_that_says_what_to_do():
    with pytest.raises(InvalidInput, match=r"no data set 'someone/things' here or in the hub's cache, .*HF_HUB_OFFLINE"):
        load("someone/things")


@pytest.mark.parametrize(
    ("variable", "below", "folder", "there"),
    [
        ("HF_HOME", "hub", "datasets--SomeOne--my_Things", True),
        ("HF_HOME", "datasets", "some_one___my_things", True),
        ("HF_HUB_CACHE", "", "datasets--SomeOne--my_Things", True),
        ("HF_DATASETS_CACHE", "", "SomeOne___my_things", True),
        ("HF_HOME", "datasets", "some_one___my_thing", False),
    ],
)
def test_a_data_set_that_may_be_cached_is_looked_for(variable, below, folder, there, tmp_path, monkeypatch):
    """Else the caches are not opened, which takes seconds."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert not hub.may_be_cached("SomeOne/my_Things")
    (tmp_path / below / folder).mkdir(parents=True)
    monkeypatch.setenv(variable, str(tmp_path))
    assert hub.may_be_cached("SomeOne/my_Things") is there


def test_what_the_caches_do_not_hold_after_all_is_told_alike(monkeypatch):
    monkeypatch.setattr(hub, "may_be_cached", lambda name: True)
    with pytest.raises(InvalidInput, match=r"no data set 'someone/things' here or in the hub's cache, .*HF_HUB_OFFLINE"):
        load("someone/things")


def test_an_unreachable_hub_is_one_sentence(monkeypatch):
    fail(monkeypatch, ConnectionError("no route"))
    with pytest.raises(InvalidInput, match=r"the hub cannot be reached \(ConnectionError\): connect, or set HF_HUB_OFFLINE=1"):
        load("someone/things")


def test_what_the_hub_answers_is_told(monkeypatch):
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    def answer(status):
        return SimpleNamespace(status_code=status, headers={}, request=None)

    for error, message in (
        (GatedRepoError("gated", response=answer(403)), "is gated: accept its terms"),
        (RepositoryNotFoundError("none", response=answer(404)), "no data set 'some/things', here or on the hub: check"),
        (RevisionNotFoundError("none", response=answer(404)), "has no revision 'v9': leave revision= out"),
        (HfHubHTTPError("broken", response=answer(503)), "the hub answered 503 .*: try later"),
    ):
        with monkeypatch.context() as patch:
            fail(patch, error)
            with pytest.raises(InvalidInput, match=message):
                load("some/things", revision="v9")


def test_a_hub_that_never_answers_does_not_hang(tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        code = (
            "import os, time; os.environ.pop('HF_HUB_OFFLINE', None);"
            "from ancestral.data import hub, load; hub.TIMEOUT = 0.5; import huggingface_hub; start = time.monotonic()\n"
            "try: load('someone/things')\n"
            "except ValueError as error: print(error, flush=True); assert time.monotonic() - start < 30"
        )
        environment = {"HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}", "HOME": str(tmp_path), "PATH": ""}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert "the hub cannot be reached (ReadTimeout)" in done.stdout


def test_an_address_is_parquet(folder):
    held(20).to_parquet(folder / "train-0.parquet")
    held(6, seed=1).to_parquet(folder / "train-1.parquet")
    data = load(f"file://{folder}/train-*.parquet", condition="label")
    assert sum(len(split) for split in data.splits.values()) == 26
    assert equal_splits(data, load(data.name, **data.record["options"]))
    with pytest.raises(InvalidInput, match=r"is not parquet, the kind that is read from an address"):
        load(f"file://{folder}/train.csv")
    with pytest.raises(InvalidInput, match=r"there is no file at"):
        load(f"file://{folder}/test-*.parquet")
    with pytest.raises(InvalidInput, match=r"cannot be read|needs a package"):
        load("nosuchscheme://bucket/train.parquet")


def test_offline_is_read_from_the_environment(monkeypatch):
    assert hub.offline()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert not hub.offline()
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "true")
    assert hub.offline()
