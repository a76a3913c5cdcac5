"""Denoising autoencoder: codes learned by undoing a corruption of the data."""

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes
from ancestral.models.base import Model
from ancestral.models.registry import register

CORRUPTIONS = ("masking", "gaussian", "salt-and-pepper")
"""What is done to the input in training."""


@register("denoising-autoencoder")
class DenoisingAutoencoder(Model):
    r"""min E[L(x, g(f(x~)))], x~ a corrupted x, f(x) = s(W x + b) the code, g(h) = W' h + b' the reconstruction.

    L is the cross-entropy, -sum_d log sigmoid(+-g_d), in nats for binary data, and the squared error, sum_d (g_d - x_d)^2,
    on the scale of `Event.to_network` for others. There is no likelihood, and nothing to sample from.

    Args:
        event: what a datum is.
        condition: must be None.
        hidden: units of each layer of f, input first; g mirrors them, and the last is the length of the code.
        activation: s, one of `ancestral.layers.mlp.ACTIVATIONS`.
        corruption: masking (entries put to the lowest level, to 0 where standardized), gaussian (noise added on the scale
            of `Event.to_network`), or salt-and-pepper (entries put to the lowest or the highest level; discrete data only).
        amount: probability that an entry is changed, or the standard deviation of the Gaussian noise.
        tied: let each layer of g have the transpose of the weights of its layer of f.

    Raises:
        InvalidInput: if an option is out of range, or the corruption does not fit the event.

    References:
        Extracting and Composing Robust Features with Denoising Autoencoders (Vincent et al., 2008),
        https://doi.org/10.1145/1390156.1390294. There grey levels are also scored by the cross-entropy.
        Stacked Denoising Autoencoders (Vincent et al., 2010), https://jmlr.org/papers/v11/vincent10a.html, for the
        corruptions and the squared error. There layers are trained one after another; here together.

    >>> model = DenoisingAutoencoder(Event.binary((6,)), hidden=(4,))
    >>> model.encode(torch.zeros(2, 6)).shape
    torch.Size([2, 4])
    """

    family = "representation"
    summary = "autoencoder whose codes undo a corruption of the data"
    reference = "Vincent et al. 2008"
    conditional = False
    monitor = "reconstruction"
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}
    examples = (
        {"event": Event.binary((5,)), "hidden": (4,)},
        {"event": Event.integers((1, 2, 2), 4), "hidden": (6, 3), "corruption": "salt-and-pepper", "tied": False},
        {"event": Event.real((3,), loc=(1.0, 2.0, 3.0), scale=(2.0, 1.0, 0.5)), "hidden": (4,), "corruption": "gaussian"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (500,),
        activation: str = "sigmoid",
        corruption: str = "masking",
        amount: float = 0.3,
        tied: bool = True,
    ) -> None:
        super().__init__(event, condition)
        if not hidden:
            raise InvalidInput("hidden is empty, expected the units of at least one layer: the last is the code")
        check_sizes("hidden", hidden)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("corruption", corruption, CORRUPTIONS)
        if corruption == "salt-and-pepper" and not event.discrete:
            raise InvalidInput("salt-and-pepper needs a lowest and a highest level, got real data: use masking or gaussian")
        if not 0.0 <= amount < (math.inf if corruption == "gaussian" else 1.0):
            what = "standard deviation of at least 0" if corruption == "gaussian" else "probability in [0, 1)"
            raise InvalidInput(f"the amount of {corruption} is {amount}, expected a {what}, such as 0.3")
        self.activation = ACTIVATIONS[activation]
        self.corruption, self.amount = corruption, amount
        sizes = (event.numel, *hidden)
        layers = [nn.Linear(m, n) for m, n in itertools.pairwise(sizes)]
        self.encoder = nn.ModuleList(layers)
        self.biases = nn.ParameterList(torch.zeros(n) for n in sizes[-2::-1])
        self.weights = None if tied else nn.ParameterList(layer.weight.detach().T.clone() for layer in layers[::-1])

    # The two halves

    def _code(self, y: Tensor) -> Tensor:
        for layer in self.encoder:
            y = self.activation(layer(y))
        return y  # (b, hidden[-1])

    def _reconstruction(self, code: Tensor) -> Tensor:
        """Return logits of binary entries, values on the scale of `Event.to_network` of others, (b, d)."""
        if self.weights is None:
            weights = [cast(nn.Linear, layer).weight.T for layer in list(self.encoder)[::-1]]
        else:
            weights = list(self.weights)
        *inner, last = zip(weights, self.biases, strict=True)
        for weight, bias in inner:
            code = self.activation(F.linear(code, weight, bias))
        return F.linear(code, *last).to(self.dtype)

    def corrupt(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return a corrupted copy of `y`, (batch, numel), on the scale of `Event.to_network`."""
        if self.corruption == "gaussian":
            return y + self.amount * torch.randn(y.shape, dtype=y.dtype, device=y.device, generator=generator)
        lowest = 0.0 if self.event.is_binary or not self.event.discrete else -1.0
        noise = torch.rand(y.shape, dtype=y.dtype, device=y.device, generator=generator)
        if self.corruption == "masking":
            return torch.where(noise < self.amount, lowest, y)
        # One uniform number says both: whether an entry is changed, and to which end.
        return torch.where(noise < 0.5 * self.amount, lowest, torch.where(noise < self.amount, 1.0, y))

    def _errors(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        y = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        out = self._reconstruction(self._code(self.corrupt(y, generator)))  # (b, d)
        if self.event.is_binary:
            return F.binary_cross_entropy_with_logits(out, y, reduction="none").sum(1)
        return (out - y).square().sum(1)

    # Primitives

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        return self._code(self.event.to_network(x, self.dtype).flatten(1))

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_condition(condition, len(code))
        y = self._reconstruction(code.to(self.dtype)).view(-1, *self.event.shape)
        return self.event.from_network(torch.sigmoid(y) if self.event.is_binary else y).to(self.event.dtype)

    # Training

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        return {"loss": self._errors(x, generator).mean()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "reconstruction", the training criterion of each datum: from a corrupted x to the clean one."""
        return {"reconstruction": self._errors(x, generator)}
