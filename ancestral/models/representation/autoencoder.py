"""Autoencoder: codes from which the data can be told again."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.registry import register
from ancestral.models.representation.base import AutoencoderModel, masked


@register("autoencoder")
class Autoencoder(AutoencoderModel):
    r"""min E[L(x, g(f(x)))], f(x) = W_L s(... s(W_1 x + b_1) ...) + b_L the code, g its mirror image.

    L is the cross-entropy, -sum_d log sigmoid(+-g_d), in nats for binary data, and the squared error, sum_d (g_d - x_d)^2,
    on the scale of `Event.to_network` for others. There is no likelihood, and nothing to sample from. With one layer and
    activation "identity" the optimum spans the principal subspace of the data, on that scale.

    Args:
        event: what a datum is.
        condition: must be None.
        hidden: units of each layer of f, input first; g mirrors them, and the last is the length of the code.
        activation: s, one of `ancestral.layers.mlp.ACTIVATIONS`.
        code_activation: of the code, one of the same; as s where empty.
        tied: let each layer of g have the transpose of the weights of its layer of f.
        pretrain_steps: steps in which each layer is trained alone, as an autoencoder of the codes below it, before the
            steps that train all of them; 0 for none.
        pretrain_masking: probability that an entry of a layer's input is put to the lowest level (0 in a code) while the
            layer is trained alone: then it is a denoising autoencoder.

    Raises:
        InvalidInput: if an option is out of range.

    References:
        Reducing the Dimensionality of Data with Neural Networks (Hinton & Salakhutdinov, 2006),
        https://doi.org/10.1126/science.1127647. There layers are pretrained as restricted Boltzmann machines, here as
        autoencoders (Greedy Layer-Wise Training of Deep Networks, Bengio et al., 2007,
        https://papers.nips.cc/paper/3048-greedy-layer-wise-training-of-deep-networks); grey levels are scored there by
        the cross-entropy.
        Neural networks and principal component analysis: Learning from examples without local minima (Baldi & Hornik,
        1989), https://doi.org/10.1016/0893-6080(89)90014-2, for the linear case.

    >>> model = Autoencoder(Event.real((6,)), hidden=(4, 2))
    >>> model.decode(model.encode(torch.zeros(3, 6))).shape
    torch.Size([3, 6])
    """

    summary = "codes from which the data can be told again; linear ones span the principal subspace"
    reference = "Hinton & Salakhutdinov 2006"
    examples = (
        {"event": Event.binary((5,)), "hidden": (4, 2), "tied": True},
        {"event": Event.integers((1, 2, 2), 4), "hidden": (6, 3), "pretrain_steps": 2, "pretrain_masking": 0.2},
        {"event": Event.real((3,), loc=(1.0, 2.0, 3.0), scale=(2.0, 1.0, 0.5)), "hidden": (2,), "activation": "identity"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (500, 250, 30),
        activation: str = "elu",
        code_activation: str = "identity",
        tied: bool = False,
        pretrain_steps: int = 0,
        pretrain_masking: float = 0.0,
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
        if not 0.0 <= pretrain_masking < 1.0:
            raise InvalidInput(f"pretrain_masking is {pretrain_masking}, expected a probability in [0, 1), such as 0.25")
        self.pretrain_masking = pretrain_masking

    def corrupt(self, h: Tensor, generator: torch.Generator | None = None, layer: int | None = None) -> Tensor:
        if layer is None or not self.pretrain_masking:
            return h
        return masked(h, self.pretrain_masking, self.lowest(layer), generator)
