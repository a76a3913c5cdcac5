"""f-divergences: each conjugate is a supremum, and the best critic's bound is the divergence, by quadrature and by sums."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from ancestral.errors import InvalidInput
from ancestral.models.adversarial.divergences import NAMES, PLAIN, divergence, omega

ROWS = (*PLAIN, "weighted-jensen-shannon=0.3", "alpha=-0.7", "alpha=0.4", "alpha=2.5")
EACH = pytest.mark.parametrize("name", ROWS)
P, Q = torch.tensor([0.5, 0.2, 0.25, 0.05], dtype=torch.float64), torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=torch.float64)
# Two Gaussians of one variance: every divergence here is finite, alpha = 2.5 and -0.7 too.
MEAN_P, MEAN_Q, SCALE = 0.3, -0.4, 0.8


def points() -> tuple[Tensor, Tensor, Tensor, float]:
    """Return the points of a quadrature, log p and log q there, and the weight of each point."""
    x = torch.linspace(-12.0, 12.0, 48_001, dtype=torch.float64)
    return x, Normal(MEAN_P, SCALE).log_prob(x), Normal(MEAN_Q, SCALE).log_prob(x), 24.0 / 48_000


def closed_form(name: str) -> float | None:
    """Return the divergence of the two Gaussians where a formula is known; d is their distance in standard deviations."""
    d = (MEAN_P - MEAN_Q) / SCALE
    known = {
        "kl": 0.5 * d * d,
        "reverse-kl": 0.5 * d * d,
        "jeffrey": d * d,
        "pearson": math.exp(d * d) - 1.0,
        "neyman": math.exp(d * d) - 1.0,
        "squared-hellinger": 2.0 - 2.0 * math.exp(-d * d / 8.0),
        "total-variation": math.erf(abs(d) / math.sqrt(8.0)),
    }
    if name.startswith("alpha="):
        a = float(name.removeprefix("alpha="))
        return (math.exp(0.5 * a * (a - 1.0) * d * d) - 1.0) / (a * (a - 1.0))
    return known.get(name)


def by_definition(name: str, p: Tensor, q: Tensor) -> Tensor:
    """Return the divergence of two tables of probabilities (or of weighted densities) as a person would write it."""

    def kl(a: Tensor, b: Tensor) -> Tensor:
        return (a * (a.log() - b.log())).sum()

    if name == "total-variation":
        return 0.5 * (p - q).abs().sum()
    if name == "jeffrey":
        return kl(p, q) + kl(q, p)
    if name == "pearson":
        return ((p - q).square() / q).sum()
    if name == "neyman":
        return ((p - q).square() / p).sum()
    if name == "squared-hellinger":
        return (p.sqrt() - q.sqrt()).square().sum()
    if name in ("kl", "reverse-kl"):
        return kl(p, q) if name == "kl" else kl(q, p)
    if name.startswith("alpha="):
        a = float(name.removeprefix("alpha="))
        return ((p**a * q ** (1.0 - a)).sum() - 1.0) / (a * (a - 1.0))
    pi = 0.3 if name.startswith("weighted") else 0.5
    m = pi * p + (1.0 - pi) * q
    jensen_shannon = pi * kl(p, m) + (1.0 - pi) * kl(q, m)
    return 2.0 * jensen_shannon - math.log(4.0) if name == "gan" else jensen_shannon


def inverse(function, target: Tensor) -> Tensor:
    """Return where an increasing function of one variable has the value `target`, by bisection."""
    low, high = torch.full_like(target, -200.0), torch.full_like(target, 200.0)
    for _ in range(200):
        middle = 0.5 * (low + high)
        below = function(middle) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


@EACH
def test_the_best_critic_reaches_the_divergence_of_two_gaussians(name: str) -> None:
    row = divergence(name)
    _, log_p, log_q, weight = points()
    p, q = log_p.exp() * weight, log_q.exp() * weight
    t = row.derivative((log_p - log_q).exp())
    bound = float((p * t - q * row.conjugate(t)).nan_to_num().sum())
    expected = float(by_definition(name, p, q))
    assert bound == pytest.approx(expected, abs=1e-6)
    closed = closed_form(name)
    if closed is not None:
        assert bound == pytest.approx(closed, abs=1e-6)


@EACH
def test_the_best_critic_reaches_the_divergence_of_two_categoricals(name: str) -> None:
    row = divergence(name)
    t = row.best_output(P / Q)
    bound = float((P * t - Q * row.conjugate(t)).sum())
    assert bound == pytest.approx(float((Q * row.f(P / Q)).sum()), abs=1e-10)
    assert bound == pytest.approx(float(by_definition(name, P, Q)), abs=1e-10)
    # The same through the output activation: some V gives each T, if only in the limit.
    v = inverse(row.activation, t)
    through = float((P * row.activation(v) - Q * row.conjugate_of_output(v)).sum())
    assert through == pytest.approx(bound, abs=1e-6)


@EACH
@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-6.0, 6.0), min_size=4, max_size=4))
def test_any_other_critic_lies_below(name: str, outputs: list[float]) -> None:
    row = divergence(name)
    v = torch.tensor(outputs, dtype=torch.float64)
    value = float((P * row.activation(v) - Q * row.conjugate_of_output(v)).sum())
    assert value <= float(by_definition(name, P, Q)) + 1e-9


@EACH
def test_the_conjugate_is_the_supremum(name: str) -> None:
    row = divergence(name)
    u = torch.cat((torch.zeros(1, dtype=torch.float64) + 1e-30, torch.logspace(-9, 9, 400_001, dtype=torch.float64)))
    for t in (-3.0, -1.9, -1.0, -0.4, -0.1, 0.0, 0.2, 0.3, 0.8, 1.5, 3.0):
        if t >= row.upper:
            continue
        supremum = float((u * t - row.f(u)).max())
        assert float(row.conjugate(torch.tensor(t, dtype=torch.float64))) == pytest.approx(supremum, abs=2e-6, rel=1e-7)


@EACH
def test_outputs_are_mapped_into_the_domain_in_order(name: str) -> None:
    row = divergence(name)
    v = torch.linspace(-15.0, 15.0, 301, dtype=torch.float64)
    t = row.activation(v)
    assert bool((t < row.upper).all())
    assert bool((t[1:] > t[:-1]).all())
    assert bool(torch.isfinite(row.conjugate(t)).all())
    torch.testing.assert_close(row.conjugate_of_output(v), row.conjugate(t), rtol=1e-6, atol=1e-6)


@EACH
def test_derivatives_thresholds_and_offsets(name: str) -> None:
    row = divergence(name)
    u = torch.tensor([0.2, 0.9, 1.3, 4.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(row.f(u).sum(), u)
    torch.testing.assert_close(row.derivative(u.detach()), slope)
    one = torch.ones((), dtype=torch.float64)
    assert float(row.derivative(one)) == pytest.approx(row.threshold, abs=1e-12)
    assert float(row.f(one)) == pytest.approx(row.offset, abs=1e-12)
    # f*' is where the supremum is attained, the inverse of f'; and the threshold is where a tie is.
    if name != "total-variation":
        t = slope.detach().requires_grad_()
        torch.testing.assert_close(torch.autograd.grad(row.conjugate(t).sum(), t)[0], u.detach())


@EACH
def test_large_outputs_stay_finite_in_single_precision(name: str) -> None:
    row = divergence(name)
    v = torch.tensor([-30.0, -5.0, 5.0, 30.0], requires_grad=True)
    value = row.activation(v).sum() + row.conjugate_of_output(v).sum()
    (slope,) = torch.autograd.grad(value, v)
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(slope).all())


def test_omega_and_its_derivatives() -> None:
    x = torch.tensor([-30.0, -2.0, 0.0, 1.0, 5.0, 300.0], dtype=torch.float64, requires_grad=True)
    w = omega(x)
    torch.testing.assert_close(w + w.log(), x)
    assert torch.autograd.gradcheck(omega, (x,), atol=1e-6)
    assert torch.autograd.gradgradcheck(omega, (x,), atol=1e-6)


def test_jensen_shannon_is_the_weighted_one_of_one_half_and_bounded() -> None:
    v = torch.linspace(-4, 4, 9, dtype=torch.float64)
    one, other = divergence("jensen-shannon"), divergence("weighted-jensen-shannon")
    torch.testing.assert_close(one.conjugate_of_output(v), other.conjugate_of_output(v))
    far = by_definition("jensen-shannon", torch.tensor([1.0, 1e-30]).double(), torch.tensor([1e-30, 1.0]).double())
    assert float(far) == pytest.approx(math.log(2.0))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("pearsn", "Did you mean pearson"),
        ("alpha=0", "its limit there is reverse-kl"),
        ("alpha=1.0", "its limit there is kl"),
        ("alpha=two", "takes a number"),
        ("alpha=inf", "finite"),
        ("weighted-jensen-shannon=1", "between 0 and 1"),
        ("kl=3", "has no parameter"),
    ],
)
def test_bad_names_are_refused(name: str, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        divergence(name)


def test_there_are_all_of_the_paper() -> None:
    assert set(NAMES) == {
        "total-variation", "kl", "reverse-kl", "pearson", "neyman", "squared-hellinger", "jeffrey", "jensen-shannon",
        "weighted-jensen-shannon", "gan", "alpha",
    }  # fmt: skip
