"""Distributions of symbols as a model gives them, rounded so that encoder and decoder agree, and their symbols on a stack."""

import math

import numpy as np

from ancestral.coding.entropy import Symbols
from ancestral.coding.frequencies import PRECISION, SHIFTS, Floats, Integers, frequencies, unsafe_shifts
from ancestral.coding.stack import Stack

_RARE = 2**6
"""Frequency of each offset of the grid but the first, which hardly ever is unsafe."""


class NoOffsetError(Exception):
    """No offset of the grid is safe for what is to be coded."""


class Conditional:
    """Distributions of symbols, one each, that follow from numbers; these are rounded to the grid of `coding.frequencies`.

    `push` and `pop` are the inverse of each other, and so are `take` and `give_back`, which draw symbols from what is on the
    stack. All of them leave on the stack, or find there, which offset of the grid was safe.

    Args:
        values: the numbers, (n, width).
    """

    def __init__(self, values: Floats) -> None:
        self.values = values

    @property
    def bits(self) -> float:
        """Bits that a symbol takes where all are alike."""
        raise NotImplementedError

    def on_stack(self, stack: Stack, symbols: Symbols, shift: int) -> None:
        """Push symbols, (n,), with an offset of the grid."""
        raise NotImplementedError

    def off_stack(self, stack: Stack, shift: int) -> Symbols:
        """Pop symbols, (n,), with an offset of the grid."""
        raise NotImplementedError

    def likeliest(self) -> Symbols:
        """Return a symbol for each distribution, about the likeliest, (n,)."""
        raise NotImplementedError

    @property
    def shift(self) -> int:
        """The first offset of the grid that is safe.

        Raises:
            NoOffsetError: if there is none.
        """
        unsafe = unsafe_shifts(self.values)
        if unsafe.all():
            raise NoOffsetError
        return int(unsafe.argmin())

    def push(self, stack: Stack, symbols: Symbols) -> None:
        """Push symbols, (n,)."""
        shift = self.shift
        self.on_stack(stack, symbols, shift)
        push_offset(stack, shift)

    def pop(self, stack: Stack) -> Symbols:
        """Pop what `push` pushed."""
        return self.off_stack(stack, pop_offset(stack))

    def take(self, stack: Stack) -> Symbols:
        """Draw symbols, (n,), by popping them."""
        shift = self.shift
        symbols = self.off_stack(stack, shift)
        push_offset(stack, shift)
        return symbols

    def give_back(self, stack: Stack, symbols: Symbols) -> None:
        """Push what `take` popped."""
        self.on_stack(stack, symbols, pop_offset(stack))


class Table(Conditional):
    """Distributions given by the log-probabilities of all values of a symbol.

    Args:
        values: log-probabilities, (n, K), nats.
    """

    @property
    def bits(self) -> float:
        return math.log2(self.values.shape[1])

    def on_stack(self, stack: Stack, symbols: Symbols, shift: int) -> None:
        stack.push(symbols, frequencies(self.values, shift))

    def off_stack(self, stack: Stack, shift: int) -> Symbols:
        return stack.pop(frequencies(self.values, shift))

    def likeliest(self) -> Symbols:
        return self.values.argmax(axis=1).astype(np.int32)


def push_offset(stack: Stack, shift: int) -> None:
    """Push an offset of the grid."""
    stack.push(np.array([shift], dtype=np.int32), _offsets())


def pop_offset(stack: Stack) -> int:
    """Pop an offset of the grid."""
    return int(stack.pop(_offsets())[0])


def _offsets() -> Integers:
    out = np.full((1, SHIFTS), _RARE)
    out[0, 0] = 2**PRECISION - (SHIFTS - 1) * _RARE
    return out
