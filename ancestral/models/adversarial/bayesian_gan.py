"""Bayesian GAN: generators and critics drawn from posteriors over weights, by stochastic-gradient Hamiltonian Monte Carlo."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.models.adversarial.base import frozen
from ancestral.models.adversarial.generation import GeneratorModel, check_batch_size, renew_norms
from ancestral.models.adversarial.networks import Critic, make_critic, make_generator
from ancestral.models.adversarial.objectives import objective
from ancestral.models.registry import register

WIDEST = 256
"""Features of a critic up to which each is taken for itself in `BayesianGAN.judge`."""
MEMORY = 100.0
"""Batches that the averages of features are over: the features move as the chains do."""


@register("bayesian-gan")
class BayesianGAN(GeneratorModel):
    r"""Draws w_1, ..., w_J of generators' weights and v_1, ..., v_K of critics' from two posteriors that depend on each other.

    p(v | data, w) ~ exp(-N (E_x[-log D_v(x)] + mean_j E_z[-log(1 - D_v(G_wj(z)))])) N(v; 0, prior^2), and
    p(w | v) ~ exp(-N mean_k E_z[-log D_vk(G_w(z))]) N(w; 0, prior^2), D = sigmoid(V), N the number of data. What one of both
    depends on is averaged over the draws of the other one. Each draw is a Markov chain of its own by stochastic-gradient
    Hamiltonian Monte Carlo, which is gradient descent with momentum and noise:
    m <- (1 - friction) m - step (grad U / N + noise),  w <- w + m,  noise ~ N(0, 2 friction / (step N)).
    So the optimizer is plain sgd, with the momentum and the rate that `training_defaults` say; the model adds the noise. With
    another `--train.learning_rate` r the chains sample at the temperature r / step.

    A sample comes from one of the generators, taken at random. The mean over critics of D says how real a datum seems, the
    spread of V over critics how far the chains differ about it, and the spread of V around each critic how little the data say
    about it (`judge`): chains that start apart differ in scale and offset everywhere, so that it is the last that ranks data.

    Args:
        event: what a datum is.
        condition: what generators and critics are also given; None for none.
        latent: length of z.
        generators: J, chains of generators.
        critics: K, chains of critics.
        network: mlp; conv, by DCGAN's rules; residual; or auto, conv for images of at least 8 x 8 and mlp else.
        hidden: mlp only: units of each hidden layer of a generator, input first; critics mirror them.
        channels: conv and residual only: channels of each size, the largest first.
        activation: mlp only: nonlinearity.
        generator_normalization: batch or none; auto is batch, and none for mlp.
        critic_normalization: batch, layer, spectral, orthogonal or none; auto is batch for conv, and none else.
        prior: standard deviation of each weight before any data.
        data: N, how many data the posterior is of; the fewer, the more noise.
        friction: 1 less the momentum.
        step: learning rate that the noise is for.

    Raises:
        InvalidInput: if an option is out of range, or does not fit the others.

    References:
        Bayesian GAN (Saatchi & Wilson, 2017), https://arxiv.org/abs/1705.09558, Algorithm 1, with one latent batch for each
        pair of networks. There the likelihood is summed over a batch, here it is that of N data, as a posterior needs.
        Being Bayesian, Even Just a Bit, Fixes Overconfidence in ReLU Networks (Kristiadi, Hein & Hennig, 2020),
        https://arxiv.org/abs/2002.10118, for a posterior of the last layer alone. There the precision is that of a classifier,
        which data that it is sure of hardly add to; here it is that of a regression with noise of variance 1.
        Stochastic Gradient Hamiltonian Monte Carlo (Chen, Fox & Guestrin, 2014), https://arxiv.org/abs/1402.4102, eq. 15.

    >>> model = BayesianGAN(Event.real((2,)), latent=4, hidden=(8,), generators=2, critics=3)
    >>> {name: value.shape for name, value in model.judge(model.sample(5)).items()}
    {'realism': torch.Size([5]), 'disagreement': torch.Size([5]), 'uncertainty': torch.Size([5])}
    """

    summary = "generators and critics drawn from a posterior, with an uncertainty for each datum"
    reference = "Saatchi & Wilson 2017"
    training_defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "sgd",
        "learning_rate": 0.005,
        "betas": (0.9, 0.999),
        "schedule": "constant",
        "batch_size": 100,
    }
    examples = (
        {
            "event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)),
            "latent": 2,
            "hidden": (8,),
            "generators": 2,
            "critics": 3,
        },
        {"event": Event.integers((1, 2, 2), 5), "condition": Event.label(3), "latent": 2, "hidden": (8,), "critics": 2},
        {
            "event": Event.integers((1, 4, 5), 256),
            "latent": 3,
            "network": "conv",
            "channels": (4, 6),
            "critic_normalization": "layer",
            "generators": 2,
            "critics": 2,
        },
    )

    mixing: Tensor
    moments: Tensor
    batches: Tensor

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 64,
        generators: int = 4,
        critics: int = 4,
        network: str = "mlp",
        hidden: Sequence[int] = (256, 256),
        channels: Sequence[int] = (64, 128, 256),
        activation: str = "leaky-relu",
        generator_normalization: str = "auto",
        critic_normalization: str = "auto",
        prior: float = 0.1,
        data: int = 50_000,
        friction: float = 0.1,
        step: float = 0.005,
    ) -> None:
        super().__init__(event, condition, latent=latent)
        check_sizes("generators, critics and data", (generators, critics, data))
        if critics < 2:
            raise InvalidInput(f"an uncertainty is a spread over critics, got {critics}: give 2 or more")
        for name, value in (("prior", prior), ("step", step)):
            if not 0.0 < value < math.inf:
                raise InvalidInput(f"{name} is {value}, expected a positive number")
        if not 0.0 < friction <= 1.0:
            raise InvalidInput(f"friction is {friction}, expected more than 0 and at most 1")
        self.prior, self.data, self.spread = prior, data, math.sqrt(2.0 * friction / (step * data))
        self.objective = objective("non-saturating")
        shared: dict[str, Any] = {"network": network, "hidden": hidden, "channels": channels, "activation": activation}
        self.generators = nn.ModuleList(
            make_generator(event, condition, latent, normalization=generator_normalization, **shared)
            for _ in range(generators)
        )
        self.critics = nn.ModuleList(
            make_critic(event, condition, normalization=critic_normalization, **shared) for _ in range(critics)
        )
        features = self._each()[0].width
        width = min(features, WIDEST)
        # Of more features, as many random combinations: fixed ones, with the weights.
        mixing = torch.randn(features, width) / math.sqrt(features) if width < features else torch.eye(width)
        self.register_buffer("mixing", mixing)
        self.register_buffer("moments", torch.zeros(critics, width + 1, width + 1))
        self.register_buffer("batches", torch.zeros(()))

    # All generators, all critics

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Return n draws of (j, z), (n, 1 + latent): the number of a generator, and what it is given."""
        j = torch.randint(len(self.generators), (n, 1), device=self.device, generator=generator)
        return torch.cat((j.to(self.dtype), super().noise(n, generator)), dim=1)

    def of_normal(self, u: Tensor) -> Tensor:
        raise Unsupported(f"{self.name} has no codes of real numbers alone: part of its noise is the number of a generator")

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what generator j makes of z, (batch, numel), for (j, z), (batch, 1 + latent)."""
        j, z = z[:, 0].long(), z[:, 1:]
        y = z.new_empty(len(z), self.event.numel)
        for member, network in enumerate(self.generators):
            rows = (j == member).nonzero()[:, 0]
            if len(rows):
                given = None if condition is None else condition[rows]
                y[rows] = self.squashed(network(z[rows], given).to(self.dtype))
        return y

    def _each(self) -> list[Critic]:
        return [cast(Critic, critic) for critic in self.critics]

    def criticize(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return V of all critics, (critics, batch), for data on the scale of `Event.to_network`, (batch, numel)."""
        return torch.stack([critic(y, condition)[:, 0] for critic in self.critics]).to(self.dtype)

    def _features(self, h: Tensor) -> Tensor:
        """Return features of a critic, (batch, width), or fewer combinations of them, and a 1, (batch, features + 1)."""
        h = h.detach().to(self.dtype) @ self.mixing
        return torch.cat((h, h.new_ones(len(h), 1)), dim=1)

    @torch.no_grad()
    def _remember(self, features: Sequence[Tensor]) -> None:
        """Take a batch of data into the moving averages of h h^T, one (features + 1, features + 1) for each critic."""
        self.batches += 1.0
        now = torch.stack([h.T @ h / len(h) for h in features])  # (k, f, f)
        self.moments.lerp_(now, 1.0 / self.batches.clamp(max=MEMORY))

    @torch.no_grad()
    def judge(self, x: Tensor, condition: Tensor | None = None) -> dict[str, Tensor]:
        r"""Return what the critics say of data, (batch,) each: realism, disagreement and uncertainty.

        Realism is their mean of D, disagreement the standard deviation of V over critics. Uncertainty is the standard
        deviation of V around a critic, the root of mean_k h^T (I / prior^2 + N E[h h^T])^-1 h for its features h, with a 1 for
        the bias: what is left of the prior of the last layer after N data, each of which tells V but for noise of variance 1.
        Where the prior is wide it is ((1 + d^2) / N)^(1/2), with d the Mahalanobis distance of h from those of the data.

        Args:
            x: data, (batch, *event.shape).
            condition: (batch, *condition.shape), where the model has a condition.
        """
        condition = self.check_batch(x, condition)
        y = self.event.to_network(x, self.dtype).flatten(1)
        wide = [critic.features(y, condition) for critic in self._each()]
        v = torch.stack([critic.of_features(h)[:, 0] for critic, h in zip(self._each(), wide, strict=True)])  # (k, b)
        h = torch.stack([self._features(each) for each in wide]).double()  # (k, b, f)
        told = self.data * self.moments.double()
        told.diagonal(dim1=1, dim2=2).add_(1.0 / self.prior**2)
        variance = (h * torch.linalg.solve(told, h.mT).mT).sum(2).mean(0)  # (b,)
        return {
            "realism": torch.sigmoid(v.to(self.dtype)).mean(0),
            "disagreement": v.to(self.dtype).std(0),
            "uncertainty": variance.sqrt().to(self.dtype),
        }

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the measures of `GeneratorModel`, and realism, disagreement and uncertainty of each datum."""
        return {**super().measures(x, condition, generator=generator), **self.judge(x, condition)}

    # The posteriors

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        check_batch_size(len(x), (*self.generators, *self.critics))
        count = len(self.generators)
        z = super().noise(len(x), generator)  # (b, l)
        given = None if condition is None else torch.cat([condition] * count)  # (j b, ...)
        # Each chain has an energy of its own: their sum, where `Objective` takes means over all.
        if group == "generator":
            with frozen(self.critics):
                energy = self.objective.generator_loss(self.criticize(self._made(z, condition), given)) * count
        else:
            with torch.no_grad():
                fake = self._made(z, condition)  # (j b, d)
            real = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
            wide = [critic.features(real, condition) for critic in self._each()]
            if self.training:
                self._remember([self._features(h) for h in wide])
            told = [critic.of_features(h)[:, 0] for critic, h in zip(self._each(), wide, strict=True)]
            on_real, on_fake = torch.stack(told).to(self.dtype), self.criticize(fake, given)  # (k, b), (k, j b)
            energy = self.objective.critic_loss(on_real, on_fake) * len(self.critics)
        prior, noise = self._prior_and_noise(self.parameter_groups()[group], generator)
        return {"loss": energy + prior + noise, "energy": energy.detach()}

    def _made(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Return what all generators make of the same z, (generators batch, numel)."""
        return self.squashed(torch.cat([network(z, condition) for network in self.generators]).to(self.dtype))

    def _prior_and_noise(self, weights: Sequence[Tensor], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return -log N(w; 0, prior^2) / N, but for a constant, and a term of value 0 with the noise as its gradient."""
        prior, noise = [], []
        for w in weights:
            prior.append(w.square().sum())
            drawn = torch.randn(w.shape, dtype=w.dtype, device=w.device, generator=generator)
            noise.append((drawn * (w - w.detach())).sum())
        return torch.stack(prior).sum() / (2.0 * self.prior**2 * self.data), self.spread * torch.stack(noise).sum()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"critic": list(self.critics.parameters()), "generator": list(self.generators.parameters())}

    def after_step(self, group: str) -> None:
        if group == "critic":
            renew_norms(self.critics)
