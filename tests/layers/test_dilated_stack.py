"""Stacks of gated dilated convolutions: the formula, steps, and what a position reads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.dilated_stack import DilatedStack


def build(channels: int, skip: int, dilations: list[int], kernel: int, local: int = 0) -> DilatedStack:
    torch.manual_seed(0)
    stack = DilatedStack(channels, skip, dilations, kernel, local).double()
    torch.nn.init.normal_(stack.bias)
    torch.nn.init.normal_(stack.skip_bias)
    return stack


def by_the_formula(stack: DilatedStack, x: Tensor, shift: Tensor, local: Tensor | None) -> Tensor:
    """y position by position, as the docstring of the stack has it."""
    n, positions, c = x.shape
    y = stack.skip_bias.repeat(n, positions, 1)
    for layer, dilation in enumerate(stack.dilations):
        g = torch.zeros_like(x)
        for t in range(positions):
            a = stack.bias[layer] + shift.view(n, len(stack.dilations), 2 * c)[:, layer]
            if local is not None and stack.local_weight is not None:
                a = a + local[:, t] @ stack.local_weight[:, 2 * c * layer : 2 * c * (layer + 1)]
            for i in range(stack.kernel):
                tap = stack.weight[layer].view(stack.kernel, c, 2 * c)[stack.kernel - 1 - i]
                a = a + (x[:, t - i * dilation] @ tap if t >= i * dilation else 0.0)
            g[:, t] = 2.0 * torch.tanh(a[:, :c]) * torch.sigmoid(2.0 * a[:, c:])
        y = y + g @ stack.skip_weight.view(-1, c, y.shape[-1])[layer]
        if layer < len(stack.residual):
            x = x + g @ stack.residual[layer]
    return y


@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 3),
    skip=st.integers(1, 3),
    dilations=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    kernel=st.integers(2, 4),
    positions=st.integers(1, 8),
    shifted=st.booleans(),
    local=st.integers(0, 2),
)
@torch.no_grad()
def test_steps_equal_forward_equal_the_formula(
    batch: int, channels: int, skip: int, dilations: list[int], kernel: int, positions: int, shifted: bool, local: int
) -> None:
    stack = build(channels, skip, dilations, kernel, local)
    x = torch.randn(batch, positions, channels, dtype=torch.float64)
    shift = torch.randn(batch, len(dilations) * 2 * channels, dtype=torch.float64) * shifted
    z = torch.randn(batch, positions, local, dtype=torch.float64) if local else None
    expected = by_the_formula(stack, x, shift, z)
    given = shift if shifted else None
    torch.testing.assert_close(stack(x, given, z), expected, rtol=1e-12, atol=1e-12)
    memory = stack.start(x, given, z)
    assert memory.past.shape == (batch, stack.reach, channels)
    for t in range(positions):
        torch.testing.assert_close(stack.step(x[:, t], memory, t), expected[:, t], rtol=1e-12, atol=1e-12)


@given(
    dilations=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    kernel=st.integers(2, 3),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    shifted=st.booleans(),
    local=st.integers(0, 2),
)
@torch.no_grad()
def test_prefills_equal_forward_and_leave_what_steps_leave(
    dilations: list[int], kernel: int, sizes: list[int], shifted: bool, local: int
) -> None:
    stack = build(2, 3, dilations, kernel, local)
    x = torch.randn(2, sum(sizes), 2, dtype=torch.float64)
    shift = torch.randn(2, len(dilations) * 4, dtype=torch.float64) if shifted else None
    z = torch.randn(2, sum(sizes), local, dtype=torch.float64) if local else None
    whole, t = stack(x, shift, z), 0
    memory, stepped = stack.start(x, shift, z), stack.start(x, shift, z)
    for size in sizes:
        found = stack.prefill(x[:, t : t + size], memory, t)
        torch.testing.assert_close(found, whole[:, t : t + size], rtol=1e-12, atol=1e-12)
        for s in range(t, t + size):
            stack.step(x[:, s], stepped, s)
        torch.testing.assert_close(memory.past, stepped.past, rtol=1e-12, atol=1e-12)
        t += size


@given(dilations=st.lists(st.integers(1, 4), min_size=1, max_size=3), kernel=st.integers(2, 3))
def test_the_reach_is_what_is_read(dilations: list[int], kernel: int) -> None:
    stack = build(2, 2, dilations, kernel)
    last = stack.reach + 2
    x = torch.randn(1, last + 1, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(stack(x)[0, last].sum(), x)
    assert int(gradient[0].abs().sum(-1).nonzero()[0]) == last - stack.reach


@pytest.mark.parametrize("options", [(0, 1, [1], 2), (1, 0, [1], 2), (1, 1, [], 2), (1, 1, [0], 2), (1, 1, [1], 1)])
def test_bad_options_are_refused(options: tuple) -> None:
    with pytest.raises(InvalidInput, match="at least 1 layer"):
        DilatedStack(*options)


def test_local_features_come_if_and_only_if_expected() -> None:
    z = torch.zeros(1, 3, 2, dtype=torch.float64)
    for stack, local in ((build(2, 2, [1], 2), z), (build(2, 2, [1], 2, local=2), None)):
        with pytest.raises(InvalidInput, match="local features"):
            stack(torch.zeros(1, 3, 2, dtype=torch.float64), None, local)
