"""Variational autoencoder: a latent variable model trained on a bound, by amortized inference."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import MLP, check_sizes
from ancestral.likelihood import Likelihood
from ancestral.models.base import Model
from ancestral.models.registry import register

_CHUNK = 2**24
"""Raw parameters of the decoder held at once when a bound takes many samples."""


@register("vae")
class VAE(Model):
    r"""p(x | c) = integral of p(x | z, c) N(z; 0, I) dz, with q(z | x, c) = N(mu(x, c), diag sigma(x, c)^2).

    Training maximises the evidence lower bound, with z drawn from q by z = mu + sigma * noise:
    log p(x | c) >= E_q[log p(x | z, c)] - KL(q(z | x, c) || N(0, I)).

    Args:
        event: what a datum is.
        condition: what encoder and decoder are also given; None for none.
        latent: length of z.
        hidden: units of each hidden layer of the encoder, input first; the decoder mirrors them.
        activation: nonlinearity of both networks.
        head: output distribution of each entry given z, one of `ancestral.distributions.HEADS`.
        components: mixture components of the head, where it is a mixture.
        beta: weight of the KL term in the loss (Higgins et al., 2017): a departure from the model where it is not 1.
            The figures, logged and returned, are those of the true bound in any case.

    Raises:
        InvalidInput: if an option is out of range, or the head does not fit the event.

    References:
        Auto-Encoding Variational Bayes (Kingma & Welling, 2014), https://arxiv.org/abs/1312.6114. There a hidden
        layer of 500 tanh units; here two of ReLU by default.
        Importance Weighted Autoencoders (Burda, Grosse & Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519,
        for the bound with several samples.
        beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins et al., 2017),
        https://openreview.net/forum?id=Sy2fzU9gl, for `beta`.

    >>> model = VAE(Event.binary((1, 4, 4)), latent=2, hidden=(8,))
    >>> model.encode(torch.zeros(3, 1, 4, 4)).shape
    torch.Size([3, 2])
    """

    family = "latent"
    summary = "decoder of a Gaussian code, trained with an encoder on the evidence lower bound"
    reference = "Kingma & Welling 2014"
    likelihood = Likelihood("lower bound", samples=1)
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}
    examples = (
        {"event": Event.binary((5,)), "latent": 2, "hidden": (8,)},
        {"event": Event.integers((1, 2, 2), 3), "condition": Event.label(3), "latent": 2, "hidden": (8, 8)},
        {"event": Event.integers((3,), 4), "latent": 1, "hidden": (), "head": "logistic-mixture", "components": 2},
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "latent": 2, "hidden": (8,), "activation": "tanh"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 32,
        hidden: Sequence[int] = (500, 500),
        activation: str = "relu",
        head: str = "auto",
        components: int = 1,
        beta: float = 1.0,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("latent", (latent,))
        if not 0.0 <= beta < math.inf:
            raise InvalidInput(f"beta is {beta}, expected a finite weight of at least 0, such as 1")
        self.latent, self.beta = latent, beta
        self.head = make_head(event, head, components)
        self.encoder = MLP(event.numel, hidden, 2 * latent, activation, condition)
        self.decoder = MLP(latent, hidden[::-1], event.numel * self.head.parameters, activation, condition)

    # The two networks

    def posterior(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean and the log standard deviation of q(z | x, condition), each (batch, latent)."""
        dtype = self.dtype
        out = self.encoder(self.event.to_network(x, dtype).flatten(1), condition)  # (b, 2 l)
        # Sums over a datum need more digits than bf16 has: leave autocast's type here and in `raw`.
        mean, log_scale = out.to(dtype).chunk(2, dim=1)
        return mean, log_scale

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the raw head parameters of p(x | z, condition), (batch, *event.shape, parameters)."""
        out = self.decoder(z, condition).to(self.dtype)  # (b, d p)
        return out.view(-1, *self.event.shape, self.head.parameters)

    def _terms(self, x: Tensor, condition: Tensor | None, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return log p(x | z) with one z from q, and KL(q || N(0, I)) in closed form, each (batch,)."""
        mean, log_scale = self.posterior(x, condition)
        scale = torch.exp(log_scale)
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        raw = self.raw(mean + scale * noise, condition)  # (b, *shape, p)
        kl = (0.5 * (mean * mean + scale * scale - 1.0) - log_scale).sum(1)  # (b,)
        return self.head.log_prob(raw, x).flatten(1).sum(1), kl

    # Primitives

    def bound(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Return a stochastic lower bound on log p(x | condition), tighter with more samples.

        One sample: log p(x | z) - KL(q || p). K samples: log (1/K) sum_k p(x | z_k) p(z_k) / q(z_k | x). Both lie
        below log p in expectation; the second approaches it as K grows.

        Args:
            x: data, (batch, *event.shape).
            condition: (batch, *condition.shape), where the model has a condition.
            samples: K, draws of z for each datum.
            generator: source of z; torch's default one where omitted.

        Returns:
            (batch,), nats.

        Raises:
            InvalidInput: if `samples` is below 1.
        """
        check_sizes("samples", (samples,))
        condition = self.check_batch(x, condition)
        if samples == 1:
            log_likelihood, kl = self._terms(x, condition, generator)
            return log_likelihood - kl
        mean, log_scale = self.posterior(x, condition)
        step = max(1, _CHUNK // max(1, x.numel() * self.head.parameters))
        parts = []
        for start in range(0, samples, step):
            k = min(step, samples - start)
            noise = torch.randn(k, *mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
            z = mean + torch.exp(log_scale) * noise  # (k, b, l)
            log_ratio = (0.5 * (noise * noise - z * z) + log_scale).sum(2)  # log p(z) / q(z | x), (k, b)
            raw = self.raw(z.flatten(0, 1), None if condition is None else _repeat(condition, k))  # (k b, *shape, p)
            log_likelihood = self.head.log_prob(raw, _repeat(x, k)).flatten(1).sum(1)  # (k b,)
            parts.append(torch.logsumexp(log_likelihood.view(k, -1) + log_ratio, dim=0))
        return torch.logsumexp(torch.stack(parts), dim=0) - math.log(samples)

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        return self.bound(x, condition, generator=generator)

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        condition = self.check_condition(condition, n)
        z = torch.randn(n, self.latent, dtype=self.dtype, device=self.device, generator=generator)
        return self.head.draw(self.raw(z, condition), generator)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.posterior(x, self.check_batch(x, condition))[0]

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head.point(self.raw(code.to(self.dtype), self.check_condition(condition, len(code))))

    # Training

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        log_likelihood, kl = (term.mean() for term in self._terms(x, condition, generator))
        terms = {"reconstruction": -log_likelihood.detach(), "kl": kl.detach(), "nats": (kl - log_likelihood).detach()}
        return {"loss": self.beta * kl - log_likelihood, **terms}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        log_likelihood, kl = self._terms(x, condition, generator)
        return {"nats": kl - log_likelihood, "reconstruction": -log_likelihood, "kl": kl}


def _repeat(x: Tensor, k: int) -> Tensor:
    """Return `x`, (b, ...), k times over, (k b, ...)."""
    return x.expand(k, *x.shape).flatten(0, 1)
