import gzip

import numpy as np
import pandas as pd
import pytest

from ancestral.data import load
from ancestral.data.files import names_below_root, root
from ancestral.data.text_files import CHUNK, Span, read_text
from ancestral.errors import InvalidInput

from .conftest import equal_splits, pictures, save_pictures

TEXT = b"".join(b"%d times %d is %d.\n" % (i, i, i * i) for i in range(400))


def text_of(data, split="train"):
    """The text of a split at level byte."""
    return data.event.encoding.decode(data.split(split).tokens)


def whole_text(data):
    return b"".join(text_of(data, split) for split in data.splits)


# Sources


def test_a_text_file_is_a_text(folder):
    (folder / "a.txt").write_bytes(TEXT)
    data = load(folder / "a.txt", length=16)
    assert str(data.event) == "16 byte tokens of 256 levels"
    assert whole_text(data) == TEXT
    assert data.record["files"][0]["name"] == "a.txt"
    assert len(data.record["files"][0]["sha256"]) == 64


def test_a_packed_text_is_the_same(folder):
    (folder / "a.txt").write_bytes(TEXT)
    (folder / "b.txt.gz").write_bytes(gzip.compress(TEXT))
    assert equal_splits(load(folder / "a.txt", length=16), load(folder / "b.txt.gz", length=16))


@pytest.mark.parametrize("name", ["texts/novel", "texts/novel.txt"])
def test_a_text_below_the_data_folder(name):
    (root() / "texts").mkdir()
    (root() / "texts" / "novel.txt").write_bytes(TEXT)
    assert whole_text(load(name)) == TEXT
    assert "texts/novel" in names_below_root()


def test_a_packed_text_below_the_data_folder():
    (root() / "novel.txt.gz").write_bytes(gzip.compress(TEXT))
    assert whole_text(load("novel")) == TEXT
    assert "novel" in names_below_root()


def test_a_folder_of_texts_by_split(folder):
    for name, text in (("train", TEXT), ("valid", TEXT[:300]), ("test", TEXT[300:700])):
        (folder / f"{name}.txt").write_bytes(text)
    data = load(folder, length=16)
    assert [text_of(data, split) for split in ("train", "validation", "test")] == [TEXT, TEXT[:300], TEXT[300:700]]
    assert data.record["held_out"] == {}
    with pytest.raises(InvalidInput, match=r"has a split 'test' of its own: leave test= out"):
        load(folder, test=0.2)


def test_a_folder_of_other_texts_is_one(folder):
    (folder / "b.txt").write_bytes(TEXT[1000:])
    (folder / "a.txt").write_bytes(TEXT[:1000])
    assert whole_text(load(folder)) == TEXT


def test_a_text_beside_other_files_is_about_them(folder):
    (folder / "README.txt").write_bytes(TEXT)
    np.save(folder / "a.npy", pictures(20))
    assert load(folder).event.is_image
    save_pictures(folder / "images", pictures(20))
    (folder / "images" / "LICENSE.txt").write_bytes(TEXT)
    assert load(folder / "images").event.is_image


def rows(folder, cells, name="train"):
    pd.DataFrame({"text": cells, "label": range(len(cells))}).to_parquet(folder / f"{name}.parquet")


def test_a_column_of_text(folder):
    rows(folder, TEXT.decode().splitlines())
    data = load(folder / "train.parquet", text="text", length=16)
    assert whole_text(data) == TEXT
    assert equal_splits(data, load(data.name, **data.record["options"]))


def test_a_column_of_text_by_splits(folder):
    rows(folder, TEXT.decode().splitlines())
    rows(folder, ["é" * 20], "test")
    data = load(folder, text="text", length=8, validation=0)
    assert list(data.splits) == ["train", "test"]
    assert text_of(data, "test").decode() == "é" * 20 + "\n"


