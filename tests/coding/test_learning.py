"""Steps of dynamic evaluation: those of the rule, and the same wherever they are computed."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ancestral.coding import Damage
from ancestral.coding.learning import (
    EPSILON,
    FORGET,
    GRID,
    LARGEST,
    MAX_EXCEPTIONS,
    TOLERANCE,
    Dynamic,
    Learner,
    segments,
    window,
)
from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import Model, create
from ancestral.models.autoregressive.sequence import SequenceModel


def small() -> Model:
    torch.manual_seed(0)
    return create("fvsbn", Event.binary((4,))).double().eval()


def learner(rate: float = 0.1) -> Learner:
    return Learner(small(), rate)


def test_steps_are_those_of_the_rule() -> None:
    made = learner()
    n, w = made.weights.size, made.weights.tolist()
    squares = [0.0] * n
    for t in range(1, 4):
        gradient = np.linspace(-1.0, 2.0, n) * t
        made.step(gradient)
        for i, entry in enumerate(gradient):
            g = math.floor(entry * GRID + 0.5) / GRID
            squares[i] = FORGET * squares[i] + (1 - FORGET) * g * g
            w[i] -= 0.1 * g / (math.sqrt(squares[i] / (1 - FORGET**t)) + EPSILON)
    np.testing.assert_allclose(made.weights, w, rtol=1e-12)
    assert torch.equal(torch.cat([p.flatten() for p in made.model.parameters()]).detach(), torch.from_numpy(made.weights))


def test_the_gradient_is_that_of_all_weights() -> None:
    model = small()
    made, x = Learner(model, 0.1), torch.tensor([[1, 0, 1, 1]], dtype=torch.uint8)
    found = made.gradient(-model.log_prob(x).sum())
    for i in (0, 3, found.size - 1):
        nats = []
        for sign in (1, -1):
            made.weights[i] += sign * 1e-6
            nats.append(-float(model.log_prob(x).detach()))
            made.weights[i] -= sign * 1e-6
        assert found[i] == pytest.approx((nats[0] - nats[1]) / 2e-6, abs=1e-8)


@given(
    cells=st.lists(st.integers(-3 * GRID, 3 * GRID), min_size=1, max_size=6),
    from_boundary=st.lists(st.floats(-2.5, 2.5), min_size=6, max_size=6),
    error=st.lists(st.floats(-0.99, 0.99), min_size=6, max_size=6),
    far=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_machines_round_alike(cells: list[int], from_boundary: list[float], error: list[float], far: bool) -> None:
    """Entries around boundaries, of two machines whose results differ by less than the tolerance."""
    encoder, decoder = learner(), learner()
    gradient = np.zeros(encoder.weights.size)
    for i, cell in enumerate(cells):
        gradient[i] = (cell + 0.5 * (not far)) / GRID + from_boundary[i] * TOLERANCE
    other = gradient + TOLERANCE * np.resize(error, gradient.shape)
    exceptions = encoder.exceptions(gradient)
    assert set(exceptions) == {i for i in range(len(cells)) if not far and abs(from_boundary[i]) <= 1} or far
    encoder.step(gradient, exceptions)
    decoder.step(other, exceptions)
    assert np.array_equal(encoder.weights, decoder.weights)
    assert np.array_equal(encoder.squares, decoder.squares)


@pytest.mark.parametrize("entry", [LARGEST, -2 * LARGEST, math.nan, math.inf])
def test_what_is_too_large_is_not_learned(entry: float) -> None:
    made = learner()
    before, gradient = made.weights.copy(), np.zeros(made.weights.size)
    gradient[2] = entry
    assert made.exceptions(gradient) == [made.weights.size]
    made.step(gradient, [made.weights.size])
    assert np.array_equal(made.weights, before)
    if not abs(entry) < 2 * LARGEST:
        with pytest.raises(Damage):
            made.step(gradient)


def test_a_gradient_of_too_many_exceptions_is_not_learned() -> None:
    made = Learner(create("fvsbn", Event.binary((40,))).double(), 0.1)
    gradient = np.full(made.weights.size, 0.5 / GRID)
    assert made.weights.size > MAX_EXCEPTIONS
    assert made.exceptions(gradient) == [made.weights.size]


def test_what_was_learned_can_be_put_back() -> None:
    made, twin = learner(), learner()
    gradient = np.linspace(-1.0, 2.0, made.weights.size)
    made.step(gradient)
    state = made.state()
    made.step(2 * gradient)
    made.restore(state)
    made.step(gradient)
    twin.step(gradient)
    twin.step(gradient)
    assert np.array_equal(made.weights, twin.weights)


@given(total=st.integers(0, 60), length=st.integers(1, 20), segment=st.integers(1, 20), before=st.integers(0, 20))
@settings(deadline=None)
def test_segments_cover_each_entry_once(total: int, length: int, segment: int, before: int) -> None:
    length, given_entries = max(length, segment), min(before, total)
    found = list(segments(total, length, segment, given_entries))
    assert [i for _, first, stop in found for i in range(first, stop)] == list(range(given_entries, total))
    for begin, first, stop in found:
        assert 0 <= begin <= first < stop <= begin + length
        assert begin == 0 or first - begin == length - segment


def text_model(level: str, name: str, length: int, **options: int) -> SequenceModel:
    model = create(name, Event.tokens(length, TextEncoding.fit(level, [b"abc"])), **options)
    assert isinstance(model, SequenceModel)
    return model


@pytest.mark.parametrize(
    ("level", "length", "segment", "expected"),
    [("byte", 64, 32, (64, 32)), ("byte", 64, 64, (64, 64)), ("bit", 32, 9, (32, 16))],
)
def test_windows_of_models_of_one_length(level: str, length: int, segment: int, expected: tuple[int, int]) -> None:
    assert window(text_model(level, "transformer", length, width=4, layers=1, heads=1), segment) == expected


def test_windows_of_models_that_reach_so_far() -> None:
    model = text_model("bit", "bytenet", 64, width=4, sets=1, max_dilation=1)
    assert model.receptive_field is not None
    length, segment = window(model, 10)
    assert segment == 16
    assert length % 8 == 0
    assert length - segment - 8 < model.receptive_field <= length - segment


def test_bad_options_are_refused() -> None:
    for rate in (-1.0, 1.0, math.nan):
        with pytest.raises(InvalidInput, match="expected one between 0 and 1"):
            Dynamic(rate, 1)
    for rate in (0.0, math.nan):
        with pytest.raises(InvalidInput, match="expected one between 0 and 1"):
            Dynamic.of(small(), rate, None)
    with pytest.raises(InvalidInput, match="segment is 0"):
        Dynamic(0.1, 0)
    with pytest.raises(InvalidInput, match="give dynamic=True"):
        Dynamic.of(small(), False, 4)
    with pytest.raises(InvalidInput, match="segment is 65, and the model reads 64 tokens at once"):
        window(text_model("byte", "transformer", 64, width=4, layers=1, heads=1), 65)


def test_segments_where_none_are_asked_for() -> None:
    found = [Dynamic.of(text_model(level, "lstm-lm", n, width=4, layers=1), True, None) for level, n in
             (("byte", 128), ("byte", 20), ("bit", 1024))]  # fmt: skip
    assert [made.segment for made in found if made] == [32, 10, 256]
    assert Dynamic.of(small(), 0.5, None) == Dynamic(0.5, 1)
