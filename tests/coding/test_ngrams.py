"""Mixtures with counts of n-grams: the rule, worked out another way; and back again."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancestral.coding import ngrams
from ancestral.coding.frequencies import GRID, PRECISION, cells_of, frequencies
from ancestral.coding.ngrams import NgramMixer

LEVELS = 4
TEXTS = st.lists(st.integers(0, LEVELS - 1), max_size=40)


def flat(n: int) -> np.ndarray:
    return cells_of(np.full((n, LEVELS), -math.log(LEVELS)), 0)


def counted(mixer: NgramMixer, text: list[int]) -> dict[tuple[int, ...], dict[int, int]]:
    """Return what comes after each context in a text, by looking for it anew."""
    found: dict[tuple[int, ...], dict[int, int]] = {}
    for end in range(len(text)):
        for order in range(min(ngrams.ORDERS, end) + 1):
            counts = found.setdefault(tuple(text[end - order : end]), {})
            counts[text[end]] = counts.get(text[end], 0) + 1
    return found


@given(text=TEXTS, before=TEXTS)
@settings(deadline=None, max_examples=30)
def test_contexts_are_counted(text: list[int], before: list[int]) -> None:
    mixer = NgramMixer(LEVELS)
    mixer.read(before)
    mixer.run(flat(len(text)), text)
    assert {c: n for counts in mixer.counts for c, n in counts.items()} == counted(mixer, before + text)
    assert mixer.contexts == len(counted(mixer, before + text))


@given(text=TEXTS, lost=TEXTS, most=st.integers(1, 60))
@settings(deadline=None, max_examples=30)
def test_what_was_learned_can_be_put_back(text: list[int], lost: list[int], most: int) -> None:
    """Also where there is no room for all contexts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "MAX_CONTEXTS", most)
        mixer = NgramMixer(LEVELS)
        mixer.run(flat(len(text)), text)
        before, state = copy.deepcopy(mixer.counts), mixer.state()
        mixer.run(flat(len(lost)), lost)
        mixer.restore(state, [*lost, 1, 2])
        assert mixer.counts == before
        assert mixer.contexts == sum(map(len, before)) <= most
        assert mixer.context == state[1]
        assert np.array_equal(mixer.exponents, state[0])


def test_a_mixture_by_hand() -> None:
    """After 0 0 1, the context (1,) is not known; that of nothing has two of 0 and one of 1."""
    mixer = NgramMixer(LEVELS)
    mixer.read([0, 0, 1])
    pmf = np.array([0.1, 0.2, 0.3, 0.4])
    found = mixer.mix(cells_of(np.log(pmf)[None], 0)[0]) / 2**PRECISION
    below = 2 / 6 / LEVELS
    counts = np.array([1.5 / 3 + below, 0.5 / 3 + below, below, below])
    own, other = 60000 / 2**16, (ngrams.ORDERS + 1) * 3000 / 2**16
    expected = pmf**own * counts**other
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=3 / GRID)


def test_exponents_descend_along_the_nats() -> None:
    mixer = NgramMixer(LEVELS)
    mixer.read([0, 1, 0, 1, 0, 2, 0])
    cells = cells_of(np.log([[0.1, 0.2, 0.3, 0.4]]), 0)[0]
    mixed = mixer.mix(cells)
    known, sure = 2, 1  # the context (0,) was met three times
    before = mixer.exponents.copy()

    def nats(change: np.ndarray) -> float:
        twin = copy.deepcopy(mixer)
        twin.exponents[known, sure] += change
        return -math.log(twin.mix(cells)[3] / 2**PRECISION)

    step = 2**12
    gradient = np.array(
        [(nats(step * row) - nats(-step * row)) / (2 * step) for row in np.eye(ngrams.ORDERS + 2, dtype=np.int64)]
    )
    mixer.learn(3)
    assert mixed.sum() == 2**PRECISION
    moved = mixer.exponents - before
    assert not moved[:known].any()
    assert not moved[known, [0, 2, 3]].any()
    np.testing.assert_allclose(moved[known, sure], -gradient * 2**16 * GRID * ngrams.RATE / 2**4, rtol=0.05, atol=8)


def test_a_text_that_repeats_itself_is_learned() -> None:
    mixer, text = NgramMixer(LEVELS), [0, 3, 1, 1, 2, 0, 2] * 30
    table = mixer.run(flat(len(text)), text)
    bits = -np.log2(table[np.arange(len(text)), text] / 2**PRECISION)
    assert bits[:7].mean() > 1.8
    assert bits[-70:].mean() < 0.2


@given(st.lists(st.floats(-40.0, 0.0), min_size=LEVELS, max_size=LEVELS))
@settings(deadline=None, max_examples=30)
def test_frequencies_are_whole_and_none_is_zero(log_pmf: list[float]) -> None:
    mixer = NgramMixer(LEVELS)
    mixer.read([0, 0, 0, 0, 0, 0, 0, 0])
    found = mixer.mix(cells_of(np.array([log_pmf]), 0)[0])
    assert found.sum() == 2**PRECISION
    assert found.min() >= 1


def test_cells_are_those_that_frequencies_are_made_of() -> None:
    log_pmf = np.log(np.random.default_rng(0).dirichlet(np.ones(9), 20))
    for shift in (0, 255):
        assert np.array_equal(ngrams.of_cells(cells_of(log_pmf, shift)), frequencies(log_pmf, shift))
