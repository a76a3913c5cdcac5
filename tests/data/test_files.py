import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from ancestral.data import files, load
from ancestral.errors import InvalidInput
from ancestral.event import Event

from .conftest import contents, equal_splits, pictures


def test_an_npy_file_is_an_array(folder):
    np.save(folder / "a.npy", pictures(20))
    data = load(folder / "a.npy")
    assert equal_splits(data, load(pictures(20)))
    assert data.record["files"][0]["name"] == "a.npy"
    assert len(data.record["files"][0]["sha256"]) == 64
    assert json.loads(json.dumps(data.record)) == data.record


def test_a_large_npy_file_is_memory_mapped_and_the_same(folder):
    np.save(folder / "a.npy", pictures(50, (6, 5, 3)))
    mapped = load(folder / "a.npy", memory=0)
    assert mapped.record["memory_mapped"]
    assert equal_splits(mapped, load(folder / "a.npy"))
    assert isinstance(files.read_npy(folder / "a.npy"), np.memmap)


def test_a_mapped_file_is_never_written(folder):
    np.save(folder / "a.npy", pictures(20))
    before = (folder / "a.npy").read_bytes()
    data = load(folder / "a.npy", memory=0, validation=0, test=0)
    contents(data, "train")[0].zero_()
    assert (folder / "a.npy").read_bytes() == before


def test_a_mapped_file_of_doubles_gives_single_precision(folder):
    np.save(folder / "a.npy", np.random.default_rng(0).normal(size=(50, 3)))
    mapped, held = load(folder / "a.npy", memory=0), load(folder / "a.npy")
    assert contents(mapped, "train")[0].dtype == torch.float32
    assert equal_splits(mapped, held)


def test_conditions_of_a_mapped_file(folder):
    np.savez(folder / "a.npz", x=pictures(30), label=np.arange(30) % 3)
    mapped, held = (load(folder / "a.npz", condition="label", memory=m) for m in (0, 2))
    assert equal_splits(mapped, held)
    assert mapped.condition == Event.label(3)


def test_an_npz_file_is_named_arrays(folder):
    np.savez(folder / "a.npz", train=pictures(9), valid=pictures(4), test=pictures(5), label_train=np.arange(9))
    data = load(folder / "a.npz")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 9, "validation": 4, "test": 5}
    assert equal_splits(data, load(data.name, **data.record["options"]))


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickled_objects_are_refused_and_never_run(folder, name):
    array = np.array([{"a": 1}], dtype=object)
    (np.save if name.endswith("y") else np.savez)(folder / name, array, allow_pickle=True)
    with pytest.raises(InvalidInput, match=rf"{name} is not an .np[yz] file of numbers .*without objects"):
        load(folder / name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.parquet"])
def test_what_is_not_of_its_kind_is_refused(folder, name):
    (folder / name).write_bytes(b"this is a text, whatever its name says")
    with pytest.raises(InvalidInput, match=rf"{name} (is not|cannot be read as)"):
        load(folder / name)
    (folder / name).write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"is empty \(0 bytes\), expected data"):
        load(folder / name)


def test_an_empty_array_is_told_as_such(folder):
    np.save(folder / "a.npy", np.zeros((0, 3)))
    with pytest.raises(InvalidInput, match=r"the split 'train' of .*a.npy is empty"):
        load(folder / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_header_that_claims_too_much_is_refused(folder, name):
    header = (
        b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }".ljust(117) + b"\n"
    )
    if name.endswith("y"):
        (folder / name).write_bytes(header)
    else:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("x.npy", header)
    with pytest.raises(InvalidInput, match=rf"{name} is not an .np[yz] file of numbers"):
        load(folder / name)


def test_a_parquet_table_larger_than_memory_is_refused(folder, monkeypatch):
    import pandas as pd

    pd.DataFrame({"a": np.zeros(100_000)}).to_parquet(folder / "a.parquet")
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    with pytest.raises(InvalidInput, match=r"expected at most half of the .* choose columns=, or read it with stream=True"):
        load(folder / "a.parquet")


def test_a_truncated_npz_is_refused(folder):
    np.savez(folder / "a.npz", x=pictures(20))
    whole = (folder / "a.npz").read_bytes()
    (folder / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match=r"a.npz is not an .npz file"):
        load(folder / "a.npz")


