"""What loops that take many steps in one call have in common: what they choose from, and where they write it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral.layers.kernels import Array, compiled, copy, draw_bit, draw_level


class FusedSteps(NamedTuple):
    """Several steps of a batch.

    Args:
        t: the first position.
        previous: values before it, (n,): the number of levels where there is none; changed in place.
        values: of entries that are given, (n, steps); those of entries that are drawn are written into it.
        is_given: whether the entry of a step is, (steps,).
        noise: of the others, (n, steps), in [0, 1).
        scale: what logits are multiplied by before a draw: 1 / temperature.
        raw: raw parameters of each step, written to, (n, steps, parameters); of the last one alone where it has room for one.
    """

    t: int
    previous: NDArray[np.int64]
    values: NDArray[np.int64]
    is_given: NDArray[np.bool_]
    noise: NDArray[np.float64]
    scale: float
    raw: Array


@compiled
def choose_levels(steps: FusedSteps, step: int, logits: Array, first: int, last: int, sums: NDArray[np.float64]) -> None:
    """Take the given values of a step, or draw them, for the data from `first` to `last`.

    Args:
        steps: the steps; raw parameters, values and previous values are written into it.
        step: which of them.
        logits: of these data, (at least last - first, levels), or, of two levels, (at least last - first, 1) of the second;
            changed in place.
        first: the first of these data.
        last: the one after them.
        sums: written to, (levels,).
    """
    for datum in range(first, last):
        row = datum - first
        copy(steps.raw[datum, min(step, steps.raw.shape[1] - 1)], logits[row])
        if not steps.is_given[step]:
            for k in range(logits.shape[1]):
                logits[row, k] *= np.float32(steps.scale)
            noise = steps.noise[datum, step]
            if logits.shape[1] == 1:
                # A distribution that was sharpened is a table of two probabilities.
                steps.values[datum, step] = draw_bit(logits[row, 0], noise, steps.scale == 1.0)
            else:
                steps.values[datum, step] = draw_level(logits, row, noise, sums)
        steps.previous[datum] = steps.values[datum, step]
