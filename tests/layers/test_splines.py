"""Rational-quadratic splines: against autograd, against their inverse, and at the places where rounding bites."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.splines import SMALLEST, RationalQuadratic

SIZES = {
    "bins": st.integers(1, 12),
    "bound": st.floats(0.1, 50.0),
    "seed": st.integers(0, 10_000),
    "spread": st.floats(0.0, 4.0),
}


def parameters(spline: RationalQuadratic, n: int, seed: int, spread: float) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    return spread * torch.randn(n, spline.values, generator=noise, dtype=torch.float64)


def places(spline: RationalQuadratic, raw: Tensor) -> Tensor:
    """Return x inside, outside, and at all knots, (places, n)."""
    inside = torch.linspace(-0.999, 0.999, 29, dtype=torch.float64)[:, None] * spline.bound
    outside = torch.tensor([-10.0, -1.001, -1.0, 1.0, 1.001, 10.0], dtype=torch.float64)[:, None] * spline.bound
    return torch.cat((inside.expand(-1, len(raw)), outside.expand(-1, len(raw)), spline._knots(raw[:, : spline.bins]).T))


@given(**SIZES)
def test_inverse_undoes(bins: int, bound: float, seed: int, spread: float) -> None:
    spline = RationalQuadratic(bins, bound)
    raw = parameters(spline, 5, seed, spread)
    x = places(spline, raw)
    raw = raw.expand(len(x), -1, -1)
    y, log_det = spline.forward(x, raw)
    assert bool(torch.isfinite(log_det).all())
    # An error of y is one of x by as many times as the spline is flat there.
    flat = torch.exp(-log_det).clamp(min=1.0)
    assert float(((spline.inverse(y, raw) - x).abs() / flat).max()) < 1e-11 * max(bound, 1.0)


@given(**SIZES)
def test_log_derivative_agrees_with_autograd(bins: int, bound: float, seed: int, spread: float) -> None:
    spline = RationalQuadratic(bins, bound)
    raw = parameters(spline, 5, seed, spread)
    x = places(spline, raw).requires_grad_()
    raw = raw.expand(len(x), -1, -1)
    y, log_det = spline.forward(x, raw)
    (slope,) = torch.autograd.grad(y.sum(), x)
    ends = x.detach().abs() == bound  # where clamping and the linear tail meet, a subgradient is as good as another
    torch.testing.assert_close(log_det.exp()[~ends], slope[~ends], rtol=1e-9, atol=1e-9)


@given(**SIZES)
def test_it_rises_and_meets_its_tails(bins: int, bound: float, seed: int, spread: float) -> None:
    spline = RationalQuadratic(bins, bound)
    raw = parameters(spline, 1, seed, spread)
    x = torch.linspace(-1.5 * bound, 1.5 * bound, 2001, dtype=torch.float64)
    y, log_det = spline.forward(x, raw.expand(len(x), -1))
    assert bool((y.diff() > 0).all())
    ends = torch.tensor([-bound, bound], dtype=torch.float64)
    at_ends, log_slopes = spline.forward(ends, raw.expand(2, -1))
    torch.testing.assert_close(at_ends, ends, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_slopes, torch.zeros(2, dtype=torch.float64), rtol=0.0, atol=1e-9)
    outside = x.abs() > bound
    assert torch.equal(y[outside], x[outside])
    assert not bool(log_det[outside].any())


@given(**SIZES)
def test_single_precision_stays_finite_and_comes_back(bins: int, bound: float, seed: int, spread: float) -> None:
    spline = RationalQuadratic(bins, bound)
    raw = parameters(spline, 5, seed, spread).float()
    x = places(spline, raw).float().requires_grad_()
    raw = raw.expand(len(x), -1, -1).clone().requires_grad_()
    y, log_det = spline.forward(x, raw)
    back = spline.inverse(y, raw)
    for value in (y, log_det, back):
        for gradient in torch.autograd.grad(value.sum(), (x, raw), retain_graph=True):
            assert bool(torch.isfinite(value).all())
            assert bool(torch.isfinite(gradient).all())
    # Two knots may be told apart by fewer than all digits: what the inverse finds has the image that was given.
    torch.testing.assert_close(spline.forward(back, raw)[0], y, rtol=2e-4, atol=2e-4 * bound)


def test_parameters_of_zero_give_the_identity() -> None:
    spline = RationalQuadratic(5, 2.0)
    x = torch.linspace(-3.0, 3.0, 101, dtype=torch.float64)
    y, log_det = spline.forward(x, torch.zeros(101, spline.values, dtype=torch.float64))
    torch.testing.assert_close(y, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, torch.zeros_like(x), rtol=0.0, atol=1e-12)


def test_it_passes_the_knots_with_the_derivatives_that_are_given() -> None:
    """Two bins worked out by hand: widths 1 and 3 of 4, heights 3 and 1, derivative 2 in the middle."""
    spline = RationalQuadratic(2, 2.0)
    ratio = torch.log(torch.tensor((0.75 - SMALLEST) / (0.25 - SMALLEST), dtype=torch.float64))
    middle = torch.log(torch.expm1(torch.tensor(2.0 - SMALLEST, dtype=torch.float64)))
    middle = middle - torch.log(torch.expm1(torch.tensor(1.0 - SMALLEST, dtype=torch.float64)))
    raw = torch.stack((0 * ratio, ratio, ratio, 0 * ratio, middle))
    y, log_det = spline.forward(torch.tensor([-1.0, -1.5], dtype=torch.float64), raw.expand(2, -1))
    # At -1.5: u = 1/2, slope 3, derivatives 1 and 2: y = -2 + 3 (3/4 + 1/4) / (3 + (3 - 6) / 4) = -2 + 3 / 2.25.
    expected = torch.tensor([1.0, -2.0 + 3.0 / 2.25], dtype=torch.float64)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    # The derivative there: 9 (2/4 + 6/4 + 1/4) / 2.25^2 = 4.
    torch.testing.assert_close(log_det.exp(), torch.tensor([2.0, 4.0], dtype=torch.float64), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"bins": 0}, "bins needs"),
        ({"bins": 1001}, "bins is 1001"),
        ({"bound": 0.0}, "bound is 0.0"),
        ({"bound": float("inf")}, "bound is inf"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        RationalQuadratic(**options)
