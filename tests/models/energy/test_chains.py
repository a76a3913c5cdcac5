"""How long chains remember: against autoregressive series whose time is known."""

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.models.energy.chains import autocorrelation_time


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_time_is_that_of_an_autoregressive_series(memory: float) -> None:
    noise = torch.randn(50, 8000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    series = noise.clone()
    for t in range(1, series.shape[1]):
        series[:, t] = memory * series[:, t - 1] + noise[:, t]
    tau, window = autocorrelation_time(series[:, 500:])
    assert tau == pytest.approx((1.0 + memory) / (1.0 - memory), rel=0.06)
    assert window >= 4.0 * tau


def test_chains_that_stay_apart_remember_for_ever() -> None:
    noise = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    apart = noise + torch.tensor([-20.0, 20.0, -20.0, 20.0])[:, None]
    assert autocorrelation_time(apart)[0] > 300.0
    assert autocorrelation_time(torch.ones(3, 100))[0] == 100.0


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(InvalidInput, match="got 3 steps"):
        autocorrelation_time(torch.randn(2, 3))
