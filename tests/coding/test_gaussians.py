"""Gaussians on points as integer frequencies: near the density, and the same wherever the grid is safe."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancestral.coding import Damage
from ancestral.coding.frequencies import PRECISION, SHIFTS, TOLERANCE, Floats, Integers
from ancestral.coding.gaussians import POINTS, WINDOW, Gaussians, coefficients, points
from ancestral.coding.stack import Stack


def probabilities(gaussians: Gaussians, shift: int = 0) -> Floats:
    """Return the probability of every point, (n, POINTS)."""
    table, begin, length = gaussians.runs(shift)
    out = np.zeros((len(table), POINTS))
    for row, frequencies, first, many in zip(out, table, begin, length, strict=True):
        row[first : first + WINDOW * many] = np.repeat(frequencies / 2.0**PRECISION / many, many)
    return out


def divergence(mean: Floats, log_scale: Floats, shift: int) -> Floats:
    """Return KL(q || Gaussian on the points), (n,), nats, for the probabilities q."""
    q = probabilities(Gaussians(mean, log_scale), shift)
    log_p = -0.5 * ((points() - mean[:, None]) / np.exp(log_scale)[:, None]) ** 2
    log_p -= np.log(np.exp(log_p - log_p.max(1, keepdims=True)).sum(1, keepdims=True)) + log_p.max(1, keepdims=True)
    return np.where(q > 0.0, q * (np.log(np.maximum(q, 1e-300)) - log_p), 0.0).sum(axis=1)


def test_the_table_is_the_same_everywhere() -> None:
    """Of archives written once: another table would decode none of them."""
    table = coefficients()
    assert hashlib.sha256(table.astype("<i8").tobytes()).hexdigest()[:16] == "cf42e4e1c10d641b"
    exact = 2.0**24 / 2048 * np.exp(-(2.0 * np.arange(-1280, 258) + 1) / 256)
    assert np.abs(table - exact).max() <= 0.5 + 1e-6
    farthest = 2 * POINTS * 4  # halves of a cell from one end to the other
    assert int(table.max()) * farthest**2 < 2**63


@pytest.mark.parametrize("shift", [0, 60])
def test_probabilities_are_near_the_density(shift: int) -> None:
    """Rounding a mean by d and a log deviation by r takes about d^2 / 2 s^2 + r^2 nats of each latent, and runs 1 / 1536."""
    random = np.random.default_rng(0)
    for scale, most in ((1.0, 1e-3), (0.3, 1e-3), (1 / 16, 1e-3), (1 / 32, 4e-3)):
        mean, log_scale = random.normal(size=300), np.log(scale) + random.uniform(-0.1, 0.1, 300)
        found = divergence(mean, log_scale, shift)
        assert found.mean() < most
        assert found.min() > -1e-9


def test_the_prior_costs_next_to_nothing_more_than_a_standard_normal() -> None:
    p = probabilities(Gaussians(np.zeros(1), np.zeros(1)))[0]
    exact = np.exp(-0.5 * points() ** 2)
    exact /= exact.sum()
    assert 0.0 < (exact * np.log(exact / p)).sum() < 1e-3


@given(seed=st.integers(0, 999))
def test_another_machine_has_the_same_frequencies(seed: int) -> None:
    random = np.random.default_rng(seed)
    mean, log_scale = 3.0 * random.normal(size=40), random.normal(size=40) - 1.5
    mean[0] = np.rint(mean[0] * 256) / 256 - 0.5 / 256 / SHIFTS  # at a boundary, with the first offset
    ours = Gaussians(mean, log_scale)
    assert ours.shift != 0
    theirs = Gaussians(*(each + TOLERANCE * random.uniform(-0.99, 0.99, 40) for each in (mean, log_scale)))
    for one, other in zip(ours.runs(ours.shift), theirs.runs(ours.shift), strict=True):
        assert np.array_equal(one, other)


@given(seed=st.integers(0, 999), content=st.binary(min_size=0, max_size=300))
def test_what_is_taken_is_given_back(seed: int, content: bytes) -> None:
    random, stack = np.random.default_rng(seed), Stack(content.lstrip(b"\0"))
    gaussians = Gaussians(4.0 * random.normal(size=50), 2.0 * random.normal(size=50) - 1.5)
    symbols = gaussians.take(stack)
    assert symbols.min() >= 0
    assert symbols.max() < POINTS
    gaussians.give_back(stack, symbols)
    assert stack.code() == content.lstrip(b"\0")
    gaussians.push(stack, symbols)
    assert np.array_equal(gaussians.pop(stack), symbols)
    assert stack.code() == content.lstrip(b"\0")


def test_what_is_taken_from_noise_is_distributed_as_the_gaussian() -> None:
    stack = Stack(np.random.default_rng(0).bytes(300_000))
    for mean, scale in ((0.3, 1.0), (-2.0, 0.3), (7.5, 0.05)):
        z = points()[Gaussians(np.full(20_000, mean), np.full(20_000, np.log(scale))).take(stack)]
        assert abs(z.mean() - mean) < 0.03 * scale + 0.004
        assert abs(z.std() - scale) < 0.02 * scale


def test_a_narrow_gaussian_never_draws_what_is_far_off() -> None:
    gaussians = Gaussians(np.full(1, 1.0), np.full(1, -3.0))
    assert np.abs(points()[probabilities(gaussians)[0] > 0.0] - 1.0).max() < 1.1


def test_what_is_far_off_is_clamped() -> None:
    gaussians = Gaussians(np.array([-1e30, 1e30, np.inf, 0.0]), np.array([-np.inf, -9.0, -90.0, np.inf]))
    for shift in (0, 255):
        table, begin, length = gaussians.runs(shift)
        assert table.min() >= 1
        assert (table.sum(axis=1) == 2**PRECISION).all()
        assert begin.tolist() == [0, POINTS - WINDOW, POINTS - WINDOW, 0]
        assert length.tolist() == [1, 1, 1, 8]
    assert gaussians.likeliest()[:3].tolist() == [0, POINTS - 1, POINTS - 1]


def test_narrow_gaussians_take_the_nearest_point() -> None:
    at: Integers = np.array([3, 500, 1000])
    for log_scale in (-5.0, -4.0):
        assert Gaussians(points()[at] + 0.002, np.full(3, log_scale)).likeliest().tolist() == at.tolist()


def test_a_point_outside_of_the_window_is_damage() -> None:
    """Of a forged file: it was not drawn."""
    with pytest.raises(Damage, match="no Gaussian"):
        Gaussians(np.zeros(1), np.full(1, -3.0)).give_back(Stack(bytes(range(1, 30))), np.array([5], dtype=np.int32))
