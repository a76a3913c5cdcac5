"""A fully connected network and its mirror image: the two halves of an autoencoder."""

import itertools
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes


class MirroredMLP(nn.Module):
    r"""h_l = s(W_l h_{l-1} + b_l) up to the code h_L, and back, g_{l-1} = s(V_l g_l + c_l), g_L the code.

    Any run of layers is an autoencoder of its own, with the same parameters: what stacking one upon the other needs.

    Args:
        sizes: entries of the input, of each hidden layer, and of the code.
        activation: s, one of `ancestral.layers.mlp.ACTIVATIONS`.
        code_activation: s of the code; the same where empty.
        tied: let V_l be the transpose of W_l; otherwise it only starts so.

    Raises:
        InvalidInput: for an unknown activation or a size below 1.

    >>> network = MirroredMLP((6, 4, 2), "sigmoid")
    >>> code = network.encode(torch.zeros(3, 6))
    >>> code.shape, network.decode(code).shape, network.decode(code, start=1).shape
    (torch.Size([3, 2]), torch.Size([3, 6]), torch.Size([3, 4]))
    """

    def __init__(self, sizes: Sequence[int], activation: str, code_activation: str = "", tied: bool = True) -> None:
        super().__init__()
        check_sizes("an autoencoder", sizes)
        for what, name in {"activation": activation, "code activation": code_activation or activation}.items():
            check_choice(what, name, tuple(ACTIVATIONS))
        self.activation = ACTIVATIONS[activation]
        self.code_activation = ACTIVATIONS[code_activation or activation]
        self.layers = nn.ModuleList(nn.Linear(m, n) for m, n in itertools.pairwise(sizes))
        self.biases = nn.ParameterList(torch.zeros(m) for m in sizes[:-1])
        # A copy in the order of its own rows: saved and loaded again, a transposed layout would be another one, and round so.
        own = (self.layer(k).weight.detach().T.clone(memory_format=torch.contiguous_format) for k in range(len(self)))
        self.weights = None if tied else nn.ParameterList(own)

    def __len__(self) -> int:
        return len(self.layers)

    def layer(self, index: int) -> nn.Linear:
        """Return a layer of the encoder, counted from 0."""
        return cast(nn.Linear, self.layers[index])

    def act(self, layer: int, pre: Tensor) -> Tensor:
        """Return s(pre) with the s of a layer, counted from 0."""
        return self.code_activation(pre) if layer == len(self) - 1 else self.activation(pre)

    def encode(self, h: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Return the output of layers `start` to `stop` - 1, (batch, n), for the input of the first of them, (batch, m)."""
        for k in range(start, len(self) if stop is None else stop):
            h = self.act(k, self.layer(k)(h))
        return h

    def decode(self, h: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Return the input of layer `start`, (batch, m), from the output of layer `stop` - 1, (batch, n); before its s."""
        for k in reversed(range(start, len(self) if stop is None else stop)):
            weight = self.layer(k).weight.T if self.weights is None else self.weights[k]
            h = F.linear(h, weight, self.biases[k])
            h = self.activation(h) if k > start else h
        return h

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        """Return the parameters of a layer, counted from 0, and of its mirror image."""
        own = [*self.layer(layer).parameters(), self.biases[layer]]
        return own if self.weights is None else [*own, self.weights[layer]]
