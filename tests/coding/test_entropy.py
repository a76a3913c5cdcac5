"""Entropy coding: what goes in comes out, in as many bytes as the frequencies say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancestral.coding import Damage
from ancestral.coding.entropy import Decoder, Symbols, encode
from ancestral.coding.frequencies import PRECISION, Integers, frequencies


def drawn(n: int, levels: int, seed: int, sharpness: float = 0.3) -> tuple[Symbols, Integers]:
    random = np.random.default_rng(seed)
    table = frequencies(np.log(random.dirichlet(np.full(levels, sharpness), n) + 1e-300), seed % 256)
    symbols = [random.choice(levels, p=row / 2.0**PRECISION) for row in table]
    return np.array(symbols, dtype=np.int32), table


def bits(symbols: Symbols, table: Integers) -> float:
    return float(-np.log2(table[np.arange(len(symbols)), symbols] / 2.0**PRECISION).sum())


@given(n=st.integers(1, 200), levels=st.sampled_from((2, 3, 17, 256)), seed=st.integers(0, 999))
def test_symbols_come_back_and_take_what_they_should(n: int, levels: int, seed: int) -> None:
    symbols, table = drawn(n, levels, seed)
    code = encode([(symbols, table)])
    decoder = Decoder(code)
    half = n // 2
    parts = [decoder.decode(table[:half]), decoder.decode(table[half:])]
    assert np.array_equal(np.concatenate(parts), symbols)
    assert len(code) <= bits(symbols, table) / 8 + 2


@given(seed=st.integers(0, 999))
def test_symbols_of_the_least_frequency_come_back(seed: int) -> None:
    """The coder's own arithmetic must be exact at the edges of every interval."""
    symbols, table = drawn(30, 256, seed, sharpness=0.01)
    symbols[:] = table.argmin(axis=1)
    assert np.array_equal(Decoder(encode([(symbols, table)])).decode(table), symbols)


@pytest.mark.parametrize("levels", [2, 256])
def test_the_coder_takes_the_frequencies_as_they_are(levels: int) -> None:
    """The first and last 24-bit number of each interval decodes to its symbol: nothing is rounded on the way."""
    _, table = drawn(20, levels, 1)
    for row in table:
        ends = np.cumsum(row)
        for symbol in range(levels):
            for number in (ends[symbol] - row[symbol], ends[symbol] - 1):
                code = (int(number) << 8).to_bytes(4) + bytes(4)
                assert Decoder(code).decode(row[None]).tolist() == [symbol]


def test_parts_may_differ_in_levels() -> None:
    first, second = drawn(5, 3, 0), drawn(7, 256, 1)
    decoder = Decoder(encode([first, second]))
    assert np.array_equal(decoder.decode(first[1]), first[0])
    assert np.array_equal(decoder.decode(second[1]), second[0])


def test_certain_symbols_take_no_bytes() -> None:
    table = frequencies(np.log(np.array([[1.0, 1e-300]] * 50)), 0)
    assert len(encode([(np.zeros(50, dtype=np.int32), table)])) == 0


def test_a_code_of_no_symbols_is_damaged() -> None:
    """The whole range is not given to symbols: the last number of all is of none."""
    _, table = drawn(50, 3, 2)
    with pytest.raises(Damage, match="no data"):
        Decoder(bytes([255] * 40)).decode(table)
