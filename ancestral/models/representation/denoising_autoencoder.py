"""Denoising autoencoder: codes learned by undoing a corruption of the data."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_choice
from ancestral.models.registry import register
from ancestral.models.representation.base import AutoencoderModel, masked

CORRUPTIONS = ("masking", "gaussian", "salt-and-pepper")
"""What is done to the input in training."""


@register("denoising-autoencoder")
class DenoisingAutoencoder(AutoencoderModel):
    r"""min E[L(x, g(f(x~)))], x~ a corrupted x, f(x) = s(W x + b) the code, g(h) = W' h + b' the reconstruction.

    L is the cross-entropy, -sum_d log sigmoid(+-g_d), in nats for binary data, and the squared error, sum_d (g_d - x_d)^2,
    on the scale of `Event.to_network` for others. There is no likelihood, and nothing to sample from.

    Args:
        event: what a datum is.
        condition: must be None.
        hidden: units of each layer of f, input first; g mirrors them, and the last is the length of the code.
        activation: s, one of `ancestral.layers.mlp.ACTIVATIONS`.
        code_activation: of the code, one of the same; as s where empty.
        corruption: masking (entries put to the lowest level, to 0 where standardized), gaussian (noise added on the scale
            of `Event.to_network`), or salt-and-pepper (entries put to the lowest or the highest level; discrete data only).
        amount: probability that an entry is changed, or the standard deviation of the Gaussian noise.
        tied: let each layer of g have the transpose of the weights of its layer of f.
        pretrain_steps: steps in which each layer is trained alone, to undo the corruption of the codes below it, before the
            steps that train all of them; 0 for none. Codes are masked with 0, salt and pepper are 0 and 1.

    Raises:
        InvalidInput: if an option is out of range, or the corruption does not fit the event.

    References:
        Extracting and Composing Robust Features with Denoising Autoencoders (Vincent et al., 2008),
        https://doi.org/10.1145/1390156.1390294. There grey levels are also scored by the cross-entropy.
        Stacked Denoising Autoencoders (Vincent et al., 2010), https://jmlr.org/papers/v11/vincent10a.html, for the
        corruptions, the squared error, and layers that are trained one after another.

    >>> model = DenoisingAutoencoder(Event.binary((6,)), hidden=(4,))
    >>> model.encode(torch.zeros(2, 6)).shape
    torch.Size([2, 4])
    """

    summary = "autoencoder whose codes undo a corruption of the data"
    reference = "Vincent et al. 2008"
    examples = (
        {"event": Event.binary((5,)), "hidden": (4,)},
        {"event": Event.integers((1, 2, 2), 4), "hidden": (6, 3), "corruption": "salt-and-pepper", "tied": False},
        {"event": Event.integers((4,), 3), "hidden": (4, 2), "pretrain_steps": 2},
        {"event": Event.real((3,), loc=(1.0, 2.0, 3.0), scale=(2.0, 1.0, 0.5)), "hidden": (4,), "corruption": "gaussian"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (500,),
        activation: str = "sigmoid",
        code_activation: str = "",
        corruption: str = "masking",
        amount: float = 0.3,
        tied: bool = True,
        pretrain_steps: int = 0,
    ) -> None:
        super().__init__(
            event,
            condition,
            hidden=hidden,
            activation=activation,
            code_activation=code_activation,
            tied=tied,
            pretrain_steps=pretrain_steps,
        )
        check_choice("corruption", corruption, CORRUPTIONS)
        if corruption == "salt-and-pepper" and not event.discrete:
            raise InvalidInput("salt-and-pepper needs a lowest and a highest level, got real data: use masking or gaussian")
        if not 0.0 <= amount < (math.inf if corruption == "gaussian" else 1.0):
            what = "standard deviation of at least 0" if corruption == "gaussian" else "probability in [0, 1)"
            raise InvalidInput(f"the amount of {corruption} is {amount}, expected a {what}, such as 0.3")
        self.corruption, self.amount = corruption, amount

    def corrupt(self, h: Tensor, generator: torch.Generator | None = None, layer: int | None = None) -> Tensor:
        if self.corruption == "gaussian":
            return h + self.amount * torch.randn(h.shape, dtype=h.dtype, device=h.device, generator=generator)
        lowest = self.lowest(layer)
        if self.corruption == "masking":
            return masked(h, self.amount, lowest, generator)
        # One uniform number says both: whether an entry is changed, and to which end.
        noise = torch.rand(h.shape, dtype=h.dtype, device=h.device, generator=generator)
        return torch.where(noise < 0.5 * self.amount, lowest, torch.where(noise < self.amount, 1.0, h))
