"""Bags of words: a document is how often it has each word of a vocabulary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral.errors import InvalidInput, near_matches

WORDS = 2000
"""Words that are known where no number is given."""
COUNT_LEVELS = 256
"""Levels of a count: a word that a document has more than 255 times counts as 255."""
PARTS = ("headers", "footers", "quotes")
"""Parts of a newsgroup's post that can be left out."""
MAX_WORDS, MAX_LETTERS = 2**20, 255
"""Words of a vocabulary, and letters of a word, at most."""
_ROWS = 4096


@dataclass(frozen=True)
class BagOfWords:
    """How a document becomes counts of words: a value, which can be compared, hashed and written as JSON.

    Words are runs of two or more letters, digits and underscores, in lower case, as those of scikit-learn's `CountVectorizer`.

    Args:
        words: those that are known, in the order of the counts.
        strip: parts that are left out of a document first: headers, footers, quotes, each as scikit-learn finds it in posts.

    Raises:
        InvalidInput: if there are fewer than two words, one is there twice, or there is no such part.

    >>> bag = BagOfWords.fit(["a rose is a rose", "the rose and the thorn"])
    >>> bag.words
    ('rose', 'thorn')
    >>> bag.counts(["No rose without a thorn. Rose!", "nothing known"])
    array([[2, 1],
           [0, 0]], dtype=uint8)
    """

    words: tuple[str, ...]
    strip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        words, strip = tuple(self.words), tuple(self.strip)
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "strip", strip)
        if not all(isinstance(word, str) and 0 < len(word) <= MAX_LETTERS for word in words):
            raise InvalidInput(f"a vocabulary has words of 1 to {MAX_LETTERS} letters, got another: restore it")
        if not 2 <= len(words) <= MAX_WORDS or len(set(words)) < len(words):
            raise InvalidInput(f"a vocabulary has 2 to {MAX_WORDS:,} words, each once, got {len(words)}: give more documents")
        for part in strip:
            if part not in PARTS:
                raise InvalidInput(
                    f"strip= takes parts of a post, {', '.join(PARTS)}, got {part!r}.{near_matches(str(part), PARTS)}"
                )

    @classmethod
    def fit(cls, texts: Iterable[str], vocabulary: int = WORDS, strip: Sequence[str] = ()) -> "BagOfWords":
        """Return the bag of the most frequent words of some documents, English stop words left out.

        Args:
            texts: the documents.
            vocabulary: how many words are known at most.
            strip: parts that are left out of each document.

        Raises:
            InvalidInput: if fewer than two words remain.
        """
        from sklearn.feature_extraction.text import CountVectorizer  # takes half a second to import

        left = (_stripped(text, strip) for text in texts)
        try:
            counter = CountVectorizer(stop_words="english", max_features=vocabulary).fit(left)
        except ValueError as error:
            if "vocabulary" not in str(error):
                raise
            raise InvalidInput(
                "the vocabulary is empty: the training documents have no word of two letters or more that is no stop word;"
                " give documents of text"
            ) from error
        return cls(tuple(counter.get_feature_names_out().tolist()), tuple(strip))

    def counts(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return how often documents have each word, (documents, words), at most 255.

        Args:
            texts: the documents.
        """
        found = np.zeros((len(texts), len(self.words)), np.uint8)
        for start in range(0, len(texts), _ROWS):
            some = [_stripped(text, self.strip) for text in texts[start : start + _ROWS]]
            found[start : start + len(some)] = np.minimum(self._counter.transform(some).toarray(), COUNT_LEVELS - 1)
        return found

    @cached_property
    def _counter(self) -> Any:
        from sklearn.feature_extraction.text import CountVectorizer

        return CountVectorizer(vocabulary=list(self.words))

    def known(self, text: str) -> NDArray[np.uint8]:
        """Return the counts of one document, (words,).

        Raises:
            InvalidInput: if it has no known word.

        >>> BagOfWords(("rose", "thorn")).known("tulips")
        Traceback (most recent call last):
        ancestral.errors.InvalidInput: the text has none of the 2 known words, such as rose, thorn: use some of them
        """
        counts = self.counts([text])[0]
        if not counts.any():
            some = ", ".join(self.words[:: max(1, len(self.words) // 5)][:5])
            raise InvalidInput(f"the text has none of the {len(self.words):,} known words, such as {some}: use some of them")
        return counts

    def beginning(self, text: str, letters: int) -> str:
        """Return the first words of a document, without what is left out of it, on one line of about so many letters.

        >>> BagOfWords(("rose", "thorn")).beginning("A rose, and a thorn", 8)
        'A rose, ...'
        """
        line = " ".join(_stripped(text, self.strip).split())
        return line if len(line) <= letters else f"{line[:letters].rstrip()} ..."

    # JSON

    def to_json(self) -> dict[str, Any]:
        """Return the bag as JSON-able values; `from_json` rebuilds it.

        >>> BagOfWords(("rose", "thorn")).to_json()
        {'words': ['rose', 'thorn'], 'strip': []}
        """
        return {"words": list(self.words), "strip": list(self.strip)}

    @staticmethod
    def from_json(described: Any) -> "BagOfWords":
        """Rebuild a bag from `to_json`'s values, which need not be trusted.

        Raises:
            InvalidInput: if they do not describe one.
        """
        parts = described if isinstance(described, dict) else {}
        if set(parts) != {"words", "strip"} or not all(isinstance(part, list) for part in parts.values()):
            raise InvalidInput(f"not the description of a bag of words, expected words and strip: {str(described)[:200]}")
        return BagOfWords(tuple(parts["words"]), tuple(parts["strip"]))


def _stripped(text: str, parts: Sequence[str]) -> str:
    if not parts:
        return text
    from sklearn.datasets import _twenty_newsgroups as posts  # where scikit-learn has them

    # A post without a blank line has no header that could be told from its text.
    if "headers" in parts and "\n\n" in text:
        text = posts.strip_newsgroup_header(text)
    if "footers" in parts:
        text = posts.strip_newsgroup_footer(text)
    return posts.strip_newsgroup_quoting(text) if "quotes" in parts else text
