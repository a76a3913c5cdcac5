"""Layers that look at other data than the one at hand: minibatch discrimination, virtual batch normalisation."""

import math

import torch
from torch import nn

from ancestral.layers.minibatch_discrimination import MinibatchDiscrimination
from ancestral.layers.virtual_batch_norm import Referenced, VirtualBatchNorm


def test_minibatch_discrimination_by_hand() -> None:
    layer = MinibatchDiscrimination(2, 1, numbers=2)
    with torch.no_grad():
        layer.map.weight.copy_(torch.eye(2))
    x = torch.tensor([[0.0, 0.0], [1.0, 0.5], [0.0, 2.0]])
    y = layer(x).detach()
    assert torch.equal(y[:, :2], x)
    expected = [math.exp(-1.5) + math.exp(-2.0), math.exp(-1.5) + math.exp(-2.5), math.exp(-2.0) + math.exp(-2.5)]
    torch.testing.assert_close(y[:, 2], torch.tensor(expected))
    assert float(layer(x[:1])[0, 2].detach()) == 0.0


def test_minibatch_discrimination_has_the_gradient_of_finite_differences() -> None:
    layer = MinibatchDiscrimination(3, 2, numbers=2)
    x = torch.randn(4, 3)

    def total(x: torch.Tensor) -> torch.Tensor:
        return layer(x).square().sum()

    x.requires_grad_()
    (gradient,) = torch.autograd.grad(total(x), x)
    with torch.no_grad():
        step = torch.zeros_like(x)
        step[1, 2] = 1e-2
        difference = (total(x + step) - total(x - step)) / 2e-2
    torch.testing.assert_close(gradient[1, 2], difference, rtol=1e-2, atol=1e-3)


def test_virtual_batch_norm_by_hand() -> None:
    layer = VirtualBatchNorm(2, 3, eps=0.0)
    x = torch.randn(5, 2, 4, 3)
    y = layer(x).detach()
    reference = x[:3]
    mean, std = reference.mean((0, 2, 3), keepdim=True), reference.std((0, 2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(y[:3], (reference - mean) / std, rtol=1e-4, atol=1e-4)
    with_one = torch.cat((reference, x[4:]))
    mean, std = with_one.mean((0, 2, 3)), with_one.std((0, 2, 3), correction=0)
    torch.testing.assert_close(y[4], (x[4] - mean[:, None, None]) / std[:, None, None], rtol=1e-4, atol=1e-4)


def test_a_datum_does_not_depend_on_those_beside_it() -> None:
    core = nn.Sequential(nn.Linear(3, 6, bias=False), VirtualBatchNorm(6, 8), nn.ReLU(), nn.Linear(6, 2))
    network = Referenced(core, 3, 8).train()
    x = torch.randn(10, 3)
    alone = torch.cat([network(row[None]) for row in x])
    torch.testing.assert_close(network(x), alone)
    again = Referenced(nn.Sequential(*core), 3, 8)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(x), network(x)), "the reference batch is not saved"
