"""Causal convolutions: the masks, the two ways to run them, and the memory that steps read."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.causal_conv import (
    CausalConv2d,
    Depthwise,
    PixelRow,
    RowSteps,
    channel_groups,
    depthwise,
    group_slices,
    shift_down,
)
from ancestral.layers.gates import gate

KINDS = ("vertical", "separable", "horizontal", "raster", "pointwise")
SIDES = st.integers(1, 5)


def build(kind: str, kernel: int, inputs: int, outputs: int, groups: int, strict: bool = False) -> CausalConv2d:
    of_inputs, of_outputs = channel_groups(inputs, groups), channel_groups(outputs, groups)
    if kind in ("vertical", "separable"):
        conv = CausalConv2d.vertical(inputs, outputs, kernel, separable=kind == "separable")
    elif kind == "pointwise":
        conv = CausalConv2d.pointwise(inputs, outputs, of_inputs, of_outputs)
    else:
        conv = getattr(CausalConv2d, kind)(inputs, outputs, kernel, of_inputs, of_outputs, strict)
    torch.nn.init.normal_(conv.bias)
    return conv


def stepped(conv: CausalConv2d, x: Tensor) -> Tensor:
    """Run the convolution as sampling does: rows above at once, then pixel by pixel."""
    n, channels, height, width = x.shape
    out = torch.empty(n, len(conv.bias), height, width, dtype=x.dtype)
    whole_rows = conv.right > 0 and conv.mask is None  # vertical: the current row is read whole, too
    rows = RowSteps(conv, x, width, slice(None) if whole_rows else slice(0, -1)) if conv.rows > 1 else None
    row = PixelRow(x, conv.left, width, channels)
    for i in range(height):
        current = x[:, :, i].permute(2, 0, 1)  # (w, n, c)
        if whole_rows:
            rows.push(current, i)
            out[:, :, i] = rows.product(conv.bias, i).permute(1, 2, 0)
            continue
        above = rows.product(conv.bias, i) if rows else conv.bias.expand(width, n, -1)
        for j in range(width):
            row.pixels[j][:] = current[j]
            out[:, :, i, j] = above[j] + row.windows[j] @ conv.step_weight()
        if rows:
            rows.push(current, i + 1)
    return out


@given(
    kind=st.sampled_from(KINDS),
    kernel=st.sampled_from((3, 5)),
    inputs=st.integers(3, 5),
    outputs=st.integers(3, 7),
    groups=st.sampled_from((1, 2, 3)),
    strict=st.booleans(),
    height=SIDES,
    width=SIDES,
    double=st.booleans(),
)
def test_steps_equal_forward(
    kind: str, kernel: int, inputs: int, outputs: int, groups: int, strict: bool, height: int, width: int, double: bool
) -> None:
    dtype, tolerance = (torch.float64, 1e-10) if double else (torch.float32, 1e-5)
    conv = build(kind, kernel, inputs, outputs, groups, strict).to(dtype)
    x = torch.randn(2, inputs, height, width, dtype=dtype)
    with torch.no_grad():
        assert (stepped(conv, x) - conv(x)).abs().max() < tolerance


@pytest.mark.parametrize("convolve", [depthwise, Depthwise.apply], ids=["sums", "products"])
@given(batch=st.integers(0, 3), sides=st.tuples(SIDES, SIDES), window=st.tuples(SIDES, SIDES), right=st.integers(0, 2))
def test_depthwise_is_the_convolution(
    convolve: Callable[[Tensor, Tensor, int], Tensor], batch: int, sides: tuple[int, int], window: tuple[int, int], right: int
) -> None:
    height, width = sides[0] + window[0] - 1, sides[1] + window[1] - 1
    x = torch.randn(batch, 3, height, width, dtype=torch.float64, requires_grad=True)
    windows = torch.randn(3, 1, *window, dtype=torch.float64, requires_grad=True)
    ours = convolve(x, windows, right)
    theirs = torch.nn.functional.conv2d(x, windows, padding=(0, right), groups=3)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0.0)
    weight = torch.randn_like(theirs)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), (x, windows)),
        torch.autograd.grad((theirs * weight).sum(), (x, windows)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=0.0)


def test_autocast_takes_depthwise_windows_to_bfloat16_and_their_gradient_back() -> None:
    torch.manual_seed(0)
    x, windows = torch.randn(4, 8, 9, 7, requires_grad=True), torch.randn(8, 1, 3, 5, requires_grad=True)
    weight = torch.randn(4, 8, 7, 7)
    with torch.autocast("cpu", torch.bfloat16):
        ours = depthwise(x, windows, 2)
    theirs = depthwise(x, windows, 2)
    assert ours.dtype == torch.bfloat16
    gradients = zip(
        torch.autograd.grad((ours * weight).sum(), (x, windows)),
        torch.autograd.grad((theirs * weight).sum(), (x, windows)),
        strict=True,
    )
    for a, b in [(ours.float(), theirs), *gradients]:
        assert a.dtype == torch.float32
        # bfloat16 rounds to 8 bits.
        assert ((a - b).norm() / b.norm()).item() < 2.0**-7


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", ["horizontal", "raster"])
@pytest.mark.parametrize("groups", [1, 3])
def test_a_kernel_sees_exactly_what_its_mask_allows(kind: str, strict: bool, groups: int) -> None:
    conv = build(kind, 3, groups, groups, groups, strict)
    size = 5
    x = torch.randn(1, groups, size, size, requires_grad=True)
    for group in range(groups):
        (gradient,) = torch.autograd.grad(conv(x)[0, group, 2, 2], x)
        expected = torch.zeros(groups, size, size, dtype=torch.bool)
        expected[:, 2, 1] = True
        expected[: group + (not strict), 2, 2] = True
        if kind == "raster":
            expected[:, 1, 1:4] = True
        assert torch.equal(gradient[0] != 0, expected)


def test_a_vertical_kernel_on_shifted_input_sees_rows_above_only() -> None:
    conv = build("vertical", 3, 1, 1, 1)
    x = torch.randn(1, 1, 5, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(conv(shift_down(x))[0, 0, 3, 2], x)
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[1:3, 1:4] = True
    assert torch.equal(gradient[0, 0] != 0, expected)


def test_kernels_without_zeros_carry_no_mask() -> None:
    assert build("vertical", 5, 2, 2, 1).mask is None
    assert build("horizontal", 5, 2, 2, 1).mask is None
    assert build("raster", 5, 2, 2, 1).mask is not None
    assert build("vertical", 5, 2, 2, 1).weight.shape == (2, 2, 3, 5)
    assert build("horizontal", 5, 2, 2, 1).weight.shape == (2, 2, 1, 3)


def test_initialisation_keeps_the_scale() -> None:
    conv = build("raster", 3, 64, 64, 1)
    torch.nn.init.zeros_(conv.bias)
    y = conv(torch.randn(4, 64, 12, 12))[:, :, 2:, 2:-2].detach()  # away from the zeros outside
    assert 0.8 < float(y.std()) < 1.2


@given(channels=st.integers(1, 20), groups=st.integers(1, 4))
def test_groups_are_contiguous_near_equal_and_match_their_slices(channels: int, groups: int) -> None:
    if channels < groups:
        with pytest.raises(InvalidInput, match="cannot serve"):
            channel_groups(channels, groups)
        return
    found = channel_groups(channels, groups)
    sizes = torch.bincount(found, minlength=groups)
    assert bool((found.diff() >= 0).all())
    assert int(sizes.max() - sizes.min()) <= 1
    for group, part in enumerate(group_slices(found)):
        assert bool((found[part] == group).all())
        assert part.stop - part.start == sizes[group]


@pytest.mark.parametrize("kernel", [-1, 0, 1, 2, 4])
def test_even_and_small_kernels_are_refused(kernel: int) -> None:
    with pytest.raises(InvalidInput, match=f"got {kernel}"):
        CausalConv2d.vertical(1, 1, kernel)


def test_the_gate_is_that_of_the_paper_and_so_is_its_gradient() -> None:
    a = torch.randn(3, 8, 4, 5, dtype=torch.float64, requires_grad=True)
    u, v = a.chunk(2, dim=1)
    expected = 2.0 * torch.tanh(u) * torch.sigmoid(2.0 * v)
    assert torch.allclose(gate(a), expected, atol=1e-12)
    direction = torch.randn_like(expected)
    (ours,) = torch.autograd.grad((gate(a) * direction).sum(), a)
    (theirs,) = torch.autograd.grad((expected * direction).sum(), a)
    assert torch.allclose(ours, theirs, atol=1e-12)
    assert torch.autograd.gradcheck(gate, a)


def test_the_gate_takes_any_memory_format() -> None:
    a = torch.randn(2, 6, 3, 4)
    last = a.to(memory_format=torch.channels_last)
    assert torch.equal(gate(a), gate(last))
    assert gate(last).is_contiguous(memory_format=torch.channels_last)