def test_a_zip_bomb_is_refused_before_memory_is_taken(folder, monkeypatch):
    np.savez_compressed(folder / "a.npz", x=np.zeros((1000, 1000), np.uint8))
    assert (folder / "a.npz").stat().st_size < 5000
    monkeypatch.setattr(os, "sysconf", lambda name: 1000)
    monkeypatch.setattr(np, "load", lambda *args, **kwargs: pytest.fail("it was read"))
    with pytest.raises(InvalidInput, match=r"expected at most half of the .* GiB there are: store its arrays as .npy"):
        load(folder / "a.npz")


def test_an_archive_that_lies_about_its_size_is_refused(folder):
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (10,), }")
    with pytest.raises(InvalidInput, match=r"a.npz is not an .npz file"):
        load(folder / "a.npz")


def test_a_file_of_another_kind_says_which_are_read(folder):
    (folder / "a.docx").write_text("text")
    with pytest.raises(InvalidInput, match=r"of a kind that is not read, expected one of \.parquet, "):
        load(folder / "a.docx")


def test_a_folder_of_tables_by_split(folder):
    for split, n in (("train", 12), ("valid", 3), ("test", 4)):
        np.savetxt(folder / f"{split}.csv", np.random.default_rng(n).normal(size=(n, 2)), delimiter=",")
    data = load(folder)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "validation": 3, "test": 4}


def test_a_folder_of_npy_files_by_name(folder):
    np.save(folder / "train-images.npy", pictures(12))
    np.save(folder / "train-labels.npy", np.arange(12) % 2)
    np.save(folder / "test-images.npy", pictures(3))
    np.save(folder / "test-labels.npy", np.arange(3) % 2)
    data = load(folder, condition="labels", validation=0)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "test": 3}
    assert contents(data, "train")[1].tolist() == [0, 1] * 6


def test_a_folder_that_is_ambiguous_is_refused(folder):
    np.savetxt(folder / "train.csv", np.zeros((3, 2)), delimiter=",")
    np.savetxt(folder / "other.csv", np.zeros((3, 2)), delimiter=",")
    with pytest.raises(InvalidInput, match=r"files with a split in their name and files without, such as other.csv"):
        load(folder)
    np.save(folder / "other.npy", np.zeros(3))
    with pytest.raises(InvalidInput, match=r"files of several kinds \(.csv, .npy\): give one of its files"):
        load(folder)


def test_images_in_parquet_are_those_of_a_folder(folder):
    from datasets import ClassLabel, Dataset, Features, Image
    from PIL import Image as Pillow

    rows = {"image": [Pillow.fromarray(a) for a in pictures(12)], "label": [i % 3 for i in range(12)]}
    features = Features({"image": Image(), "label": ClassLabel(names=["x", "y", "z"])})
    Dataset.from_dict(rows, features).to_parquet(folder / "train-00000-of-00001.parquet")
    Dataset.from_dict({k: v[:4] for k, v in rows.items()}, features).to_parquet(folder / "test-00000-of-00001.parquet")
    data = load(folder, condition="label", validation=0)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "test": 4}
    assert np.array_equal(contents(data, "train")[0][:, 0].numpy(), pictures(12))
    assert contents(data, "test")[1].tolist() == [0, 1, 2, 0]
    assert data.record["classes"] == ["x", "y", "z"]
    assert equal_splits(data, load(data.name, **data.record["options"]))


def test_several_columns_of_images_need_a_choice(folder):
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as Pillow

    left, right = pictures(5), pictures(5, seed=1)
    rows = {"left": [Pillow.fromarray(a) for a in left], "right": [Pillow.fromarray(a) for a in right], "n": list(range(5))}
    features = Features({"left": Image(), "right": Image(), "n": Value("int64")})
    Dataset.from_dict(rows, features).to_parquet(folder / "both.parquet")
    with pytest.raises(InvalidInput, match=r"several columns of images: choose one with image=, of left, right"):
        load(folder / "both.parquet")
    data = load(folder / "both.parquet", image="right", validation=0, test=0)
    assert np.array_equal(contents(data, "train")[0][:, 0].numpy(), right)
    with pytest.raises(InvalidInput, match=r"column 'n' of .* holds no images, expected one of: left, right"):
        load(folder / "both.parquet", image="n")


def test_reading_uses_no_global_randomness_and_shows_no_progress(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
    from .conftest import save_pictures

    save_pictures(folder / "a", pictures(4))
    save_pictures(folder / "b", pictures(4, seed=1))
    code = (
        "import torch; s = torch.get_rng_state();"
        f"from ancestral.data import load; load({str(folder)!r}, condition='label');"
        "assert torch.equal(s, torch.get_rng_state())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
