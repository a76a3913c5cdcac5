"""Causal attention: what it sees, windows, rotary positions, and one position at a time."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.attention import CausalSelfAttention, rotate, rotation, step_rotations, windowed_attention


def attention(width: int, heads: int, window: int | None) -> CausalSelfAttention:
    torch.manual_seed(0)
    return CausalSelfAttention(width, heads, window).double().eval()


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def banded(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attend under a mask over all pairs of positions."""
    places = torch.arange(q.shape[2])
    apart = places[:, None] - places
    return F.scaled_dot_product_attention(q, k, v, attn_mask=(apart >= 0) & (apart < window))


@given(batch=st.integers(1, 2), heads=st.integers(1, 2), positions=st.integers(1, 12), window=st.integers(1, 14))
def test_windows_are_a_band_of_the_whole(batch: int, heads: int, positions: int, window: int) -> None:
    q, k, v = (random(batch, heads, positions, 4, seed=seed) for seed in range(3))
    torch.testing.assert_close(windowed_attention(q, k, v, window), banded(q, k, v, window), rtol=1e-12, atol=1e-12)


@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 2),
    positions=st.integers(1, 10),
    window=st.none() | st.integers(1, 12),
    rotary=st.booleans(),
)
@torch.no_grad()
def test_steps_equal_forward(batch: int, heads: int, positions: int, window: int | None, rotary: bool) -> None:
    layer, x = attention(4 * heads, heads, window), random(batch, positions, 4 * heads)
    by = rotation(torch.arange(positions), 4, x) if rotary else None
    memory = layer.start(x, positions)
    assert memory.keys.shape[2] == min(positions, window or positions)
    for t in range(positions):
        at = None if by is None else step_rotations(by)[t]
        torch.testing.assert_close(layer.step(x[:, t], memory, t, at), layer(x, by)[:, t], rtol=1e-12, atol=1e-12)


@given(
    batch=st.integers(1, 2),
    heads=st.integers(1, 2),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    window=st.none() | st.integers(1, 12),
    rotary=st.booleans(),
)
@torch.no_grad()
def test_prefills_equal_forward(batch: int, heads: int, sizes: list[int], window: int | None, rotary: bool) -> None:
    positions = sum(sizes)
    layer, x = attention(4 * heads, heads, window), random(batch, positions, 4 * heads)
    cos, sin = rotation(torch.arange(positions), 4, x)
    memory, t, found = layer.start(x, positions), 0, []
    for size in sizes:
        by = (cos[t : t + size], sin[t : t + size]) if rotary else None
        found.append(layer.prefill(x[:, t : t + size], memory, t, by))
        t += size
    torch.testing.assert_close(torch.cat(found, dim=1), layer(x, (cos, sin) if rotary else None), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("window", [None, 3])
def test_a_position_sees_its_window_and_no_more(window: int | None) -> None:
    layer, x = attention(8, 2, window), random(1, 7, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0, 5].sum(), x)
    seen = (gradient[0] != 0).any(-1)
    first = 0 if window is None else 5 - window + 1
    assert seen.tolist() == [first <= s <= 5 for s in range(7)]


def test_rotated_products_depend_on_the_distance_alone() -> None:
    q, k = random(8, seed=2), random(8, seed=3)
    positions = torch.tensor([0, 5, 100_000])
    found = []
    for apart in (0, 3):
        a = rotate(q.expand(3, 8), rotation(positions + apart, 8, q))
        b = rotate(k.expand(3, 8), rotation(positions, 8, k))
        found.append((a * b).sum(-1))
        torch.testing.assert_close(found[-1], found[-1][:1].expand(3), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(*found)


def test_late_positions_keep_their_digits_in_single_precision() -> None:
    like = torch.zeros(1)
    positions = torch.tensor([1_000_000])
    for single, double in zip(rotation(positions, 64, like), rotation(positions, 64, like.double()), strict=True):
        torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("width", "heads", "window", "match"), [(6, 2, None, "6"), (8, 0, None, "0 heads"), (8, 2, 0, "window")]
)
def test_bad_options_are_refused(width: int, heads: int, window: int | None, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        CausalSelfAttention(width, heads, window)
