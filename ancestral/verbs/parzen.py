"""Parzen windows: log-likelihoods of a Gaussian around each sample, which rank models wrongly, as they have been published."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.likelihood import Likelihood
from ancestral.verbs.features import drawn_like
from ancestral.verbs.inputs import Named, check_counts, first_data, open_data, open_model

SIGMAS = tuple(0.01 * 10.0 ** (i / 8) for i in range(17))
"""Standard deviations that are tried on validation data: from 0.01 to 1, evenly in log."""
WARNING = (
    "a Parzen window ranks models wrongly: it prefers copies of few data to the model that the data came from (Theis et al."
    " 2016), and is far from the likelihood in many dimensions (Wu et al. 2017); use it only beside published figures of it"
)
_ROWS = 512


class ParzenWarning(UserWarning):
    """A Parzen window was asked for."""


@dataclass(frozen=True)
class Parzen:
    """A Parzen window estimate.

    Args:
        model: the model's name.
        data: name of the data.
        split: the split that was read.
        nats: mean log-density of the split.
        standard_error: of it, over data.
        count: data.
        kind: "estimate", with the number of samples.
        sigma: standard deviation of the windows, chosen on validation data.
        measure: what the density is over.
        warning: why not to rely on it.
    """

    model: str
    data: str
    split: str
    nats: float
    standard_error: float
    count: int
    kind: str
    sigma: float
    measure: str
    warning: str

    def to_json(self) -> dict[str, Any]:
        """Return the figure as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.model} on {self.data} ({self.split}, {self.count:,} data): log p {self.nats:.2f} ±"
            f" {self.standard_error:.2f} nats,"
            f" {self.kind}\nsigma {self.sigma:.4g} chosen on validation; density of {self.measure}"
        )


def parzen(
    model: Named,
    data: Data | str | None = None,
    split: str = "test",
    *,
    n: int = 10_000,
    sigmas: Sequence[float] = SIGMAS,
    limit: int | None = None,
    seed: int = 0,
) -> Parzen:
    """Estimate the log-density of data under Gaussian windows around samples of a model: a figure to distrust.

    Args:
        model: an unconditional model, or its zoo name, run directory or hub repository.
        data: the data; what the model was trained on where None.
        split: name of the split.
        n: samples.
        sigmas: standard deviations of the windows, of which the likeliest on the first 1,000 validation data is taken.
        limit: data used, the first ones; all where None.
        seed: seed of the draws.

    Raises:
        Unsupported: if the model cannot be sampled.
        InvalidInput: if the model has a condition, or sigmas are not positive.

    Warns:
        ParzenWarning: always.

    References:
        Generative Adversarial Nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661, for the figure.
        A note on the evaluation of generative models (Theis, van den Oord & Bethge, 2016), https://arxiv.org/abs/1511.01844,
        and On the Quantitative Analysis of Decoder-Based Generative Models (Wu et al., 2017),
        https://arxiv.org/abs/1611.04273, for why not.
    """
    check_counts(n=n, limit=limit)
    if not sigmas or not all(0.0 < sigma < math.inf for sigma in sigmas):
        raise InvalidInput(f"sigmas are {list(sigmas)}, expected positive standard deviations, such as 0.1")
    subject = open_model(model)
    data = open_data(data, subject)
    if subject.model.condition is not None:
        raise InvalidInput(
            f"{subject.name} is given {subject.model.condition}: Parzen windows are of models without condition"
        )
    warnings.warn(WARNING, ParzenWarning, stacklevel=2)
    x, _ = drawn_like(subject, data, n, split, seed)
    centres = unit_scale(x, data.event)
    chosen = unit_scale(first_data(data, "validation", 1000, seed)[0], data.event)
    means = [float(window_log_density(chosen, centres, sigma).mean()) for sigma in sigmas]
    sigma = sigmas[max(range(len(sigmas)), key=means.__getitem__)]
    found = window_log_density(unit_scale(first_data(data, split, limit, seed)[0], data.event), centres, sigma)
    levels = data.event.levels
    return Parzen(
        model=subject.name,
        data=data.name,
        split=split,
        nats=float(found.mean()),
        standard_error=float(found.std() / math.sqrt(len(found))),
        count=len(found),
        kind=str(Likelihood("estimate", samples=n, note="Parzen window")),
        sigma=float(sigma),
        measure="standardized entries" if levels is None else f"x / {levels - 1}, in [0, 1]^{data.event.numel}",
        warning=WARNING,
    )


def unit_scale(x: Tensor, event: Event) -> Tensor:
    """Return data, (n, numel), divided by their largest level, or standardized where they are real."""
    return (event.to_network(x, torch.float64) if event.levels is None else x.double() / (event.levels - 1)).flatten(1)


def window_log_density(x: Tensor, centres: Tensor, sigma: float) -> Tensor:
    r"""Return log (1/n) sum_i N(x; c_i, sigma^2 I) of each point, (m,), nats.

    Args:
        x: points, (m, d).
        centres: c, (n, d).
        sigma: standard deviation of the windows.

    >>> window_log_density(torch.zeros(1, 1), torch.zeros(5, 1), 1.0)
    tensor([-0.9189])
    """
    constant = math.log(len(centres)) + 0.5 * x.shape[1] * math.log(2.0 * math.pi * sigma**2)
    parts = [torch.logsumexp(-0.5 * (torch.cdist(part, centres) / sigma).square(), dim=1) for part in x.split(_ROWS)]
    return torch.cat(parts) - constant
