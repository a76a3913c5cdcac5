"""Adversarially learned inference: a generator and an encoder play against a critic of pairs of datum and code."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_choice
from ancestral.models.adversarial.base import AdversarialModel
from ancestral.models.adversarial.bodies import DenseTrunk
from ancestral.models.adversarial.networks import Critic, kind_of_network, make_critic, make_generator
from ancestral.models.adversarial.regularisers import Play
from ancestral.models.registry import register

OBJECTIVES = ("non-saturating", "minimax", "least-squares", "hinge", "wasserstein")
"""Objectives whose labels can be swapped for the generator and the encoder."""


class PairTrunk(nn.Module):
    """h(x, z, c): a trunk sees x, and fully connected layers see its features beside z.

    Args:
        of_data: from (batch, inputs) to (batch, of_data.width); without a condition.
        inputs: entries of x.
        joint: from (batch, of_data.width + latent) and a condition to (batch, joint.width).
    """

    def __init__(self, of_data: nn.Module, inputs: int, joint: DenseTrunk) -> None:
        super().__init__()
        self.of_data, self.inputs, self.joint, self.width = of_data, inputs, joint, joint.width

    def forward(self, pair: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return h, (batch, width), for pairs (x, z), (batch, inputs + latent)."""
        x, z = pair[:, : self.inputs], pair[:, self.inputs :]
        h: Tensor = self.joint(torch.cat((self.of_data(x), z), dim=1), condition)
        return h


