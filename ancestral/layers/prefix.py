"""One hidden layer for each entry, whose pre-activations are the running sums that all entries share."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes

SHARED_BLOCK, DENSE_BLOCK = 32, 8


class PrefixNetwork(nn.Module):
    r"""a_d = c + sum_{k<d} x_k W_k, h_d = f(rho_d a_d), y_d = b_d + V_d h_d: all entries d in O(d * hidden).

    Entries are taken in blocks. The sum up to a block is carried from block to block; within a block it is a product
    with the block's inputs, so that nearly all work is in matrix products on pieces that stay in the processor's cache.

    An entry that is 0 leaves the sum as it is, and so the hidden layer: where most entries are 0, as in binary
    images, each distinct hidden layer is computed once and used for all entries that share it. That is done on a CPU
    and where no gradient is taken with respect to x.

    Args:
        inputs: entries d of x.
        hidden: units of each hidden layer.
        values: outputs of each entry.
        activation: f, one of `ACTIVATIONS`.
        scaled: whether there are factors rho_d, which start at 1.

    Raises:
        InvalidInput: for an unknown activation or a size below 1.

    >>> PrefixNetwork(5, 8, 3)(torch.zeros(2, 5)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(self, inputs: int, hidden: int, values: int = 1, activation: str = "sigmoid", scaled: bool = False) -> None:
        super().__init__()
        check_sizes("hidden", (hidden,))
        check_choice("activation", activation, tuple(ACTIVATIONS))
        self.activation = ACTIVATIONS[activation]
        bound_in, bound_out = 1.0 / math.sqrt(inputs), 1.0 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(inputs, hidden).uniform_(-bound_in, bound_in))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.scale = nn.Parameter(torch.ones(inputs)) if scaled else None
        self.output_weight = nn.Parameter(torch.empty(inputs, values, hidden).uniform_(-bound_out, bound_out))
        self.output_bias = nn.Parameter(torch.zeros(inputs, values))

    def start(self, n: int, shift: Tensor | None = None) -> Tensor:
        """Return the running sum before any entry, (n, hidden).

        Args:
            n: batch size.
            shift: added to c, (n, hidden).
        """
        return (self.bias if shift is None else self.bias + shift).expand(n, -1)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """Return y, (batch, inputs, values); y_d depends only on entries before d.

        Args:
            x: (batch, inputs).
            shift: added to c, (batch, hidden), for a condition.
        """
        a = self.start(len(x), shift)  # (b, h)
        values = self.output_weight.shape[1]
        shared = values == 1 and self.scale is None and not x.requires_grad and x.device.type == "cpu"
        size = SHARED_BLOCK if shared else DENSE_BLOCK
        outputs = []
        # Splitting the parameters once costs one gradient each; slices would cost one of full size for every block.
        weights, heads = self.weight.split(size), self.output_weight.split(size)
        scales = self.scale.split(size) if self.scale is not None else [None] * len(weights)
        for block, weight, head, scale in zip(x.split(size, dim=1), weights, heads, scales, strict=True):
            if shared:
                outputs.append(self._shared(a, block, weight, head[:, 0])[..., None])
            else:
                outputs.append(self._dense(a, block, weight, head, scale))
            a = torch.addmm(a, block, weight)
        return torch.cat(outputs, dim=1) + self.output_bias

    def _shared(self, a: Tensor, x: Tensor, weight: Tensor, head: Tensor) -> Tensor:
        n, size = x.shape
        # A row is one hidden layer of one datum: it begins with the block, and anew after each entry that is not 0.
        fresh = torch.ones(n, size, dtype=torch.bool)
        fresh[:, 1:] = x[:, :-1] != 0
        begin = fresh.flatten().nonzero()[:, 0]
        datum, place = begin // size, begin % size
        columns = torch.arange(size)
        before = x.index_select(0, datum) * (columns < place[:, None])  # (rows, size)
        h = self.activation(torch.addmm(a.index_select(0, datum), before, weight))  # (rows, h)
        row = fresh.flatten().cumsum(0) - 1
        # Most of these products are not asked for; even so they take less time than the sums they replace.
        return F.linear(h, head).flatten().index_select(0, row * size + columns.repeat(n)).view(n, size)

    def _dense(self, a: Tensor, x: Tensor, weight: Tensor, head: Tensor, scale: Tensor | None) -> Tensor:
        n, size = x.shape
        earlier = torch.ones(size, size, dtype=x.dtype, device=x.device).tril(-1)
        before = earlier[:, None] * x  # (size, b, size)
        sums = (before.flatten(0, 1) @ weight).view(size, n, -1) + a  # (size, b, h)
        h = self.activation(sums if scale is None else sums * scale[:, None, None])
        return torch.bmm(h, head.mT).transpose(0, 1)  # (b, size, p)

    def step(self, a: Tensor, t: int, previous: Tensor | None) -> Tensor:
        """Take in the value of entry t - 1 and return y_t.

        Args:
            a: running sum before entry t - 1, (batch, hidden); the entry is added to it in place.
            t: entry, from 0.
            previous: value of entry t - 1, (batch,); None at entry 0.

        Returns:
            y_t, (batch, values).
        """
        if previous is not None:
            a.addcmul_(previous[:, None], self.weight[t - 1])
        h = self.activation(a if self.scale is None else a * self.scale[t])
        return F.linear(h, self.output_weight[t], self.output_bias[t])
