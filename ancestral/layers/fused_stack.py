"""The steps of a dilated stack with a readout on it, many in one call: the loop that `DilatedStack.step` is one turn of."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ancestral.layers.dilated_stack import DilatedStack, StackMemory
from ancestral.layers.kernels import HALVES, Array, add_product, compiled, copy, draw_level, gate_rows, halves, rectify

Weights = Array | NDArray[np.uint16]
"""In single precision, or the bits of half precision."""


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
    """What the steps of a call read.

    Args:
        values: of entries that are given, (steps, n).
        is_given: whether the entry of a step is, (steps,).
        noise: of the others, (steps, n), in [0, 1).
        local: local features of each position, (positions, n * features).
        bias: what the gates begin with, (layers, n * 2 channels).
        scale: what logits are multiplied by before a draw: 1 / temperature.
    """

    values: NDArray[np.int64]
    is_given: NDArray[np.bool_]
    noise: NDArray[np.float64]
    local: Array
    bias: Array
    scale: float


@compiled
def take_steps(network: Network, given: Given, past: Array, previous: NDArray[np.int64], t: int, raw: Array) -> None:
    """Take steps from position t on: embed, go through the layers, read out, and take the given value or draw one.

    Args:
        network: the weights.
        given: what is chosen from; the values of entries that are drawn are written into it.
        past: memory of the stack, (reach, n * channels); changed in place.
        previous: values before the first step, (n,); changed in place.
        t: the first position.
        raw: raw parameters of each step, (steps, n, parameters); of the last one alone where it has room for one.
    """
    table, local, dilations, kernel = network.table, network.local, network.dilations, network.kernel
    steps, n = given.values.shape
    layers, c = len(dilations), table.shape[1]
    rows = n if n < 3 else -(-n // 4) * 4  # `add_product` takes four at once: those beyond n stay zero
    x, tap, gated = np.zeros((rows, c), np.float32), np.zeros((rows, c), np.float32), np.zeros((rows, c), np.float32)
    gates, shift = np.zeros((rows, 2 * c), np.float32), np.zeros((rows, local.shape[1]), np.float32)
    features = np.zeros((rows, local.shape[0]), np.float32)
    y, h = np.zeros((rows, network.skip.shape[1]), np.float32), np.zeros((rows, network.hidden.shape[1]), np.float32)
    logits = np.zeros((rows, network.output.shape[1]), np.float32)
    sums = np.empty(logits.shape[1], np.float64)
    inputs, taps, begun, here = x.reshape(-1), tap.reshape(-1), gates.reshape(-1), features.reshape(-1)
    for step in range(steps):
        for b in range(n):
            copy(x[b], table[previous[b]])
            copy(y[b], network.skip_bias)
            copy(h[b], network.hidden_bias)
            copy(logits[b], network.output_bias)
        if len(local) > 0:
            copy(here, given.local[t + step])
            shift[:] = np.float32(0.0)
            add_product(shift, features, local)
        reach = 0
        for layer in range(layers):
            dilation, first = dilations[layer], layer * kernel * c
            size = (kernel - 1) * dilation
            oldest = past[reach + (t + step) % size]
            copy(begun, given.bias[layer])
            if len(local) > 0:
                for b in range(n):
                    for o in range(2 * c):
                        gates[b, o] += shift[b, layer * 2 * c + o]
            for j in range(kernel - 1):  # the oldest tap first
                copy(taps, past[reach + (t + step + j * dilation) % size])
                add_product(gates, tap, network.taps, first + j * c)
            add_product(gates, x, network.taps, first + (kernel - 1) * c)
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
        raw[min(step, len(raw) - 1)] = logits[:n]
        for b in range(n):
            if not given.is_given[step]:
                for k in range(logits.shape[1]):
                    logits[b, k] *= np.float32(given.scale)
                given.values[step, b] = draw_level(logits, b, given.noise[step, b], sums)
            previous[b] = given.values[step, b]


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
    whole: list[Array] = [_array(w) for w in (*products, hidden.weight.T, output.weight.T)]
    shorter = [half for w in whole if HALVES and (half := halves(w)) is not None]
    # All or none: a loop is compiled for each type.
    weights: Sequence[Weights] = shorter if len(shorter) == len(whole) else whole
    taps, residual, skip, hidden_weight, output_weight = weights
    return Network(
        table=_array(symbols(torch.arange(levels + 1))),
        taps=taps,
        residual=residual,
        skip=skip,
        hidden=hidden_weight,
        output=output_weight,
        skip_bias=_array(stack.skip_bias),
        hidden_bias=_array(hidden.bias),
        output_bias=_array(output.bias),
        local=_array(nothing if stack.local_weight is None else stack.local_weight),
        dilations=np.array(stack.dilations, np.int64),
        kernel=stack.kernel,
    )


def take_stack_steps(
    network: Network,
    memory: StackMemory,
    previous: Tensor,
    t: int,
    values: Tensor,
    is_given: list[bool],
    noise: Tensor | None,
    temperature: float = 1.0,
    *,
    keep: bool = True,
) -> Tensor:
    """Take steps in one call, from and to what `DilatedStack.step` would find and leave in its memory.

    Args:
        network: from `network_of`.
        memory: of the stack; changed in place.
        previous: value before the first step, (batch,): `levels` where there is none.
        t: the position of the first step.
        values: of the entries, (steps, batch), whole numbers; those that are drawn are written into it.
        is_given: whether the entry of each step is given, (steps,).
        noise: uniform noise of each entry, (steps, batch); None where all are given.
        temperature: what logits are divided by before a draw.
        keep: whether raw parameters of all steps are returned, or of the last alone.

    Returns:
        Raw parameters, (steps, batch, parameters), or (1, batch, parameters).
    """
    steps, n = values.shape
    past = memory.past.transpose(0, 1)
    if not past.is_contiguous():
        raise ValueError("the memory of a stack holds its positions together")
    local = past.new_zeros(0, 0) if memory.local is None else memory.local.transpose(0, 1).flatten(1)
    given = Given(
        values=values.numpy(),
        is_given=np.array(is_given, np.bool_),
        noise=np.zeros((steps, n)) if noise is None else _array(noise.double()),
        local=_array(local),
        bias=_array(memory.bias.flatten(1)),
        scale=1.0 / temperature,
    )
    raw = np.empty((steps if keep else 1, n, network.output.shape[1]), np.float32)
    take_steps(network, given, past.flatten(1).numpy(), previous.numpy().copy(), t, raw)
    return torch.from_numpy(raw)


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().contiguous().numpy()
