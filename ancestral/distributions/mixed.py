"""Distributions of entries of which some are real and some are levels, in one batch: raw parameters say which is which."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints

from ancestral.distributions.outputs import Categorical, GaussianMixture, Output, mixture_parameters

IMPOSSIBLE = -10_000.0
"""Log-probability of what cannot be: finite, also in half precision, so that no product of it is NaN."""


@dataclass(frozen=True)
class MixedLayout:
    """How raw parameters of an entry lie: what it is, logits of levels, a mixture of Gaussians.

    Args:
        levels: most levels that an entry has.
        components: of the mixture.
    """

    levels: int
    components: int

    @property
    def mixture(self) -> int:
        """Where the mixture's parameters begin."""
        return 1 + self.levels

    @property
    def parameters(self) -> int:
        """Raw parameters of an entry."""
        return self.mixture + mixture_parameters(self.components)

    def real(self, mixture: Tensor) -> Tensor:
        """Return raw parameters of real entries, (..., parameters), given those of their mixtures."""
        return torch.cat(
            (torch.ones_like(mixture[..., :1]), mixture.new_zeros(*mixture.shape[:-1], self.levels), mixture), dim=-1
        )

    def whole(self, logits: Tensor) -> Tensor:
        """Return raw parameters of entries of levels, (..., parameters), given logits of all levels, (..., levels)."""
        rest = logits.new_zeros(*logits.shape[:-1], self.parameters - self.mixture)
        return torch.cat((-torch.ones_like(logits[..., :1]), logits, rest), dim=-1)


class Mixed(Output):
    r"""Entries that are real, p(x) = sum_i pi_i N(x; mu_i, s_i^2), or levels, P(x = k) = softmax(logits)_k, each as it says.

    The first raw parameter of an entry says what it is: real where it is positive. So a real entry of a drawing that is over
    can be a zero for sure, whose log-probability is 0.

    Args:
        raw: (*batch_shape, parameters), as `MixedLayout` has them; log deviations are not bounded here.
        layout: where they lie.

    >>> layout = MixedLayout(levels=3, components=1)
    >>> raw = torch.stack((layout.whole(torch.zeros(3)), layout.real(torch.zeros(2))))
    >>> Mixed(raw, layout).log_prob(torch.tensor([2.0, 0.0])).exp()
    tensor([0.3333, 0.3989])
    """

    support = constraints.real
    noises = 2  # the component or the level, then its value

    def __init__(self, raw: Tensor, layout: MixedLayout) -> None:
        super().__init__(raw.shape[:-1])
        self.real = raw[..., 0] > 0.0
        self.mixture = GaussianMixture(raw[..., layout.mixture :], bounded=False)
        self.whole = Categorical(raw[..., 1 : layout.mixture])
        self.logits = self.mixture.logits

    def log_prob(self, value: Tensor) -> Tensor:
        value = value.to(self.logits.dtype)
        table = self.whole.log_pmf()
        level = value.nan_to_num(0.0).clamp(0, table.shape[-1] - 1).round()
        whole = table.gather(-1, level.long()[..., None])[..., 0]
        whole = torch.where(level == value, whole, torch.full_like(whole, IMPOSSIBLE))
        return torch.where(self.real, self.mixture.log_prob(value), whole)

    def from_noise(self, noise: Tensor) -> Tensor:
        return torch.where(self.real, self.mixture.from_noise(noise), self.whole.from_noise(noise[..., :1]))

    def biased(self, bias: float) -> "Mixed":
        other = copy.copy(self)
        other.mixture = self.mixture.biased(bias)
        return other

    @property
    def mean(self) -> Tensor:
        """The expected value of a real entry, the likeliest level of another."""
        level = self.whole.logits.argmax(-1)
        return torch.where(self.real, self.mixture.mean, level.to(self.logits.dtype))
