"""Bits, bytes and characters: tokens that are the symbols of a text."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral.encoding.base import UNKNOWN, Numbers, TextEncoding, Tokens
from ancestral.encoding.chunks import decoded, recut, whole_characters
from ancestral.errors import InvalidInput

SCALAR_VALUES = 0x110000 - 0x800
"""Unicode scalar values: all code points but the surrogates, which no text holds."""


@dataclass(frozen=True, repr=False)
class ByteEncoding(TextEncoding):
    """A token is a byte.

    >>> ByteEncoding().encode(b"hi")
    array([104, 105], dtype=uint8)
    """

    level = "byte"

    @property
    def levels(self) -> int:
        return 256

    def encode(self, data: bytes) -> Tokens:
        return np.frombuffer(data, np.uint8).copy()  # torch warns of arrays that cannot be written

    def _decode(self, tokens: Numbers) -> bytes:
        return tokens.astype(np.uint8).tobytes()

    @classmethod
    def _fit(cls, chunks: Iterable[bytes], options: dict[str, Any]) -> "ByteEncoding":
        return cls()


@dataclass(frozen=True, repr=False)
class BitEncoding(TextEncoding):
    """A token is a bit; each byte is 8 of them, most significant first.

    >>> BitEncoding().decode([0, 1, 1, 0, 0, 0, 0, 1])
    b'a'
    """

    level = "bit"
    period = 8

    @property
    def levels(self) -> int:
        return 2

    def encode(self, data: bytes) -> Tokens:
        return np.unpackbits(np.frombuffer(data, np.uint8))

    def _decode(self, tokens: Numbers) -> bytes:
        if tokens.size % 8:
            raise InvalidInput(f"got {tokens.size} bits, expected whole bytes: decode a number of bits that 8 divides")
        return np.packbits(tokens.astype(np.uint8)).tobytes()

    @classmethod
    def _fit(cls, chunks: Iterable[bytes], options: dict[str, Any]) -> "BitEncoding":
        return cls()


@dataclass(frozen=True, repr=False)
class CharacterEncoding(TextEncoding):
    """A token is a Unicode character (code point), or one that is unknown.

    Args:
        vocabulary: the known characters; the place of each is its token.

    Raises:
        InvalidInput: if it is empty, or a character occurs twice or in no text.

    >>> CharacterEncoding("abc").encode(b"cabin")
    array([2, 0, 1, 3, 3], dtype=uint8)
    """

    vocabulary: str

    level = "character"
    accepts = ("vocabulary", "minimum")
    unicode = True

    def __post_init__(self) -> None:
        if not isinstance(self.vocabulary, str) or not self.vocabulary:
            raise InvalidInput(f"a vocabulary of characters is text of at least one, got {str(self.vocabulary)[:50]!r}")
        if len(set(self.vocabulary)) < len(self.vocabulary) or any("\ud800" <= c <= "\udfff" for c in self.vocabulary):
            raise InvalidInput("a vocabulary of characters holds one twice, or a surrogate, which no text holds: restore it")

    @property
    def levels(self) -> int:
        return len(self.vocabulary) + 1

    @property
    def unknown(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def _codes(self) -> NDArray[np.uint32]:
        """(levels,), the code point of each token."""
        return _code_points(self.vocabulary + UNKNOWN)

    @cached_property
    def _tokens(self) -> Tokens:
        """(largest known code point + 2,), the token of each code point."""
        known = self._codes[:-1]
        table = np.full(int(known.max()) + 2, self.unknown, self.dtype)
        table[known] = np.arange(len(known))
        return table

    def encode(self, data: bytes) -> Tokens:
        return self._tokens[np.minimum(_code_points(decoded(data)), len(self._tokens) - 1)]

    def _decode(self, tokens: Numbers) -> bytes:
        return self._codes[tokens].tobytes().decode("utf-32-le").encode()

    def unknown_pieces(self, data: bytes) -> list[bytes]:
        codes = _code_points(decoded(data))[self.encode(data) == self.unknown]
        return [chr(code).encode() for code in codes.tolist()]

    def unknown_nats(self, data: bytes) -> float:
        return int((self.encode(data) == self.unknown).sum()) * math.log(SCALAR_VALUES)

    def _cut(self, data: bytes) -> int:
        return whole_characters(data)

    @classmethod
    def _fit(cls, chunks: Iterable[bytes], options: dict[str, Any]) -> "CharacterEncoding":
        counts = np.zeros(0x110000, np.int64)
        for position, part in recut(chunks, whole_characters):
            counts += np.bincount(_code_points(decoded(part, position)), minlength=len(counts))
        found = np.flatnonzero(counts >= options.get("minimum", 1))
        if not found.size:
            raise InvalidInput("the text has no characters to make a vocabulary of: give a longer one, or pass level='byte'")
        # Stable, so that of equally frequent characters the first ones of Unicode are kept.
        kept = found[np.argsort(-counts[found], kind="stable")][: options.get("vocabulary")]
        return cls("".join(map(chr, np.sort(kept))))


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
