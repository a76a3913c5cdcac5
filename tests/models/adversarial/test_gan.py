"""GAN: the two losses, who gets which gradient, the energy score, and a density that is learned."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.adversarial.gan import GAN
from tests.models.learning import learn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("objective", ["non-saturating", "minimax"])
def test_losses_are_those_of_the_paper(objective: str) -> None:
    model = GAN(Event.real((3,)), latent=2, hidden=(8,), objective=objective).double()
    x = torch.randn(16, 3, dtype=torch.float64)
    z = torch.randn(16, 2, dtype=torch.float64, generator=generator())
    real, fake = torch.sigmoid(model.critic(x)), torch.sigmoid(model.critic(model.generator(z)))
    value = torch.log(real).mean() + torch.log(1.0 - fake).mean()
    critic = model.loss(x, group="critic", generator=generator())
    torch.testing.assert_close(critic["loss"], -value)
    torch.testing.assert_close(critic["margin"], (torch.logit(real).mean() - torch.logit(fake).mean()).detach())
    expected = torch.log(1.0 - fake).mean() if objective == "minimax" else -torch.log(fake).mean()
    torch.testing.assert_close(model.loss(x, group="generator", generator=generator())["loss"], expected)


def test_each_loss_gives_gradients_to_its_own_group_alone() -> None:
    model = GAN(Event.real((3,)), latent=2, hidden=(8,))
    groups = model.parameter_groups()
    for mine, other in (("critic", "generator"), ("generator", "critic")):
        model.zero_grad(set_to_none=True)
        model.loss(torch.randn(16, 3), group=mine, generator=generator())["loss"].backward()
        assert all(p.grad is not None and bool((p.grad != 0).any()) for p in groups[mine])
        assert all(p.grad is None and p.requires_grad for p in groups[other])


@pytest.mark.parametrize("objective", ["non-saturating", "hinge"])
def test_mismatched_pairs_are_told_as_samples(objective: str) -> None:
    """Each datum with the condition of the one before it in the batch, at a weight of 0.5; the generator sees none of it."""
    options = {"latent": 2, "hidden": (8,), "objective": objective}
    plain = GAN(Event.real((3,)), Event.label(4), **options)
    model = GAN(Event.real((3,)), Event.label(4), mismatched=0.5, **options)
    model.load_state_dict(plain.state_dict())
    x, c = torch.randn(3, 3), torch.tensor([2, 0, 3])
    on_wrong = plain.critic(x, torch.tensor([3, 2, 0]))
    term = F.softplus(on_wrong) if objective == "non-saturating" else F.relu(1.0 + on_wrong)
    expected = plain.loss(x, c, group="critic", generator=generator())["loss"] + 0.5 * term.mean()
    torch.testing.assert_close(model.loss(x, c, group="critic", generator=generator())["loss"], expected)
    losses = [m.loss(x, c, group="generator", generator=generator())["loss"] for m in (plain, model)]
    torch.testing.assert_close(*losses)
    with pytest.raises(InvalidInput, match="mismatched pairs need at least 2 data"):
        model.loss(x[:1], c[:1], group="critic")


def test_generator_is_updated_at_every_kth_step() -> None:
    model = GAN(Event.real((2,)), hidden=(4,), critic_steps=3)
    both, one = ("critic", "generator"), ("critic",)
    assert [tuple(model.groups_at(step)) for step in range(6)] == [one, one, both, one, one, both]


@torch.no_grad()
def test_energy_score_of_a_known_generator() -> None:
    """For G(z) = z the score of x is that of N(0, 1): x (2 Phi(x) - 1) + 2 phi(x) - 1 / sqrt(pi)."""
    model = GAN(Event.real((1,), (3.0,), (2.0,)), latent=1, hidden=()).double()
    model.generator.body.last.weight.fill_(1.0)
    model.generator.body.last.bias.zero_()
    for x in (0.0, 1.0, -2.5):
        data = torch.full((4000, 1), 3.0 + 2.0 * x, dtype=torch.float64)
        scores = model.measures(data, generator=generator())["energy_score"]
        cdf, density = 0.5 * (1.0 + math.erf(x / math.sqrt(2.0))), math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        expected = x * (2.0 * cdf - 1.0) + 2.0 * density - 1.0 / math.sqrt(math.pi)
        assert abs(float(scores.mean()) - expected) < 5.0 * float(scores.std()) / math.sqrt(len(scores))


@torch.no_grad()
def test_samples_are_data_of_the_event_for_any_weights() -> None:
    for event in (Event.binary((1, 3, 3)), Event.integers((4,), 256)):
        model = GAN(event, Event.label(2), latent=2, hidden=(8,))
        for p in model.parameters():
            p *= 30.0
        x = model.sample(50, torch.arange(50) % 2, generator=generator())
        event.check(x)
        assert x.dtype == event.dtype


def ring(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return points around 4 centres on a circle of radius 2, and the number of each one's centre."""
    label = torch.randint(0, 4, (n,), generator=generator(seed))
    angle = label * (math.pi / 2.0)
    centre = 2.0 * torch.stack((angle.cos(), angle.sin()), dim=1)
    return centre + 0.2 * torch.randn(n, 2, generator=generator(seed + 1)), label


def test_learns_a_ring() -> None:
    x, _ = ring(2000, 1)
    model = GAN(Event.real((2,)), latent=4, hidden=(32, 32))
    held_out = ring(1000, 5)[0]
    with torch.no_grad():
        before = float(model.measures(held_out, generator=generator())["energy_score"].mean())
    learn(model, x, steps=600, rate=2e-3, betas=(0.5, 0.999))
    with torch.no_grad():
        after = float(model.measures(held_out, generator=generator())["energy_score"].mean())
        y = model.sample(1000, generator=generator())
    # What the data themselves would score: half the mean distance of two of them.
    least = 0.5 * float(torch.cdist(held_out, held_out).sum()) / (1000 * 999)
    assert least - 0.05 < after < least + 0.15 < before
    assert float((y.norm(dim=1) - 2.0).abs().median()) < 0.5
    quadrant = ((torch.atan2(y[:, 1], y[:, 0]) / (math.pi / 2.0)).round().long() % 4).bincount(minlength=4)
    assert int((quadrant > 50).sum()) >= 3, "the generator left modes out"


def test_learns_what_the_condition_says() -> None:
    x, label = ring(2000, 1)
    model = GAN(Event.real((2,)), Event.label(4), latent=2, hidden=(32,))
    learn(model, x, label, steps=400, rate=2e-3, betas=(0.5, 0.999))
    with torch.no_grad():
        y = model.sample(400, torch.arange(400) % 4, generator=generator())
    angle = (torch.arange(400) % 4) * (math.pi / 2.0)
    cosine = F.cosine_similarity(y, torch.stack((angle.cos(), angle.sin()), dim=1))
    assert float(cosine.mean()) > 0.8


def test_bad_options_are_refused() -> None:
    for options, match in (
        ({"latent": 0}, "latent needs"),
        ({"critic_steps": 0}, "critic_steps needs"),
        ({"mismatched": -1.0}, "mismatched is a weight, got -1"),
        ({"mismatched": 1.0}, "mismatched pairs are of a datum and a condition"),
        ({"objective": "hing"}, "no objective 'hing'. Did you mean hinge"),
    ):
        with pytest.raises(InvalidInput, match=match):
            GAN(Event.real((2,)), **options)
