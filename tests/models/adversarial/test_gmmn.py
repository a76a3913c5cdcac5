"""GMMN: the discrepancy by brute force and in closed form, the statistics, and a Gaussian that is learned."""

import math

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.adversarial.gmmn import GMMN, squared_mmd
from tests.models.learning import generator, learn

BANDWIDTHS = (0.5, 1.0, 3.0)


def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
    squared = sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True))
    return sum(math.exp(-squared / (2.0 * s * s)) for s in BANDWIDTHS)


def test_discrepancy_by_brute_force() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, generator=generator(0))
    y = torch.randn(4, 3, dtype=torch.float64, generator=generator(1)) + 0.5
    xy = sum(kernel(a, b) for a in x for b in y) / 20
    biased = sum(kernel(a, b) for a in x for b in x) / 25 + sum(kernel(a, b) for a in y for b in y) / 16 - 2 * xy
    assert float(squared_mmd(x, y, BANDWIDTHS)) == pytest.approx(biased, abs=1e-12)
    xx = sum(kernel(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / 20
    yy = sum(kernel(y[i], y[j]) for i in range(4) for j in range(4) if i != j) / 12
    assert float(squared_mmd(x, y, BANDWIDTHS, unbiased=True)) == pytest.approx(xx + yy - 2 * xy, abs=1e-12)


def closed_form(shift: float, spread: float, other: float) -> float:
    """E k(x, x') of N(0, spread^2) and N(shift, other^2): N(shift; 0, s^2 + spread^2 + other^2) over its value at s alone."""
    total = 0.0
    for s in BANDWIDTHS:
        variance = s * s + spread**2 + other**2
        total += s / math.sqrt(variance) * math.exp(-0.5 * shift * shift / variance)
    return total


def test_unbiased_discrepancy_between_gaussians_is_the_closed_form() -> None:
    """Over 200 pairs of batches of 50 the mean of the U-statistic is that of the population; the V-statistic's is above."""
    expected = closed_form(0.0, 1.0, 1.0) + closed_form(0.0, 2.0, 2.0) - 2.0 * closed_form(0.7, 1.0, 2.0)
    noise = generator(3)
    unbiased, biased = [], []
    for _ in range(200):
        x = torch.randn(50, 1, dtype=torch.float64, generator=noise)
        y = 0.7 + 2.0 * torch.randn(50, 1, dtype=torch.float64, generator=noise)
        unbiased.append(squared_mmd(x, y, BANDWIDTHS, unbiased=True))
        biased.append(squared_mmd(x, y, BANDWIDTHS))
    values = torch.stack(unbiased)
    error = float(values.std()) / math.sqrt(200)
    assert abs(float(values.mean()) - expected) < 4.0 * error
    # The excess of the V-statistic, (k(x, x) - E k(x, x')) / n for each of both, is known too.
    excess = (6.0 - closed_form(0.0, 1.0, 1.0) - closed_form(0.0, 2.0, 2.0)) / 50
    assert float((torch.stack(biased) - values).mean()) == pytest.approx(excess, rel=0.02)


def test_the_loss_is_the_statistic_that_is_asked_for() -> None:
    x = torch.randn(16, 4, dtype=torch.float64, generator=generator(1))
    losses = {}
    for statistic in ("root", "biased", "unbiased"):
        torch.manual_seed(0)
        model = GMMN(Event.real((4,)), latent=2, hidden=(8,), bandwidths=(0.5, 1.0), statistic=statistic).double()
        losses[statistic] = model.loss(x, generator=generator())["loss"]
        z = 2.0 * torch.rand(16, 2, dtype=torch.float64, generator=generator()) - 1.0
        # Bandwidths are in units of sqrt(numel), 2 here.
        expected = squared_mmd(x, model.generator(z), (1.0, 2.0), unbiased=statistic == "unbiased")
        torch.testing.assert_close(losses[statistic] ** (2 if statistic == "root" else 1), expected)
    assert losses["unbiased"] < losses["biased"]


def test_codes_are_uniform() -> None:
    z = GMMN(Event.real((2,)), latent=3, hidden=(4,)).noise(20_000, generator())
    assert -1.0 <= float(z.min()) < -0.999 < 0.999 < float(z.max()) <= 1.0
    assert float(z.var()) == pytest.approx(1.0 / 3.0, rel=0.02)


@pytest.mark.parametrize("statistic", ["root", "unbiased"])
def test_learns_a_gaussian(statistic: str) -> None:
    """Means to 0.1, and variances and the covariance to 0.1, of N((0.5, -0.5), ((1, 0.6), (0.6, 0.5)))."""
    factor = torch.linalg.cholesky(torch.tensor([[1.0, 0.6], [0.6, 0.5]]))
    mean = torch.tensor([0.5, -0.5])
    x = mean + torch.randn(5000, 2, generator=generator(1)) @ factor.T
    torch.manual_seed(0)
    model = GMMN(Event.real((2,)), latent=4, hidden=(32, 32), statistic=statistic)
    learn(model, x, steps=400, rate=3e-3, batch=300)
    y = model.sample(20_000, generator=generator(5))
    torch.testing.assert_close(y.mean(0), x.mean(0), rtol=0.0, atol=0.1)
    torch.testing.assert_close(y.T.cov(), x.T.cov(), rtol=0.0, atol=0.1)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"no statistic 'unbiassed'\. Did you mean unbiased"):
        GMMN(Event.real((2,)), statistic="unbiassed")
    with pytest.raises(InvalidInput, match="bandwidths are positive"):
        GMMN(Event.real((2,)), bandwidths=(1.0, 0.0))
    with pytest.raises(InvalidInput, match="takes no condition"):
        GMMN(Event.real((2,)), Event.label(2))
    with pytest.raises(InvalidInput, match="at least 2 data"):
        GMMN(Event.real((2,)), hidden=(4,)).loss(torch.zeros(1, 2))
