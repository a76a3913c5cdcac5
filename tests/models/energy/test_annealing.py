"""Annealed importance sampling against sums over all states, and what it says of its own error."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.models.energy.annealing import BipartitePath, annealed_log_weights, log_mean, schedule
from ancestral.models.energy.base import enumerated, log_odds


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def machine(seed: int, visible: int = 9, hidden: int = 6, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    noise = generator(1000 + seed)

    def draw(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=noise, dtype=torch.float64)

    return draw(hidden, visible), draw(visible), draw(hidden)


def estimate(seed: int, distributions: int, chains: int, dtype: torch.dtype = torch.float64, **options: float) -> float:
    """Return by how many of its standard errors an estimate of log Z is off."""
    parts = [part.to(dtype) for part in machine(seed, **options)]
    path = BipartitePath(*parts, base=torch.zeros_like(parts[1]))
    value, error = log_mean(annealed_log_weights(path, schedule(distributions), chains, generator(seed)))
    return (value - float(enumerated(*machine(seed, **options)))) / error


def test_schedule_is_the_one_of_the_reference() -> None:
    steps = schedule(14_500)
    assert len(steps) == 14_501
    assert (steps[0], steps[500], steps[4_500], steps[-1]) == (0.0, pytest.approx(0.5), pytest.approx(0.9), 1.0)
    assert steps[250] == pytest.approx(0.25)
    assert steps[2_500] == pytest.approx(0.7)
    for n in (1, 2, 7, 20_000):
        found = schedule(n)
        assert len(found) == n + 1
        assert (found[0], found[-1]) == (0.0, 1.0)
        assert found == sorted(found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_estimates_are_within_their_errors_of_the_sum_over_all_states(dtype: torch.dtype) -> None:
    off = torch.tensor([estimate(seed, 300, 200, dtype) for seed in range(40)])
    assert float(off.abs().max()) < 4.0
    assert int((off.abs() > 3.0).sum()) <= 1
    assert abs(float(off.mean())) < 4.0 / math.sqrt(len(off))
    # The error that is claimed is the one that is made: the deviation in units of it is 1, give or take.
    assert 0.75 < float(off.std()) < 1.25


def test_one_step_weighs_draws_from_the_base_distribution() -> None:
    """From 0 to 1 at once is importance sampling: the weights can be worked out by hand."""
    weight, b, c = machine(3)
    base = torch.linspace(-1.0, 1.0, len(b), dtype=torch.float64)
    path = BipartitePath(weight, b, c, base)
    found = annealed_log_weights(path, schedule(1), 50, generator(7))
    v, logits = BipartitePath(weight, b, c, base).start(50, generator(7))
    torch.testing.assert_close(logits, v @ weight.T + c)
    log_f = v @ b + F.softplus(v @ weight.T + c).sum(1)
    log_p0 = (v * F.logsigmoid(base) + (1.0 - v) * F.logsigmoid(-base)).sum(1)
    torch.testing.assert_close(found, log_f - log_p0)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_steps_leave_the_tempered_distribution_as_it_is(t: float) -> None:
    weight, b, c = machine(1, visible=4, hidden=3)
    base = torch.tensor([0.5, -0.5, 1.0, 0.0], dtype=torch.float64)
    states = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 4)
    log_f = states @ ((1.0 - t) * base + t * b) + F.softplus(t * (states @ weight.T + c)).sum(1)
    p = torch.softmax(log_f, 0)
    n, powers = 40_000, 2.0 ** torch.arange(3, -1, -1, dtype=torch.float64)
    path = BipartitePath(weight, b, c, base)
    path.start(n, generator())
    v = states[torch.multinomial(p, n, replacement=True, generator=generator(1))]
    moved, logits = path.move((v.clone(), v @ weight.T + c), t, generator(2))
    torch.testing.assert_close(logits, moved @ weight.T + c)
    counts = torch.bincount((moved @ powers).long(), minlength=16).double()
    chi_square = float(((counts - n * p).square() / (n * p)).sum())
    assert chi_square < 44.3  # 1e-4 of 15 degrees of freedom


def test_path_ratio_is_that_of_the_tempered_functions() -> None:
    weight, b, c = machine(2)
    path = BipartitePath(weight, b, c, torch.zeros_like(b))
    state = path.start(20, generator())
    v = state[0]

    def log_f(t: float) -> Tensor:
        return t * (v @ b) + F.softplus(t * (v @ weight.T + c)).sum(1)

    torch.testing.assert_close(path.log_ratio(state, 0.2, 0.7), log_f(0.7) - log_f(0.2))


def test_more_distributions_make_a_smaller_error() -> None:
    parts = machine(5, scale=2.0)
    path = BipartitePath(*parts, base=torch.zeros_like(parts[1]))
    few, many = (log_mean(annealed_log_weights(path, schedule(n), 300, generator()))[1] for n in (10, 1000))
    assert many < 0.3 * few


def test_the_base_has_the_odds_of_the_data() -> None:
    x = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(log_odds(x).sigmoid(), torch.tensor([3 / 4, 1 / 4, 2 / 4]))


def test_the_way_back_bounds_from_above() -> None:
    """From exact draws, E[w] of the way back is Z_0 / Z_1, so that log Z by it is high on average, and the way there low."""
    parts = machine(5, scale=1.5)
    weight, b, c = parts
    true = float(enumerated(*parts))
    states = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * len(b))
    p = torch.softmax(states @ b + F.softplus(states @ weight.T + c).sum(1), 0)
    path, steps = BipartitePath(*parts, base=torch.zeros_like(b)), schedule(20)
    there, back = [], []
    for seed in range(60):
        noise = generator(seed)
        there.append(log_mean(annealed_log_weights(path, steps, 20, noise))[0])
        start = states[torch.multinomial(p, 20, replacement=True, generator=noise)]
        back.append(2.0 * path.log_base - log_mean(annealed_log_weights(path, steps[::-1], 20, noise, start))[0])
    low, high = torch.tensor(there), torch.tensor(back)
    assert float(low.mean()) < true < float(high.mean())
    # On the scale of Z it is unbiased.
    ratio = (true - high).exp()
    assert abs(float(ratio.mean()) - 1.0) < 4.0 * float(ratio.std()) / math.sqrt(60)
