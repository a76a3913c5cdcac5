"""Loops over arrays that numba compiles where it is installed: products, gates and draws of one step."""

import importlib.util
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])
Array = NDArray[np.float32]
COMPILED = importlib.util.find_spec("numba") is not None
"""Whether loops are compiled: whether numba is installed, as by `pip install ancestral[fast]`."""
# NaN and infinity keep their meaning: a network that gives NaN is to be told from one that does not.
MATHEMATICS = {"reassoc", "contract", "nsz"}


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call, and keep the code; without numba leave it as it is."""
    if not COMPILED:
        return function
    import numba

    options: dict[str, Any] = {"fastmath": MATHEMATICS, "nogil": True, "error_model": "numpy"}
    try:
        made: F = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder to write to
        made = numba.njit(**options)(function)
    return made


@compiled
def add_product(y: Array, x: Array, row: int, w: Array, first: int, inputs: int) -> None:
    """Add to y, (n, outputs), the product of n rows of x from `row` and `inputs` rows of w, (..., outputs), from `first`.

    Columns of x are its first ones. Four inputs of four rows are taken at once, so that what is read is used more than once.

    Args:
        y: (n, outputs), changed in place.
        x: (rows, at least `inputs`).
        row: the row of x that belongs to the first one of y.
        w: (rows, outputs).
        first: its row that belongs to the first input.
        inputs: how many there are.
    """
    n, outputs = y.shape
    b = 0
    while b + 4 <= n:
        r, i = row + b, 0
        while i + 4 <= inputs:
            k = first + i
            a0, a1, a2, a3 = x[r, i], x[r, i + 1], x[r, i + 2], x[r, i + 3]
            b0, b1, b2, b3 = x[r + 1, i], x[r + 1, i + 1], x[r + 1, i + 2], x[r + 1, i + 3]
            c0, c1, c2, c3 = x[r + 2, i], x[r + 2, i + 1], x[r + 2, i + 2], x[r + 2, i + 3]
            d0, d1, d2, d3 = x[r + 3, i], x[r + 3, i + 1], x[r + 3, i + 2], x[r + 3, i + 3]
            for o in range(outputs):
                w0, w1, w2, w3 = w[k, o], w[k + 1, o], w[k + 2, o], w[k + 3, o]
                y[b, o] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
                y[b + 1, o] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
                y[b + 2, o] += c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3
                y[b + 3, o] += d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3
            i += 4
        while i < inputs:
            a0, b0, c0, d0 = x[r, i], x[r + 1, i], x[r + 2, i], x[r + 3, i]
            for o in range(outputs):
                w0 = w[first + i, o]
                y[b, o] += a0 * w0
                y[b + 1, o] += b0 * w0
                y[b + 2, o] += c0 * w0
                y[b + 3, o] += d0 * w0
            i += 1
        b += 4
    while b < n:
        r, i = row + b, 0
        while i + 8 <= inputs:
            k = first + i
            a0, a1, a2, a3 = x[r, i], x[r, i + 1], x[r, i + 2], x[r, i + 3]
            b0, b1, b2, b3 = x[r, i + 4], x[r, i + 5], x[r, i + 6], x[r, i + 7]
            for o in range(outputs):
                y[b, o] += (
                    (a0 * w[k, o] + a1 * w[k + 1, o]) + (a2 * w[k + 2, o] + a3 * w[k + 3, o])
                    + (b0 * w[k + 4, o] + b1 * w[k + 5, o]) + (b2 * w[k + 6, o] + b3 * w[k + 7, o])
                )  # fmt: skip
            i += 8
        while i < inputs:
            a0 = x[r, i]
            for o in range(outputs):
                y[b, o] += a0 * w[first + i, o]
            i += 1
        b += 1


_BOUND = np.float32(7.90531110763549805)
_A = tuple(
    np.float32(a)
    for a in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    )
)
_B = tuple(np.float32(b) for b in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06))


@compiled
def tanh(x: np.float32) -> np.float32:
    """Return the hyperbolic tangent to 3e-7, by a ratio of polynomials of degrees 13 and 6; NaN for NaN.

    A loop over it is computed several numbers at a time, which one over `math.tanh` is not.

    References:
        Eigen's ptanh (Jacob, Guennebaud et al.), https://gitlab.com/libeigen/eigen, for the coefficients.
    """
    x = _BOUND if x > _BOUND else x
    x = -_BOUND if x < -_BOUND else x
    s = x * x
    p = s * _A[6] + _A[5]
    p = s * p + _A[4]
    p = s * p + _A[3]
    p = s * p + _A[2]
    p = s * p + _A[1]
    p = s * p + _A[0]
    q = s * _B[3] + _B[2]
    q = s * q + _B[1]
    q = s * q + _B[0]
    return x * p / q


@compiled
def gate_rows(y: Array, column: int, a: Array) -> None:
    """Write tanh(u) (1 + tanh(v)) of the halves u and v of each row of a, (n, 2 c), into columns of y: see `layers.gates`."""
    n, c = a.shape[0], a.shape[1] // 2
    for b in range(n):
        for o in range(2 * c):
            a[b, o] = tanh(a[b, o])
        for o in range(c):
            y[b, column + o] = a[b, o] + a[b, o] * a[b, c + o]


@compiled
def rectify(y: Array) -> None:
    """Set what is below 0 to 0, in place; NaN stays."""
    for b in range(y.shape[0]):
        for o in range(y.shape[1]):
            v = y[b, o]
            y[b, o] = np.float32(0.0) if v < np.float32(0.0) else v


@compiled
def draw_level(logits: Array, b: int, noise: float, sums: NDArray[np.float64]) -> int:
    """Return the level that `noise` stands for under softmax(logits[b]), as `distributions.Categorical.from_noise` does.

    Args:
        logits: (n, levels).
        b: the row.
        noise: in [0, 1).
        sums: written to, (levels,).

    Returns:
        The first level whose cumulative probability is above the noise; the number of levels where logits are NaN.
    """
    levels = logits.shape[1]
    highest = logits[b, 0]
    for k in range(levels):
        highest = logits[b, k] if logits[b, k] > highest else highest
    total = 0.0
    for k in range(levels):
        total += math.exp(logits[b, k] - highest)
        sums[k] = total
    threshold = noise * total
    for k in range(levels):
        if sums[k] > threshold:
            return k
    return levels