@register("ali")
class ALI(AdversarialModel):
    r"""min_(G, q) max_D E_(x, z ~ q(z | x))[log D(x, z)] + E_(z ~ N(0, I))[log(1 - D(G(z), z))], q Gaussian.

    The critic sees pairs: a datum with a code drawn for it, q(z | x, c) = N(mu(x, c), sigma(x, c)^2), and a sample with the
    code that it was made of. Where it cannot tell them apart both joint distributions are one, and q inverts G. Generator
    and encoder, in one group, minimise the critic's loss with its labels swapped, or for minimax the value above.
    The code of a datum is the mean of q.

    Args:
        event: what a datum is.
        condition: what all networks are also given; None for none.
        latent: length of z.
        network: mlp; conv, by DCGAN's rules; residual; or auto, conv for images of at least 8 x 8 and mlp else.
        hidden: units of each hidden layer of an mlp generator, input first, which the encoder mirrors; for any network, of
            the critic's layers that see features of x beside z.
        channels: conv and residual only: channels of each size, the largest first.
        activation: mlp only: nonlinearity of the networks; also of the critic's layers that see x beside z.
        generator_normalization: of generator and encoder: batch or none; auto is batch, and none for mlp.
        critic_normalization: batch, layer, spectral, orthogonal or none; auto is batch for conv (layer with a penalty on
            gradients), and none else. The layers that see x beside z have layer, spectral, orthogonal or none.
        objective: what critic, and with swapped labels generator and encoder, minimise: non-saturating, minimax,
            least-squares, hinge or wasserstein.
        critic_steps: k, updates of the critic for each of generator and encoder; each has a batch of its own.
        critic_rate: learning rate of the critic over that of generator and encoder.
        regularisers: each "name" or "name=weight", of `regularisers.REGULARISERS`; they see pairs.

    Raises:
        InvalidInput: if an option is out of range, or does not fit the others.

    References:
        Adversarially Learned Inference (Dumoulin, Belghazi, Poole, Mastropietro, Lamb, Arjovsky & Courville, 2017),
        https://arxiv.org/abs/1606.00704. There the critic has maxout units and dropout.
        Adversarial Feature Learning (Donahue, Krahenbuhl & Darrell, 2017), https://arxiv.org/abs/1605.09782, with a
        deterministic encoder.

    >>> model = ALI(Event.real((2,)), latent=4, hidden=(8,))
    >>> model.decode(model.encode(model.sample(3))).shape
    torch.Size([3, 2])
    """

    summary = "generator and encoder, trained against a critic of pairs of datum and code"
    reference = "Dumoulin et al. 2017"
    sees_data: ClassVar[bool] = True
    examples = (
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "latent": 2, "hidden": (8,)},
        {"event": Event.integers((1, 2, 2), 5), "condition": Event.label(3), "latent": 2, "hidden": (8,), "critic_steps": 2},
        {"event": Event.binary((5,)), "latent": 2, "hidden": (8, 8), "objective": "minimax"},
        {
            "event": Event.integers((1, 4, 5), 256),
            "condition": Event.sentences(3, 4),
            "latent": 3,
            "network": "conv",
            "channels": (4, 6),
            "hidden": (8,),
            "objective": "least-squares",
            "regularisers": ("r1", "instance-noise"),
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
        objective: str = "non-saturating",
        critic_steps: int = 1,
        critic_rate: float = 1.0,
        regularisers: Sequence[str] = (),
    ) -> None:
        check_choice("objective of ali", objective, OBJECTIVES)
        check_choice("normalization of generator and encoder", generator_normalization, ("auto", "batch", "none"))
        super().__init__(
            event,
            condition,
            latent=latent,
            objective=objective,
            critic_steps=critic_steps,
            critic_rate=critic_rate,
            regularisers=regularisers,
        )
        if any(part.replaces_generator_loss for part in self.parts()):
            raise InvalidInput(
                "feature-matching in place of the objective leaves the encoder without a loss: use added-feature-matching"
            )
        kind = kind_of_network(event, network)
        shared: dict[str, Any] = {"network": kind, "hidden": hidden, "channels": channels, "activation": activation}
        generator = make_generator(event, condition, latent, normalization=generator_normalization, **shared)
        within = "batch" if generator.needs_batch else "none"
        self.encoder = make_critic(event, condition, normalization=within, outputs=2 * latent, **shared)
        # An mlp sees x and z side by side from its first layer on.
        only = {**shared, "hidden": ()}
        of_data = make_critic(event, None, normalization=critic_normalization, per_datum=self.per_datum, **only)
        beside = critic_normalization if critic_normalization in ("layer", "spectral", "orthogonal") else "none"
        joint = DenseTrunk(of_data.width + latent, hidden[::-1], activation, beside, condition)
        critic = Critic(PairTrunk(of_data.trunk, event.numel, joint), event.numel, beside, bias=not self.objective.differs)
        critic.needs_batch = of_data.needs_batch
        self.pair(generator, critic)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = super().parameter_groups()
        return {**groups, "generator": groups["generator"] + list(self.encoder.parameters())}

    # Pairs

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return pairs (G(z, condition), z), (batch, numel + latent)."""
        return torch.cat((super().generate(z, condition), z), dim=1)

    def observe(self, x: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Return pairs (x, z), z ~ q(z | x, condition), (batch, numel + latent)."""
        y = super().observe(x, condition, generator)  # (b, d)
        mean, log_scale = self.posterior(y, condition)
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        return torch.cat((y, mean + torch.exp(log_scale) * noise), dim=1)

    def posterior(self, y: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of q(z | y, condition), (batch, latent) each, for y, (batch, numel)."""
        mean, log_scale = self.encoder(y, condition).to(self.dtype).chunk(2, dim=1)
        return mean, log_scale

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        condition = self.check_batch(x, condition)
        return self.posterior(super().observe(x), condition)[0]

    # The game

    def critic_loss(
        self, real: Tensor, z: Tensor, condition: Tensor | None, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        return super().critic_loss(real.detach(), z, condition, generator)

    def generator_objective(self, play: Play) -> Tensor:
        on_real = play.on_real if play.on_real is not None else play.on_fake  # each (b, 1)
        if self.objective.name == "minimax":
            return -self.objective.critic_loss(on_real, play.on_fake)
        return self.objective.critic_loss(play.on_fake, on_real)
