"""Integer frequencies: whole, in proportion, and the same wherever the grid is safe."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancestral.coding import frequencies as module
from ancestral.coding.frequencies import GRID, PRECISION, SHIFTS, TOLERANCE, Floats, frequencies, unsafe_shifts, weights


def log_pmf(n: int, levels: int, seed: int = 0, sharpness: float = 0.3) -> Floats:
    random = np.random.default_rng(seed)
    return np.log(random.dirichlet(np.full(levels, sharpness), n) + 1e-300)


def test_the_table_of_weights_is_the_same_everywhere() -> None:
    """Of archives written once: another table would decode none of them."""
    table = weights()
    assert hashlib.sha256(table.astype("<i8").tobytes()).hexdigest()[:16] == "3257b2387dcb203c"
    exact = 2.0**28 * np.exp(-np.arange(len(table)) / GRID)
    assert np.abs(table - exact).max() <= 0.5 + 1e-6


@given(n=st.integers(1, 40), levels=st.integers(2, 300), shift=st.integers(0, SHIFTS - 1), sharpness=st.floats(0.01, 10.0))
def test_frequencies_add_up_and_leave_nothing_out(n: int, levels: int, shift: int, sharpness: float) -> None:
    found = frequencies(log_pmf(n, levels, sharpness=sharpness), shift)
    assert found.shape == (n, levels)
    assert found.min() >= 1
    assert (found.sum(axis=1) == 2**PRECISION).all()


def test_frequencies_cost_next_to_nothing() -> None:
    """The Kullback-Leibler divergence from the model's probabilities, nats for each symbol."""
    p = log_pmf(500, 256)
    for shift in (0, 100, 255):
        q = np.log(frequencies(p, shift) / 2.0**PRECISION)
        divergence = (np.exp(p) * (p - q)).sum(axis=1)
        assert divergence.mean() < 5e-5
        assert divergence.max() < 5e-4


def test_a_shift_can_be_given_for_each_row() -> None:
    p = log_pmf(6, 10)
    shifts = np.array([0, 3, 3, 200, 255, 17])
    together = frequencies(p, shifts)
    for row, shift in enumerate(shifts):
        assert (together[row] == frequencies(p[row : row + 1], int(shift))[0]).all()


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    p = log_pmf(50, 7)
    whole, unsafe = frequencies(p, 9), unsafe_shifts(p)
    monkeypatch.setattr(module, "_BLOCK", 16)
    assert (frequencies(p, 9) == whole).all()
    assert (unsafe_shifts(p) == unsafe).all()


@given(seed=st.integers(0, 2**16), shift=st.integers(0, SHIFTS - 1))
def test_a_safe_shift_gives_one_result_under_any_error_below_the_tolerance(seed: int, shift: int) -> None:
    """Values are put next to boundaries on purpose: half of all shifts are unsafe."""
    random = np.random.default_rng(seed)
    p = log_pmf(4, 5, seed)
    near = random.integers(0, SHIFTS, p.shape)  # the shift at whose boundary a value lies
    cells = np.ceil(p * GRID) - (near + 0.5) / SHIFTS
    p = (cells + random.uniform(-3.0, 3.0, p.shape) * TOLERANCE * GRID) / GRID
    unsafe = unsafe_shifts(p)
    error = random.choice((-1.0, 1.0), p.shape) * TOLERANCE * 0.999
    same = (frequencies(p + error, shift) == frequencies(p, shift)).all()
    assert same or unsafe[shift]


def test_a_value_at_a_boundary_makes_its_shift_unsafe() -> None:
    for shift in (0, 100, 255):
        p = np.array([[-(shift + 0.5) / SHIFTS / GRID, -1.0]])
        assert unsafe_shifts(p)[shift]
        moved = frequencies(p + np.array([[2.0 * TOLERANCE, 0.0]]), shift)
        assert (moved != frequencies(p - np.array([[2.0 * TOLERANCE, 0.0]]), shift)).any()


def test_impossible_values_keep_the_least_frequency() -> None:
    p = np.array([[0.0, -np.inf, -1e6, -59.9]])
    assert frequencies(p, 5)[0, 1:].tolist() == [1, 1, 1]
    assert not unsafe_shifts(p[:, :3])[1:].any()
