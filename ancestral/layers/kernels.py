"""Loops over arrays that numba compiles where it is installed: products, gates and draws of one step."""

import importlib.util
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])
Array = NDArray[np.float32]
Weights = Array | NDArray[np.uint16] | NDArray[np.int8]
"""In single precision, the bits of half precision, or whole numbers."""
COMPILED = importlib.util.find_spec("numba") is not None
"""Whether loops are compiled: whether numba is installed, as by `pip install ancestral[fast]`."""
# NaN and infinity keep their meaning: a network that gives NaN is to be told from one that does not.
MATHEMATICS = {"reassoc", "contract", "nsz"}


def _reads_halves() -> bool:
    """Return whether compiled code turns numbers of 16 bits into such of 32 by an instruction of this machine."""
    if not COMPILED:
        return False
    import llvmlite.binding
    import numba

    config: Any = numba.config
    ours = not (config.CPU_NAME or config.CPU_FEATURES)  # code for another processor may lack the instruction
    return ours and bool(llvmlite.binding.get_host_cpu_features().get("f16c", False))


HALVES = _reads_halves()
"""Whether a product takes weights of half precision, as the bits of `halves`."""


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call, and keep the code; without numba leave it as it is.

    Arrays that it is given must not overlap where it changes one: loops are then compiled without looking whether they do,
    which takes as long as a short loop does.
    """
    if not COMPILED:
        return function
    import numba
    from numba.core.compiler import Compiler

    class Apart(Compiler):
        def define_pipelines(self) -> Any:
            if hasattr(self.state.flags, "noalias"):  # no public option: a release without it looks for overlaps
                self.state.flags.noalias = True
            return super().define_pipelines()  # type: ignore[no-untyped-call]

    options: dict[str, Any] = {"fastmath": MATHEMATICS, "nogil": True, "error_model": "numpy", "pipeline_class": Apart}
    try:
        made: F = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder to write to
        made = numba.njit(**options)(function)
    return made


def _make_widen() -> Any:
    if not COMPILED:
        return lambda x: x
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def widen(_: Any, x: Any) -> Any:
        def number(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            (bits,) = arguments
            if x == types.int8:
                return builder.sitofp(bits, ir.FloatType())
            return bits if x == types.float32 else builder.fpext(builder.bitcast(bits, ir.HalfType()), ir.FloatType())

        return types.float32(x), number

    made: Any = widen
    return made


widen = _make_widen()
"""In compiled code: the number of 32 bits that is a weight, that the 16 bits of a half stand for, or that is whole."""


def halves(w: Array) -> NDArray[np.uint16] | None:
    """Return the bits of the same numbers in half precision, where it holds all of them exactly; None where not.

    >>> halves(np.array([1.0, 0.1], np.float32)) is None
    True
    """
    with np.errstate(all="ignore"):
        half = w.astype(np.float16)
    return half.view(np.uint16) if np.array_equal(half, w) else None


def array(tensor: Tensor) -> NDArray[Any]:
    """Return the numbers of a tensor on the CPU, in the order of its axes; copied where need be."""
    return tensor.detach().contiguous().numpy()


@compiled
def copy(y: Array, x: Array) -> None:
    """Copy x into the first entries of y."""
    for o in range(len(x)):
        y[o] = x[o]


@compiled
def padded(n: int) -> int:
    """Return how many rows to give n data: `add_product` takes four at once, and rows of zeros cost less than single ones."""
    return n if n < 3 else -(-n // 4) * 4


BLOCK = 2**16
"""Weights that a product takes at once, so that they are still near when it comes to further rows."""


@compiled
def add_product(y: Array, x: Array, w: Weights, first: int = 0) -> None:
    """Add to y the product of x and of as many rows of w, from `first`, as x has columns.

    Four inputs, of four rows if there are so many, are taken at once, so that what is read is used more than once.

    Args:
        y: (n, outputs), changed in place.
        x: (n, inputs).
        w: (rows, outputs); `halves` of it do as well where there are HALVES, and so do whole numbers.
        first: its row that belongs to the first input.
    """
    n, outputs = y.shape
    inputs = x.shape[1]
    block = max(4, inputs if n < 8 else BLOCK // outputs // 4 * 4)
    for begin in range(0, inputs, block):
        end = min(begin + block, inputs)
        b = 0
        while b + 4 <= n:
            i = begin
            while i + 4 <= end:
                k = first + i
                a0, a1, a2, a3 = x[b, i], x[b, i + 1], x[b, i + 2], x[b, i + 3]
                b0, b1, b2, b3 = x[b + 1, i], x[b + 1, i + 1], x[b + 1, i + 2], x[b + 1, i + 3]
                c0, c1, c2, c3 = x[b + 2, i], x[b + 2, i + 1], x[b + 2, i + 2], x[b + 2, i + 3]
                d0, d1, d2, d3 = x[b + 3, i], x[b + 3, i + 1], x[b + 3, i + 2], x[b + 3, i + 3]
                for o in range(outputs):
                    w0, w1, w2, w3 = widen(w[k, o]), widen(w[k + 1, o]), widen(w[k + 2, o]), widen(w[k + 3, o])
                    y[b, o] = y[b, o] + a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
                    y[b + 1, o] = y[b + 1, o] + b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
                    y[b + 2, o] = y[b + 2, o] + c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3
                    y[b + 3, o] = y[b + 3, o] + d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3
                i += 4
            while i < end:
                a0, b0, c0, d0 = x[b, i], x[b + 1, i], x[b + 2, i], x[b + 3, i]
                for o in range(outputs):
                    w0 = widen(w[first + i, o])
                    y[b, o] += a0 * w0
                    y[b + 1, o] += b0 * w0
                    y[b + 2, o] += c0 * w0
                    y[b + 3, o] += d0 * w0
                i += 1
            b += 4
        while b < n:
            i = begin
            while i + 4 <= end:
                k = first + i
                a0, a1, a2, a3 = x[b, i], x[b, i + 1], x[b, i + 2], x[b, i + 3]
                for o in range(outputs):
                    w0, w1, w2, w3 = widen(w[k, o]), widen(w[k + 1, o]), widen(w[k + 2, o]), widen(w[k + 3, o])
                    y[b, o] = y[b, o] + a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
                i += 4
            while i < end:
                a0 = x[b, i]
                for o in range(outputs):
                    y[b, o] += a0 * widen(w[first + i, o])
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
def ratio(x: np.float32, bound: np.float32, above: tuple[np.float32, ...], below: tuple[np.float32, ...]) -> np.float32:
    """Return x A(x^2) / B(x^2) of polynomials A and B, constant terms first, for x brought to -bound, ..., bound; NaN for NaN.

    A loop over it is computed several numbers at a time, which one over a function of `math` is not.

    References:
        Eigen's ptanh and generic_fast_erf (Jacob, Guennebaud et al.), https://gitlab.com/libeigen/eigen, for the coefficients.
    """
    x = bound if x > bound else x
    x = -bound if x < -bound else x
    s = x * x
    p, q = above[len(above) - 1], below[len(below) - 1]
    for k in range(len(above) - 2, -1, -1):
        p = s * p + above[k]
    for k in range(len(below) - 2, -1, -1):
        q = s * q + below[k]
    return x * p / q


@compiled
def tanh(x: np.float32) -> np.float32:
    """Return the hyperbolic tangent to 3e-7, by a ratio of polynomials of degrees 13 and 6."""
    return ratio(x, _BOUND, _A, _B)


@compiled
def gate_rows(y: Array, a: Array) -> None:
    """Write tanh(u) (1 + tanh(v)) of the halves u and v of each row of a, (n, 2 c), into y, (n, c): see `layers.gates`."""
    n, c = y.shape
    for b in range(n):
        for o in range(2 * c):
            a[b, o] = tanh(a[b, o])
        for o in range(c):
            y[b, o] = a[b, o] + a[b, o] * a[b, c + o]


_ERF_BOUND = np.float32(4.0)
_ERF_A = tuple(
    np.float32(a)
    for a in (
        -1.60960333262415e-02,
        -2.95459980854025e-03,
        -7.34990630326855e-04,
        -5.69250639462346e-05,
        -2.10102402082508e-06,
        2.77068142495902e-08,
        -2.72614225801306e-10,
    )
)
_ERF_B = tuple(
    np.float32(b)
    for b in (
        -1.42647390514189e-02,
        -7.37332916720468e-03,
        -1.68282697438203e-03,
        -2.13374055278905e-04,
        -1.45660718464996e-05,
    )
)


@compiled
def erf(x: np.float32) -> np.float32:
    """Return the error function to 5e-7, by a ratio of polynomials of degrees 13 and 8."""
    return ratio(x, _ERF_BOUND, _ERF_A, _ERF_B)


@compiled
def gelu_rows(y: Array) -> None:
    """Multiply each number of y, (n, features), by the chance that a normal one is below it, in place: `F.gelu`."""
    for b in range(y.shape[0]):
        for o in range(y.shape[1]):
            v = y[b, o]
            y[b, o] = np.float32(0.5) * v * (np.float32(1.0) + erf(v * np.float32(0.7071067811865476)))


@compiled
def norm_rows(y: Array, x: Array, weight: Array) -> None:
    """Write the rows of x, (n, features), less their mean, over their deviation and times weight, (features,), into y."""
    n, features = x.shape
    for b in range(n):
        mean = np.float32(0.0)
        for i in range(features):
            mean += x[b, i]
        mean /= np.float32(features)
        square = np.float32(0.0)
        for i in range(features):
            square += (x[b, i] - mean) * (x[b, i] - mean)
        scale = np.float32(1.0) / np.sqrt(square / np.float32(features) + np.float32(1e-5))
        for i in range(features):
            y[b, i] = (x[b, i] - mean) * scale * weight[i]


@compiled
def rectify(y: Array) -> None:
    """Set what is below 0 to 0, in place; NaN stays."""
    for b in range(y.shape[0]):
        for o in range(y.shape[1]):
            v = y[b, o]
            y[b, o] = np.float32(0.0) if v < np.float32(0.0) else v


@compiled
def exp_of_negative(x: float) -> float:
    """Return exp(x) of x <= 0 as the power 256 of a polynomial that is exp(x / 256): to 1e-9, and 0 below -80; NaN for NaN.

    A loop over it is computed several numbers at a time, which one over `math.exp` is not.
    """
    s = np.float64(x) / 256.0
    p = 1.0 + s * (1.0 + s * (1 / 2 + s * (1 / 6 + s * (1 / 24 + s * (1 / 120 + s / 720)))))
    p *= p  # exp(x / 128)
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    return 0.0 if x < -80.0 else p


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
    for k in range(levels):
        sums[k] = exp_of_negative(logits[b, k] - highest)
    for k in range(1, levels):
        sums[k] += sums[k - 1]
    threshold = noise * sums[levels - 1]
    level = 0
    for k in range(levels):
        level += not sums[k] > threshold
    return level


@compiled
def draw_bit(logit: float, noise: float, below: bool) -> int:
    """Return the value that `noise` stands for where 1 has probability sigmoid(logit); 2 for NaN.

    Args:
        logit: of the value 1.
        noise: in [0, 1).
        below: whether noise below its probability stands for 1, as in `distributions.Bernoulli.from_noise`, or noise
            above that of 0, as in `distributions.Categorical.from_noise`.
    """
    if logit != logit:
        return 2
    one = 1.0 / (1.0 + np.exp(-np.float64(logit)))
    return int(noise < one) if below else int(noise >= 1.0 - one)
