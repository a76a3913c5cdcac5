"""Generative adversarial network: a generator trained against a critic, without a likelihood."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.adversarial.base import AdversarialModel
from ancestral.models.adversarial.networks import make_critic, make_generator
from ancestral.models.adversarial.regularisers import Play
from ancestral.models.registry import register


@register("gan")
class GAN(AdversarialModel):
    r"""min_G max_D E_x[log D(x | c)] + E_z[log(1 - D(G(z, c) | c))], z ~ N(0, I), D = sigmoid(V); or another objective.

    The critic V gives the log-odds that a datum is real; its loss is minus the value above. The generator minimises the
    value (minimax) or -E_z[log D(G(z, c) | c)] (non-saturating), which has the same fixed point and larger gradients while
    the critic wins. There is no likelihood; validation minimises the energy score of the generator's draws (see `measures`).

    Objective, networks, norms and regularisers combine freely: the other models of this family are this one with other
    defaults.

    The generator's output is continuous, on the scale of `Event.to_network`; samples are the nearest data. A critic
    can tell a binary datum from one between 0 and 1, however good the rest is: prefer data of many levels, or real.

    Args:
        event: what a datum is.
        condition: what generator and critic are also given; None for none.
        latent: length of z.
        network: mlp; conv, by DCGAN's rules; residual; or auto, conv for images of at least 8 x 8 and mlp else.
        hidden: mlp only: units of each hidden layer of the generator, input first; the critic mirrors them.
        channels: conv and residual only: channels of each size, the largest first, each half of the one before; the
            generator mirrors them.
        activation: mlp only: nonlinearity of both networks.
        generator_normalization: batch, virtual-batch or none; auto is batch, and none for mlp.
        critic_normalization: batch, layer, spectral, orthogonal or none; auto is batch for conv (layer with a penalty on
            gradients), and none else.
        minibatch_discrimination: kernels of the critic's last layer that compare the data of a batch; 0 for none.
        objective: what critic and generator minimise, one of `objectives.NAMES`.
        critic_steps: k, updates of the critic for each of the generator; each has a batch of its own.
        critic_rate: learning rate of the critic over that of the generator.
        regularisers: each "name" or "name=weight", of `regularisers.REGULARISERS`.
        text: how a condition that is a sentence is read: places, a label in each place; or gru, by a recurrent encoder in each
            network.
        projection: whether the condition meets the critic's features, in a bilinear form, and not its first layer.
        mismatched: weight of data with the condition of another datum, which the critic is to tell as samples; 0 for none.

    Raises:
        InvalidInput: if an option is out of range, or does not fit the others.

    References:
        Generative Adversarial Nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661, Algorithm 1. There the
        critic has maxout units and dropout; here leaky ReLU in both networks by default.
        Conditional Generative Adversarial Nets (Mirza & Osindero, 2014), https://arxiv.org/abs/1411.1784.
        Generative Adversarial Text to Image Synthesis (Reed et al., 2016), https://arxiv.org/abs/1605.05396, Algorithm 1, for
        mismatched pairs; there they and the samples have the weight 1/2 each.
        cGANs with Projection Discriminator (Miyato & Koyama, 2018), https://arxiv.org/abs/1802.05637, for the projection; here
        it is divided by the root of the number of features.
        Strictly Proper Scoring Rules, Prediction, and Estimation (Gneiting & Raftery, 2007),
        https://doi.org/10.1198/016214506000001437, for the energy score.

    >>> model = GAN(Event.real((2,)), latent=4, hidden=(8,))
    >>> model.sample(3).shape
    torch.Size([3, 2])
    """

    summary = "generator of data from noise, trained against a critic"
    reference = "Goodfellow et al. 2014"
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "latent": 2, "hidden": (8,)},
        {"event": Event.integers((1, 2, 2), 5), "condition": Event.label(3), "latent": 2, "hidden": (8,), "critic_steps": 2},
        {"event": Event.binary((5,)), "latent": 2, "hidden": (8,), "objective": "minimax"},
        {
            "event": Event.integers((2, 5, 4), 256),
            "latent": 3,
            "network": "residual",
            "channels": (4, 6),
            "generator_normalization": "virtual-batch",
            "critic_normalization": "spectral",
            "objective": "least-squares",
            "regularisers": ("historical-averaging=0.1", "instance-noise", "added-feature-matching"),
        },
        {
            "event": Event.integers((1, 3, 4), 4),
            "condition": Event.real((2,)),
            "latent": 3,
            "hidden": (8, 8),
            "generator_normalization": "batch",
            "critic_normalization": "orthogonal",
            "minibatch_discrimination": 3,
            "regularisers": ("feature-matching", "label-smoothing", "r1"),
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 64,
        network: str = "mlp",
        hidden: Sequence[int] = (256, 256),
        channels: Sequence[int] = (64, 128, 256),
        activation: str = "leaky-relu",
        generator_normalization: str = "auto",
        critic_normalization: str = "auto",
        minibatch_discrimination: int = 0,
        objective: str = "non-saturating",
        critic_steps: int = 1,
        critic_rate: float = 1.0,
        regularisers: Sequence[str] = (),
        text: str = "places",
        projection: bool = False,
        mismatched: float = 0.0,
    ) -> None:
        super().__init__(
            event,
            condition,
            latent=latent,
            objective=objective,
            critic_steps=critic_steps,
            critic_rate=critic_rate,
            regularisers=regularisers,
        )
        if not 0.0 <= mismatched < math.inf:
            raise InvalidInput(f"mismatched is a weight, got {mismatched}: give 0 or a positive number")
        if mismatched and condition is None:
            raise InvalidInput("mismatched pairs are of a datum and a condition, got none: give one, or mismatched=0")
        self.mismatched = mismatched
        generator = make_generator(
            event,
            condition,
            latent,
            network=network,
            hidden=hidden,
            channels=channels,
            activation=activation,
            normalization=generator_normalization,
            text=text,
        )
        critic = make_critic(
            event,
            condition,
            network=network,
            hidden=hidden,
            channels=channels,
            activation=activation,
            normalization=critic_normalization,
            minibatch_discrimination=minibatch_discrimination,
            per_datum=self.per_datum,
            bias=not self.objective.differs,
            text=text,
            projection=projection,
        )
        self.pair(generator, critic)

    def extended(self, values: dict[str, Tensor], play: Play, z: Tensor, condition: Tensor | None) -> dict[str, Tensor]:
        if not self.mismatched or play.group != "critic" or condition is None:
            return values
        if len(condition) < 2:
            raise InvalidInput("mismatched pairs need at least 2 data in a batch, got 1: raise --train.batch_size")
        on_wrong = self.criticize(play.real, condition.roll(1, 0))  # (b, 1)
        values["loss"] = values["loss"] + self.mismatched * self.objective.fake(on_wrong).mean()
        return values
