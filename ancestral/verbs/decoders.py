"""Decoders: how likely data are given a code, for models that decode codes with a known prior."""

import math
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.layers.mlp import check_choice
from ancestral.models import registry
from ancestral.models.adversarial.generation import GeneratorModel
from ancestral.models.base import Model
from ancestral.models.latent.base import CHUNK, GaussianLatentModel, log_standard_normal
from ancestral.verbs.inputs import Subject

OBSERVATIONS = ("auto", "own", "gaussian")
"""Distributions of data given a code."""


class Generates(Protocol):
    """A model with a generator: what a code becomes. Where a code is not normal, `of_normal` makes it of one that is."""

    latent: int

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return data of codes, on the scale of `Event.to_network`, (batch, numel), for z, (batch, latent)."""
        ...


@dataclass(frozen=True)
class Decoder:
    """p(z) = N(0, I) and p(x | z): the model's own, or a Gaussian around what the code is decoded to.

    Args:
        model: a model with a generator; one of latent variables where the distribution is its own.
        sigma: of the Gaussian, on the scale of `Event.dequantize`; None for the model's own distribution.
    """

    model: Model
    sigma: float | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def rows(self) -> int:
        """Codes that are decoded at once."""
        elements = getattr(self.model, "elements", 8 * self.model.event.numel)
        return max(1, CHUNK // max(elements, 1024))

    @property
    def described(self) -> str:
        """In words what data are given a code, and what log p is of."""
        event, sigma = self.model.event, self.sigma
        if sigma is None:
            return f"p(x | z): the model's own; log p is a {'log-probability' if event.discrete else 'log-density'} of x"
        around = f"p(u | z): Gaussian of sigma {sigma:.4g} around what z is decoded to; log p is a log-density of u"
        if event.levels is None:
            return f"{around}, x standardized"
        cost = event.numel * math.log(event.levels)
        return f"{around} = (x + noise) / {event.levels}, and {cost:.2f} nats less a bound on the log-probability of x"

    def draw_prior(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Return draws of codes, (n, latent)."""
        latent = cast(Generates, self.model).latent
        return torch.randn(n, latent, dtype=self.model.dtype, device=self.device, generator=generator)

    def log_prior(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Return log p(z), (rows,), nats."""
        return log_standard_normal(z).sum(1)

    def _mean(self, z: Tensor, condition: Tensor | None) -> Tensor:
        if isinstance(self.model, GeneratorModel):
            z = self.model.of_normal(z)
        mean = cast(Generates, self.model).generate(z, condition)[:, : self.model.event.numel]
        return self.model.event.continuous(mean)

    def log_likelihood(self, x: Tensor, z: Tensor, condition: Tensor | None) -> Tensor:
        """Return log p(x | z), (rows,), nats, for data as `prepared` gives them."""
        if self.sigma is None:
            return cast(GaussianLatentModel, self.model).log_likelihood(x, z, condition)
        off = (x - self._mean(z, condition)) / self.sigma  # (rows, d)
        return log_standard_normal(off).sum(1) - x.shape[1] * math.log(self.sigma)

    def prepared(self, x: Tensor, seed: int) -> Tensor:
        """Return data as likelihoods take them: as they are, or dequantized by noise from a seed, (n, numel)."""
        if self.sigma is None:
            return x
        u, _ = self.model.event.dequantize(x, torch.Generator().manual_seed(seed), self.model.dtype)
        return u.flatten(1)

    @torch.no_grad()
    def simulated(self, n: int, condition: Tensor | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return codes drawn from the prior, and data drawn given them, as `prepared` gives them."""
        condition = None if condition is None else condition.to(self.device)
        z = self.draw_prior(n, condition, generator)
        if self.sigma is None:
            return z, cast(GaussianLatentModel, self.model).draw_data(z, condition, generator)
        mean = self._mean(z, condition)
        return z, mean + self.sigma * torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)


def open_decoder(subject: Subject, observation: str = "auto", sigma: float | None = None) -> Decoder:
    """Return the decoder of a model.

    Args:
        subject: the model.
        observation: one of `OBSERVATIONS`; auto is the model's own distribution where it has one and no sigma is given.
        sigma: of the Gaussian; where None, one that is to be chosen.

    Raises:
        Unsupported: if the model has no generator of real codes, or no distribution of its own.
        InvalidInput: for an unknown observation model, a sigma of none, or data of mixed columns.
    """
    check_choice("observation", observation, OBSERVATIONS)
    model = subject.model
    own = isinstance(model, GaussianLatentModel)
    if not (hasattr(model, "generate") and hasattr(model, "latent")):
        able = [name for name in registry.names() if hasattr(registry.get(name), "generate")]
        raise Unsupported(
            f"{model.name} ({model.family}) decodes no real codes of a known prior. Models that do: {', '.join(able)}"
        )
    if isinstance(model, GeneratorModel):
        model.of_normal(torch.zeros(1, model.latent))  # raises where a code is not of real numbers
    if observation == "own" and sigma is not None:
        raise InvalidInput(f"sigma is of the gaussian observation model, got {sigma} for the model's own: leave one out")
    if observation == "own" and not own:
        raise Unsupported(f"{model.name} has no distribution of data given a code: use observation=gaussian")
    if observation == "own" or (observation == "auto" and own and sigma is None):
        return Decoder(model)
    if model.event.columns is not None or getattr(model, "pixel_model", None) is not None:
        raise Unsupported(f"a {model.name} of {model.event} has no mean that a Gaussian could be around: use observation=own")
    return Decoder(model, sigma if sigma is not None else 0.1)
