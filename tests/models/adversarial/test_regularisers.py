"""Regularisers: each loss by a closed form, its gradient against finite differences, under autocast and for one datum."""

import math

import pytest
import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.adversarial.gan import GAN
from ancestral.models.adversarial.regularisers import (
    REGULARISERS,
    GradientPenalty,
    HistoricalAveraging,
    Play,
    Regulariser,
    make_regularisers,
    slopes,
)

PENALTIES = ("gradient-penalty", "one-sided-gradient-penalty", "r1", "consistency")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str) -> Regulariser:
    (part,) = make_regularisers((name,))
    return part


def play(critic: nn.Module, n: int = 6, group: str = "critic", dtype: torch.dtype = torch.float64) -> Play:
    """Return a game of `critic` about n data and samples in 3 dimensions."""
    real, fake = (torch.randn(n, 3, generator=generator(seed)).to(dtype) for seed in (1, 2))
    return Play(
        group, real, fake, critic(real), critic(fake), critic, lambda y: torch.tanh(y), list(critic.parameters()), generator()
    )


class Linear(nn.Module):
    """V(y) = w y."""

    def __init__(self, w: tuple[float, ...]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

    def forward(self, y: Tensor) -> Tensor:
        return (y @ self.w)[:, None]


@pytest.mark.parametrize("w", [(0.3, -0.4, 0.0), (2.0, 1.0, -2.0)])
def test_penalties_of_a_linear_critic(w: tuple[float, ...]) -> None:
    """The slope of w y is ||w|| everywhere; in the direction d it is w d / ||d||."""
    critic, slope = Linear(w), math.hypot(*w)
    above = max(0.0, slope - 1.0)
    for name, expected in (
        ("gradient-penalty=10", 10.0 * (slope - 1.0) ** 2),
        ("one-sided-gradient-penalty=10", 10.0 * above**2),
        ("r1=10", 5.0 * slope**2),
    ):
        loss = made(name).critic_loss(play(critic))
        assert float(loss.detach()) == pytest.approx(expected, abs=1e-9)
        # d/dw of a function of ||w|| is along w.
        (gradient,) = torch.autograd.grad(loss, critic.w)
        along = {"gradient-penalty=10": 20.0 * (slope - 1.0), "one-sided-gradient-penalty=10": 20.0 * above}.get(
            name, 10.0 * slope
        )
        torch.testing.assert_close(gradient, along * critic.w.detach() / slope, atol=1e-6, rtol=1e-6)
    consistency = float(made("consistency=2").critic_loss(play(critic)).detach())
    assert consistency == pytest.approx(0.0) if slope < 1.0 else 0.0 < consistency <= 2.0 * above**2


def smooth_critic(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 8), nn.Softplus(), nn.Linear(8, 1)).to(dtype)
    with torch.no_grad():
        for p in critic.parameters():
            p.mul_(6.0)
    return critic


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_of_penalties_are_those_of_finite_differences(name: str, n: int) -> None:
    critic = smooth_critic()
    part = made(name)

    def loss() -> Tensor:
        return part.critic_loss(play(critic, n))  # with the same seed

    value = loss()
    assert float(value.detach()) > 0.0
    gradients = torch.autograd.grad(value, list(critic.parameters()), allow_unused=True)
    for parameter, gradient in zip(critic.parameters(), gradients, strict=True):
        for index in ((0,) * parameter.ndim, (-1,) * parameter.ndim):
            kept = float(parameter.detach()[index])
            values = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter[index] = kept + step
                values.append(float(loss().detach()))
            with torch.no_grad():
                parameter[index] = kept
            expected = (values[0] - values[1]) / 2e-5
            got = 0.0 if gradient is None else float(gradient[index])
            assert got == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_are_differentiated_twice_under_autocast(name: str) -> None:
    critic = smooth_critic(torch.float32)
    full = made(name).critic_loss(play(critic, dtype=torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        game = play(critic, dtype=torch.float32)
        mixed = made(name).critic_loss(Play(**{**vars(game), "criticize": lambda y: critic(y).float()}))
    mixed.backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in list(critic.parameters())[:1])
    # Quotients of close points lose digits: only the others are near.
    if name != "consistency":
        torch.testing.assert_close(mixed.detach(), full.detach(), rtol=0.1, atol=0.1)


def test_slopes_are_gradients_of_each_datum() -> None:
    y = torch.randn(5, 3, dtype=torch.float64)
    got = slopes(lambda y: y.square().sum(1, keepdim=True), y)
    torch.testing.assert_close(got, 2.0 * y.norm(dim=1))


def test_interpolates_are_between_data_and_samples() -> None:
    seen = []

    def critic(y: Tensor) -> Tensor:
        seen.append(y.detach())
        return y.sum(1, keepdim=True)

    real, fake = torch.ones(500, 2), torch.zeros(500, 2)
    GradientPenalty(1.0).critic_loss(Play("critic", real, fake, real[:, :1], fake[:, :1], critic, critic, [], generator()))
    y = seen[0]
    assert torch.equal(y[:, 0], y[:, 1]), "one share for a whole datum"
    assert 0.0 <= float(y.min()) < 0.1
    assert 0.9 < float(y.max()) <= 1.0
    assert abs(float(y.mean()) - 0.5) < 0.05


def test_feature_matching_and_its_gradient() -> None:
    game = play(Linear((1.0, 0.0, 0.0)), group="generator")
    fake = game.fake.clone().requires_grad_()
    for name in ("feature-matching=2", "added-feature-matching=2"):
        part = made(name)
        loss = part.generator_loss(Play(**{**vars(game), "fake": fake}))
        gap = torch.tanh(fake).mean(0) - torch.tanh(game.real).mean(0)
        torch.testing.assert_close(loss, 2.0 * gap.square().sum())
        (gradient,) = torch.autograd.grad(loss, fake)
        torch.testing.assert_close(gradient, (4.0 * gap * (1.0 - torch.tanh(fake).square()) / 6).detach())
        assert part.replaces_generator_loss == (name == "feature-matching=2")


def test_historical_averaging() -> None:
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    part = HistoricalAveraging(3.0)
    part.prepare({"critic": [w]})
    game = play(Linear((1.0, 0.0, 0.0)))
    for values in ([2.0, 2.0], [4.0, 5.0], [0.0, 2.0]):
        with torch.no_grad():
            w.copy_(torch.tensor(values))
        part.after_step("critic", [w])
    torch.testing.assert_close(part.get_buffer("mean_critic_0"), torch.tensor([2.0, 3.0]))
    loss = part.critic_loss(Play(**{**vars(game), "parameters": [w]}))
    torch.testing.assert_close(loss, torch.tensor(3.0 * (4.0 + 1.0)))
    (gradient,) = torch.autograd.grad(loss, w)
    torch.testing.assert_close(gradient, torch.tensor([6.0 * -2.0, 6.0 * -1.0]))
    assert set(part.state_dict()) == {"steps_critic", "mean_critic_0"}


def test_weight_clipping_is_of_the_critic_alone() -> None:
    model = GAN(Event.real((2,)), latent=2, hidden=(4,), objective="wasserstein", regularisers=("weight-clipping=0.05",))
    before = [p.clone() for p in model.generator.parameters()]
    for group in ("critic", "generator"):
        model.after_step(group)
    assert max(float(p.detach().abs().max()) for p in model.critic.parameters()) == pytest.approx(0.05)
    assert all(torch.equal(a, b) for a, b in zip(before, model.generator.parameters(), strict=True))


def test_sup_norm() -> None:
    outputs = torch.tensor([[0.5], [-3.0], [2.0]], requires_grad=True)
    game = play(Linear((1.0, 0.0, 0.0)))
    loss = made("sup-norm=6").critic_loss(Play(**{**vars(game), "on_real": outputs[:2], "on_fake": outputs[2:]}))
    torch.testing.assert_close(loss, torch.tensor(6.0 * (4.0 + 1.0) / 3.0))
    (gradient,) = torch.autograd.grad(loss, outputs)
    torch.testing.assert_close(gradient, torch.tensor([[0.0], [-8.0], [4.0]]))


def test_instance_noise_is_normal_and_seeded() -> None:
    y = torch.zeros(2000, 2)
    noisy = made("instance-noise=0.5").critic_input(y, generator(1))
    assert float(noisy.std()) == pytest.approx(0.5, rel=0.05)
    assert torch.equal(noisy, made("instance-noise=0.5").critic_input(y, generator(1)))


def test_label_smoothing_and_noise_reach_the_loss() -> None:
    x = torch.randn(8, 2)
    plain = GAN(Event.real((2,)), latent=2, hidden=(4,))
    smoothed = GAN(Event.real((2,)), latent=2, hidden=(4,), regularisers=("label-smoothing=0.2",))
    smoothed.load_state_dict(plain.state_dict())
    on_real = plain.criticize(x)
    one, other = (model.loss(x, group="critic", generator=generator())["loss"] for model in (plain, smoothed))
    # 0.8 softplus(-v) + 0.2 softplus(v) = softplus(-v) + 0.2 v.
    torch.testing.assert_close(other, one + 0.2 * on_real.mean())


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("gradient-penality",), "Did you mean"),
        (("r1=0",), "positive number"),
        (("r1=ten",), "positive number"),
        (("r1", "r1=2"), "given twice"),
        (("label-smoothing=0.5",), "below 0.5"),
        ("r1", "list of names"),
    ],
)
def test_bad_regularisers_are_refused(names, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        make_regularisers(names)


def test_regularisers_that_do_not_fit_are_refused() -> None:
    for options, match in (
        ({"regularisers": ("label-smoothing",), "objective": "wasserstein"}, "objectives with labels"),
        ({"regularisers": ("gradient-penalty",), "critic_normalization": "batch"}, "judges it by itself"),
    ):
        with pytest.raises(InvalidInput, match=match):
            GAN(Event.real((2,)), hidden=(4, 4), **options)


@pytest.mark.parametrize("name", REGULARISERS)
def test_each_trains_a_model_and_is_documented(name: str) -> None:
    assert "References" in (REGULARISERS[name].__doc__ or "")
    model = GAN(Event.real((2,)), latent=2, hidden=(4, 4), regularisers=(name,)).train()
    for group in ("critic", "generator"):
        values = model.loss(torch.randn(5, 2), group=group, generator=generator())
        values["loss"].backward()
        assert bool(torch.isfinite(values["loss"]))
        model.after_step(group)
