"""Dilated causal convolutions over a sequence."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.errors import InvalidInput
from ancestral.layers.causal_conv1d import CausalConv1d


def build(inputs: int, outputs: int, kernel: int, dilation: int) -> CausalConv1d:
    torch.manual_seed(0)
    conv = CausalConv1d(inputs, outputs, kernel, dilation).double()
    torch.nn.init.normal_(conv.bias)
    return conv


@given(
    batch=st.integers(1, 3),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    kernel=st.integers(1, 4),
    dilation=st.integers(1, 5),
    positions=st.integers(1, 12),
)
@torch.no_grad()
def test_steps_equal_forward_equal_the_sum(
    batch: int, inputs: int, outputs: int, kernel: int, dilation: int, positions: int
) -> None:
    conv = build(inputs, outputs, kernel, dilation)
    x = torch.randn(batch, positions, inputs, dtype=torch.float64)
    whole, memory = conv(x), conv.start(x)
    assert memory.shape[1] == conv.reach + 1
    for t in range(positions):
        expected = conv.bias.expand(batch, -1)
        for tap in range(kernel):
            if t - tap * dilation >= 0:
                expected = expected + x[:, t - tap * dilation] @ conv.weight[:, kernel - 1 - tap].T
        torch.testing.assert_close(whole[:, t], expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(conv.step(x[:, t], memory, t), expected, rtol=1e-12, atol=1e-12)


@given(kernel=st.integers(1, 4), dilation=st.integers(1, 5), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
@torch.no_grad()
def test_prefills_equal_forward_and_leave_what_steps_leave(kernel: int, dilation: int, sizes: list[int]) -> None:
    conv = build(2, 3, kernel, dilation)
    x = torch.randn(2, sum(sizes), 2, dtype=torch.float64)
    whole, memory, stepped, t = conv(x), conv.start(x), conv.start(x), 0
    for size in sizes:
        found = conv.prefill(x[:, t : t + size], memory, t)
        torch.testing.assert_close(found, whole[:, t : t + size], rtol=1e-12, atol=1e-12)
        for s in range(t, t + size):
            conv.step(x[:, s], stepped, s)
        assert torch.equal(memory, stepped)
        t += size


@pytest.mark.parametrize(("kernel", "dilation"), [(0, 1), (1, 0)])
def test_bad_options_are_refused(kernel: int, dilation: int) -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        CausalConv1d(1, 1, kernel, dilation)
