"""The steps of a dilated stack with a readout on it, many in one call: the loop that `DilatedStack.step` is one turn of."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ancestral.layers.dilated_stack import DilatedStack, StackMemory
from ancestral.layers.fused import FusedSteps, choose_levels
from ancestral.layers.kernels import (
    HALVES,
    Array,
    Weights,
    add_product,
    array,
    compiled,
    copy,
    gate_rows,
    halves,
    padded,
    rectify,
)


class Network(NamedTuple):
    """Weights as the loop reads them, all (inputs, outputs), and the sizes that they do not tell.

    Those from taps to output are most of what a step reads. Where half precision holds all of them exactly, as it does those
    of the zoo, they are kept in it: the same numbers, in half the memory.

    Args:
        table: the embedding of each symbol, and of none, (levels + 1, channels).
        taps: of all layers, one below another, (layers * kernel * channels, 2 channels).
        residual: likewise, ((layers - 1) * channels, channels).
        skip: (layers * channels, skip).
        hidden: (skip, skip).
        output: (skip, parameters).
        skip_bias: (skip,).
        hidden_bias: (skip,).
        output_bias: (parameters,).
        local: (local features, layers * 2 channels).
        dilations: (layers,).
        kernel: taps of a convolution.
    """

    table: Array
    taps: Weights
    residual: Weights
    skip: Weights
    hidden: Weights
    output: Weights
    skip_bias: Array
    hidden_bias: Array
    output_bias: Array
    local: Array
    dilations: NDArray[np.int64]
    kernel: int


class Given(NamedTuple):
    """What steps read besides weights and values.

    Args:
        local: local features of each position, (n, positions, features); of no features where there are none.
        bias: what the gates begin with, (layers, n * 2 channels).
    """

    local: Array
    bias: Array


@compiled
def take_stack_steps(network: Network, given: Given, steps: FusedSteps, past: Array, first: int, last: int) -> None:
    """Take steps of the data from `first` to `last`: embed, go through the layers, read out, and choose values.

    Args:
        network: the weights.
        given: what is read besides.
        steps: what is chosen from, and where it is written.
        past: memory of the stack, (reach, n * channels); changed in place.
        first: the first of these data.
        last: the one after them.
    """
    table, local, dilations, kernel = network.table, network.local, network.dilations, network.kernel
    n, layers, c = last - first, len(dilations), table.shape[1]
    rows = padded(n)  # those beyond n stay zero
    x, tap, gated = np.zeros((rows, c), np.float32), np.zeros((rows, c), np.float32), np.zeros((rows, c), np.float32)
    gates, shift = np.zeros((rows, 2 * c), np.float32), np.zeros((rows, local.shape[1]), np.float32)
    features = np.zeros((rows, local.shape[0]), np.float32)
    y, h = np.zeros((rows, network.skip.shape[1]), np.float32), np.zeros((rows, network.hidden.shape[1]), np.float32)
    logits = np.zeros((rows, network.output.shape[1]), np.float32)
    sums = np.empty(logits.shape[1], np.float64)
    inputs, taps, begun = x.reshape(-1), tap.reshape(-1), gates.reshape(-1)
    for step in range(len(steps.is_given)):
        t = steps.t + step
        for b in range(n):
            copy(x[b], table[steps.previous[first + b]])
            copy(y[b], network.skip_bias)
            copy(h[b], network.hidden_bias)
            copy(logits[b], network.output_bias)
        if len(local) > 0:
            for b in range(n):
                copy(features[b], given.local[first + b, t])
            shift[:] = np.float32(0.0)
            add_product(shift, features, local)
        reach = 0
        for layer in range(layers):
            dilation, row = dilations[layer], layer * kernel * c
            size = (kernel - 1) * dilation
            oldest = past[reach + t % size, first * c : last * c]
            copy(begun, given.bias[layer, first * 2 * c : last * 2 * c])
            if len(local) > 0:
                for b in range(n):
                    for o in range(2 * c):
                        gates[b, o] += shift[b, layer * 2 * c + o]
            for j in range(kernel - 1):  # the oldest tap first
                copy(taps, past[reach + (t + j * dilation) % size, first * c : last * c])
                add_product(gates, tap, network.taps, row + j * c)
            add_product(gates, x, network.taps, row + (kernel - 1) * c)
            copy(oldest, inputs[: n * c])
            gate_rows(gated, gates)
            add_product(y, gated, network.skip, layer * c)
            if layer < layers - 1:
                add_product(x, gated, network.residual, layer * c)
            reach += size
        rectify(y)
        add_product(h, y, network.hidden)
        rectify(h)
        add_product(logits, h, network.output)
        choose_levels(steps, step, logits, first, last, sums)


def network_of(symbols: nn.Module, levels: int, stack: DilatedStack, hidden: nn.Linear, output: nn.Linear) -> Network:
    """Return the weights of a stack and of what is before and after it, in float32, on the CPU; copied where need be.

    Args:
        symbols: from whole numbers, 0 to `levels`, which stands for none, to embeddings.
        levels: values of an entry.
        stack: the stack.
        hidden: the layer after it, between two rectifiers.
        output: the layer that gives the raw parameters.
    """
    nothing = stack.bias.new_zeros(0, stack.bias.numel())
    products = [stack.weight.flatten(0, 1), stack.residual.reshape(-1, stack.channels), stack.skip_weight]
    whole: list[Array] = [array(w) for w in (*products, hidden.weight.T, output.weight.T)]
    shorter = [half for w in whole if HALVES and (half := halves(w)) is not None]
    # All or none: a loop is compiled for each type.
    weights: Sequence[Weights] = shorter if len(shorter) == len(whole) else whole
    taps, residual, skip, hidden_weight, output_weight = weights
    return Network(
        table=array(symbols(torch.arange(levels + 1))),
        taps=taps,
        residual=residual,
        skip=skip,
        hidden=hidden_weight,
        output=output_weight,
        skip_bias=array(stack.skip_bias),
        hidden_bias=array(hidden.bias),
        output_bias=array(output.bias),
        local=array(nothing if stack.local_weight is None else stack.local_weight),
        dilations=np.array(stack.dilations, np.int64),
        kernel=stack.kernel,
    )


def given_of(memory: StackMemory) -> Given:
    """Return what steps read of the memory of a stack, as the loop reads it."""
    local = memory.past.new_zeros(len(memory.past), 0, 0) if memory.local is None else memory.local
    return Given(local=array(local), bias=array(memory.bias.flatten(1)))


def past_of(memory: StackMemory) -> Array:
    """Return the past inputs in the memory of a stack as the loop reads and writes them, (reach, batch * channels).

    Raises:
        ValueError: if they do not lie so.
    """
    past = memory.past.transpose(0, 1)
    if not past.is_contiguous():
        raise ValueError("the memory of a stack holds its positions together")
    return past.flatten(1).numpy()
