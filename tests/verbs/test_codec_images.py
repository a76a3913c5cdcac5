"""Folders of images: names, sizes, modes and pixels come back, and what the model is not for as it was."""

import os
import sys
import zlib
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import torch
from PIL import Image

from ancestral.coding import Damage
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.verbs import image_files
from ancestral.verbs.compress import compress
from ancestral.verbs.decompress import decompress
from ancestral.verbs.image_files import NamedImage, pack_names, unpack_names, write_images
from tests.verbs.test_codec import SIZE, image_model, smooth


def make_folder(folder: Path) -> dict[str, Image.Image]:
    (folder / "deeper").mkdir(parents=True)
    x = smooth(4)
    images = {f"{i}.png": Image.fromarray(x[i, 0].numpy()) for i in range(3)}
    images["deeper/é.bmp"] = Image.fromarray(x[3, 0].numpy())
    images["colour.png"] = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8))
    images["large.png"] = Image.fromarray(np.zeros((9, 9), np.uint8))
    images["bits.png"] = Image.fromarray(x[0, 0].numpy() > 10)
    images["lossy.jpg"] = images["0.png"]
    for name, image in images.items():
        image.save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return {name: Image.open(folder / name).copy() for name in images}


def test_a_folder_comes_back_with_names_sizes_modes_and_pixels(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in")
    model = image_model()
    result = compress(model, tmp_path / "in", tmp_path / "a.anc")
    assert (result.count, result.files) == (4, 4)
    decompress(tmp_path / "a.anc", tmp_path / "out", model=model)
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert found == sorted(images)
    for name, image in images.items():
        with Image.open(tmp_path / "out" / name) as again:
            assert (again.size, again.mode) == (image.size, image.mode), name
            assert np.array_equal(np.asarray(again), np.asarray(image)), name
    assert (tmp_path / "out" / "lossy.jpg").read_bytes() == (tmp_path / "in" / "lossy.jpg").read_bytes()


@pytest.mark.parametrize(
    ("event", "mode"),
    [(Event.binary((1, *SIZE)), "1"), (Event.binary((1, *SIZE)), "L"), (Event.integers((3, *SIZE), 256), "RGB")],
    ids=["bilevel", "black and white", "colour"],
)
def test_modes_come_back(event: Event, mode: str, tmp_path: Path) -> None:
    values = smooth(2, channels=event.shape[0]).numpy()
    (tmp_path / "in").mkdir()
    for i, value in enumerate(values):
        pixels = {"1": value[0] > 10, "L": (value[0] > 10).astype(np.uint8) * 255}.get(mode, value.transpose(1, 2, 0))
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    model = image_model(event)
    result = compress(model, tmp_path / "in", tmp_path / "a.anc")
    assert (result.count, result.files) == (2, 0)
    decompress(tmp_path / "a.anc", tmp_path / "out", model=model)
    for i in range(2):
        with Image.open(tmp_path / "in" / f"{i}.png") as a, Image.open(tmp_path / "out" / f"{i}.png") as b:
            assert b.mode == a.mode == mode
            assert np.array_equal(np.asarray(a), np.asarray(b))


def test_data_without_names_become_numbered_images_or_an_array(tmp_path: Path) -> None:
    model, x, path = image_model(), smooth(3), tmp_path / "a.anc"
    compress(model, x, path)
    decompress(path, tmp_path / "out", model=model, index=[1, 2])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000001.png", "000002.png"]
    decompress(path, tmp_path / "x.npy", model=model)
    assert np.array_equal(np.load(tmp_path / "x.npy"), x.numpy())
    compress(model, tmp_path / "x.npy", tmp_path / "b.anc")
    assert torch.equal(decompress(tmp_path / "b.anc", model=model).x, x)


@pytest.mark.parametrize("name", ["../up.png", "/root.png", "a/../../up.png", "", "."])
def test_names_that_lead_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="leads out of its folder"):
        write_images(tmp_path / "out", smooth(1), [NamedImage(name, "L")], {}, torch.arange(1), 256)
    with pytest.raises(InvalidInput, match="leads out of its folder"):
        write_images(tmp_path / "out", smooth(0), [], {name: b""}, torch.arange(0), 256)
    assert not (tmp_path / "up.png").exists()


@pytest.mark.parametrize("name", ["C:\\x.png", "C:x.png", "\\x.png", "a\\..\\..\\x.png"])
def test_names_that_lead_out_of_the_folder_elsewhere_are_refused_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image_files.check_name("2020-01-01 12:30.png")
    monkeypatch.setattr(image_files, "PurePath", PureWindowsPath)
    with pytest.raises(InvalidInput, match="leads out of its folder"):
        image_files.check_name(name)


@pytest.mark.skipif(sys.platform != "linux", reason="names are not bytes")
def test_names_of_any_bytes_come_back(tmp_path: Path) -> None:
    model, folder = image_model(), tmp_path / "in"
    folder.mkdir()
    for i, name in enumerate((b"\xff\xfe.png", b"12:30 \\.png", b"\xe9.jpg")):
        Image.fromarray(smooth(3)[i, 0].numpy()).save(tmp_path / "x.png")
        (tmp_path / "x.png").rename(folder / os.fsdecode(name))
    compress(model, folder, tmp_path / "a.anc")
    decompress(tmp_path / "a.anc", tmp_path / "out", model=model)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in folder.iterdir())


def test_a_folder_that_the_model_is_not_for_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "in")
    with pytest.raises(InvalidInput, match="2 or 256 levels"):
        compress(image_model(Event.integers((1, *SIZE), 17)), tmp_path / "in", tmp_path / "a.anc")
    with pytest.raises(InvalidInput, match="come without conditions, and pixelcnn is conditioned on scalar 3 levels"):
        compress(image_model(condition=Event.label(3)), tmp_path / "in", tmp_path / "a.anc")
    assert not (tmp_path / "a.anc").exists()


def test_dark_images_are_not_taken_for_black_and_white_ones(tmp_path: Path) -> None:
    dark = np.eye(*SIZE, dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(dark).save(tmp_path / "in" / "dark.png")
    model = image_model()
    compress(model, tmp_path / "in", tmp_path / "a.anc")
    decompress(tmp_path / "a.anc", tmp_path / "out", model=model)
    with Image.open(tmp_path / "out" / "dark.png") as again:
        assert np.array_equal(np.asarray(again), dark)


def test_a_folder_is_listed_once_and_read_chunk_by_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "in")
    listed, read, reader, find = [], [], image_files._read, image_files.find_images
    monkeypatch.setattr(image_files, "find_images", lambda folder: listed.append(folder) or find(folder))
    monkeypatch.setattr(image_files, "_read", lambda path, event: read.append(path.name) or reader(path, event))
    images = image_files.open_images(tmp_path / "in", image_model().event)
    assert images is not None
    batches = images.batches(2)
    assert next(batches).shape == (2, 1, *SIZE)
    assert (len(images.names), "2.png" in read) == (2, False)
    assert [len(x) for x in batches] == [2]
    assert (len(listed), sorted(read)) == (1, sorted(path.name for path in images.paths))


def test_names_of_another_form_are_damage() -> None:
    with pytest.raises(Damage, match="mode 'CMYK'"):
        unpack_names(pack_names([NamedImage("a.png", "CMYK")]), 1)
    for content in (b"{}", b"[[],[1]]", b"[" * 100_000, b"\xff"):
        with pytest.raises(Damage, match="cannot be read"):
            unpack_names(zlib.compress(content), 1)
