import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.autoregressive.rnade import RNADE


def small(event=None, condition=None, **options):
    torch.manual_seed(3)
    model = RNADE(event or Event.real((4,)), condition, **{"hidden": 7, "components": 3, "activation": "tanh", **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return model.double().eval()


def naive_log_prob(model, v):
    """The paper's model on the network's scale, one mixture after another, by torch.distributions."""
    network, total = model.network, torch.zeros(len(v), dtype=torch.double)
    for d in range(v.shape[1]):
        a = network.bias + v[:, :d] @ network.weight[:d]
        raw = torch.tanh(network.scale[d] * a) @ network.output_weight[d].T + network.output_bias[d]
        logits, means, log_scales = raw.chunk(3, dim=1)
        mixture = MixtureSameFamily(Categorical(logits=logits), Normal(means, log_scales.exp()))
        total = total + mixture.log_prob(v[:, d])
    return total


def test_equals_the_definition_on_the_measure_of_the_data():
    loc, scale = (1.0, -2.0, 0.0, 3.0), (0.5, 2.0, 1.0, 4.0)
    model = small(Event.real((4,), loc=loc, scale=scale))
    x = torch.randn(9, 4, dtype=torch.double)
    v = (x - torch.tensor(loc)) / torch.tensor(scale)
    expected = naive_log_prob(model, v) - math.log(0.5 * 2.0 * 1.0 * 4.0)
    torch.testing.assert_close(model.log_prob(x), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"order_seed": 1}, {"activation": "relu"}])
@pytest.mark.parametrize("condition", [None, Event.label(3), Event.real((2,))])
def test_step_equals_forward(options, condition, stepped):
    model = small(Event.real((2, 3), loc=(1.0,) * 6, scale=(0.5, 2.0, 1.0, 1.0, 3.0, 1.0)), condition, **options)
    x = torch.randn(5, 2, 3, dtype=torch.double)
    c = None
    if condition is not None:
        c = torch.tensor([0, 1, 2, 0, 1]) if condition.discrete else torch.randn(5, 2, dtype=torch.double)
    torch.testing.assert_close(stepped(model, x, c), model(x, c).detach().flatten(1, -2), rtol=0, atol=1e-10)


@pytest.mark.parametrize("order_seed", [None, 4])
def test_sees_exactly_what_comes_before(order_seed, dependence):
    model = small(order_seed=order_seed)
    place = model.order.argsort()
    assert torch.equal(dependence(model, torch.randn(6, 4, dtype=torch.double)), place[:, None] > place)


def test_every_entry_has_a_factor_on_its_sums():
    model = small().train()
    model.loss(torch.randn(50, 4, dtype=torch.double))["loss"].backward()
    assert model.network.scale.shape == (4,)
    assert bool((model.network.scale.grad != 0).all())


def test_samples_have_the_distribution_function_of_the_density():
    """The probability integral transform of each entry, given those before it, is uniform."""
    model = small(Event.real((2,), loc=(5.0, -1.0), scale=(2.0, 0.1)))
    x = model.sample(20_000, generator=torch.Generator().manual_seed(1)).double()
    v = (x - torch.tensor([5.0, -1.0])) / torch.tensor([2.0, 0.1])
    with torch.no_grad():
        logits, means, log_scales = model(x).chunk(3, dim=-1)
        u = (torch.softmax(logits, -1) * Normal(means, log_scales.exp()).cdf(v[..., None])).sum(-1)
    for column in u.T:
        n = len(column)
        gap = (column.sort().values - (torch.arange(n) + 0.5) / n).abs().max().item()
        assert gap < 1.95 / math.sqrt(n)  # Kolmogorov-Smirnov at 0.001
    assert torch.equal(x.float(), model.sample(20_000, generator=torch.Generator().manual_seed(1)))


def test_learns_what_a_gaussian_cannot_say():
    """Two entries on a noisy circle: each conditional has two modes."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(2000, generator=generator)
    x = torch.stack((angle.cos(), angle.sin()), 1) + 0.1 * torch.randn(2000, 2, generator=generator)
    torch.manual_seed(0)
    model = RNADE(Event.real((2,)), hidden=32, components=6)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(x)["loss"].backward()
        optimizer.step()
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T)).log_prob(x).mean()
    assert model.eval().log_prob(x).mean() > gaussian + 0.5


def test_discrete_data_are_refused():
    with pytest.raises(InvalidInput, match="real"):
        RNADE(Event.binary((3,)))