def test_a_column_that_is_no_text_is_refused(folder):
    rows(folder, ["one", "two"])
    with pytest.raises(InvalidInput, match=r"has no column 'txt' for text=. Did you mean text\? It has: text, label"):
        load(folder / "train.parquet", text="txt")
    with pytest.raises(InvalidInput, match=r"column 'label' of .* holds int64, expected text"):
        load(folder / "train.parquet", text="label")
    rows(folder, ["one", None], "other")
    with pytest.raises(InvalidInput, match=r"column 'text' of .* is empty in row 1 of train: fill it or drop the row"):
        load(folder / "other.parquet", text="text")
    with pytest.raises(InvalidInput, match=r"is text, which is memory-mapped and not streamed"):
        load(folder / "train.parquet", text="text", stream=True)


def test_text_alone_is_told_to_be_text(folder):
    pd.DataFrame({"text": ["one", "two"]}).to_parquet(folder / "a.parquet")
    with pytest.raises(InvalidInput, match=r"holds text alone: model it as such with text=, of text"):
        load(folder / "a.parquet")


# What is refused


def test_empty_texts_are_refused(folder):
    (folder / "a.txt").write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"a.txt is empty \(0 bytes\), expected data"):
        load(folder / "a.txt")
    (folder / "a.txt.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(InvalidInput, match=r"the split 'train' of .*a.txt.gz is empty \(0 bytes\), expected text"):
        load(folder / "a.txt.gz")


@pytest.mark.parametrize(
    "content", [b"this is no gzip file", gzip.compress(TEXT)[:500], gzip.compress(TEXT)[:-9] + b"garbage"]
)
def test_damaged_packed_texts_are_refused(folder, content):
    (folder / "a.txt.gz").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"a.txt.gz is damaged, or no gzip file \(.*\): write it again"):
        load(folder / "a.txt.gz")


def test_texts_without_train_are_refused(folder):
    (folder / "test.txt").write_bytes(TEXT)
    with pytest.raises(InvalidInput, match=r"has no split named train, but test: name one so"):
        load(folder)


# Splits by position


def test_the_end_of_a_text_is_held_out(folder):
    (folder / "a.txt").write_bytes(TEXT)
    data = load(folder / "a.txt", length=16)
    parts = {split: text_of(data, split) for split in data.splits}
    assert list(parts) == ["train", "validation", "test"]
    assert b"".join(parts.values()) == TEXT
    for split in ("validation", "test"):
        assert len(TEXT) * 0.05 <= len(parts[split]) < len(TEXT) * 0.05 + 20
        assert parts[split][:1].isspace()  # cut where a word ends
        assert data.record["held_out"][split] == {"from": "the end of train", "bytes": len(parts[split])}
    assert "validation and test cut from the end of train" in data.about


def test_how_much_is_held_out_can_be_said(folder):
    (folder / "a.txt").write_bytes(TEXT)
    data = load(folder / "a.txt", length=16, validation=0.2, test=1000)
    assert len(TEXT) * 0.2 <= data.record["bytes"]["validation"] < len(TEXT) * 0.2 + 20
    assert 1000 <= data.record["bytes"]["test"] < 1020
    assert list(load(folder / "a.txt", length=16, validation=0, test=0).splits) == ["train"]
    with pytest.raises(InvalidInput, match=r"holding out 99999 for test leaves none for train: hold out fewer"):
        load(folder / "a.txt", test=99_999)


def test_splits_are_the_same_at_every_level(folder):
    (folder / "a.txt").write_bytes(TEXT)
    sizes = [load(folder / "a.txt", level=level, length=8).record["bytes"] for level in ("byte", "bit", "character", "word")]
    assert sizes == [sizes[0]] * 4


def test_characters_are_never_cut(folder):
    text = "猫" * 1001
    (folder / "a.txt").write_text(text, encoding="utf-8")
    data = load(folder / "a.txt", level="character", length=4)
    assert whole_text(data).decode() == text


@pytest.mark.parametrize("start", [0, 5, CHUNK - 3])
def test_a_span_is_read_in_pieces(folder, start):
    content = bytes(range(256)) * (CHUNK // 128 + 1)
    (folder / "a").write_bytes(content)
    span = Span(folder / "a", start, len(content) - 7)
    assert b"".join(span.chunks()) == content[start:-7]
    assert max(map(len, span.chunks())) <= CHUNK
    assert len(read_text({"train": [folder / "a"]}, "it").splits["train"]) == len(content)
