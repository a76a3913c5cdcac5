"""Entropy coding of symbols with given integer frequencies, by the range coder of `constriction`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from ancestral.coding import Damage
from ancestral.coding.frequencies import Integers

Symbols = NDArray[np.int32]
Parameters = NDArray[np.float32]
_WORD = 4
"""Bytes of a word of the range coder."""


def coder_model() -> Any:
    """Return what tells the coder to take frequencies as `as_parameters` gives them."""
    return stream.model.Categorical(perfect=False)


def as_parameters(frequencies: Integers) -> Parameters:
    """Return frequencies, (n, K), as the coder takes them."""
    # The coder gives each value 1, and divides the rest in proportion to its parameters. Parameters that add up to that
    # rest are taken as they are: all of its arithmetic is then on whole numbers below 2^24, which float32 holds exactly.
    return (frequencies - 1).astype(np.float32)


def encode(parts: Sequence[tuple[Symbols, Integers]]) -> bytes:
    """Return the code of symbols, as short as it decodes.

    Args:
        parts: symbols, (n,), from 0 to K - 1, and the frequencies of their values, (n, K), as `frequencies.frequencies`
            gives them; parts may differ in K.
    """
    encoder = stream.queue.RangeEncoder()
    prepared = [(symbols, as_parameters(frequencies)) for symbols, frequencies in parts]
    for symbols, parameters in prepared:
        encoder.encode(symbols, coder_model(), parameters)
    # Most significant byte first, so that the last bytes count least.
    return _shortest(encoder.get_compressed().astype(">u4").tobytes(), prepared)


def _shortest(code: bytes, parts: Sequence[tuple[Symbols, Parameters]]) -> bytes:
    # The coder ends with whole words that say more than is needed: any number in its last interval would do. Try to do
    # without bytes, with what is left rounded down or up.
    for length in range(max(0, len(code) - 2 * _WORD), len(code)):
        for shorter in (code[:length], _successor(code[:length])):
            if shorter is not None and _decodes(shorter, parts):
                return shorter
    return code


def _successor(code: bytes) -> bytes | None:
    value = int.from_bytes(code) + 1
    return value.to_bytes(len(code)) if value.bit_length() <= 8 * len(code) else None


def _decodes(code: bytes, parts: Sequence[tuple[Symbols, Parameters]]) -> bool:
    decoder = Decoder(code)
    try:
        return all(np.array_equal(decoder.decode_parameters(parameters), symbols) for symbols, parameters in parts)
    except Damage:
        return False


class Decoder:
    """Reads symbols back, some at a time.

    Args:
        code: from `encode`; anything else decodes too, to symbols of no meaning, or is found to be damaged.

    >>> even = np.full((3, 4), 2**22)
    >>> Decoder(encode([(np.array([3, 0, 2], dtype=np.int32), even)])).decode(even).tolist()
    [3, 0, 2]
    """

    def __init__(self, code: bytes) -> None:
        padded = code + bytes(-len(code) % _WORD)
        self._decoder = stream.queue.RangeDecoder(np.frombuffer(padded, dtype=">u4").astype(np.uint32))
        self._family = coder_model()

    def decode(self, frequencies: Integers) -> Symbols:
        """Return the next symbols, (n,), given the frequencies of their values, (n, K).

        Raises:
            Damage: if the code is of no symbols under these frequencies.
        """
        return self.decode_parameters(as_parameters(frequencies))

    def decode_parameters(self, parameters: Parameters) -> Symbols:
        """Do as `decode`, given the frequencies as the coder takes them."""
        try:
            symbols: Symbols = self._decoder.decode(self._family, parameters)
        except (AssertionError, ValueError) as error:  # what the coder raises
            raise Damage("the code is of no data under this model") from error
        return symbols
