"""Text as whole numbers: how bytes become tokens, and tokens bytes again, at five levels; and documents as counts of words."""

from ancestral.encoding.bag import BagOfWords
from ancestral.encoding.base import TextEncoding
from ancestral.encoding.chunks import safe_cut
from ancestral.encoding.pieces import SubwordEncoding, WordEncoding
from ancestral.encoding.symbols import BitEncoding, ByteEncoding, CharacterEncoding

__all__ = [
    "BagOfWords",
    "BitEncoding",
    "ByteEncoding",
    "CharacterEncoding",
    "SubwordEncoding",
    "TextEncoding",
    "WordEncoding",
    "safe_cut",
]
