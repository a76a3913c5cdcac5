"""The stack: what goes in comes out in reverse, and what was never put in comes out too, and goes in again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancestral.coding import Damage
from ancestral.coding.stack import Stack
from tests.coding.test_entropy import bits, drawn


@given(n=st.integers(1, 200), levels=st.sampled_from((2, 3, 17, 256)), seed=st.integers(0, 999))
def test_what_is_pushed_is_popped_in_reverse_and_takes_what_it_should(n: int, levels: int, seed: int) -> None:
    first, second = drawn(n, levels, seed), drawn(7, 5, seed + 1)
    stack = Stack()
    stack.push(*first)
    stack.push(*second)
    code = stack.code()
    assert abs(stack.bits - bits(*first) - bits(*second)) <= 64 + 0.01 * n
    assert len(code) <= (bits(*first) + bits(*second)) / 8 + 0.01 * n + 4
    stack = Stack(code)
    assert np.array_equal(stack.pop(second[1]), second[0])
    assert np.array_equal(stack.pop(first[1]), first[0])
    assert stack.empty
    assert stack.code() == b""


@given(content=st.binary(max_size=60), n=st.integers(1, 60), levels=st.sampled_from((2, 17, 256)), seed=st.integers(0, 99))
def test_what_was_never_pushed_is_popped_and_pushed_again(content: bytes, n: int, levels: int, seed: int) -> None:
    """Also where the stack runs empty on the way."""
    stack, (_, table) = Stack(content.lstrip(b"\0")), drawn(n, levels, seed)
    symbols = stack.pop(table)
    stack.push(symbols, table)
    assert stack.code() == content.lstrip(b"\0")


def test_an_empty_stack_stays_empty() -> None:
    stack, (_, table) = Stack(), drawn(30, 5, 0)
    assert stack.pop(table).tolist() == [0] * 30
    assert stack.empty


@pytest.mark.parametrize("levels", [2, 256])
def test_the_coder_takes_the_frequencies_as_they_are(levels: int) -> None:
    """The first and last 24-bit number of each interval is its symbol's: nothing is rounded on the way."""
    _, table = drawn(20, levels, 1)
    for row in table:
        ends = np.cumsum(row)
        for symbol in range(levels):
            for number in (ends[symbol] - row[symbol], ends[symbol] - 1):
                assert Stack(int(number).to_bytes(3).lstrip(b"\0")).pop(row[None]).tolist() == [symbol]


def test_what_is_popped_from_noise_is_distributed_as_the_frequencies_say() -> None:
    stack = Stack(np.random.default_rng(0).bytes(8000))
    table = np.broadcast_to(np.array([[1, 2, 5]]) * 2**21, (20_000, 3))
    share = np.bincount(stack.pop(table), minlength=3) / 20_000
    assert np.abs(share - np.array([1, 2, 5]) / 8).max() < 0.015


def test_a_number_whose_highest_word_is_0_is_no_code() -> None:
    with pytest.raises(Damage, match="no code of a stack"):
        Stack(bytes(4) + b"rest")
