"""What an encoding of text is, whatever its level."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ancestral.encoding.chunks import decoded, recut
from ancestral.errors import InvalidInput, near_matches

Tokens = NDArray[np.unsignedinteger[Any]]
Numbers = NDArray[np.int64]

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""What an unknown token is decoded to."""
MAX_LEVELS = 2**21
"""Tokens that an encoding can tell apart; more than there are Unicode characters."""

_ENCODINGS: dict[str, type["TextEncoding"]] = {}


class TextEncoding(ABC):
    """How text maps to whole numbers, its tokens, and back: a value, which can be compared, hashed and written as JSON.

    | level | a token is | levels | what is unknown |
    |---|---|---|---|
    | `bit` | a bit; each byte is 8 of them, most significant first | 2 | nothing |
    | `byte` | a byte | 256 | nothing |
    | `subword` | a sequence of bytes that is frequent (byte-pair encoding) | `vocabulary` at most | nothing |
    | `character` | a Unicode character (code point) of the training text | their number + 1 | other characters |
    | `word` | a word with the space before it, or another character | their number + 1 | other words |

    Encoding and decoding give the text back wherever nothing is unknown. All unknown characters or words are one token,
    the last, whose spelling costs `unknown_nats` besides: so that figures at all levels can be compared, in bits per
    byte of the text.

    >>> encoding = TextEncoding.fit("character", [b"to be or not to be"])
    >>> encoding
    CharacterEncoding(levels=8)
    >>> encoding.encode(b"to bet")
    array([6, 4, 0, 1, 2, 6], dtype=uint8)
    >>> encoding.decode(encoding.encode(b"to bet"))
    b'to bet'
    """

    level: ClassVar[str]
    """Name of the level."""
    period: ClassVar[int] = 1
    """A text may be cut before every so many tokens: 8 for bits, else 1."""
    accepts: ClassVar[tuple[str, ...]] = ()
    """Options of `fit` that this level has."""
    unicode: ClassVar[bool] = False
    """Whether the text must be UTF-8."""

    def __init_subclass__(cls) -> None:
        _ENCODINGS[cls.level] = cls

    # Facts

    @property
    @abstractmethod
    def levels(self) -> int:
        """Number of tokens there are, an unknown one included."""

    @property
    def unknown(self) -> int | None:
        """The unknown token, or None at levels where nothing is unknown."""
        return None

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest unsigned type that holds every token."""
        return np.min_scalar_type(self.levels - 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(levels={self.levels})"

    # Text to tokens, and back

    @abstractmethod
    def encode(self, data: bytes) -> Tokens:
        """Return the tokens of a text.

        Args:
            data: the text; UTF-8 at the levels `character` and `word`, anything at the others.

        Returns:
            (tokens,), of the type `dtype`.

        Raises:
            InvalidInput: naming the first byte that is not UTF-8, where it must be.

        >>> TextEncoding.fit("bit").encode(b"a")
        array([0, 1, 1, 0, 0, 0, 0, 1], dtype=uint8)
        """

    def decode(self, tokens: Tensor | NDArray[Any] | Sequence[int], pieces: Sequence[bytes] | None = None) -> bytes:
        """Return the text of some tokens, U+FFFD for each unknown one.

        Args:
            tokens: (tokens,), whole numbers from 0 to levels - 1.
            pieces: the text of each unknown token, in order, from `unknown_pieces`; U+FFFD for each where None.

        Raises:
            InvalidInput: for another shape, for other numbers, for bits that are not whole bytes, or for another number of
                pieces.

        >>> TextEncoding.fit("byte").decode([104, 105])
        b'hi'
        >>> TextEncoding.fit("character", [b"hi"]).decode([0, 2], [b"o"])
        b'ho'
        """
        found = tokens.cpu().numpy() if isinstance(tokens, Tensor) else np.asarray(tokens)
        if found.ndim != 1 or (found.dtype.kind not in "iu" and found.size):
            raise InvalidInput(
                f"got tokens of shape {found.shape} and type {found.dtype}, expected whole numbers of shape (tokens,): decode"
                " one text at a time"
            )
        numbers: Numbers = found.astype(np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.levels:
            raise InvalidInput(
                f"got tokens from {numbers.min()} to {numbers.max()}, expected 0 to {self.levels - 1}: decode them with the"
                " encoding of the event that they are of"
            )
        if pieces is None or self.unknown is None:
            return self._decode(numbers)
        places = np.flatnonzero(numbers == self.unknown)
        if len(places) != len(pieces):
            raise InvalidInput(f"got {len(pieces)} pieces of text, expected one for each of {len(places)} unknown tokens")
        before, *others = np.split(numbers, places)
        rest = (piece + self._decode(part[1:]) for piece, part in zip(pieces, others, strict=True))
        return b"".join((self._decode(before), *rest))

    def decode_text(self, tokens: Tensor | NDArray[Any] | Sequence[int]) -> str:
        """Return the text of some tokens as a string, U+FFFD for what is not UTF-8.

        Args:
            tokens: as for `decode`.

        >>> TextEncoding.fit("byte").decode_text([104, 105, 255])
        'hi�'
        """
        return self.decode(tokens).decode(errors="replace")

    @abstractmethod
    def _decode(self, tokens: Numbers) -> bytes: ...

    def unknown_pieces(self, data: bytes) -> list[bytes]:
        """Return the pieces of a text that are unknown, in order: with the tokens they give the text back, see `decode`.

        Args:
            data: the text.

        Raises:
            InvalidInput: as `encode` does.

        >>> TextEncoding.fit("character", [b"abc"]).unknown_pieces(b"cabin")
        [b'i', b'n']
        """
        return []

    def unknown_nats(self, data: bytes) -> float:
        r"""Return what it costs to spell the unknown pieces of a text, under a fixed code that is part of the encoding.

        A model of tokens says that a piece is unknown, not which it is. Its bits per byte of the text are
        (the nats of the tokens + unknown_nats) / (bytes log 2).

        Characters: each unknown one costs log(1,112,064 = number of Unicode scalar values).
        Words: each byte b costs -log((n_b + 1) / (n + 257)) and so does an end symbol after the last, where n_b counts byte b
        in the training text, the end symbol is counted once for each of its pieces, and n is the sum of all 257 counts.

        Args:
            data: the text.

        Returns:
            Nats; 0 at levels where nothing is unknown.

        Raises:
            InvalidInput: as `encode` does.

        >>> round(TextEncoding.fit("character", [b"abc"]).unknown_nats(b"abcd"), 3)
        13.922
        """
        return 0.0

    def parts(self, chunks: Iterable[bytes], start: int = 0) -> Iterator[bytes]:
        """Yield a text that comes in chunks, cut anywhere, in parts whose tokens one after another are those of the whole.

        Args:
            chunks: the text.
            start: position of its first byte, for errors.

        Raises:
            InvalidInput: naming the first byte that is not UTF-8, where it must be.

        >>> encoding = TextEncoding.fit("word", [b"one two"], minimum=1)
        >>> list(encoding.parts([b"One, t", b"wo, thr", b"ee"]))
        [b'One,', b' two,', b' three']
        """
        for position, part in recut(chunks, self._cut):
            if self.unicode:
                decoded(part, start + position)
            yield part

    def _cut(self, data: bytes) -> int:
        """Return a position, the later the better, at which a text that begins with `data` may be cut; 0 if there is none."""
        return len(data)

    # Made from a text

    @staticmethod
    def fit(
        level: str,
        chunks: Iterable[bytes] = (),
        *,
        vocabulary: int | None = None,
        minimum: int | None = None,
        words: str | None = None,
    ) -> "TextEncoding":
        r"""Return the encoding of a level, with the vocabulary of a training text where the level has one.

        Args:
            level: "word", "character", "subword", "byte" or "bit".
            chunks: the training text, cut anywhere.
            vocabulary: how many are known at most, the most frequent ones. Characters: all; words: 10,000; the unknown token
                comes besides. Subwords: 1,024, of which 256 are the bytes.
            minimum: words, characters: how often a known one occurs at least. Words between spaces, and characters: 1; other
                words: 2, so that a model learns when to expect an unknown one.
            words: words: "letters" (a run of letters, digits and apostrophes with the space before it; each other
                character for itself, with the space before it where it is visible), or "spaces" (whatever
                stands between whitespace, with the space before it; the end of a line; other whitespace): for text whose
                words are separated already.

        Raises:
            InvalidInput: if there is no such level, it has no such option, the vocabulary is too small, or the text is empty
                or not UTF-8 where it must be.

        >>> encoding = TextEncoding.fit("word", [b"a rose is a rose is a flower"], minimum=1)
        >>> encoding.vocabulary
        (' a', ' is', ' rose', ' flower', 'a')
        >>> encoding.encode(b"a rose, a flower")
        array([4, 2, 5, 0, 3], dtype=uint8)
        """
        cls = encoding_class(level)
        given = {"vocabulary": vocabulary, "minimum": minimum, "words": words}
        chosen = {name: value for name, value in given.items() if value is not None}
        for name, value in chosen.items():
            if name not in cls.accepts:
                raise InvalidInput(f"the level {level!r} takes no {name}=, got {value!r}: leave it out")
            if isinstance(value, int) and value < 1:
                raise InvalidInput(f"{name}= takes a number from 1, got {value}")
        return cls._fit(chunks, chosen)

    @classmethod
    @abstractmethod
    def _fit(cls, chunks: Iterable[bytes], options: dict[str, Any]) -> "TextEncoding": ...

    # JSON

    def to_json(self) -> dict[str, Any]:
        """Return the encoding as JSON-able values; `from_json` rebuilds it.

        >>> TextEncoding.fit("character", [b"abba"]).to_json()
        {'level': 'character', 'vocabulary': 'ab'}
        """
        return {"level": self.level, **{f.name: _lists(getattr(self, f.name)) for f in fields(cast(Any, self))}}

    @staticmethod
    def from_json(described: Any) -> "TextEncoding":
        """Rebuild an encoding from `to_json`'s values, which need not be trusted.

        Raises:
            InvalidInput: if they do not describe one.

        >>> TextEncoding.from_json({"level": "byte"})
        ByteEncoding(levels=256)
        """
        if not isinstance(described, dict):
            raise InvalidInput(f"not the description of an encoding, expected its level and fields: {str(described)[:200]}")
        cls = encoding_class(described.get("level"))
        values = {name: _tuples(value, 2) for name, value in described.items() if name != "level"}
        expected = {f.name for f in fields(cast(Any, cls))}
        if set(values) != expected:
            raise InvalidInput(
                f"the description of an encoding at level {cls.level!r} has {', '.join(values) or 'no fields'}, expected"
                f" {', '.join(sorted(expected)) or 'none'}: restore it"
            )
        return cls(**values)


def encoding_class(level: Any) -> type[TextEncoding]:
    """Return the class of a level's encodings.

    Raises:
        InvalidInput: if there is no such level.
    """
    if not isinstance(level, str) or level not in _ENCODINGS:
        raise InvalidInput(
            f"there is no level {str(level)[:50]!r}.{near_matches(str(level)[:50], _ENCODINGS)} Expected one of"
            f" {', '.join(sorted(_ENCODINGS))}"
        )
    return _ENCODINGS[level]


# JSON has lists where values, to be hashed, have tuples.


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _tuples(value: Any, depth: int) -> Any:
    return tuple(_tuples(item, depth - 1) for item in value) if depth and isinstance(value, list) else value
