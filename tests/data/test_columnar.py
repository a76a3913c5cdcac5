import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as Pillow

from ancestral.data import load
from ancestral.data.columnar import Rows
from ancestral.errors import InvalidInput

from .conftest import pictures

FEATURES = Features({"image": Image(), "label": ClassLabel(names=["a", "b"]), "note": Value("string")})


def rows(n, streamed, note="text"):
    content = {"image": [Pillow.fromarray(a) for a in pictures(n)], "label": [i % 2 for i in range(n)], "note": [note] * n}
    dataset = Dataset.from_dict(content, FEATURES)
    return Rows("it", lambda: {"train": dataset.to_iterable_dataset() if streamed else dataset}, ["stamp", n])


@pytest.mark.parametrize("streamed", [True, False])
def test_columns_are_read_without_decoding_images(streamed, monkeypatch):
    source = rows(600, streamed)
    monkeypatch.setattr(Image, "decode_example", lambda *args, **kwargs: pytest.fail("an image was decoded"))
    values, names = source.column("label")
    assert values["train"].tolist() == [i % 2 for i in range(600)]
    assert names == ["a", "b"]
    assert source.column("note")[1] is None
    assert source.image_column(None) == "image"


@pytest.mark.parametrize("streamed", [True, False])
def test_images_are_read_in_order(streamed):
    arrays, levels = rows(300, streamed).images(None, form())
    assert levels == 256
    assert (arrays["train"][:, 0] == pictures(300)).all()


def form():
    from ancestral.data.images import ImageFormat

    return ImageFormat()


def test_nothing_is_opened_where_the_cache_has_it():
    rows(5, True).images(None, form())
    again = Rows("it", lambda: pytest.fail("it was opened"), ["stamp", 5])
    assert len(again.images(None, form())[0]["train"]) == 5


def test_an_empty_cell_names_its_row():
    with pytest.raises(InvalidInput, match=r"column 'note' of it is empty in row 0 of train: fill it or drop the row"):
        rows(3, True, note=None).column("note")


def test_an_empty_split_is_refused(folder):
    good = Dataset.from_dict({"image": [Pillow.fromarray(pictures(1)[0])]}, Features({"image": Image()}))
    good.to_parquet(folder / "train.parquet")
    good.select([]).to_parquet(folder / "test.parquet")
    with pytest.raises(InvalidInput, match=r"the split 'test' of .* is empty"):
        load(folder)


def test_rows_without_images_say_what_they_have():
    source = Rows("it", lambda: {"train": Dataset.from_dict({"a": [1.0]})}, [])
    with pytest.raises(InvalidInput, match=r"it has no column of images. It has: a"):
        source.images(None, form())
