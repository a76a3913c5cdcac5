"""Transposed convolutions from frames to positions, beside a sum written out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.errors import InvalidInput
from ancestral.layers.upsample import Upsample


@given(
    frames=st.integers(2, 5),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    positions=st.integers(1, 17),
    batch=st.integers(1, 2),
)
@torch.no_grad()
def test_it_is_the_sum(frames: int, inputs: int, outputs: int, positions: int, batch: int) -> None:
    torch.manual_seed(0)
    layer = Upsample((frames, inputs), outputs, positions).double()
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.normal_(layer.weight)
    x = torch.randn(batch, frames, inputs, dtype=torch.float64)
    y, s = layer(x), layer.stride
    assert y.shape == (batch, positions, outputs)
    for t in range(positions):
        expected = layer.bias + sum(
            x[:, f] @ layer.weight[:, :, t - f * s + s] for f in range(frames) if 0 <= t - f * s + s < 2 * s
        )
        torch.testing.assert_close(y[:, t], expected.expand(batch, -1))


@torch.no_grad()
def test_it_begins_as_interpolation() -> None:
    layer = Upsample((4, 1), 1, 12)
    layer.weight.div_(layer.weight[0, 0, layer.stride].clone())
    y = layer(torch.tensor([[[0.0], [4.0], [0.0], [8.0]]]))[0, :, 0]
    torch.testing.assert_close(y, torch.tensor([0.0, 1, 2, 3, 4, 3, 2, 1, 0, 2, 4, 6]))


def test_one_frame_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 2"):
        Upsample((1, 3), 3, 10)
