import json
from pathlib import Path

import numpy as np
import pytest

from ancestral.data import load
from ancestral.data.files import root
from ancestral.errors import InvalidInput

from .conftest import equal_splits, pictures


def put(relative, array=None):
    path = root() / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, pictures(20) if array is None else array)
    return path


@pytest.mark.parametrize("name", ["sets/mine", "sets/mine.npy"])
def test_a_relative_name_below_the_data_folder(name):
    put("sets/mine.npy")
    data = load(name)
    assert data.name == name
    assert equal_splits(data, load(pictures(20)))


def test_hyphens_may_stand_for_underscores():
    put("my_faces.npy")
    assert len(load("my-faces", test=0, validation=0).split("train")) == 20


def test_a_path_comes_before_the_data_folder(tmp_path, monkeypatch):
    put("mine.npy")
    monkeypatch.chdir(tmp_path)
    np.save("mine.npy", pictures(7))
    assert len(load("mine.npy", test=0, validation=0).split("train")) == 7
    assert load("mine.npy").record["source"] == str((tmp_path / "mine.npy").resolve())


def test_a_known_name_means_the_same_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    np.save("digits/train.npy", pictures(30))
    assert load("digits").event.levels == 17
    assert load("./digits").event.levels == 256


def test_the_data_folder_is_not_a_way_out():
    with pytest.raises(InvalidInput, match=r"there is no data set '../secret'|there is no file"):
        load("../secret")


def test_a_wrong_name_gives_near_matches_of_known_names_and_files():
    put("sets/frogs.npy")
    with pytest.raises(InvalidInput, match=r"there is no data set 'mnsit' here.*check the name.*Did you mean mnist"):
        load("mnsit")
    with pytest.raises(InvalidInput, match=r"Did you mean sets/frogs"):
        load("sets/frog")


def test_an_empty_name_is_refused():
    with pytest.raises(InvalidInput, match=r"the name of the data is empty"):
        load(" ")


def test_a_wrong_path_says_so():
    with pytest.raises(InvalidInput, match=r"there is no file or folder ./nothing.parquet: check the name"):
        load("./nothing.parquet")


def test_the_message_is_one_line():
    for name in ("mnsit", "./nothing", "a b c", "organization/name"):
        with pytest.raises(InvalidInput) as error:
            load(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seed": 3},
        {"validation": 0.25, "test": 5},
        {"limit": 6},
        {"condition": "label", "limit": 4, "seed": 1},
        {"binarize": 100},
        {"binarize": "dynamic", "seed": 2},
        {"levels": 4},
        {"event": "real"},
        {"event": 256, "standardize": False},
    ],
)
def test_name_and_options_of_a_record_give_the_same_splits(options):
    path = root() / "mine.npz"
    np.savez(path, x=pictures(40), label=np.arange(40) % 4)
    data = load("mine", **options)
    record = json.loads(json.dumps(data.record))
    assert equal_splits(data, load(data.name, **record["options"]))
    assert record["splits"] == {name: len(split) for name, split in data.splits.items()}


def test_a_path_object_is_a_path():
    assert load(put("a.npy")).name == str(root() / "a.npy")


def test_a_stream_of_an_array_is_refused():
    with pytest.raises(InvalidInput, match=r"stream=True is for files, addresses and the hub"):
        load(pictures(9), stream=True)
    put("a.npy")
    with pytest.raises(InvalidInput, match=r"memory-mapped and not streamed"):
        load("a", stream=True)
    with pytest.raises(InvalidInput, match=r"digits is held, not streamed"):
        load("digits", stream=True)
