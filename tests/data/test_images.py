import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from ancestral.data import images, load
from ancestral.data.images import ImageDecoder, ImageFormat
from ancestral.errors import InvalidInput

from .conftest import contents, equal_splits, pictures, save_pictures


def cell(picture, path=None, kind="PNG"):
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return {"bytes": buffer.getvalue(), "path": path}


def decode(*cells, **form):
    decoder = ImageDecoder(ImageFormat(**form))
    return decoder(list(cells), [f"image {i}" for i in range(len(cells))]), decoder


# What is decoded


def test_pixels_are_those_of_the_files():
    gray, colour = pictures(3), pictures(3, (6, 5, 3))
    x, decoder = decode(*(cell(Image.fromarray(a)) for a in gray))
    assert np.array_equal(x, gray[:, None])
    assert decoder.levels == 256
    x, _ = decode(*(cell(Image.fromarray(a)) for a in colour))
    assert np.array_equal(x, colour.transpose(0, 3, 1, 2))


def test_bilevel_images_are_binary():
    bits = pictures(2) > 127
    x, decoder = decode(*(cell(Image.fromarray(a)) for a in bits))
    assert decoder.levels == 2
    assert np.array_equal(x[:, 0], bits)


def test_palettes_of_colours_are_rgb():
    colour = Image.fromarray(pictures(1, (4, 4, 3))[0]).quantize(8)
    x, _ = decode(cell(colour))
    assert np.array_equal(x[0], np.asarray(colour.convert("RGB")).transpose(2, 0, 1))


def test_gray_is_luma_and_size_is_lanczos_about_the_centre():
    picture = Image.fromarray(pictures(1, (12, 20, 3))[0])
    x, _ = decode(cell(picture), gray=True, size=(4, 6))
    expected = ImageOps.fit(picture.convert("L"), (6, 4), method=Image.Resampling.LANCZOS)
    assert np.array_equal(x[0, 0], np.asarray(expected))


# What is refused


def test_mixed_sizes_name_the_file(folder):
    save_pictures(folder / "a", pictures(3))
    save_pictures(folder / "b", pictures(1, (7, 5)))
    with pytest.raises(InvalidInput, match=r"b/00.png\) is of 7 x 5 pixels, expected 6 x 5 as .*a/00.png.* pass size="):
        load(folder)
    assert load(folder, size=6).event.shape == (1, 6, 6)


def test_mixed_modes_name_the_file(folder):
    save_pictures(folder / "a", pictures(3))
    save_pictures(folder / "b", pictures(1, (6, 5, 3)))
    with pytest.raises(InvalidInput, match=r"b/00.png\) is of mode RGB, expected L as .*a/00.png.* pass gray=true"):
        load(folder)
    assert load(folder, gray=True).event.shape == (1, 6, 5)


@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "I;16", "LA"])
def test_modes_that_would_lose_something_are_refused(mode):
    picture = Image.new(mode, (4, 4))
    with pytest.raises(InvalidInput, match=rf"image 0 is of mode {mode}, expected gray \(L\), bilevel \(1\) or RGB"):
        decode(cell(picture, kind="TIFF"))


