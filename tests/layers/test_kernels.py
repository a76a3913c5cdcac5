"""Compiled loops, or the same loops as Python where numba is absent, beside the operations that they stand for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.distributions import Sharpening, make_head
from ancestral.event import Event
from ancestral.layers.gates import gate
from ancestral.layers.kernels import (
    HALVES,
    add_product,
    copy,
    draw_level,
    exp_of_negative,
    gate_rows,
    halves,
    rectify,
    tanh,
)
from ancestral.models.autoregressive.draws import EntryValue


@given(
    n=st.integers(1, 9),
    inputs=st.integers(0, 19),
    outputs=st.integers(1, 19),
    first=st.integers(0, 3),
    seed=st.integers(0, 100),
)
def test_a_product_is_added(n: int, inputs: int, outputs: int, first: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    y, x, w = (
        generator.standard_normal(shape).astype(np.float32)
        for shape in ((n, outputs), (n, inputs), (first + inputs + 1, outputs))
    )
    expected = y + x.astype(np.float64) @ w[first : first + inputs]
    add_product(y, x, w, first)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not HALVES, reason="there is no compiled code, or no instruction for it")
@given(n=st.integers(1, 9), inputs=st.integers(0, 9), outputs=st.integers(1, 19), seed=st.integers(0, 100))
def test_a_product_by_halves_is_that_by_the_numbers_that_they_are(n: int, inputs: int, outputs: int, seed: int) -> None:
    """Also where half precision has only some of its digits, near zero, and at its largest number."""
    generator = np.random.default_rng(seed)
    w = (generator.standard_normal((inputs, outputs)) * 10.0 ** generator.integers(-8, 3, (inputs, outputs))).astype(
        np.float16
    )
    w.flat[: w.size // 4] = [-65504.0] * (w.size // 4)
    bits = halves(w.astype(np.float32))
    assert bits is not None
    assert bits.dtype == np.uint16
    for row in range(inputs):  # one number at a time is exact
        x, y = np.zeros((n, inputs), np.float32), np.zeros((n, outputs), np.float32)
        x[:, row] = 0.5
        add_product(y, x, bits)
        np.testing.assert_array_equal(y, np.repeat(0.5 * w[None, row].astype(np.float32), n, axis=0))


@pytest.mark.parametrize("number", [0.1, 1e6, 1e-9, math.nan])
def test_what_half_precision_does_not_hold_has_no_halves(number: float) -> None:
    assert halves(np.array([1.0, number], np.float32)) is None


def test_copies_fill_what_is_longer_from_its_beginning() -> None:
    y = np.zeros(5, np.float32)
    copy(y, np.arange(1, 4, dtype=np.float32))
    np.testing.assert_array_equal(y, [1.0, 2.0, 3.0, 0.0, 0.0])


def test_exp_is_exp() -> None:
    for x in np.linspace(-79.9, 0.0, 1001):
        assert exp_of_negative(float(x)) == pytest.approx(math.exp(x), rel=1e-6, abs=1e-9)
    assert exp_of_negative(-math.inf) == 0.0
    assert math.isnan(exp_of_negative(math.nan))


def test_tanh_is_tanh() -> None:
    for x in np.concatenate((np.linspace(-12, 12, 2001), [-1e30, 1e-30, 1e30])).astype(np.float32):
        assert float(tanh(x)) == pytest.approx(math.tanh(float(x)), abs=3e-7)
    assert math.isnan(tanh(np.float32(math.nan)))


@given(n=st.integers(1, 4), channels=st.integers(1, 9), seed=st.integers(0, 100))
def test_gates_are_those_of_the_layers(n: int, channels: int, seed: int) -> None:
    a = torch.randn(n, 2 * channels, generator=torch.Generator().manual_seed(seed))
    y = np.full((n, channels), 7.0, np.float32)
    gate_rows(y, a.numpy().copy())
    np.testing.assert_allclose(y, gate(a).numpy(), atol=1e-6)


def test_rectifiers_let_nan_through() -> None:
    y = np.array([[-1.0, 2.0], [math.nan, -math.inf]], np.float32)
    rectify(y)
    np.testing.assert_array_equal(y, [[0.0, 2.0], [math.nan, 0.0]])


@given(levels=st.integers(2, 20), scale=st.sampled_from([0.1, 1.0, 30.0]), seed=st.integers(0, 1000))
def test_draws_are_those_of_the_categorical(levels: int, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = scale * torch.randn(5, levels, generator=generator)
    noise = torch.rand(5, 1, generator=generator, dtype=torch.float64)
    expected = EntryValue(make_head(Event.integers((1,), levels), "softmax"), Sharpening())(raw, noise)
    found = [draw_level(raw.numpy(), b, float(noise[b, 0]), np.empty(levels)) for b in range(5)]
    assert found == expected.long().tolist()


def test_draws_from_nan_are_no_level() -> None:
    assert draw_level(np.array([[0.0, math.nan, 1.0]], np.float32), 0, 0.5, np.empty(3)) == 3
    assert draw_level(np.array([[-math.inf, 0.0, -math.inf]], np.float32), 0, 0.0, np.empty(3)) == 1
