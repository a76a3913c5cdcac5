"""The steps of a network that sums up what is known, many in one call: the loop that `DeepNADE.advance` is a turn of."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral.layers.fused import FusedSteps, choose_levels
from ancestral.layers.kernels import Array, add_product, compiled, copy, padded, rectify


class OrderlessNetwork(NamedTuple):
    """Weights as the loop reads them.

    Args:
        values: what the value of an entry adds to the first sums, times that value, (entries, widths[0]).
        marks: what it adds that the entry is known, (entries, widths[0]).
        weights: of the hidden layers after the first, (inputs, outputs) each, one after another, in one dimension.
        biases: of the same layers, one after another.
        widths: units of each hidden layer, (layers,).
        output: (entries, parameters, widths[-1]).
        output_bias: (entries, parameters).
        scaled: the value of each level as the network reads it, and NaN, (levels + 1,).
    """

    values: Array
    marks: Array
    weights: Array
    biases: Array
    widths: NDArray[np.int64]
    output: Array
    output_bias: Array
    scaled: Array


@compiled
def take_orderless_steps(
    network: OrderlessNetwork, sums: Array, entries: NDArray[np.int64], steps: FusedSteps, first: int, last: int
) -> None:
    """Take steps of the data from `first` to `last`: add what is known, go through the layers, and choose values.

    Args:
        network: the weights; hidden units are rectified.
        sums: the first sums, (n, widths[0]), of all but the entry before; changed in place.
        entries: the entry before, or -1, and that of each step, (1 + steps,).
        steps: what is chosen from, and where it is written.
        first: the first of these data.
        last: the one after them.
    """
    n, widths, parameters = last - first, network.widths, network.output.shape[1]
    rows = padded(n)  # those beyond n are of no meaning
    here, there = np.zeros(rows * widths.max(), np.float32), np.zeros(rows * widths.max(), np.float32)
    logits = np.zeros((rows, parameters), np.float32)
    cumulative = np.empty(max(parameters, 2), np.float64)
    for step in range(len(steps.is_given)):
        before, entry = entries[step], entries[step + 1]
        if before >= 0:
            marks, values = network.marks[before], network.values[before]
            for b in range(n):
                v, total = network.scaled[steps.previous[first + b]], sums[first + b]
                for o in range(len(total)):
                    total[o] += marks[o] + v * values[o]
        h = here[: rows * widths[0]].reshape(rows, widths[0])
        for b in range(n):
            copy(h[b], sums[first + b])
        rectify(h)
        weight, bias = 0, 0
        for layer in range(1, len(widths)):
            inputs, outputs = widths[layer - 1], widths[layer]
            y = there[: rows * outputs].reshape(rows, outputs)
            for b in range(rows):
                copy(y[b], network.biases[bias : bias + outputs])
            add_product(y, h, network.weights[weight : weight + inputs * outputs].reshape(inputs, outputs))
            rectify(y)
            weight, bias = weight + inputs * outputs, bias + outputs
            h = y
            here, there = there, here
        for b in range(n):
            for k in range(parameters):
                w, total = network.output[entry, k], h[b]
                logit = network.output_bias[entry, k]
                for o in range(len(w)):
                    logit += w[o] * total[o]
                logits[b, k] = logit
        choose_levels(steps, step, logits, first, last, cumulative)