def test_a_corrupt_image_is_named_and_nothing_is_kept(folder, tmp_path):
    save_pictures(folder, pictures(3))
    good = (folder / "01.png").read_bytes()
    for broken in (good[: len(good) // 2], b"not an image", b""):
        (folder / "01.png").write_bytes(broken)
        with pytest.raises(InvalidInput, match=r"01.png\) cannot be read as an image .*: repair it or leave it out"):
            load(folder)
        assert list((tmp_path / "cache" / "ancestral" / "data").iterdir()) == []


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    bomb = cell(Image.new("1", (300, 300)))
    monkeypatch.setattr(images, "MAX_PIXELS", 299 * 300)
    with pytest.raises(InvalidInput, match=r"is of 300 x 300 pixels, expected at most 89700"):
        decode(bomb)


@pytest.mark.parametrize("limit", [299 * 300, 100 * 300])
def test_what_pillow_takes_for_a_bomb_is_refused(monkeypatch, limit):
    bomb = cell(Image.new("1", (300, 300)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InvalidInput, match=r"claims too many pixels"):
        decode(bomb)


def test_an_empty_cell_is_named():
    with pytest.raises(InvalidInput, match=r"image 1 is empty, expected an image"):
        decode(cell(Image.fromarray(pictures(1)[0])), None)


def test_an_empty_folder_says_what_is_expected(folder):
    with pytest.raises(InvalidInput, match=r"holds no data, expected images \(.*\.png.*or files of \.parquet"):
        load(folder)
    (folder / "notes.md").write_text("nothing")
    with pytest.raises(InvalidInput, match=r"holds no data"):
        load(folder)


def test_one_image_is_no_data_set(folder):
    save_pictures(folder, pictures(1))
    with pytest.raises(InvalidInput, match=r"is one image, expected a folder of images"):
        load(folder / "00.png")


# Folders


def test_a_folder_of_classes(folder):
    for i, name in enumerate(("cats", "dogs", "eels")):
        save_pictures(folder / name, pictures(10, seed=i))
    data = load(folder, condition="label")
    assert data.event.shape == (1, 6, 5)
    assert data.condition.levels == 3
    assert data.record["classes"] == ["cats", "dogs", "eels"]
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 24, "validation": 3, "test": 3}
    by_class = {pictures(10, seed=i)[k].tobytes(): i for i in range(3) for k in range(10)}
    seen = set()
    for split in data.splits:
        x, labels = contents(data, split)
        for image, label in zip(x, labels, strict=True):
            assert by_class[image.numpy().tobytes()] == int(label)
            seen.add(image.numpy().tobytes())
    assert len(seen) == 30
    assert equal_splits(data, load(data.name, **data.record["options"]))
    assert not equal_splits(data, load(folder, condition="label", seed=1))


def test_a_folder_with_splits(folder):
    save_pictures(folder / "train" / "a", pictures(5))
    save_pictures(folder / "train" / "b", pictures(5, seed=1))
    save_pictures(folder / "test" / "a", pictures(4, seed=2))
    data = load(folder, validation=2)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 8, "validation": 2, "test": 4}
    assert np.array_equal(contents(data, "test")[0][:, 0].numpy(), pictures(4, seed=2))
    assert data.record["held_out"] == {"validation": {"from": "train", "count": 2, "seed": 0}}
    with pytest.raises(InvalidInput, match=r"has a split 'test' of its own \(4 data\): leave test= out"):
        load(folder, test=2)


def test_decoding_is_kept_until_a_file_changes(folder, monkeypatch):
    save_pictures(folder, pictures(4))
    before = load(folder)
    with monkeypatch.context() as patch:
        patch.setattr(ImageDecoder, "__call__", lambda *args: pytest.fail("decoded again"))
        assert equal_splits(before, load(folder))
    save_pictures(folder, pictures(4, seed=9))
    assert not equal_splits(before, load(folder))


def test_missing_condition_column_names_those_there_are(folder):
    save_pictures(folder / "a", pictures(3))
    save_pictures(folder / "b", pictures(3))
    with pytest.raises(InvalidInput, match=r"no column 'lable' for condition=. Did you mean label\? It has: image, label"):
        load(folder, condition="lable")


def test_images_are_no_condition(folder):
    save_pictures(folder, pictures(3))
    with pytest.raises(InvalidInput, match=r"column 'image' of .* holds neither classes nor numbers"):
        load(folder, condition="image")


def test_decoded_images_that_the_disk_cannot_hold_are_refused_first(folder, monkeypatch):
    save_pictures(folder, pictures(3))
    asked = []
    monkeypatch.setattr("ancestral.data.cache.require_space", lambda path, size: asked.append(size))
    load(folder, validation=0, test=0)
    assert asked == [3 * 6 * 5]


def test_options_of_tables_are_refused(folder):
    save_pictures(folder, pictures(3))
    with pytest.raises(InvalidInput, match=r"takes no columns: leave it out"):
        load(folder, columns=["a"])
