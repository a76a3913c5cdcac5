"""Entropy coding on a stack: what is pushed last is popped first, by the asymmetric numeral systems of `constriction`."""

import numpy as np
from constriction import stream

from ancestral.coding import Damage
from ancestral.coding.entropy import Symbols, as_parameters, coder_model
from ancestral.coding.frequencies import Integers

_WORD = 4
"""Bytes of a word of the coder."""


class Stack:
    r"""One number, of any length, that symbols are put into and taken out of.

    To push a symbol of frequency f, out of 2^24, adds log2(2^24 / f) bits to it; to pop one takes as many away. Each undoes
    the other exactly, also where symbols are popped that were never pushed: so any content can be read as symbols, which are
    then distributed as their frequencies say. An empty stack is the number 0; it stays empty where symbols are popped.

    Args:
        code: what `code` returned; empty for an empty stack.

    Raises:
        Damage: if it is no code of a stack.

    References:
        Asymmetric numeral systems (Duda, 2009), https://arxiv.org/abs/0902.0271.

    >>> even = np.full((3, 4), 2**22)
    >>> stack = Stack()
    >>> stack.push(np.array([3, 0, 2], dtype=np.int32), even)
    >>> Stack(stack.code()).pop(even).tolist()
    [3, 0, 2]
    """

    def __init__(self, code: bytes = b"") -> None:
        padded = bytes(-len(code) % _WORD) + code
        words = np.frombuffer(padded, dtype=">u4")[::-1].astype(np.uint32)
        try:
            self._coder = stream.stack.AnsCoder(words)
        except ValueError as error:  # its highest word is 0
            raise Damage("no code of a stack") from error
        self._family = coder_model()

    @property
    def bits(self) -> int:
        """Length of the number, about."""
        return int(self._coder.num_valid_bits())

    @property
    def empty(self) -> bool:
        """Whether the number is 0."""
        return bool(self._coder.is_empty())

    def push(self, symbols: Symbols, frequencies: Integers) -> None:
        """Put symbols, (n,), of given frequencies, (n, K), on the stack, the last one first: `pop` gives them in order."""
        self._coder.encode_reverse(symbols, self._family, as_parameters(frequencies))

    def pop(self, frequencies: Integers) -> Symbols:
        """Take symbols, (n,), of given frequencies, (n, K), from the stack."""
        symbols: Symbols = self._coder.decode(self._family, as_parameters(frequencies))
        return symbols

    def code(self) -> bytes:
        """Return the number, most significant byte first, in as few bytes as it takes."""
        words = self._coder.get_compressed()
        return bytes(words[::-1].astype(">u4").tobytes().lstrip(b"\0"))
