r"""From log-probabilities in float64 to integer frequencies that encoder and decoder agree on, whatever computed them.

The log-probabilities of one model differ from machine to machine, and from `forward` to `step`, by some error below
`TOLERANCE` nats. They are rounded to a grid of `GRID` steps to the nat, far coarser than that, and everything after is
integer arithmetic. Two machines could still round apart where a value lies within `TOLERANCE` of the boundary between two
cells of the grid. So the encoder looks for such values, and picks one of `SHIFTS` offsets of the grid that has none; the
offset is stored. What it costs is in docs/format.md.
"""

import functools
from decimal import Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = 256
"""Cells of the grid in a nat."""
SHIFTS = 256
"""Offsets of the grid to choose from, evenly spaced over a cell."""
TOLERANCE = 2.0**-34
"""Nats by which the log-probabilities of two machines may differ: 5.8e-11."""
PRECISION = 24
"""Frequencies add up to 2^PRECISION, as the entropy coder has it."""
MAX_LEVELS = 2**16
"""Values of an entry that can be coded."""

_SCALE = 28
"""The largest weight is 2^28, so that a weight times 2^PRECISION is exact in 64 bits."""
_LOWEST = -60.0
"""Log-probabilities are clamped here: 2^-PRECISION is -16.6, so that what is below has the least frequency."""
_BLOCK = 2**17
"""Elements worked on at once, which stay in the processor's cache."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@functools.cache
def weights() -> Integers:
    """Return round(2^28 exp(-d / GRID)) for d = 0, 1, 2, ..., up to the first that is 0.

    `decimal` rounds its exponential correctly, so that the table is the same everywhere; a test holds its digest.

    >>> weights()[[0, 256, -1]].tolist(), len(weights())
    ([268435456, 98751886, 0], 5147)
    """
    context = Context(prec=40)
    ratio = context.exp(context.divide(Decimal(-1), Decimal(GRID)))
    table, value = [], Decimal(2**_SCALE)
    while (rounded := int(value.to_integral_value())) > 0:
        table.append(rounded)
        value = context.multiply(value, ratio)
    return np.array([*table, 0], dtype=np.int64)


def unsafe_shifts(log_pmf: Floats) -> NDArray[np.bool_]:
    """Return which offsets of the grid put a value so close to a boundary that another machine may round it apart.

    Args:
        log_pmf: log-probabilities of all values, any shape, nats.

    Returns:
        (SHIFTS,).
    """
    unsafe = np.zeros(SHIFTS, dtype=bool)
    for block in _blocks(log_pmf.reshape(-1)):
        cells = np.maximum(block, _LOWEST) * GRID
        # With shift k a value x is put in cell floor(x + (k + 1/2) / SHIFTS): the boundary at hand is that of one k.
        place = (np.ceil(cells) - cells) * SHIFTS - 0.5
        nearest = np.rint(place)
        near = np.abs(place - nearest) <= TOLERANCE * GRID * SHIFTS
        unsafe[nearest[near].astype(np.int64) % SHIFTS] = True
    return unsafe


def frequencies(log_pmf: Floats, shift: int | Integers) -> Integers:
    r"""Return integer frequencies, at least 1 each, that add up to 2^PRECISION.

    With cells q_k = floor(GRID log p_k + (shift + 1/2) / SHIFTS) and weights w_k = 2^28 exp((q_k - max q) / GRID), rounded,
    f_k = 1 + floor(w_k (2^PRECISION - K) / sum_j w_j), and the first of the likeliest values takes what is left.

    Args:
        log_pmf: log-probabilities, (n, K), nats.
        shift: offset of the grid, from 0 to SHIFTS - 1: one, or one for each row, (n,).

    Returns:
        (n, K).

    >>> frequencies(np.log([[0.5, 0.25, 0.25]]), 0).tolist()
    [[8381306, 4197955, 4197955]]
    """
    out = np.empty(log_pmf.shape, dtype=np.int64)
    offsets = np.broadcast_to((np.asarray(shift) + 0.5) / SHIFTS, len(log_pmf))[:, None]
    rows = max(1, _BLOCK // log_pmf.shape[1])
    for start in range(0, len(log_pmf), rows):
        block = slice(start, start + rows)
        out[block] = _frequencies(log_pmf[block], offsets[block])
    return out


def _frequencies(log_pmf: Floats, offset: Floats) -> Integers:
    return of_cells(_cells(log_pmf, offset))


def cells_of(log_pmf: Floats, shift: int) -> Integers:
    """Return the cells that log-probabilities, (n, K), are in, with one offset of the grid, see `frequencies`; (n, K)."""
    return _cells(log_pmf, np.float64((shift + 0.5) / SHIFTS))


def _cells(log_pmf: Floats, offset: Floats | np.float64) -> Integers:
    cells: Integers = np.floor(np.maximum(log_pmf, _LOWEST) * GRID + offset).astype(np.int64)
    return cells


def of_cells(cells: Integers) -> Integers:
    """Return the integer frequencies of values whose log-probabilities are in given cells, see `frequencies`; (n, K)."""
    table, levels = weights(), cells.shape[1]
    likeliest = cells.argmax(axis=1)
    distance = np.take_along_axis(cells, likeliest[:, None], axis=1) - cells
    weight = table[np.minimum(distance, len(table) - 1)]
    out = 1 + weight * (2**PRECISION - levels) // weight.sum(axis=1, keepdims=True)
    out[np.arange(len(out)), likeliest] += 2**PRECISION - out.sum(axis=1)
    return out


def _blocks(flat: NDArray[Any]) -> list[NDArray[Any]]:
    return [flat[start : start + _BLOCK] for start in range(0, len(flat), _BLOCK)]
