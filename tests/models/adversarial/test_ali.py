"""ALI: losses at optima that are known, swapped labels, who gets which gradient, and codes that give data back."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.adversarial.ali import ALI
from tests.models.learning import generator, learn

N = 40_000


@torch.no_grad()
def linear_gaussian(shift: float = 0.0) -> ALI:
    """Return G(z) = z_1 and q(z | x) = N((x, shift), diag(0, 1)) of x ~ N(0, 1): for shift 0 both joints are one."""
    model = ALI(Event.real((1,)), latent=2, hidden=()).double()
    model.generator.body.last.weight.copy_(torch.tensor([[1.0, 0.0]]))
    model.generator.body.last.bias.zero_()
    model.encoder.last.weight.copy_(torch.tensor([[1.0], [0.0], [0.0], [0.0]]))
    model.encoder.last.bias.copy_(torch.tensor([0.0, shift, -30.0, 0.0]))
    return model


def critic_is(model: ALI, weights: tuple[float, float, float], bias: float) -> None:
    """Make the critic V = weights . (x, z_1, z_2) + bias."""
    with torch.no_grad():
        model.critic.last.weight.copy_(torch.tensor([weights]))
        model.critic.last.bias.fill_(bias)


def normals(n: int, seed: int) -> Tensor:
    return torch.randn(n, 1, dtype=torch.float64, generator=generator(seed))


@torch.no_grad()
def critic_loss(model: ALI) -> float:
    return float(model.loss(normals(N, 1), group="critic", generator=generator(2))["loss"])


def test_no_critic_tells_pairs_apart_at_the_optimum() -> None:
    """There V = 0 has the least loss, log 4, and any other critic a larger one."""
    model = linear_gaussian()
    for weights, least in (((0.0, 0.0, 0.0), True), ((0.5, -0.2, 0.3), False), ((0.0, 0.0, 1.0), False)):
        critic_is(model, weights, 0.0)
        loss = critic_loss(model)
        assert loss == pytest.approx(math.log(4.0), abs=1e-12) if least else loss > math.log(4.0) + 0.02
    # Both joints are N(0, ((1, 1, 0), (1, 1, 0), (0, 0, 1))).
    joint = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    pairs = model.observe(normals(N, 3), None, generator(4)), model.generate(model.noise(N, generator(5)))
    for pair in pairs:
        torch.testing.assert_close(pair.T.cov(), joint, rtol=0.0, atol=0.03)


def test_critic_of_a_shifted_posterior_reaches_the_divergence() -> None:
    """q(z_2 | x) = N(1, 1): the best critic is V = z_2 - 1/2, with log 4 - 2 JSD(N(0, 1), N(1, 1)), by quadrature."""
    model = linear_gaussian(shift=1.0)
    t = np.linspace(-12.0, 13.0, 20_001)
    p, q = (np.exp(-0.5 * (t - m) ** 2) / math.sqrt(2.0 * math.pi) for m in (0.0, 1.0))
    divergence = 0.5 * np.trapezoid(p * np.log(2.0 * p / (p + q)) + q * np.log(2.0 * q / (p + q)), t)
    critic_is(model, (0.0, 0.0, 1.0), -0.5)
    loss = critic_loss(model)
    assert loss == pytest.approx(math.log(4.0) - 2.0 * divergence, abs=0.01)
    critic_is(model, (0.0, 0.0, 1.0), 0.0)
    assert critic_loss(model) > loss


@pytest.mark.parametrize("objective", ["non-saturating", "minimax", "least-squares", "hinge", "wasserstein"])
def test_generator_and_encoder_swap_the_labels(objective: str) -> None:
    model = ALI(Event.real((3,)), latent=2, hidden=(8,), objective=objective).double()
    x = torch.randn(16, 3, dtype=torch.float64, generator=generator(7))
    noise = generator()
    mean, log_scale = model.encoder(x).chunk(2, dim=1)
    z_of_x = mean + log_scale.exp() * torch.randn(16, 2, dtype=torch.float64, generator=noise)
    z = torch.randn(16, 2, dtype=torch.float64, generator=noise)
    real, fake = model.critic(torch.cat((x, z_of_x), 1)), model.critic(torch.cat((model.generator(z), z), 1))
    expected = {
        "non-saturating": F.softplus(real).mean() + F.softplus(-fake).mean(),
        "minimax": -F.softplus(-real).mean() - F.softplus(fake).mean(),
        "least-squares": 0.5 * (fake - 1.0).square().mean() + 0.5 * real.square().mean(),
        "hinge": F.relu(1.0 - fake).mean() + F.relu(1.0 + real).mean(),
        "wasserstein": real.mean() - fake.mean(),
    }[objective]
    torch.testing.assert_close(model.loss(x, group="generator", generator=generator())["loss"], expected)


def test_each_loss_gives_gradients_to_its_own_group_alone() -> None:
    model = ALI(Event.real((3,)), latent=2, hidden=(8,))
    groups = model.parameter_groups()
    assert {id(p) for p in model.encoder.parameters()} < {id(p) for p in groups["generator"]}
    for mine, other in (("critic", "generator"), ("generator", "critic")):
        model.zero_grad(set_to_none=True)
        model.loss(torch.randn(16, 3), group=mine, generator=generator())["loss"].backward()
        assert all(p.grad is not None and bool((p.grad != 0).any()) for p in groups[mine])
        assert all(p.grad is None and p.requires_grad for p in groups[other])


def test_code_is_the_mean_of_q() -> None:
    model = linear_gaussian(shift=2.0)
    x = normals(5, 1)
    torch.testing.assert_close(model.encode(x), torch.cat((x, torch.full_like(x, 2.0)), dim=1))
    torch.testing.assert_close(model.decode(model.encode(x)), x.float())


def test_learns_to_give_data_back() -> None:
    """Data from N(2, 0.5^2) and what their codes are decoded to have a correlation above 0.95, which no loss asks for."""
    x = 2.0 + 0.5 * torch.randn(4000, 1, generator=generator(1))
    torch.manual_seed(0)
    model = learn(ALI(Event.real((1,), (2.0,), (0.5,)), latent=1, hidden=(32, 32)), x, steps=450, rate=2e-3, betas=(0.5, 0.99))
    with torch.no_grad():
        back = model.decode(model.encode(x))
    assert float(torch.corrcoef(torch.cat((back, x), dim=1).T)[0, 1]) > 0.95


def test_bad_options_are_refused() -> None:
    for options, match in (
        ({"objective": "kl"}, "no objective of ali 'kl'"),
        ({"generator_normalization": "virtual-batch"}, "no normalization of generator and encoder"),
        ({"regularisers": ("feature-matching",)}, "leaves the encoder without a loss"),
    ):
        with pytest.raises(InvalidInput, match=match):
            ALI(Event.real((2,)), **options)
