"""Learned noise: its density, where it starts, and what a flow gains by it."""

import math

import pytest
import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.noise import VariationalNoise
from ancestral.models.flows.realnvp import RealNVP
from tests.models.learning import generator, learn, moved


class Constant(nn.Module):
    """The same log-scale and mean whatever x is."""

    def __init__(self, log_scale: float, mean: float) -> None:
        super().__init__()
        self.values = torch.tensor([[log_scale, mean]], dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.values.expand(len(x), 2)


def test_density_is_that_of_a_normal_through_a_sigmoid() -> None:
    noise = VariationalNoise(Constant(-0.5, 0.7))
    n, log_q = noise(torch.zeros(1000, 1, dtype=torch.float64), generator())
    normal = torch.distributions.Normal(torch.tensor(0.7).double(), torch.tensor(1.7 * math.exp(-0.5)).double())
    q = torch.distributions.TransformedDistribution(normal, torch.distributions.SigmoidTransform())
    torch.testing.assert_close(log_q, q.log_prob(n)[:, 0], rtol=1e-6, atol=1e-6)
    assert bool(((n > 0.0) & (n < 1.0)).all())


def test_it_starts_near_uniform() -> None:
    n, log_q = VariationalNoise(Constant(0.0, 0.0))(torch.zeros(50_000, 1, dtype=torch.float64), generator())
    counts = torch.histc(n, 10, 0.0, 1.0) / 5000
    assert 0.85 < float(counts.min()) <= float(counts.max()) < 1.15
    assert 0.0 <= float(log_q.mean()) < 0.02  # the divergence from uniform, nats


def test_extreme_values_keep_their_gradients_finite() -> None:
    network = nn.Linear(1, 2)
    with torch.no_grad():
        network.bias.copy_(torch.tensor([3.0, 300.0]))
    n, log_q = VariationalNoise(network)(torch.zeros(5, 1))
    (n.sum() + log_q.sum()).backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)


def test_where_values_are_certain_learned_noise_tightens_the_bound() -> None:
    """A normal over a uniform cell loses 0.25 bits; noise that is nearly normal loses next to nothing."""
    x = torch.full((64, 2), 3, dtype=torch.uint8)
    nats = {}
    for dequantization in ("uniform", "variational"):
        torch.manual_seed(0)
        model = RealNVP(Event.integers((2,), 8), couplings=2, hidden=(2,), dequantization=dequantization)
        learn(model, x, steps=400, rate=0.02)
        with torch.no_grad():
            nats[dequantization] = -float(model.log_prob(x.repeat(50, 1), generator=generator()).mean()) / 2.0
    assert nats["uniform"] == pytest.approx(0.5 * math.log(2.0 * math.pi * math.e / 12.0), abs=0.03)
    assert -0.01 < nats["variational"] < 0.05


@torch.no_grad()
def test_the_noise_leaves_the_flow_of_real_data_and_codes_alone() -> None:
    model = moved(RealNVP(Event.integers((1, 4, 4), 256), channels=4, blocks=1, scales=1, dequantization="variational"))
    x = torch.randint(0, 256, (20, 1, 4, 4), generator=generator()).to(torch.uint8)
    assert str(model.likelihood) == "lower bound (1 sample, variational dequantization)"
    assert torch.equal(model.decode(model.encode(x)), x)
    with pytest.raises(InvalidInput, match="variational is for discrete data"):
        RealNVP(Event.real((4,)), dequantization="variational")
    with pytest.raises(InvalidInput, match="no dequantization 'uniformly'"):
        RealNVP(Event.integers((4,), 3), dequantization="uniformly")
