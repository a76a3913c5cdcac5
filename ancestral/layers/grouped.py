"""Fully connected networks of one shape side by side, each with weights of its own."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes


class GroupedMLP(nn.Module):
    r"""y_k = MLP_k(x_k) for k = 1, ..., K: a layer of all networks is one product of batches of matrices.

    Each starts as an `MLP` of these sizes does, and takes a condition as it does.

    Args:
        members: K, networks.
        inputs: entries of x_k.
        hidden: units of each hidden layer of one network; none makes it linear.
        outputs: entries of y_k.
        activation: nonlinearity, one of `layers.mlp.ACTIVATIONS`.
        condition: the condition's event, or None.

    Raises:
        InvalidInput: for an unknown activation or a size below 1.

    >>> network = GroupedMLP(5, 4, (8, 8), 3)
    >>> network(torch.zeros(2, 4)).shape, network.member(1, torch.zeros(2, 4)).shape
    (torch.Size([5, 2, 3]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        activation: str = "relu",
        condition: Event | None = None,
    ) -> None:
        super().__init__()
        check_choice("activation", activation, tuple(ACTIVATIONS))
        sizes = (inputs, *hidden, outputs)
        check_sizes("networks side by side", (members, *sizes))
        self.activation = ACTIVATIONS[activation]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for m, n in itertools.pairwise(sizes):
            reach = 1.0 / math.sqrt(m)
            self.weights.append(torch.empty(members, m, n).uniform_(-reach, reach))
            self.biases.append(torch.empty(members, 1, n).uniform_(-reach, reach))
        self.embedding = ConditionEmbedding(condition, members * sizes[1]) if condition is not None else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return y of all networks.

        Args:
            x: what all are given, (batch, inputs), or each of them, (members, batch, inputs).
            condition: (batch, *condition.shape), where there is one.

        Returns:
            (members, batch, outputs).
        """
        return self._run(x, condition, slice(None))

    def member(self, k: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return y of network `k` alone, (batch, outputs), for x, (batch, inputs), and the condition."""
        return self._run(x, condition, slice(k, k + 1))[0]

    def _run(self, x: Tensor, condition: Tensor | None, chosen: slice) -> Tensor:
        weights = [weight[chosen] for weight in self.weights]
        h = x.expand(len(weights[0]), *x.shape[-2:])  # (k, b, inputs)
        for i, (weight, bias) in enumerate(zip(weights, self.biases, strict=True)):
            h = torch.baddbmm(bias[chosen], self.activation(h) if i else h, weight)  # (k, b, n)
            if i == 0 and self.embedding is not None and condition is not None:
                of_all = self.embedding(condition).view(len(condition), len(self.weights[0]), -1)  # (b, members, n)
                h = h + of_all.transpose(0, 1)[chosen]
        return h
