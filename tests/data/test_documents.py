"""Documents: tables, folders and known sets as counts of words, with the vocabulary of what is left for training."""

import numpy as np
import pandas as pd
import pytest

from ancestral.data import load
from ancestral.data.files import root
from ancestral.encoding import BagOfWords
from ancestral.errors import InvalidInput
from ancestral.event import Event
from tests.data.conftest import contents, equal_splits

TEXTS = ["the rose and the bee", "a wasp, a rose", "rose thorn rose", "bee bee wasp"] * 5


def table(folder, **columns):
    path = folder / "documents.parquet"
    pd.DataFrame({"text": TEXTS, **columns}).to_parquet(path)
    return str(path)


def test_a_column_of_text_becomes_counts(folder):
    data = load(table(folder), bag=True, validation=4, test=4)
    assert data.event == Event.documents(BagOfWords(("bee", "rose", "thorn", "wasp")))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "validation": 4, "test": 4}
    seen = {tuple(row) for split in data.splits for row in contents(data, split)[0].tolist()}
    assert seen == {(1, 1, 0, 0), (0, 1, 0, 1), (0, 2, 1, 0), (2, 0, 0, 1)}
    assert data.record["vocabulary"] == 4
    assert equal_splits(data, load(data.name, **data.record["options"]))


def test_the_vocabulary_is_of_the_training_split_alone(folder):
    texts = [f"common word{i}" for i in range(10)]
    pd.DataFrame({"text": texts}).to_csv(folder / "some.csv", index=False)
    data = load(str(folder / "some.csv"), bag=True, validation=3, test=3)
    assert len(data.event.bag.words) == 1 + 4
    assert contents(data, "test")[0].sum() == 3  # nothing but the common word is known there
    assert load(str(folder / "some.csv"), bag=True, vocabulary=2).event.bag.words[0] == "common"


def test_several_columns_are_joined_and_missing_cells_are_empty(folder):
    path = table(folder, title=["queen", None, "queen", "hive"] * 5)
    data = load(path, bag=True, text="title,text", validation=0, test=0)
    assert data.event.bag.words == ("bee", "hive", "queen", "rose", "thorn", "wasp")
    assert contents(data, "train")[0][1].tolist() == [0, 0, 0, 1, 0, 1]
    with pytest.raises(InvalidInput, match=r"2 columns of text, choose with text=, of text, title"):
        load(path, bag=True)
    with pytest.raises(InvalidInput, match=r"no column of text 'titel' for text=.* Did you mean title\?"):
        load(path, bag=True, text="titel")


def test_labels_and_lists_of_labels_are_conditions(folder):
    path = table(folder, label=["a", "b"] * 10, topics=[["x"], [], ["y", "x"], ["z"]] * 5)
    label = load(path, bag=True, text="text", condition="label", validation=0, test=0)
    assert label.condition == Event.label(2)
    topics = load(path, bag=True, text="text", condition="topics", validation=0, test=0)
    assert topics.condition == Event.binary((3,), ("class",))
    assert topics.record["classes"] == ["x", "y", "z"]
    assert contents(topics, "train")[1][:4].tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_a_folder_of_texts_has_labels_and_splits(folder):
    for split in ("train", "test"):
        for label, text in (("insects", "bee wasp"), ("plants", "rose thorn")):
            place = folder / split / label
            place.mkdir(parents=True)
            for i in range(3):
                (place / f"{i}.txt").write_text(text)
    data = load(str(folder), bag=True, condition="label", validation=0)
    x, labels = contents(data, "test")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert x[[0, 5]].tolist() == [[1, 0, 0, 1], [0, 1, 1, 0]]
    (folder / "stray.txt").write_text("bee")
    with pytest.raises(InvalidInput, match="documents in folders of splits, and 1 others"):
        load(str(folder), bag=True)


def test_data_frames_are_documents():
    frame = pd.DataFrame({"text": TEXTS, "kind": [1, 2] * 10})
    data = load(frame, bag=True, condition="kind")
    assert data.event.numel == 4
    assert data.condition == Event.label(2)
    with pytest.raises(InvalidInput, match="tables with a column of text, got arrays"):
        load(np.zeros((3, 2)), bag=True)


def test_other_documents_are_counted_in_the_words_of_an_event(folder):
    event = Event.documents(BagOfWords(("rose", "tulip")))
    data = load(table(folder), event=event, validation=0, test=0)
    assert data.event == event
    assert contents(data, "train")[0][:3].tolist() == [[1, 0], [1, 0], [2, 0]]
    assert data.record["without_known_words"] == {"train": 5}
    with pytest.raises(InvalidInput, match="leave vocabulary= and strip= out"):
        load(table(folder), event=event, vocabulary=3)


def test_what_is_no_document_is_refused(folder):
    pd.DataFrame({"text": ["the", "and of"] * 5}).to_csv(folder / "stop.csv", index=False)
    with pytest.raises(InvalidInput, match="the vocabulary is empty"):
        load(str(folder / "stop.csv"), bag=True)
    pd.DataFrame({"n": [1.5, 2.5] * 5}).to_csv(folder / "numbers.csv", index=False)
    with pytest.raises(InvalidInput, match="no columns of text"):
        load(str(folder / "numbers.csv"), bag=True)
    (folder / "none").mkdir()
    with pytest.raises(InvalidInput, match=r"holds no documents, expected files of \.txt"):
        load(str(folder / "none"), bag=True)
    with pytest.raises(InvalidInput, match="takes no binarize"):
        load(table(folder), bag=True, binarize=1.0)
    (folder / "none" / "a.txt").write_bytes(b"\xff\xfe bee")
    with pytest.raises(InvalidInput, match=r"a\.txt is not UTF-8"):
        load(str(folder / "none"), bag=True)


def test_known_documents():
    made = {"reuters21578": {"topics": [["earn"], []] * 10, "title": ["TITLE"] * 20}, "20newsgroups_4cat": {}}
    for name, columns in made.items():
        (root() / name).mkdir()
        for split in ("train", "test"):
            texts = [f"From: me\n\n{text}" for text in TEXTS]
            named = {"text": texts, "label_text": ["sci.space", "alt.atheism"] * 10, **columns}
            pd.DataFrame(named).to_parquet(root() / name / f"{split}.parquet")
    posts = load("20newsgroups", condition="label")
    assert posts.event.bag == BagOfWords(("bee", "rose", "thorn", "wasp"), ("headers",))
    assert posts.record["classes"] == ["alt.atheism", "sci.space"]
    assert load("20newsgroups", strip="").event.bag.strip == ()
    with pytest.raises(InvalidInput, match="two or more"):
        load("reuters", condition="label")
    assert "title" in load("reuters").event.bag.words
