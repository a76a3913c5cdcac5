"""Sparse patterns: the sets of the paper, the kernels beside dense attention under a mask, what they cost, and steps."""

import itertools
import math
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.attention import rotation, step_rotations
from ancestral.layers.sparse_attention import SparseSelfAttention, flex_attend
from ancestral.layers.sparse_patterns import (
    Blocks,
    Columns,
    Part,
    ScoreEntries,
    Summaries,
    Window,
    make_parts,
    score_entries,
)

sizes = st.integers(1, 40)
pieces = st.one_of(
    st.builds(Window, st.integers(1, 45)),
    st.builds(Columns, st.integers(1, 45)),
    st.builds(Blocks, st.integers(1, 45)),
    st.integers(1, 45).flatmap(lambda stride: st.builds(Summaries, st.just(stride), st.integers(1, stride))),
)
LENGTHS = (1024, 4096, 16384, 65536)


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask(part: Part, n: int) -> Tensor:
    positions = torch.arange(n)
    return part.attends(positions[:, None], positions)


def dense(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """Attend with all n x n weights, of which those of a mask stay; rows that have none give zeros."""
    weights = torch.exp(q @ k.mT / math.sqrt(q.shape[-1])) * allowed
    return (weights / weights.sum(-1, keepdim=True).clamp(min=1e-300)) @ v


def seen(part: Part, query: int, n: int) -> list[int]:
    return mask(part, n)[query].nonzero()[:, 0].tolist()


def test_the_sets_are_those_of_the_paper() -> None:
    assert seen(Window(3), 7, 10) == [5, 6, 7]
    assert seen(Window(3), 1, 10) == [0, 1]
    assert seen(Columns(3), 7, 10) == [1, 4, 7]
    assert seen(Blocks(4), 6, 10) == [4, 5, 6]
    assert seen(Summaries(4, 1), 6, 10) == [3]
    assert seen(Summaries(4, 2), 7, 10) == [2, 3, 6, 7]
    assert seen(Summaries(4, 1), 2, 10) == []


@given(part=pieces, n=sizes, batch=st.integers(1, 2), heads=st.integers(1, 2))
def test_kernels_are_dense_attention_under_the_mask(part: Part, n: int, batch: int, heads: int) -> None:
    given = [random(batch, heads, n, 4, seed=seed).requires_grad_() for seed in range(3)]
    to = random(batch, heads, n, 4, seed=3)
    found, expected = part.attend(*given), dense(*given, mask(part, n))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    if found.requires_grad:
        for one, other in zip(*(torch.autograd.grad((y * to).sum(), given) for y in (found, expected)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    else:
        assert not mask(part, n).any()


def products(part: Part, n: int) -> int:
    """Count queries times keys of every product that the kernel asks for, with one head."""
    counted = 0
    original = F.scaled_dot_product_attention

    def counting(q: Tensor, k: Tensor, v: Tensor, **options: object) -> Tensor:
        nonlocal counted
        counted += q.shape[:-1].numel() * k.shape[-2]
        return original(q, k, v, **options)  # type: ignore[arg-type]

    with mock.patch.object(F, "scaled_dot_product_attention", counting):
        part.attend(*(random(1, 1, n, 2) for _ in range(3)))
    return counted


@given(part=pieces, n=sizes)
def test_entries_are_what_the_kernel_computes_and_the_mask_needs(part: Part, n: int) -> None:
    assert part.entries(n) == ScoreEntries(products(part, n), int(mask(part, n).sum()))


@given(n=st.integers(1, 3000), pattern=st.sampled_from(("strided", "fixed")), data=st.data())
def test_no_more_is_computed_than_a_few_times_what_is_needed(n: int, pattern: str, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, 2 * n))
    summary = data.draw(st.integers(1, stride)) if pattern == "fixed" else None
    entries = score_entries(n, pattern, stride, summary)
    assert entries.needed <= entries.computed <= 6 * entries.needed


@pytest.mark.parametrize(("pattern", "summary"), [("strided", None), ("fixed", 8)])
def test_entries_grow_as_the_length_times_its_root(pattern: str, summary: int | None) -> None:
    found = [score_entries(n, pattern, summary=summary) for n in LENGTHS]
    for before, after in itertools.pairwise(found):  # four times the length
        assert after.computed / before.computed == pytest.approx(8, rel=0.03)
        assert after.needed / before.needed == pytest.approx(8, rel=0.03)
    assert all(entries.computed <= 2 * entries.needed for entries in found)
    per_root = [entries.computed / n**1.5 for entries, n in zip(found, LENGTHS, strict=True)]
    assert max(per_root) < {"strided": 3, "fixed": 1 + 8}[pattern]


@given(n=sizes, pattern=st.sampled_from(("strided", "fixed")), data=st.data())
def test_two_layers_reach_all_positions_before(n: int, pattern: str, data: st.DataObject) -> None:
    stride = data.draw(st.none() | st.integers(1, 45))
    first, second = (mask(part, n) | torch.eye(n, dtype=torch.bool) for part in make_parts(pattern, n, stride))
    assert torch.equal(second.float() @ first.float() > 0, torch.ones(n, n).tril() > 0)


@given(part=pieces, n=st.integers(1, 14), batch=st.integers(1, 2), rotary=st.booleans())
@torch.no_grad()
def test_steps_equal_forward_and_keep_what_later_ones_need(part: Part, n: int, batch: int, rotary: bool) -> None:
    torch.manual_seed(0)
    layer, x = SparseSelfAttention(8, 2, part).double().eval(), random(batch, n, 8)
    by = rotation(torch.arange(n), 4, x) if rotary else None
    memory, whole = layer.start(x, n), layer(x, by)
    for t in range(n):
        at = None if by is None else step_rotations(by)[t]
        torch.testing.assert_close(layer.step(x[:, t], memory, t, at), whole[:, t], rtol=1e-11, atol=1e-12)
        _, attended = memory.places.slots(t)
        assert memory.keys[:, :, attended].shape[2] == mask(part, n)[t].sum()


@given(part=pieces, n=sizes)
def test_what_is_held_is_what_steps_put_there(part: Part, n: int) -> None:
    held = [-1] * part.kept(n)
    for t in range(n):
        found = part.held(n, t).tolist()
        assert [max(position, -1) for position in found] == held
        place, _ = part.slots(n, t)
        if place is not None:
            held[place] = t


@given(part=pieces, counts=st.lists(st.integers(1, 15), min_size=1, max_size=4), batch=st.integers(1, 2))
@torch.no_grad()
def test_prefills_equal_forward(part: Part, counts: list[int], batch: int) -> None:
    torch.manual_seed(0)
    layer, x = SparseSelfAttention(8, 2, part).double().eval(), random(batch, sum(counts), 8)
    memory, t, found = layer.start(x, sum(counts)), 0, []
    for count in counts:
        found.append(layer.prefill(x[:, t : t + count], memory, t))
        t += count
    torch.testing.assert_close(torch.cat(found, dim=1), layer(x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("part", "kept"),
    [(Window(4), 4), (Columns(4), 24), (Blocks(4), 4), (Summaries(4, 1), 5), (Summaries(4, 2), 10), (Summaries(4, 3), 16)],
)
def test_steps_over_22_positions_keep(part: Part, kept: int) -> None:
    memory = SparseSelfAttention(4, 1, part).start(torch.zeros(3, 4), 22)
    assert memory.keys.shape == memory.values.shape == (3, 1, kept, 4)


def masked(q: Tensor, k: Tensor, v: Tensor, block_mask: Any) -> Tensor:
    """Do what FlexAttention does, with the whole mask of its mask function."""
    query, key = torch.arange(q.shape[2])[:, None], torch.arange(k.shape[2])
    return dense(q, k, v, block_mask.mask_mod(0, 0, query, key))


@pytest.mark.parametrize("part", [Window(5), Columns(5), Columns(50), Blocks(5), Summaries(5, 2), Summaries(50, 2)])
def test_the_mask_for_flex_attention_is_that_of_the_pattern(part: Part) -> None:
    given = [random(1, 2, 37, 4, seed=seed) for seed in range(3)]
    torch.testing.assert_close(flex_attend(part, *given, masked), part.attend(*given), rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("part", [Window(5), Columns(5), Blocks(5), Summaries(5, 2)])
@torch.no_grad()
def test_flex_attention_gives_the_same(part: Part) -> None:
    from torch.nn.attention.flex_attention import flex_attention

    given = [random(2, 2, 37, 16, seed=seed).float() for seed in range(3)]
    torch.testing.assert_close(flex_attend(part, *given, flex_attention), part.attend(*given), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", [Window(32), Columns(32), Blocks(32)])
def test_flex_attention_can_leave_out_most_tiles(part: Part) -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    positions, _ = part.layout(1024)
    tiles = create_block_mask(lambda b, h, i, j: part.attends(positions[i], positions[j]), None, None, 1024, 1024, "cpu")
    assert tiles.sparsity() > 75  # percent; 8 x 8 tiles, of which causal attention leaves 36


def test_dropout_is_for_training() -> None:
    for part in make_parts("fixed", 30):
        layer, x = SparseSelfAttention(8, 2, part, dropout=0.5), random(1, 30, 8).float()
        assert not torch.equal(layer.train()(x), layer(x))
        assert torch.equal(layer.eval()(x), layer(x))


def test_what_is_left_open_follows_from_the_length() -> None:
    assert make_parts("strided", 3072) == (Window(55), Columns(55))
    assert make_parts("fixed", 1) == (Blocks(1), Summaries(1, 1))
    assert make_parts("fixed", 65536) == (Blocks(256), Summaries(256, 8))
    assert make_parts("fixed", 65536, 128, 16) == (Blocks(128), Summaries(128, 16))


@pytest.mark.parametrize(
    ("pattern", "stride", "summary", "match"),
    [
        ("stried", None, None, "strided"),
        ("strided", 0, None, "stride must be"),
        ("strided", 4, 1, "fixed pattern"),
        ("fixed", 4, 5, "from 1 to the stride of 4, got 5"),
        ("fixed", 4, 0, "got 0"),
    ],
)
def test_bad_options_are_refused(pattern: str, stride: int | None, summary: int | None, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        make_parts(pattern, 16, stride, summary)
