"""Bayesian GAN: energies by hand, a posterior that chains reach, mixed samples, an uncertainty that grows off the data."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.data import load
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.adversarial.bayesian_gan import BayesianGAN
from ancestral.verbs.outlier_scores import auroc
from tests.models.learning import generator


def test_energies_by_hand() -> None:
    model = BayesianGAN(Event.real((3,)), latent=2, hidden=(8,), generators=2, critics=3, prior=1.0).double()
    x = torch.randn(16, 3, dtype=torch.float64, generator=generator(7))
    z = torch.randn(16, 2, dtype=torch.float64, generator=generator())
    made = [network(z) for network in model.generators]
    on_data = [F.softplus(-critic(x)).mean() for critic in model.critics]
    on_samples = [sum(F.softplus(critic(y)).mean() for y in made) / 2 for critic in model.critics]
    expected = torch.stack([a + b for a, b in zip(on_data, on_samples, strict=True)]).sum().detach()
    torch.testing.assert_close(model.loss(x, group="critic", generator=generator())["energy"], expected)
    expected = torch.stack([sum(F.softplus(-critic(y)).mean() for critic in model.critics) / 3 for y in made]).sum().detach()
    values = model.loss(x, group="generator", generator=generator())
    torch.testing.assert_close(values["energy"], expected)
    weights = torch.cat([p.detach().flatten() for p in model.generators.parameters()])
    torch.testing.assert_close(values["loss"].detach() - expected, weights.square().sum() / (2.0 * 50_000))


def test_gradient_has_the_prior_and_the_noise_of_a_step() -> None:
    """Noise of variance 2 friction / (step N) = 2 * 0.3 / (0.1 * 40), and w / (prior^2 N) = w / (4 * 40)."""
    model = BayesianGAN(Event.real((1,)), latent=1, hidden=(), data=40, friction=0.3, step=0.1, prior=2.0).double()
    w = torch.randn(50_000, dtype=torch.float64, generator=generator(1)).requires_grad_()
    prior, noise = model._prior_and_noise([w], generator(2))
    (drift,) = torch.autograd.grad(prior, w)
    torch.testing.assert_close(drift, w.detach() / 160.0)
    assert float(noise.detach()) == 0.0
    (drawn,) = torch.autograd.grad(noise, w)
    assert float(drawn.var()) == pytest.approx(0.15, rel=0.03)


def test_chains_reach_the_posterior() -> None:
    """Of data and samples that are all 0, weights keep their prior, and biases have the posterior of a coin: by quadrature."""
    chains = {"data": 10, "friction": 0.1, "step": 0.1, "prior": 1.0}
    model = BayesianGAN(Event.real((50,)), latent=1, hidden=(), generators=1, critics=40, **chains)
    with torch.no_grad():
        for p in model.generators.parameters():
            p.zero_()
    optimizer = torch.optim.SGD(model.critics.parameters(), lr=0.1, momentum=0.9)
    x, noise = torch.zeros(2, 50), generator(1)
    weights, biases = [], []
    for step in range(400):
        optimizer.zero_grad()
        model.loss(x, group="critic", generator=noise)["loss"].backward()
        optimizer.step()
        if step >= 100 and step % 10 == 0:
            weights.append(torch.stack([critic.last.weight.detach().flatten() for critic in model.critics]))
            biases.append(torch.stack([critic.last.bias.detach() for critic in model.critics]))
    b = np.linspace(-6.0, 6.0, 10_001)
    log_density = -10.0 * (np.logaddexp(0.0, b) + np.logaddexp(0.0, -b)) - 0.5 * b * b
    density = np.exp(log_density - log_density.max())
    variance = float((density * b * b).sum() / density.sum())
    assert float(torch.stack(weights).square().mean()) == pytest.approx(1.0, rel=0.06)
    assert float(torch.stack(biases).square().mean()) == pytest.approx(variance, rel=0.12)


def linear(weights: tuple[float, ...]) -> BayesianGAN:
    """Return a model whose critics are V_k = w_k x and whose generator j makes j + 1."""
    model = BayesianGAN(Event.real((1,)), latent=1, hidden=(), generators=2, critics=len(weights))
    with torch.no_grad():
        for j, network in enumerate(model.generators):
            network.body.last.weight.zero_()
            network.body.last.bias.fill_(j + 1.0)
        for w, critic in zip(weights, model.critics, strict=True):
            critic.last.weight.fill_(w)
            critic.last.bias.zero_()
    return model


def test_samples_mix_over_the_generators() -> None:
    y = linear((1.0, 2.0)).sample(4000, generator=generator())
    assert y.unique().tolist() == [1.0, 2.0]
    assert float((y == 1.0).double().mean()) == pytest.approx(0.5, abs=4.0 * math.sqrt(0.25 / 4000))


def test_judgement_by_hand() -> None:
    judged = linear((1.0, 3.0)).judge(torch.tensor([[0.0], [1.0]]))
    expected = torch.tensor([0.5, 0.5 * (1.0 / (1.0 + math.exp(-1.0)) + 1.0 / (1.0 + math.exp(-3.0)))])
    torch.testing.assert_close(judged["realism"], expected)
    torch.testing.assert_close(judged["disagreement"], torch.tensor([0.0, math.sqrt(2.0)]))
    # Before any data the last layer has its prior: V = w x + b has the variance prior^2 (x^2 + 1).
    torch.testing.assert_close(judged["uncertainty"], torch.tensor([0.1, 0.1 * math.sqrt(2.0)]))


def test_uncertainty_is_that_of_a_regression_on_the_features_of_the_data() -> None:
    """One batch of all N data: the posterior of w given V(x_i) = w . (x_i, 1) + noise of variance 1, w ~ N(0, prior^2)."""
    model = BayesianGAN(Event.real((3,)), latent=1, hidden=(), generators=1, critics=2, data=20, prior=0.7).double().train()
    x, new = (torch.randn(20, 3, dtype=torch.float64, generator=generator(seed)) for seed in (1, 2))
    model.loss(x, group="critic", generator=generator())
    design, of_new = (torch.cat((y, torch.ones(20, 1, dtype=torch.float64)), 1) for y in (x, new))
    cov = torch.linalg.inv(design.T @ design + torch.eye(4, dtype=torch.float64) / 0.49)
    expected = ((of_new @ cov) * of_new).sum(1).sqrt()
    torch.testing.assert_close(model.judge(new)["uncertainty"], expected)
    model.eval().loss(new, group="critic", generator=generator())  # validation teaches nothing
    torch.testing.assert_close(model.judge(new)["uncertainty"], expected)


def test_moments_are_averages_over_batches_and_wide_features_are_mixed() -> None:
    model = BayesianGAN(Event.real((300,)), latent=1, hidden=(), generators=1, critics=2).double().train()
    batches = [torch.randn(4, 300, dtype=torch.float64, generator=generator(seed)) for seed in range(3)]
    for x in batches:
        model.loss(x, group="critic", generator=generator())
    h = torch.cat([torch.cat((x @ model.mixing, torch.ones(4, 1, dtype=torch.float64)), 1) for x in batches])
    assert h.shape == (12, 257)
    torch.testing.assert_close(model.moments[1], h.T @ h / 12)


def walked(model: BayesianGAN, x: Tensor, *, steps: int, batch: int, noise: torch.Generator) -> None:
    """Let the chains of a model take steps on random batches of `x`, at the rate of its `step` of 0.02."""
    optimizers = {name: torch.optim.SGD(ps, lr=0.02, momentum=0.9) for name, ps in model.parameter_groups().items()}
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,), generator=noise)
        for name, optimizer in optimizers.items():
            model.zero_grad(set_to_none=True)
            model.loss(x[rows], group=name, generator=noise)["loss"].backward()
            optimizer.step()
            model.after_step(name)


def test_critics_disagree_away_from_data() -> None:
    """After training on a circle of radius 2, held-out data have less uncertainty than points at twice the radius."""

    def circle(radius: float, seed: int, n: int = 500) -> Tensor:
        angle = 2.0 * math.pi * torch.rand(n, 1, generator=generator(seed))
        return radius * torch.cat((angle.cos(), angle.sin()), 1) + 0.1 * torch.randn(n, 2, generator=generator(seed + 1))

    torch.manual_seed(0)
    model = BayesianGAN(Event.real((2,)), latent=2, hidden=(32, 32), generators=2, critics=5, data=2000, step=0.02, prior=1.0)
    x, noise = circle(2.0, 1, 2000), generator(3)
    walked(model, x, steps=300, batch=64, noise=noise)
    inside, outside = (model.eval().judge(circle(radius, 9))["uncertainty"] for radius in (2.0, 4.0))
    assert auroc(inside, outside)[0] > 0.8


def test_uncertainty_ranks_digits_above_corrupted_ones() -> None:
    data = load("digits")
    x, _ = data.split("train").batch(torch.arange(1200))
    held_out, _ = data.split("validation").batch(torch.arange(180))
    torch.manual_seed(0)
    model = BayesianGAN(data.event, latent=4, hidden=(64,), generators=1, critics=2, data=1200, step=0.02, prior=1.0).train()
    noise = generator(3)
    walked(model, x, steps=60, batch=100, noise=noise)
    occluded = held_out.clone()
    occluded[:, :, 2:5, 2:5] = 0
    noisy = held_out + 5.0 * torch.randn(held_out.shape, generator=noise)
    real = model.eval().judge(held_out)["uncertainty"]
    for y in (noisy.clamp(0, 16).to(held_out.dtype), occluded, held_out.rot90(1, (2, 3))):
        assert auroc(real, model.judge(y)["uncertainty"])[0] > 0.8


def test_bad_options_are_refused() -> None:
    for options, match in (
        ({"critics": 1}, "give 2 or more"),
        ({"prior": 0.0}, "prior is 0"),
        ({"friction": 1.5}, "friction is 1.5"),
        ({"data": 0}, "generators, critics and data needs"),
    ):
        with pytest.raises(InvalidInput, match=match):
            BayesianGAN(Event.real((2,)), **options)
