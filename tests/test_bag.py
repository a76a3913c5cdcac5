"""Bags of words: what is counted, what is left out, and what is refused."""

import numpy as np
import pytest
import torch

from ancestral.encoding import BagOfWords
from ancestral.errors import InvalidInput
from ancestral.event import Event

POST = """From: someone@example.org
Subject: bees

In article <1>, wasp wrote:
> thorn thorn
A bee is on the rose.

--
rose gardens
"""


def test_counts_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    texts = ["The bee, the bee and a rose", "Roses have thorns; thorns!", "x y", "Été et ROSE"]
    bag = BagOfWords.fit(texts, vocabulary=4)
    counter = CountVectorizer(stop_words="english", max_features=4)
    expected = counter.fit_transform(texts).toarray()
    assert bag.words == tuple(counter.get_feature_names_out())
    np.testing.assert_array_equal(bag.counts(texts), expected)


def test_counts_end_at_255() -> None:
    assert BagOfWords(("bee", "rose")).counts(["bee " * 300 + "rose"]).tolist() == [[255, 1]]


@pytest.mark.parametrize(
    ("strip", "expected"),
    [
        ((), [1, 2, 2, 1]),
        (("headers",), [1, 2, 2, 1]),
        (("headers", "footers"), [1, 1, 2, 1]),
        (("quotes",), [1, 2, 0, 0]),
        (("headers", "footers", "quotes"), [1, 1, 0, 0]),
    ],
)
def test_parts_of_posts_are_left_out(strip: tuple[str, ...], expected: list[int]) -> None:
    assert BagOfWords(("bee", "rose", "thorn", "wasp"), strip).counts([POST])[0].tolist() == expected


def test_headers_of_a_text_without_a_blank_line_are_its_text() -> None:
    assert BagOfWords(("bee", "subject"), ("headers",)).counts([POST, "A bee."]).tolist() == [[1, 0], [1, 0]]
    assert BagOfWords(("bees", "subject")).counts([POST]).tolist() == [[1, 1]]


def test_a_vocabulary_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the vocabulary is empty: the training documents have no word of two letters"):
        BagOfWords.fit(["the and of", "a I"])
    with pytest.raises(InvalidInput, match="2 to 1,048,576 words, each once, got 1"):
        BagOfWords.fit(["rose rose"])
    with pytest.raises(InvalidInput, match="each once"):
        BagOfWords(("rose", "rose"))
    with pytest.raises(InvalidInput, match=r"got 'header'. Did you mean headers\?"):
        BagOfWords(("rose", "bee"), ("header",))


@pytest.mark.parametrize(
    "described", [None, [], {"words": ["a", "b"]}, {"words": "ab", "strip": []}, {"words": [1, 2], "strip": []}]
)
def test_json_that_describes_no_bag_is_refused(described: object) -> None:
    with pytest.raises(InvalidInput):
        BagOfWords.from_json(described)


def test_an_event_of_documents_survives_json() -> None:
    event = Event.documents(BagOfWords(("bee", "rose"), ("quotes",)))
    assert Event.from_json(event.to_json()) == event
    event.check(torch.tensor([[255, 0]]))
    with pytest.raises(InvalidInput, match="counts of 2 words need an event of so many entries of 256 levels"):
        Event((3,), 256, bag=event.bag)
