"""The steps of gated layers along a row of an image, many in one call: the loop that `GatedLayerSteps.pixel` is a turn of."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral.layers.fused import FusedSteps, choose_levels
from ancestral.layers.kernels import Array, add_product, compiled, copy, gate_rows, padded, rectify

Places = NDArray[np.int64]


class RowNetwork(NamedTuple):
    """Weights as the loop reads them, and the sizes that they do not tell.

    Args:
        weights: all matrices, (inputs, outputs), one after another, in one dimension; what follows are places in it.
        image: of the first horizontal convolution, for each group g of its c_g features, (groups,).
        inputs: of the horizontal convolution of each layer, with 2 c_g outputs, (layers, groups).
        outputs: of what each layer adds, with the bias as its last row, (layers, groups).
        skip: of what all layers add to the output, one layer below another, (groups,); (0,) where there is no such connection.
        hidden: of the first layer of the readout, (groups,).
        output: of the second, (groups,).
        hidden_bias: (hidden features,).
        output_bias: (groups, parameters).
        edges: features at which groups begin, and their number, (groups + 1,).
        hidden_edges: the same of the hidden features of the readout.
        scaled: the value of each level as the network reads it, and NaN, (levels + 1,).
        image_taps: pixels that the first convolution reads.
        taps: pixels that the others read.
    """

    weights: Array
    image: Places
    inputs: Places
    outputs: Places
    skip: Places
    hidden: Places
    output: Places
    hidden_bias: Array
    output_bias: Array
    edges: Places
    hidden_edges: Places
    scaled: Array
    image_taps: int
    taps: int


class RowMemory(NamedTuple):
    """What is known along a row; all but bias and context are written to.

    Args:
        image: the row itself, after zeros, (n, zeros + width, groups).
        features: what each layer reads, after zeros, and the last features, (layers + 1, n, zeros + width, features).
        context: what comes from the rows above and the condition, (layers, width, n, 2 features); of each group u, then v.
        gated: gated features of a pixel, and 1, (n, layers, features + 1).
        total: features of a pixel that the layers add to the output, (n, features).
        hidden: hidden features of the readout, (n, hidden features).
        bias: what the first features begin with, (width, n or 1, features).
    """

    image: Array
    features: Array
    context: Array
    gated: Array
    total: Array
    hidden: Array
    bias: Array


@compiled
def matrix(weights: Array, place: int, inputs: int, outputs: int) -> Array:
    """Return a matrix, (inputs, outputs), that begins at a place."""
    return weights[place : place + inputs * outputs].reshape(inputs, outputs)


@compiled
def take_row_steps(network: RowNetwork, memory: RowMemory, steps: FusedSteps, begin: int, first: int, last: int) -> None:
    """Take steps along a row, of the data from `first` to `last`: layer after layer, then read out and choose values.

    Args:
        network: the weights.
        memory: of the row.
        steps: what is chosen from, and where it is written.
        begin: the first entry of the row.
        first: the first of these data.
        last: the one after them.
    """
    weights, taps = network.weights, network.taps
    layers, groups, features = network.inputs.shape[0], len(network.image), memory.features.shape[3]
    units, parameters = memory.hidden.shape[1], network.output_bias.shape[1]
    n = last - first
    rows = padded(n)  # those beyond n stay zero
    x = np.zeros((rows, network.image_taps * groups), np.float32)
    window = np.zeros((rows, taps * features), np.float32)
    gated, read = np.zeros((rows, features + 1), np.float32), np.zeros((rows, features), np.float32)
    hidden, logits = np.zeros((rows, units), np.float32), np.zeros((rows, parameters), np.float32)
    sums = np.empty(max(parameters, 2), np.float64)
    for step in range(len(steps.is_given)):
        j, g = (begin + step) // groups, (begin + step) % groups
        low, high = network.edges[g], network.edges[g + 1]
        c, pixel = high - low, taps - 1 + j
        h, total = np.zeros((rows, c), np.float32), np.zeros((rows, c), np.float32)
        gates, passed = np.zeros((rows, 2 * c), np.float32), np.zeros((rows, c), np.float32)
        for b in range(n):
            copy(x[b], memory.image[first + b].reshape(-1)[j * groups : (j + network.image_taps) * groups])
            copy(h[b], memory.bias[j, min(first + b, memory.bias.shape[1] - 1), low:high])
        add_product(h, x, matrix(weights, network.image[g], x.shape[1], c))
        for b in range(n):
            copy(memory.features[0, first + b, pixel, low:high], h[b])
        for layer in range(layers):
            for b in range(n):
                copy(gates[b], memory.context[layer, j, first + b, 2 * low : 2 * high])
                copy(window[b], memory.features[layer, first + b].reshape(-1)[j * features : (j + taps) * features])
                copy(h[b], memory.features[layer, first + b, pixel, low:high])
            add_product(gates, window, matrix(weights, network.inputs[layer, g], window.shape[1], 2 * c))
            gate_rows(passed, gates)
            for b in range(n):
                copy(memory.gated[first + b, layer, low:high], passed[b])
                copy(gated[b], memory.gated[first + b, layer])
            add_product(h, gated, matrix(weights, network.outputs[layer, g], features + 1, c))
            if len(network.skip) > 0:
                add_product(total, gated, matrix(weights, network.skip[g], layers * (features + 1), c), layer * (features + 1))
            for b in range(n):
                copy(memory.features[layer + 1, first + b, pixel, low:high], h[b])
        for b in range(n):
            if len(network.skip) > 0:
                copy(memory.total[first + b, low:high], total[b])
                copy(read[b], memory.total[first + b])
            else:
                copy(read[b], memory.features[layers, first + b, pixel])
            copy(logits[b], network.output_bias[g])
        rectify(read)
        low, high = network.hidden_edges[g], network.hidden_edges[g + 1]
        inner = np.zeros((rows, high - low), np.float32)
        for b in range(n):
            copy(inner[b], network.hidden_bias[low:high])
        add_product(inner, read, matrix(weights, network.hidden[g], features, high - low))
        rectify(inner)
        for b in range(n):
            copy(memory.hidden[first + b, low:high], inner[b])
            copy(hidden[b], memory.hidden[first + b])
        add_product(logits, hidden, matrix(weights, network.output[g], units, parameters))
        choose_levels(steps, step, logits, first, last, sums)
        if step + 1 < len(steps.is_given):
            for b in range(n):
                memory.image[first + b, network.image_taps - 1 + j, g] = network.scaled[steps.previous[first + b]]
