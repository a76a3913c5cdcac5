"""InfoGAN: part of the noise is a code that samples must show, so that it comes to stand for what varies in the data."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.models.adversarial.base import AdversarialModel, frozen
from ancestral.models.adversarial.networks import make_critic, make_generator
from ancestral.models.adversarial.regularisers import Play
from ancestral.models.registry import register

NARROWEST = 0.1
"""Smallest standard deviation of a continuous code given a datum, so that no density grows without bound."""


@register("infogan")
class InfoGAN(AdversarialModel):
    r"""min_(G, Q) max_D V(D, G) - l_1 L_I(categorical) - l_2 L_I(continuous), L_I = E[log Q(c | G(c, z))] + H(c).

    L_I is a lower bound of the mutual information of the codes c and the samples, met where Q is the posterior.

    The generator's input is (c, z): one-hot categorical codes, each class as likely as another, continuous ones uniform on
    [-1, 1], and noise z ~ N(0, I). Q shares the critic's features and has a head of its own, which lies in the generator's
    group, as the equation says; the features are the critic's, and its loss, too, has the terms of L_I. Without labels, the
    classes of the first categorical code come to be those of the data, in some order: `ancestral classify` matches them.

    `encode` gives, for each categorical code, the probabilities of its classes, then the means of the continuous codes;
    `decode` takes such a code, and sets z to 0.

    Args:
        event: what a datum is.
        condition: what generator and critic are also given; None for none.
        latent: length of z.
        categorical: classes of each categorical code.
        continuous: number of continuous codes.
        categorical_weight: l_1.
        continuous_weight: l_2.
        head: units of the hidden layer of Q's head.
        network: mlp; conv, by DCGAN's rules; residual; or auto, conv for images of at least 8 x 8 and mlp else.
        hidden: mlp only: units of each hidden layer of the generator, input first; the critic mirrors them.
        channels: conv and residual only: channels of each size, the largest first, each half of the one before; the
            generator mirrors them.
        activation: mlp only: nonlinearity of both networks.
        generator_normalization: batch, virtual-batch or none; auto is batch, and none for mlp.
        critic_normalization: batch, layer, spectral, orthogonal or none; auto is batch for conv (layer with a penalty on
            gradients), and none else.
        objective: what critic and generator minimise, one of `objectives.NAMES`.
        critic_steps: k, updates of the critic for each of the generator; each has a batch of its own.
        critic_rate: learning rate of the critic over that of the generator.
        regularisers: each "name" or "name=weight", of `regularisers.REGULARISERS`.

    Raises:
        InvalidInput: if an option is out of range, or does not fit the others.

    References:
        InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets (Chen, Duan,
        Houthooft, Schulman, Sutskever & Abbeel, 2016), https://arxiv.org/abs/1606.03657. There the head's hidden layer is
        batch-normalised; here it is not, and standard deviations are at least 0.1.

    >>> model = InfoGAN(Event.real((2,)), latent=4, categorical=(3,), continuous=1, hidden=(8,)).eval()
    >>> x = model.sample(5)
    >>> x.shape, model.encode(x).shape, model.classify(x).shape
    (torch.Size([5, 2]), torch.Size([5, 4]), torch.Size([5, 3]))
    """

    summary = "GAN whose samples show a code, so that classes and traits appear without labels"
    reference = "Chen et al. 2016"
    training_defaults: ClassVar[dict[str, Any]] = {**AdversarialModel.training_defaults, "learning_rate": 1e-3}
    examples = (
        {"event": Event.real((2,)), "latent": 2, "categorical": (3,), "continuous": 1, "hidden": (8,), "head": 8},
        {
            "event": Event.integers((1, 8, 9), 16),
            "condition": Event.label(3),
            "latent": 3,
            "categorical": (2, 3),
            "continuous": 0,
            "channels": (4, 6),
            "head": 8,
            "critic_normalization": "layer",
        },
        {
            "event": Event.integers((1, 2, 2), 5),
            "latent": 2,
            "categorical": (),
            "continuous": 2,
            "hidden": (8, 8),
            "head": 8,
            "generator_normalization": "batch",
            "objective": "wasserstein",
            "critic_steps": 2,
            "regularisers": ("gradient-penalty", "historical-averaging=0.1"),
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 62,
        categorical: Sequence[int] = (10,),
        continuous: int = 2,
        categorical_weight: float = 1.0,
        continuous_weight: float = 0.1,
        head: int = 128,
        network: str = "auto",
        hidden: Sequence[int] = (256, 256),
        channels: Sequence[int] = (64, 128),
        activation: str = "leaky-relu",
        generator_normalization: str = "auto",
        critic_normalization: str = "auto",
        objective: str = "non-saturating",
        critic_steps: int = 1,
        critic_rate: float = 0.2,
        regularisers: Sequence[str] = (),
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
        if not all(isinstance(n, int) and n >= 2 for n in categorical) or continuous < 0 or not (categorical or continuous):
            raise InvalidInput(
                f"codes are categorical, of 2 classes or more, or continuous, and at least one; got categorical="
                f"{tuple(categorical)} and continuous={continuous}"
            )
        weights = (categorical_weight, continuous_weight)
        if not all(0.0 < weight < math.inf for weight in weights):
            raise InvalidInput(
                f"categorical_weight and continuous_weight are positive numbers, got {weights[0]} and {weights[1]}"
            )
        check_sizes("head", (head,))
        self.categorical, self.continuous, self.weights = tuple(categorical), continuous, weights
        self.codes = sum(categorical) + continuous
        bodies: dict[str, Any] = {"network": network, "hidden": hidden, "channels": channels, "activation": activation}
        generator = make_generator(event, condition, self.codes + latent, **bodies, normalization=generator_normalization)
        critic = make_critic(
            event,
            condition,
            **bodies,
            normalization=critic_normalization,
            per_datum=self.per_datum,
            bias=not self.objective.differs,
        )
        self.head = nn.Sequential(
            nn.Linear(critic.width, head), nn.LeakyReLU(0.1), nn.Linear(head, sum(categorical) + 2 * continuous)
        )
        self.pair(generator, critic)

    # Codes

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Return n draws of (c, z), (n, codes + latent)."""
        device, dtype = self.device, self.dtype
        parts = [
            F.one_hot(torch.randint(classes, (n,), device=device, generator=generator), classes).to(dtype)
            for classes in self.categorical
        ]
        if self.continuous:
            parts.append(2.0 * torch.rand(n, self.continuous, dtype=dtype, device=device, generator=generator) - 1.0)
        return torch.cat([*parts, super().noise(n, generator)], dim=1)

    def of_normal(self, u: Tensor) -> Tensor:
        raise Unsupported(f"{self.name} has no codes of real numbers alone: part of its noise is classes")

    def posterior(self, y: Tensor, condition: Tensor | None = None) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return Q(c | y): log-probabilities of each categorical code; means and standard deviations of the continuous ones.

        Args:
            y: data on the scale of `Event.to_network`, (batch, numel).
            condition: (batch, *condition.shape), where the model has one.

        Returns:
            For each categorical code (batch, classes); (batch, continuous); (batch, continuous).
        """
        raw = self.head(self.features(y, condition)).to(self.dtype)  # (b, sum of classes + 2 continuous)
        *logits, mean, log_spread = raw.split((*self.categorical, self.continuous, self.continuous), dim=1)
        return [each.log_softmax(dim=1) for each in logits], mean, log_spread.exp() + NARROWEST

    def information(self, y: Tensor, z: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Return L_I = E[log Q(c | y)] + H(c) of all categorical and of all continuous codes, each a scalar, nats.

        Args:
            y: samples on the scale of `Event.to_network`, (batch, numel).
            z: what they were made from, (batch, codes + latent).
            condition: (batch, *condition.shape), where the model has one.
        """
        logs, mean, spread = self.posterior(y, condition)
        *classes, values, _ = z.split((*self.categorical, self.continuous, self.latent), dim=1)
        found = [(c * log).sum(1).mean() + math.log(log.shape[1]) for c, log in zip(classes, logs, strict=True)]
        square = ((values - mean) / spread).square()
        density = -0.5 * square - spread.log() - 0.5 * math.log(2.0 * math.pi)  # log Q of each, (b, continuous)
        # H of the uniform distribution on [-1, 1] is log 2.
        return torch.stack([mean.new_zeros(()), *found]).sum(), (density + math.log(2.0)).sum(1).mean()

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        condition = self.check_batch(x, condition)
        logs, mean, _ = self.posterior(self.event.to_network(x, self.dtype).flatten(1), condition)
        return torch.cat([*(log.exp() for log in logs), mean], dim=1)

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the datum of a code, (batch, codes), with z = 0, or of a code and z, (batch, codes + latent)."""
        if code.shape[1] == self.codes:
            code = torch.cat((code, code.new_zeros(len(code), self.latent)), dim=1)
        return super().decode(code, condition)

    def classify(self, x: Tensor) -> Tensor:
        """Return the log-probabilities of the classes of the first categorical code, (batch, classes).

        Raises:
            InvalidInput: if there is no categorical code, or a condition.
        """
        if not self.categorical or self.condition is not None:
            raise InvalidInput(
                "this infogan has no categorical code, or is given a condition, and tells no classes: train one with"
                " categorical= and no condition"
            )
        self.check_batch(x)
        return self.posterior(self.event.to_network(x, self.dtype).flatten(1))[0][0]

    # Training

    def extended(self, values: dict[str, Tensor], play: Play, z: Tensor, condition: Tensor | None) -> dict[str, Tensor]:
        with frozen(self.head) if play.group == "critic" else nullcontext():
            categorical, continuous = self.information(play.fake, z, condition)
        loss = values["loss"] - self.weights[0] * categorical - self.weights[1] * continuous
        return {**values, "loss": loss, "information": (categorical + continuous).detach()}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = super().parameter_groups()
        return {**groups, "generator": [*groups["generator"], *self.head.parameters()]}
