r"""Gaussians on a grid of points as integer frequencies that encoder and decoder agree on, whatever computed them.

The mean m and the logarithm of the deviation s are rounded to cells of the grid of `coding.frequencies`, with one of its
offsets for which no value is near the boundary of a cell. From there on there are whole numbers only: what is at a distance u
of the mean gets the weight exp(-u^2 / 2 s^2), whose exponent is a whole number squared times one out of a table.

A Gaussian is drawn from `WINDOW` runs of points around its mean, of 1, 2, 4 or 8 points each, by how wide it is; the points of
a run are alike. A window of single points would be too small for wide Gaussians, and one of all points would, with frequencies
of at least 1, now and then draw a point that is far from a narrow one.
"""

import functools
from decimal import Context, Decimal

import numpy as np

from ancestral.coding import Damage
from ancestral.coding.conditional import Conditional
from ancestral.coding.entropy import Symbols
from ancestral.coding.frequencies import GRID, PRECISION, Floats, Integers, cells_of, of_cells
from ancestral.coding.stack import Stack

POINTS = 1024
"""Points z_j = (2 j - POINTS + 1) / 2 FINENESS, for j = 0, 1, ..., POINTS - 1."""
FINENESS = 64
"""Points in a unit: they reach from -8 to 8."""
WINDOW = 128
"""Runs of points that a Gaussian is drawn from."""

_FARTHEST = POINTS // (2 * FINENESS)
"""Means are clamped to this on either side."""
_NARROWEST, _WIDEST = -5, 1
"""Log deviations are clamped to these: exp(-5) is 0.43 of the distance between points."""
_WIDER = np.array([-354, -177, 0])
"""Cells of log deviations, about those of 1/4, 1/2 and 1, from which on runs are of 2, 4 and 8 points: an eighth of a
deviation at most. So a window reaches four deviations at least on either side, and that of the prior all points."""
_SCALE = 24
"""Coefficients are whole numbers of 2^-24: the largest has 28 bits, and is multiplied by numbers of 27."""


def points() -> Floats:
    """Return the points, (POINTS,), which are exact in floats."""
    out: Floats = (2.0 * np.arange(POINTS) - (POINTS - 1)) / (2 * FINENESS)
    return out


@functools.cache
def coefficients() -> Integers:
    """Return what a square of half a cell adds to an exponent, in units of 2^-_SCALE cells, by the cell of the log deviation.

    The middle of cell c is log s = (2 c + 1) / 2 GRID. A distance of u halves of a cell is u / 2 GRID, with the exponent, in
    cells, GRID (u / 2 GRID)^2 / 2 s^2 = u^2 exp(-(2 c + 1) / GRID) / 8 GRID. `decimal` rounds correctly, the same everywhere.
    """
    context = Context(prec=40)
    unit = context.divide(Decimal(2**_SCALE), Decimal(8 * GRID))
    rounded = [
        int(context.multiply(unit, context.exp(context.divide(Decimal(-(2 * c + 1)), Decimal(GRID)))).to_integral_value())
        for c in range(_NARROWEST * GRID, _WIDEST * GRID + 2)
    ]
    return np.array(rounded, dtype=np.int64)


class Gaussians(Conditional):
    """Gaussians over the points; symbols are numbers of points.

    Args:
        mean: (n,).
        log_scale: logarithms of the deviations, (n,).

    >>> stack = Stack(bytes(range(1, 30)))
    >>> q = Gaussians(np.array([0.0, 1.0]), np.array([0.0, -3.0]))
    >>> drawn = points()[q.take(stack)]
    >>> bool(abs(drawn[1] - 1.0) < 0.5)
    True
    """

    def __init__(self, mean: Floats, log_scale: Floats) -> None:
        bounded = np.clip(mean, -_FARTHEST, _FARTHEST), np.clip(log_scale, _NARROWEST, _WIDEST)
        super().__init__(np.stack(bounded, axis=1))

    @property
    def bits(self) -> float:
        return float(np.log2(POINTS))

    def runs(self, shift: int) -> tuple[Integers, Integers, Integers]:
        """Return the frequencies of the runs, (n, WINDOW), the first point of each window, and the points of its runs, (n,).

        Args:
            shift: offset of the grid.
        """
        # Rows are often alike, such as those of a standard normal prior.
        cells, rows = np.unique(cells_of(self.values, shift), axis=0, return_inverse=True)
        mean, log_scale = cells.T
        length = 2 ** np.searchsorted(_WIDER, log_scale, side="right")
        per_point = GRID // FINENESS  # cells of a mean
        begin = (mean + _FARTHEST * GRID) // per_point - WINDOW // 2 * length
        begin = np.clip(begin, 0, POINTS - WINDOW * length)
        # In halves of a cell: a point is a whole number of them, and the middle of the cell of the mean an odd one.
        middle = 2 * (begin[:, None] + length[:, None] * np.arange(WINDOW)) + length[:, None] - POINTS
        distance = per_point * middle - (2 * mean[:, None] + 1)
        exponent = (distance**2 * coefficients()[log_scale - _NARROWEST * GRID][:, None]) >> _SCALE
        rows = rows.reshape(-1)
        return of_cells(-exponent)[rows], begin[rows], length[rows]

    def on_stack(self, stack: Stack, symbols: Symbols, shift: int) -> None:
        table, begin, length = self.runs(shift)
        run, within = np.divmod(symbols - begin, length)
        if not ((run >= 0) & (run < WINDOW)).all():
            raise Damage("a point that no Gaussian was drawn as")
        for many in (2, 4, 8):
            rows = length == many
            stack.push(within[rows].astype(np.int32), _even(int(rows.sum()), many))
        stack.push(run.astype(np.int32), table)

    def off_stack(self, stack: Stack, shift: int) -> Symbols:
        table, begin, length = self.runs(shift)
        symbols = begin + stack.pop(table) * length
        for many in (8, 4, 2):
            rows = length == many
            symbols[rows] += stack.pop(_even(int(rows.sum()), many))
        return symbols.astype(np.int32)

    def likeliest(self) -> Symbols:
        table, begin, length = self.runs(self.shift)
        return (begin + table.argmax(axis=1) * length + length // 2).astype(np.int32)


def _even(n: int, values: int) -> Integers:
    return np.full((n, values), 2**PRECISION // values)
