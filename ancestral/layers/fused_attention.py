"""The steps of blocks of attention with a readout on them, many in one call: the loop that `Block.step` is one turn of."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ancestral.layers.attention import KeyValueMemory
from ancestral.layers.fused import FusedSteps, choose_levels
from ancestral.layers.int8 import LARGEST, Int8Linear
from ancestral.layers.kernels import (
    HALVES,
    Array,
    Weights,
    add_product,
    array,
    compiled,
    copy,
    exp_of_negative,
    gelu_rows,
    halves,
    norm_rows,
    padded,
)

TINY, LARGEST_NUMBER = np.float32(torch.finfo(torch.float32).tiny), np.float32(LARGEST)


class Linear(NamedTuple):
    """Linear layers of one shape, without biases.

    Args:
        weight: of all layers, one below another, (layers * inputs, outputs).
        scale: what sums of products of whole numbers are multiplied by, besides the scale of their row, (layers, outputs); of
            no outputs where the weights are no whole numbers.
    """

    weight: Weights
    scale: Array


class Network(NamedTuple):
    """Weights as the loop reads them, and the sizes that they do not tell.

    Args:
        table: the embedding of each symbol, and of none, (levels + 1, width).
        inputs: to queries, keys and values.
        mix: from the values that the heads gather.
        expand: to the hidden units.
        reduce: from the hidden units.
        output: to raw parameters.
        output_bias: (parameters,).
        attention_norm: factors of the norms before attention, (layers, width).
        hidden_norm: of those before hidden units, (layers, width).
        norm: of the one after all blocks, (width,).
        heads: heads of each block's attention.
    """

    table: Array
    inputs: Linear
    mix: Linear
    expand: Linear
    reduce: Linear
    output: Linear
    output_bias: Array
    attention_norm: Array
    hidden_norm: Array
    norm: Array
    heads: int


class Given(NamedTuple):
    """What steps read besides weights and values.

    Args:
        shift: what is added to the embeddings of each datum, (n, width); none where there is no condition.
        places: what is added to them at each step, (steps, width); none where positions are rotary.
        cos: cosines of rotary positions, (steps, features // 2); of no features where positions are learned.
        sin: sines likewise.
        slots: of each step and block, (steps, layers, 4): where its key is kept, below 0 for nowhere, and where those are that
            it attends to: from, to and by.
        layout: of each block, (layers, 3): where in memory its keys and its values begin, and how many of a head are kept.
    """

    shift: Array
    places: Array
    cos: Array
    sin: Array
    slots: NDArray[np.int64]
    layout: NDArray[np.int64]


@compiled
def add_linear(y: Array, x: Array, linear: Linear, layer: int) -> None:
    """Add to y, (n, outputs), what a linear layer gives of x, (n, inputs); see `Int8Linear` for whole numbers."""
    n, inputs = x.shape
    if linear.scale.shape[1] == 0:
        add_product(y, x, linear.weight, layer * inputs)
        return
    rounded, sums, scales = np.empty_like(x), np.zeros_like(y), np.empty(n, np.float32)
    for b in range(n):
        largest = TINY
        for i in range(inputs):
            largest = max(largest, abs(x[b, i]))
        scales[b] = largest / LARGEST_NUMBER
        for i in range(inputs):
            rounded[b, i] = np.rint(x[b, i] / scales[b])
    add_product(sums, rounded, linear.weight, layer * inputs)
    for b in range(n):
        for o in range(y.shape[1]):
            y[b, o] += sums[b, o] * (scales[b] * linear.scale[layer, o])


@compiled
def turn(x: Array, first: int, cos: Array, sin: Array) -> None:
    """Rotate the features of x, (features,), from `first` on, as `layers.attention.rotate` does; of no angles, leave them."""
    half = len(cos)
    for i in range(half):
        u, v = x[first + i], x[first + half + i]
        x[first + i] = u * cos[i] - v * sin[i]
        x[first + half + i] = u * sin[i] + v * cos[i]


@compiled
def attend(y: Array, qkv: Array, keys: Array, values: Array, slots: NDArray[np.int64], scores: Array) -> None:
    """Keep the key and the value of a position, and gather in each head the values that it attends to.

    Args:
        y: what is gathered, written to, (width,).
        qkv: its query, key and value, rotated, (3 width,).
        keys: that are kept, (heads, kept, features); changed in place.
        values: likewise.
        slots: as in `Given`, (4,).
        scores: written to, (at least kept,).
    """
    heads, _, features = keys.shape
    width = heads * features
    factor = np.float32(1.0) / np.sqrt(np.float32(features))
    place, begin, end, by = slots
    for head in range(heads):
        first = head * features
        if place >= 0:
            copy(keys[head, place], qkv[width + first : width + first + features])
            copy(values[head, place], qkv[2 * width + first : 2 * width + first + features])
        query, gathered = qkv[first : first + features], y[first : first + features]
        gathered[:] = np.float32(0.0)
        count, highest = 0, np.float32(-np.inf)
        for k in range(0, len(range(begin, end, by)) - 3, 4):  # four keys at once, so that sums do not wait for each other
            s = begin + k * by
            key, second, third, fourth = keys[head, s], keys[head, s + by], keys[head, s + 2 * by], keys[head, s + 3 * by]
            a, b, c, d = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for i in range(features):
                a += query[i] * key[i]
                b += query[i] * second[i]
                c += query[i] * third[i]
                d += query[i] * fourth[i]
            scores[k], scores[k + 1], scores[k + 2], scores[k + 3] = a * factor, b * factor, c * factor, d * factor
            count = k + 4
        for s in range(begin + count * by, end, by):
            key, a = keys[head, s], np.float32(0.0)
            for i in range(features):
                a += query[i] * key[i]
            scores[count] = a * factor
            count += 1
        for k in range(count):
            highest = scores[k] if scores[k] > highest else highest
        total = np.float32(0.0)
        for k in range(count):
            scores[k] = exp_of_negative(scores[k] - highest)
        for k in range(count):
            total += scores[k]
        for k in range(count):
            scores[k] /= total
        k = 0
        while k + 4 <= count:
            s = begin + k * by
            value, second, third, fourth = (
                values[head, s],
                values[head, s + by],
                values[head, s + 2 * by],
                values[head, s + 3 * by],
            )
            a, b, c, d = scores[k], scores[k + 1], scores[k + 2], scores[k + 3]
            for i in range(features):
                gathered[i] = gathered[i] + a * value[i] + b * second[i] + c * third[i] + d * fourth[i]
            k += 4
        while k < count:
            value = values[head, begin + k * by]
            for i in range(features):
                gathered[i] += scores[k] * value[i]
            k += 1


@compiled
def take_attention_steps(network: Network, given: Given, steps: FusedSteps, past: Array, first: int, last: int) -> None:
    """Take steps of the data from `first` to `last`: embed, go through the blocks, read out, and choose values.

    Args:
        network: the weights.
        given: what is read besides.
        steps: what is chosen from, and where it is written.
        past: keys and values of all data, in one row; changed in place.
        first: the first of these data.
        last: the one after them.
    """
    n, heads, width = last - first, network.heads, network.table.shape[1]
    features = width // heads
    rows = padded(n)  # those beyond n stay zero
    x, normed = np.zeros((rows, width), np.float32), np.zeros((rows, width), np.float32)
    qkv, gathered = np.zeros((rows, 3 * width), np.float32), np.zeros((rows, width), np.float32)
    hidden = np.zeros((rows, network.expand.weight.shape[1]), np.float32)
    logits = np.zeros((rows, len(network.output_bias)), np.float32)
    scores, sums = np.empty(given.layout[:, 2].max(), np.float32), np.empty(logits.shape[1], np.float64)
    for step in range(len(steps.is_given)):
        for b in range(n):
            copy(x[b], network.table[steps.previous[first + b]])
            copy(logits[b], network.output_bias)
            if len(given.shift) > 0:
                for i in range(width):
                    x[b, i] += given.shift[first + b, i]
            if len(given.places) > 0:
                for i in range(width):
                    x[b, i] += given.places[step, i]
        for layer in range(len(given.layout)):
            begin_keys, begin_values, kept = given.layout[layer]
            size = heads * kept * features  # of one datum
            norm_rows(normed, x, network.attention_norm[layer])
            qkv[:] = np.float32(0.0)
            add_linear(qkv, normed, network.inputs, layer)
            for b in range(n):
                for part in range(2 * heads):  # queries and keys
                    turn(qkv[b], part * features, given.cos[step], given.sin[step])
                at, to = begin_keys + (first + b) * size, begin_values + (first + b) * size
                keys = past[at : at + size].reshape(heads, kept, features)
                values = past[to : to + size].reshape(heads, kept, features)
                attend(gathered[b], qkv[b], keys, values, given.slots[step, layer], scores)
            add_linear(x, gathered, network.mix, layer)
            norm_rows(normed, x, network.hidden_norm[layer])
            hidden[:] = np.float32(0.0)
            add_linear(hidden, normed, network.expand, layer)
            gelu_rows(hidden)
            add_linear(x, hidden, network.reduce, layer)
        norm_rows(normed, x, network.norm)
        add_linear(logits, normed, network.output, 0)
        choose_levels(steps, step, logits, first, last, sums)


def linear_of(layers: Sequence[nn.Linear | Int8Linear | Tensor]) -> Linear:
    """Return linear layers of one shape, or their weights, (outputs, inputs), as the loop reads them.

    They are copied, in half precision where it holds all of them exactly: the same numbers, in half the memory.
    """
    joined = array(torch.cat([(layer if isinstance(layer, Tensor) else layer.weight).T for layer in layers]))
    whole = [layer for layer in layers if isinstance(layer, Int8Linear)]
    if whole:
        return Linear(joined, array(torch.stack([layer.scale for layer in whole])))
    half = halves(joined) if HALVES else None
    return Linear(joined if half is None else half, np.zeros((len(layers), 0), np.float32))


def together(memories: Sequence[KeyValueMemory]) -> tuple[Tensor, NDArray[np.int64]]:
    """Put the keys and values of several blocks into one tensor, of which they are views from then on.

    Returns:
        The tensor, (numbers,), and for each block where its keys and its values begin, and how many of a head are kept.
    """
    tensors = [tensor for memory in memories for tensor in (memory.keys, memory.values)]
    past = torch.cat([tensor.flatten() for tensor in tensors])
    views = [part.view_as(tensor) for part, tensor in zip(past.split([t.numel() for t in tensors]), tensors, strict=True)]
    starts = np.cumsum([0, *(t.numel() for t in tensors)])
    for memory, keys, values in zip(memories, views[::2], views[1::2], strict=True):
        memory.keys, memory.values = keys, values
    kept = [memory.keys.shape[2] for memory in memories]
    return past, np.stack([starts[:-1:2], starts[1::2], kept], axis=1)


def slots_of(memories: Sequence[KeyValueMemory], begin: int, stop: int) -> NDArray[np.int64]:
    """Return of each step from `begin` to `stop` and each block what `Given.slots` says, (steps, layers, 4)."""
    slots = np.empty((stop - begin, len(memories), 4), np.int64)
    for layer, memory in enumerate(memories):
        for t in range(begin, stop):
            place, seen = memory.places.slots(t)
            slots[t - begin, layer] = (-1 if place is None else place, *seen.indices(memory.keys.shape[2]))
    return slots
