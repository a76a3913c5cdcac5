"""What every latent variable model shares: a bound with any number of samples, losses, measures, codes, and draws."""

import itertools
import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ancestral.distributions import GaussianMixture, Head, Output
from ancestral.errors import InvalidInput
from ancestral.layers.mlp import check_sizes
from ancestral.likelihood import Likelihood
from ancestral.models.base import Model

if TYPE_CHECKING:
    from ancestral.models.autoregressive.base import AutoregressiveModel

CHUNK = 2**23
"""Numbers of the widest layer of a decoder held at once, about, in a bound of many samples: 32 MiB in single precision."""
_LOG_2PI = math.log(2.0 * math.pi)


class LatentModel(Model):
    r"""p(x | c) = integral of p(x | z, c) p(z | c) dz, with a distribution q(z | x, c) of the codes that x may come from.

    For z_1, ..., z_K from q(z | x, c), and tighter the larger K:
    log p(x | c) >= E[log (1/K) sum_k p(x | z_k, c) p(z_k | c) / q(z_k | x, c)].

    A subclass sets `head` and implements `recognize`, `draw_posterior`, `log_prior`, `draw_prior`, `code` and `raw`;
    `divergence` where KL(q || p(z)) is known; and in place of `raw`, where the entries of x are not independent given z,
    `log_likelihood`, `draw_data` and `decode`. These take rows: one for each pair of a datum and a sample of its code.

    Args:
        event: what a datum is.
        condition: what p and q are also given, or None.
    """

    family = "latent"
    likelihood = Likelihood("lower bound", samples=1)
    training_defaults: ClassVar = {"learning_rate": 1e-3, "batch_size": 100}
    head: Head
    """The distribution of one entry of x."""
    beta: float = 1.0
    """Weight of the KL term in the loss."""
    free_bits: float = 0.0
    """Floor of the mean KL term of each latent in the loss, nats."""
    importance: int = 1
    """Samples of the bound that the loss is."""
    factorial: ClassVar[bool] = False
    """Whether codes are layers of units, independent under q given the layer below and under p given the one above: what
    bits-back coding takes. Such a model has `code_layers`, `layer_posterior` and `layer_prior`."""

    def set_objective(self, beta: float, free_bits: float, importance: int) -> None:
        """Set what the loss is; called by constructors.

        Args:
            beta: weight of the KL term.
            free_bits: floor of the mean KL term of each latent, nats.
            importance: K, samples of the bound; it is then what `log_prob` has, too.

        Raises:
            InvalidInput: if one is out of range, or weights and floors meet several samples, which have no KL term.
        """
        if not 0.0 <= beta < math.inf:
            raise InvalidInput(f"beta is {beta}, expected a finite weight of at least 0, such as 1")
        if not 0.0 <= free_bits < math.inf:
            raise InvalidInput(f"free_bits is {free_bits}, expected a finite number of nats of at least 0, such as 0.1")
        check_sizes("importance", (importance,))
        if importance > 1 and (beta != 1.0 or free_bits > 0.0):
            raise InvalidInput(
                f"importance {importance} got beta {beta} and free_bits {free_bits}: a bound of several samples has no KL term"
                " to weigh, leave them out or use importance=1"
            )
        self.beta, self.free_bits, self.importance = beta, free_bits, importance
        if importance > 1:
            self.likelihood = Likelihood("lower bound", samples=importance)

    # What a subclass implements

    @property
    def elements(self) -> int:
        """Numbers of the widest layer of a decoder for one row: what decides how many rows are in memory at once."""
        return self.event.numel * self.head.parameters

    def recognize(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what the distribution q(z | x, condition) follows from, (batch, features)."""
        raise NotImplementedError

    def draw_posterior(
        self, features: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw a code from q(z | x, condition) in each row.

        Args:
            features: from `recognize`, (rows, features).
            condition: (rows, *condition.shape), where the model has a condition.
            generator: source of randomness.

        Returns:
            z, (rows, latent), and what each latent adds to log q(z | x, condition), (rows, latent), nats.
        """
        raise NotImplementedError

    def log_prior(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what each latent adds to log p(z | condition), (rows, latent), nats, for z, (rows, latent)."""
        raise NotImplementedError

    def draw_prior(self, n: int, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw codes from p(z | condition), (n, latent)."""
        raise NotImplementedError

    def code(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the code that stands for a datum, (batch, code), given its `features`, (batch, features)."""
        raise NotImplementedError

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the raw head parameters of p(x | z, condition), (rows, *event.shape, parameters), for z, (rows, latent)."""
        raise NotImplementedError

    def divergence(self, features: Tensor, z: Tensor, log_q: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the KL term of each latent, (rows, latent), nats: here the estimate log q(z | x) - log p(z) at one z.

        Args:
            features: from `recognize`, (rows, features).
            z: from `draw_posterior`, (rows, latent).
            log_q: likewise, (rows, latent).
            condition: (rows, *condition.shape), where the model has a condition.
        """
        return log_q - self.log_prior(z, condition)

    def log_likelihood(self, x: Tensor, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return log p(x | z, condition), (rows,), nats, for x, (rows, *event.shape), and z, (rows, latent)."""
        return self.head.log_prob(self.raw(z, condition), x).flatten(1).sum(1)

    def draw_data(self, z: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw data from p(x | z, condition), (n, *event.shape), for z, (n, latent)."""
        return self.head.draw(self.raw(z, condition), generator)

    # What a subclass whose codes are `factorial` implements

    @property
    def code_layers(self) -> tuple[int, ...]:
        """Units of each layer of codes, the one that data are drawn from first."""
        raise NotImplementedError

    def layer_posterior(self, layer: int, below: Tensor, condition: Tensor | None = None) -> Output:
        """Return q of the units of a layer of codes, (rows, units).

        Args:
            layer: which, from 0.
            below: the datum, (rows, *event.shape), for layer 0; else the layer before, (rows, units).
            condition: (rows, *condition.shape), where the model has a condition.
        """
        raise NotImplementedError

    def layer_prior(self, layer: int, rows: int, above: Tensor | None, condition: Tensor | None = None) -> Output:
        """Return p of the units of a layer of codes, (rows, units).

        Args:
            layer: which, from 0.
            rows: codes.
            above: the layer after, (rows, units); None for the last.
            condition: (rows, *condition.shape), where the model has a condition.
        """
        raise NotImplementedError

    @property
    def pixel_model(self) -> "AutoregressiveModel | None":
        """The model of a datum given the `maps` of its code, where entries depend on those before; None where they do not."""
        return None

    def maps(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the condition of `pixel_model`, (rows, ...), for codes, (rows, latent)."""
        raise NotImplementedError

    # Primitives

    def _terms(
        self,
        x: Tensor,
        features: Tensor,
        condition: Tensor | None,
        samples: int,
        generator: torch.Generator | None,
        *,
        known: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return log p(x | z), (samples, batch), and log q(z | x) - log p(z) of each latent, (samples, batch, latent).

        In place of the latter, where `known`, what is known of its mean: `divergence`.
        """
        given = None if condition is None else repeat(condition, samples)
        rows = repeat(features, samples)  # (k b, features)
        z, log_q = self.draw_posterior(rows, given, generator)  # (k b, l) each
        ratio = self.divergence(rows, z, log_q, given) if known else log_q - self.log_prior(z, given)
        log_likelihood = self.log_likelihood(repeat(x, samples), z, given)  # (k b,)
        return log_likelihood.view(samples, -1), ratio.view(samples, len(x), -1)

    def bound(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Return a stochastic lower bound on log p(x | condition), tighter with more samples.

        One sample: log p(x | z) - KL(q || p), with the KL term in closed form where there is one. K samples:
        log (1/K) sum_k p(x | z_k) p(z_k) / q(z_k | x). Both lie below log p in expectation; the second approaches it
        as K grows. Memory does not grow with K.

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
        at_once = max(1, CHUNK // self.elements)  # rows
        if len(x) > at_once:
            given = itertools.repeat(None) if condition is None else condition.split(at_once)
            pairs = zip(x.split(at_once), given, strict=False)
            return torch.cat([self.bound(part, each, samples=samples, generator=generator) for part, each in pairs])
        features = self.recognize(x, condition)
        step = at_once // max(1, len(x))
        parts = []
        for start in range(0, samples, step):
            k = min(step, samples - start)
            log_likelihood, ratio = self._terms(x, features, condition, k, generator, known=samples == 1)
            parts.append(torch.logsumexp(log_likelihood - ratio.sum(2), dim=0))
        return torch.logsumexp(torch.stack(parts), dim=0) - math.log(samples)

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        return self.bound(x, condition, samples=self.importance, generator=generator)

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        condition = self.check_condition(condition, n)
        return self.draw_data(self.draw_prior(n, condition, generator), condition, generator)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        condition = self.check_batch(x, condition)
        return self.code(self.recognize(x, condition), condition)

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head.point(self.raw(code.to(self.dtype), self.check_condition(condition, len(code))))

    # Training

    def _figures(
        self, x: Tensor, condition: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the bound of `importance` samples and log p(x | z), (batch,) each, and KL terms, (batch, latent)."""
        k, features = self.importance, self.recognize(x, condition)
        log_likelihood, ratio = self._terms(x, features, condition, k, generator, known=k == 1)
        bound = torch.logsumexp(log_likelihood - ratio.sum(2), dim=0) - math.log(k)  # (b,)
        return bound, log_likelihood.mean(0), ratio.mean(0)

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        bound, log_likelihood, kl = self._figures(x, condition, generator)
        loss = -bound.mean()
        if self.beta != 1.0 or self.free_bits > 0.0:
            loss = self.beta * kl.mean(0).clamp(min=self.free_bits).sum() - log_likelihood.mean()
        terms = {"nats": -bound.mean(), "reconstruction": -log_likelihood.mean(), "kl": kl.sum(1).mean()}
        return {"loss": loss, **{name: term.detach() for name, term in terms.items()}}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "nats", minus the bound, and its parts: "reconstruction", -log p(x | z), and "kl", what z says of x, nats.

        Where the bound has several samples, the parts are means over them, and do not add up to it.
        """
        bound, log_likelihood, kl = self._figures(x, condition, generator)
        return {"nats": -bound, "reconstruction": -log_likelihood, "kl": kl.sum(1)}


class GaussianLatentModel(LatentModel):
    r"""A `LatentModel` with p(z) = N(0, I) and q(z | x, c) = N(mu(x, c), diag sigma(x, c)^2).

    A subclass sets `latent`, the length of z, and `encoder`, which gives mu and log sigma, (batch, 2 latent).

    Args:
        event: what a datum is.
        condition: what p and q are also given, or None.
    """

    latent: int
    encoder: nn.Module
    factorial = True

    @property
    def code_layers(self) -> tuple[int, ...]:
        return (self.latent,)

    def layer_posterior(self, layer: int, below: Tensor, condition: Tensor | None = None) -> Output:
        return GaussianMixture(torch.stack(self.posterior(below, condition), dim=-1), bounded=False)

    def layer_prior(self, layer: int, rows: int, above: Tensor | None, condition: Tensor | None = None) -> Output:
        return GaussianMixture(torch.zeros(rows, self.latent, 2, dtype=self.dtype, device=self.device))

    def recognize(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        dtype = self.dtype
        out = self.encoder(self.event.to_network(x, dtype).flatten(1), condition)  # (b, 2 l)
        # Sums over a datum need more digits than bf16 has: leave autocast's type here and in `raw`.
        return out.to(dtype)

    def posterior(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean and the log standard deviation of the Gaussian that codes are drawn from, each (batch, latent)."""
        mean, log_scale = self.recognize(x, condition)[:, : 2 * self.latent].chunk(2, dim=1)
        return mean, log_scale

    def draw_posterior(
        self, features: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        return draw_gaussian(features[:, : 2 * self.latent], generator)

    def divergence(self, features: Tensor, z: Tensor, log_q: Tensor, condition: Tensor | None = None) -> Tensor:
        return gaussian_divergence(features)

    def log_prior(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return log_standard_normal(z)

    def draw_prior(self, n: int, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(n, self.latent, dtype=self.dtype, device=self.device, generator=generator)

    def code(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return features[:, : self.latent]

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the mean of p(x | z, condition) on the scale of `Event.to_network`, (rows, numel), for z, (rows, latent)."""
        mean = self.head(self.raw(z, condition)).mean
        return (self.event.to_network(mean) if self.head.own_scale else mean).flatten(1)


def draw_gaussian(features: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Draw from Gaussians whose means and log standard deviations are side by side, (..., 2 d); also log q of each entry."""
    mean, log_scale = features.chunk(2, dim=-1)
    noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
    return mean + torch.exp(log_scale) * noise, log_standard_normal(noise) - log_scale


def gaussian_divergence(features: Tensor) -> Tensor:
    """Return KL(N(mu, sigma^2) || N(0, 1)) of each entry, (..., d), nats, for features as in `draw_gaussian`."""
    mean, log_scale = features.chunk(2, dim=-1)
    scale = torch.exp(log_scale)
    return 0.5 * (mean * mean + scale * scale - 1.0) - log_scale


def log_standard_normal(z: Tensor) -> Tensor:
    """Return log N(z; 0, 1) of each entry, nats."""
    return -0.5 * (z * z + _LOG_2PI)


def repeat(x: Tensor, k: int) -> Tensor:
    """Return `x`, (b, ...), k times over, (k b, ...)."""
    return x if k == 1 else x.expand(k, *x.shape).flatten(0, 1)
