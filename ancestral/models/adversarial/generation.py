"""What all models share whose samples a network makes of noise: draws, decoding, and measures without a likelihood."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.lipschitz import Spectral
from ancestral.layers.mlp import check_sizes
from ancestral.models.adversarial.networks import Generator
from ancestral.models.base import Model

DRAWS = 32
"""Draws from the generator for each datum in `GeneratorModel.measures`."""


def check_batch_size(n: int, networks: Iterable[nn.Module]) -> None:
    """Raise if one datum is to be normalised over its batch.

    Raises:
        InvalidInput: for n of 1, if a network in training mode has batch normalisation.
    """
    if n == 1 and any(network.training and network.needs_batch for network in networks):
        raise InvalidInput(
            "batch normalisation needs at least 2 data in a batch, got 1: raise --train.batch_size, or set"
            " --model.generator_normalization none and --model.critic_normalization layer"
        )


def renew_norms(critics: nn.Module) -> None:
    """Take a step of power iteration in each spectrally normalised layer of critics."""
    for layer in critics.modules():
        if isinstance(layer, Spectral):
            layer.iterate()


class GeneratorModel(Model):
    r"""x = G(z, c), z from a simple distribution: a generator, however it is trained.

    A subclass sets `generator`. What it may override: `noise` (what G is given), with `of_normal`, and `generate`.

    Args:
        event: what a datum is.
        condition: what the generator is also given; None for none.
        latent: length of z.

    Raises:
        InvalidInput: if an option is out of range.

    References:
        Strictly Proper Scoring Rules, Prediction, and Estimation (Gneiting & Raftery, 2007),
        https://doi.org/10.1198/016214506000001437, for the energy score.
    """

    family = "adversarial"
    monitor = "energy_score"
    generator: Generator

    def __init__(self, event: Event, condition: Event | None = None, *, latent: int) -> None:
        super().__init__(event, condition)
        check_sizes("latent", (latent,))
        self.latent = latent

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Return n draws of z, (n, latent)."""
        return torch.randn(n, self.latent, dtype=self.dtype, device=self.device, generator=generator)

    def of_normal(self, u: Tensor) -> Tensor:
        """Return z, (n, latent), that is distributed as `noise` is where u, (n, latent), is standard normal.

        Raises:
            Unsupported: if part of what the generator is given is discrete.
        """
        return u

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return G(z, condition) on the scale of `Event.to_network`, (batch, numel), for z, (batch, latent)."""
        return self.squashed(self.generator(z, condition).to(self.dtype))

    def squashed(self, out: Tensor) -> Tensor:
        """Return what a network gives, (batch, numel), on the scale of `Event.to_network`."""
        if not self.event.discrete:
            return out
        return torch.sigmoid(out) if self.event.is_binary else torch.tanh(out)

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        return self.decode(self.noise(n, generator), condition)

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.generate(code.to(self.dtype), self.check_condition(condition, len(code)))[:, : self.event.numel]
        return self.event.from_network(y.reshape(-1, *self.event.shape)).to(self.event.dtype)

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        r"""Return the energy score of each datum, E||Y - x|| - E||Y - Y'|| / 2, Y and Y' drawn given its condition.

        It is estimated without bias from 32 samples, as a person would get them, on the scale of `Event.to_network`.
        It is a strictly proper scoring rule: its mean over data is least for the distribution of the data and no other,
        which a loss of this family cannot say of itself. Beside it are E||Y - Y'|| / sqrt(numel), the diversity of samples,
        near 0 where the generator has collapsed.
        """
        b, m = len(x), DRAWS
        repeated = None if condition is None else condition.repeat_interleave(m, dim=0)
        drawn = self.event.to_network(self.decode(self.noise(b * m, generator), repeated), self.dtype)
        y, real = drawn.view(b, m, -1), self.event.to_network(x, self.dtype).flatten(1)  # (b, m, d), (b, d)
        to_datum = (y - real[:, None]).norm(dim=2).mean(1)  # (b,)
        among = torch.cdist(y, y, compute_mode="donot_use_mm_for_euclid_dist").sum((1, 2)) / (m * (m - 1))  # (b,)
        return {"energy_score": to_datum - 0.5 * among, "diversity": among / math.sqrt(self.event.numel)}
