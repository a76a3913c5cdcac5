"""Fully connected networks."""

import functools
import itertools
from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput, near_matches
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding


def _identity(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky-relu": functools.partial(F.leaky_relu, negative_slope=0.2),
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "identity": _identity,
}
"""Elementwise nonlinearities by name."""


def check_choice(what: str, name: str, known: Sequence[str]) -> None:
    """Raise unless `name` is one of `known`.

    Raises:
        InvalidInput: naming near matches and all choices.
    """
    if name not in known:
        raise InvalidInput(f"there is no {what} {name!r}.{near_matches(name, known)} Choose one of {', '.join(known)}")


def check_sizes(what: str, sizes: Sequence[int]) -> None:
    """Raise unless all `sizes` are positive whole numbers.

    Raises:
        InvalidInput: stating the sizes got.
    """
    if not all(isinstance(n, int) and n >= 1 for n in sizes):
        raise InvalidInput(f"{what} needs whole numbers of at least 1, got {tuple(sizes)}")


class MLP(nn.Module):
    r"""h_0 = x, h_l = f(W_l h_{l-1} + b_l), y = W_L h_{L-1} + b_L; a condition is added inside the first f.

    Adding an embedding of the condition to the first layer is the same as appending the condition (one-hot, for
    a label) to the input.

    Args:
        inputs: entries of x.
        hidden: units of each hidden layer; none makes the network linear.
        outputs: entries of y.
        activation: f, one of `ACTIVATIONS`.
        condition: the condition's event, or None.

    Raises:
        InvalidInput: for an unknown activation or a size below 1.

    >>> import torch
    >>> MLP(4, (8, 8), 3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        activation: str = "relu",
        condition: Event | None = None,
    ) -> None:
        super().__init__()
        check_choice("activation", activation, tuple(ACTIVATIONS))
        sizes = (inputs, *hidden, outputs)
        check_sizes("a network", sizes)
        self.activation = ACTIVATIONS[activation]
        self.layers = nn.ModuleList(nn.Linear(m, n) for m, n in itertools.pairwise(sizes))
        self.embedding = ConditionEmbedding(condition, sizes[1]) if condition is not None else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return y, (batch, outputs), for x, (batch, inputs), and the condition, (batch, *condition.shape)."""
        first, *others = self.layers  # a slice would build a module at every call
        h: Tensor = first(x)  # (b, hidden[0])
        if self.embedding is not None and condition is not None:
            h = h + self.embedding(condition)
        for layer in others:
            h = layer(self.activation(h))
        return h
