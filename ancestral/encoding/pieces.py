"""Words and subwords: tokens of text that is split into pieces by a rule."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral.encoding.base import MAX_LEVELS, UNKNOWN, Numbers, TextEncoding, Tokens
from ancestral.encoding.chunks import decoded, recut, visible_end, whole_characters
from ancestral.errors import InvalidInput, near_matches

# Every character of a text is in one piece, so that the pieces together are the text. None has whitespace after something
# visible, and none looks at what follows it, so that a text may be cut before any piece. Runs end after 128, so that
# pieces, and with them memory, stay small whatever the text.
LONGEST = 128
"""Characters, or bytes, in a run."""
WORDS = {
    "letters": re.compile(rf" ?[\w'’]{{1,{LONGEST}}}| ?[^\w'’\s]|\s"),
    "spaces": re.compile(rf" ?\S{{1,{LONGEST}}}| ?\n|\s"),
}
"""What the pieces of the level `word` are."""
# Bytes from 0x80 on are parts of characters, mostly letters, that are not ASCII.
SUBWORDS = re.compile(
    rb" ?[A-Za-z\x80-\xff]{1,%(n)d}| ?[0-9]{1,%(n)d}| ?[^A-Za-z0-9\x80-\xff\s]{1,%(n)d}|\s{1,%(n)d}" % {b"n": LONGEST}
)
"""What the pieces are that no subword reaches beyond."""
WORD_VOCABULARY, SUBWORD_VOCABULARY = 10_000, 1024
"""Sizes of the vocabularies where none is asked for."""


@dataclass(frozen=True, repr=False)
class WordEncoding(TextEncoding):
    """A token is a word with the space before it, or another character; or a piece that is unknown.

    Args:
        vocabulary: the known pieces; the place of each is its token.
        words: "letters" or "spaces": what a word is; see `TextEncoding.fit`.
        spelling: (257,), how often each byte, and the end of a piece, occur in the training text.

    Raises:
        InvalidInput: if the vocabulary is empty, too large or holds a piece twice, or one of the others is not as described.

    >>> WordEncoding(("to", " be"), "letters", (0,) * 257).encode(b"to see")
    array([0, 2], dtype=uint8)
    """

    vocabulary: tuple[str, ...]
    words: str
    spelling: tuple[int, ...]

    level = "word"
    accepts = ("vocabulary", "minimum", "words")
    unicode = True

    def __post_init__(self) -> None:
        _pattern(self.words)
        if not isinstance(self.vocabulary, tuple) or not all(isinstance(piece, str) and piece for piece in self.vocabulary):
            raise InvalidInput(f"a vocabulary of words is a list of texts, got {str(self.vocabulary)[:50]}: restore it")
        if not 0 < len(set(self.vocabulary)) == len(self.vocabulary) < MAX_LEVELS:
            raise InvalidInput(
                f"a vocabulary has from 1 to {MAX_LEVELS - 1:,} words, each of them once, got {len(self.vocabulary):,}:"
                " restore it"
            )
        if any("\ud800" <= c <= "\udfff" for c in "".join(self.vocabulary)):
            raise InvalidInput("a vocabulary of words holds a surrogate, which no text holds: restore it")
        if (
            not isinstance(self.spelling, tuple)
            or len(self.spelling) != 257
            or not all(type(count) is int and 0 <= count < 2**53 for count in self.spelling)
        ):
            raise InvalidInput("spelling is 257 counts, of each byte and of the end of a piece: restore it")

    @property
    def levels(self) -> int:
        return len(self.vocabulary) + 1

    @property
    def unknown(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {piece: token for token, piece in enumerate(self.vocabulary)}

    @cached_property
    def _nats(self) -> NDArray[np.float64]:
        """(257,), what each byte and the end of an unknown piece cost."""
        counts = np.array(self.spelling, np.float64) + 1.0
        return np.log(counts.sum()) - np.log(counts)

    def encode(self, data: bytes) -> Tokens:
        get, unknown = self._tokens.get, self.unknown
        return np.array([get(piece, unknown) for piece in _pattern(self.words).findall(decoded(data))], self.dtype)

    def _decode(self, tokens: Numbers) -> bytes:
        table = (*self.vocabulary, UNKNOWN)
        return "".join([table[token] for token in tokens.tolist()]).encode()

    def unknown_pieces(self, data: bytes) -> list[bytes]:
        return [piece.encode() for piece in self._unknown(data)]

    def _unknown(self, data: bytes) -> list[str]:
        tokens = self._tokens
        return [piece for piece in _pattern(self.words).findall(decoded(data)) if piece not in tokens]

    def unknown_nats(self, data: bytes) -> float:
        return float(_spelling(self._unknown(data)) @ self._nats)

    def _cut(self, data: bytes) -> int:
        return _word_cut(self.words, data)

    @classmethod
    def _fit(cls, chunks: Iterable[bytes], options: dict[str, Any]) -> "WordEncoding":
        words = options.get("words", "letters")
        pattern = _pattern(words)
        counts: Counter[str] = Counter()
        spelling = np.zeros(257, np.int64)
        for position, part in recut(chunks, partial(_word_cut, words)):
            pieces = pattern.findall(decoded(part, position))
            counts.update(pieces)
            spelling += _spelling(pieces)
        # Text whose words are separated already has, as a rule, a vocabulary already.
        minimum = options.get("minimum", 1 if words == "spaces" else 2)
        known = sorted(
            (piece for piece, count in counts.items() if count >= minimum), key=lambda piece: (-counts[piece], piece)
        )
        if not known:
            raise InvalidInput(
                f"no word of the text occurs {minimum} times, expected some for a vocabulary: give a longer text, or another"
                " level"
            )
        return cls(tuple(known[: options.get("vocabulary", WORD_VOCABULARY)]), words, tuple(spelling.tolist()))


@dataclass(frozen=True, repr=False)
class SubwordEncoding(TextEncoding):
    """A token is a byte, or two tokens that were merged: byte-pair encoding.

    Args:
        merges: pairs of tokens, in the order in which they are merged. The first 256 tokens are the bytes; each pair makes
            the next one, unless its bytes are a token already.

    Raises:
        InvalidInput: if a pair is no pair of earlier tokens, occurs twice, or makes a token that is longer than a piece.

    References:
        Neural machine translation of rare words with subword units (Sennrich, Haddow & Birch, 2016),
        https://arxiv.org/abs/1508.07909. Here on bytes, within runs of letters, of digits, of other visible
        characters and of whitespace, each of the first three with the space before it.

    >>> SubwordEncoding(((104, 105), (32, 256))).encode(b"hi hi!")
    array([256, 257,  33], dtype=uint16)
    """

    merges: tuple[tuple[int, int], ...]

    level = "subword"
    accepts = ("vocabulary",)

    def __post_init__(self) -> None:
        if not isinstance(self.merges, tuple) or len(self.merges) > MAX_LEVELS:
            raise InvalidInput(f"merges are a list of at most {MAX_LEVELS:,} pairs of tokens: restore it")
        _ = self._table  # says what is wrong with a pair

    @property
    def levels(self) -> int:
        return len(self._table)

    @cached_property
    def _table(self) -> list[bytes]:
        """The bytes of each token."""
        table = [bytes([i]) for i in range(256)]
        found: set[bytes] = set(table)
        merged: set[tuple[int, int]] = set()
        for pair in self.merges:
            if not (isinstance(pair, tuple) and len(pair) == 2 and all(type(t) is int and 0 <= t < len(table) for t in pair)):
                raise InvalidInput(f"a merge is a pair of earlier tokens, got {str(pair)[:50]}: restore it")
            if pair in merged:
                raise InvalidInput(f"the merge {pair} occurs twice: restore it")
            merged.add(pair)
            token = table[pair[0]] + table[pair[1]]
            if len(token) > LONGEST + 1:
                raise InvalidInput(f"the merge {pair} makes a token of {len(token)} bytes, expected {LONGEST + 1} at most")
            if token not in found:
                found.add(token)
                table.append(token)
        return table

    @cached_property
    def _bpe(self) -> Any:
        """The merges in the library `tokenizers`, where each byte is the character of that code point."""
        from tokenizers import models  # takes a tenth of a second to import

        names = [token.decode("latin-1") for token in self._table]
        return models.BPE({name: i for i, name in enumerate(names)}, [(names[a], names[b]) for a, b in self.merges])

    def encode(self, data: bytes) -> Tokens:
        pieces = SUBWORDS.findall(data)
        tokenize = self._bpe.tokenize
        # Few pieces are different ones.
        tokens = {piece: [token.id for token in tokenize(piece.decode("latin-1"))] for piece in set(pieces)}
        return np.fromiter(chain.from_iterable(tokens[piece] for piece in pieces), self.dtype)

    def _decode(self, tokens: Numbers) -> bytes:
        table = self._table
        return b"".join([table[token] for token in tokens.tolist()])

    def _cut(self, data: bytes) -> int:
        return _subword_cut(data)

    @classmethod
    def _fit(cls, chunks: Iterable[bytes], options: dict[str, Any]) -> "SubwordEncoding":
        from tokenizers import Tokenizer, models, trainers

        vocabulary = options.get("vocabulary", SUBWORD_VOCABULARY)
        if vocabulary < 256:
            raise InvalidInput(f"vocabulary= takes a number from 256, one for each byte, at level 'subword', got {vocabulary}")
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, min_frequency=2, initial_alphabet=[chr(i) for i in range(256)], show_progress=False
        )
        tokenizer = Tokenizer(models.BPE())
        parts = (part for _, part in recut(chunks, _subword_cut))
        tokenizer.train_from_iterator((piece.decode("latin-1") for part in parts for piece in SUBWORDS.findall(part)), trainer)
        numbers = {chr(i): i for i in range(256)}
        merges = []
        for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
            merges.append((numbers[left], numbers[right]))
            numbers.setdefault(left + right, len(numbers))
        return cls(tuple(merges))


def _pattern(words: Any) -> re.Pattern[str]:
    if not isinstance(words, str) or words not in WORDS:
        raise InvalidInput(f"words= takes {' or '.join(WORDS)}, got {words!r}.{near_matches(str(words), WORDS)}")
    return WORDS[words]


def _spelling(pieces: list[str]) -> NDArray[np.int64]:
    """Return (257,), how often each byte occurs in pieces, and how many pieces there are."""
    counts = np.bincount(np.frombuffer("".join(pieces).encode(), np.uint8), minlength=257)
    counts[256] = len(pieces)
    return counts


def _word_cut(words: str, data: bytes) -> int:
    if end := visible_end(data):
        return end
    # Without whitespace (Chinese, say) only the pieces themselves tell; the last may go on.
    text = data[: whole_characters(data)].decode(errors="surrogateescape")
    return len("".join(_pattern(words).findall(text)[:-1]).encode(errors="surrogateescape"))


def _subword_cut(data: bytes) -> int:
    return visible_end(data) or len(b"".join(SUBWORDS.findall(data)[:-1]))
