"""Dropout with few random numbers: it drops what it says, and leaves the mean."""

import math

import pytest
import torch

from ancestral.layers.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
def test_it_drops_the_share_that_it_says(p: float) -> None:
    n = 400_003
    layer, x = Dropout(p).train(), torch.ones(n, requires_grad=True)
    y = layer(x)
    dropped = float((y == 0.0).double().mean())
    assert abs(dropped - p) < 5.0 * math.sqrt(p * (1.0 - p) / n)
    torch.testing.assert_close(y[y != 0.0], torch.full_like(y[y != 0.0], 1.0 / (1.0 - p)), rtol=1e-3, atol=0.0)
    # Each of the four features that share a draw is dropped as often, and apart from the others.
    lanes = (y[: n // 4 * 4].view(-1, 4) == 0.0).double()
    assert bool(((lanes.mean(0) - p).abs() < 5.0 * math.sqrt(4.0 * p * (1.0 - p) / n)).all())
    assert float((torch.corrcoef(lanes.T) - torch.eye(4)).abs().max()) < 0.02
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_it_follows_the_global_generator_and_does_nothing_in_evaluation() -> None:
    layer, x = Dropout(0.5).train(), torch.randn(3, 5, dtype=torch.float64)
    torch.manual_seed(1)
    one = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), one)
    assert one.dtype == torch.float64
    assert layer.eval()(x) is x
    assert Dropout(0.0).train()(x) is x
