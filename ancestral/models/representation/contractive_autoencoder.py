"""Contractive autoencoder: codes that change little where the data do."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.registry import register
from ancestral.models.representation.base import AutoencoderModel


@register("contractive-autoencoder")
class ContractiveAutoencoder(AutoencoderModel):
    r"""min E[L(x, g(f(x))) + c ||df/dx||^2], the squared Frobenius norm of the Jacobian of the code f(x).

    For one layer h = s(W x + b) the norm is sum_j s'(.)_j^2 ||W_j||^2, and s' = h (1 - h) for the sigmoid. For more, the
    Jacobian of the layers above the first is multiplied out, A, (code, hidden[0]) for each datum, and the norm is
    tr(A W W' A'): exact, with no sampling of directions.

    L is the cross-entropy in nats for binary data, and the squared error on the scale of `Event.to_network` for others;
    the Jacobian is by the input on that scale. There is no likelihood, and nothing to sample from.

    Args:
        event: what a datum is.
        condition: must be None.
        hidden: units of each layer of f, input first; g mirrors them, and the last is the length of the code.
        activation: s, one of `ancestral.layers.mlp.ACTIVATIONS`.
        contraction: c, at least 0.
        tied: let each layer of g have the transpose of the weights of its layer of f.
        pretrain_steps: steps in which each layer is trained alone, as a contractive autoencoder of the codes below it,
            before the steps that train all of them; 0 for none.

    Raises:
        InvalidInput: if an option is out of range.

    References:
        Contractive Auto-Encoders: Explicit Invariance During Feature Extraction (Rifai et al., 2011),
        https://icml.cc/2011/papers/455_icmlpaper.pdf. There grey levels are scored by the cross-entropy, and layers are
        trained one after another.

    >>> model = ContractiveAutoencoder(Event.binary((6,)), hidden=(4,))
    >>> model.contraction_of(torch.zeros(2, 6)).shape
    torch.Size([2])
    """

    summary = "autoencoder whose codes change little where the data do"
    reference = "Rifai et al. 2011"
    monitor = "objective"
    examples = (
        {"event": Event.binary((5,)), "hidden": (4,)},
        {"event": Event.integers((1, 2, 2), 4), "hidden": (6, 3), "tied": False, "pretrain_steps": 2},
        {"event": Event.real((3,), loc=(1.0, 2.0, 3.0), scale=(2.0, 1.0, 0.5)), "hidden": (4, 3, 2), "activation": "tanh"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (500,),
        activation: str = "sigmoid",
        contraction: float = 0.1,
        tied: bool = True,
        pretrain_steps: int = 0,
    ) -> None:
        super().__init__(event, condition, hidden=hidden, activation=activation, tied=tied, pretrain_steps=pretrain_steps)
        if not contraction >= 0.0:
            raise InvalidInput(f"contraction is {contraction}, expected a weight of at least 0, such as 0.1")
        self.contraction = contraction

    def contraction_of(self, h: Tensor, layer: int | None = None) -> Tensor:
        """Return ||df/dh||^2, (batch,), of a layer or of all of them for None, at its input `h`, (batch, m)."""
        start, stop = self.span(layer)
        slopes = []
        for k in range(start, stop):
            pre = self.network.layer(k)(h).to(self.dtype)  # (b, n)
            # Every unit has one input of its own, so the gradient of their sum holds the slope of each.
            slopes.append(torch.func.grad(lambda p, k=k: self.network.act(k, p).sum())(pre))
            h = self.network.act(k, pre)
        first = self.network.layer(start).weight
        if len(slopes) == 1:
            return slopes[0].square() @ first.square().sum(1)
        above = torch.diag_embed(slopes[-1])  # (b, n_L, n_L), and one layer down in each turn
        for k in range(stop - 1, start, -1):
            above = (above @ self.network.layer(k).weight) * slopes[k - 1 - start][:, None]  # (b, n_L, n_{k-1})
        return ((above @ (first @ first.T)) * above).flatten(1).sum(1).to(self.dtype)

    def penalty(self, h: Tensor, layer: int | None = None) -> Tensor:
        return self.contraction * self.contraction_of(h, layer)

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "reconstruction", L of each datum, "contraction", ||df/dx||^2, and "objective", L + c ||df/dx||^2."""
        found = super().measures(x, condition, generator=generator)
        norm = self.contraction_of(self.flat(x))
        return {**found, "contraction": norm, "objective": found["reconstruction"] + self.contraction * norm}
