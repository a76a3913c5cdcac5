"""Objectives: the losses by hand, those of f-divergences against the table, label smoothing, and names."""

import math

import pytest
import torch
import torch.nn.functional as F

from ancestral.errors import InvalidInput
from ancestral.models.adversarial.divergences import divergence
from ancestral.models.adversarial.objectives import NAMES, objective

REAL, FAKE = torch.tensor([[2.0], [-0.5], [0.3]]).double(), torch.tensor([[-1.0], [0.4], [1.2]]).double()


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [
        ("minimax", -(torch.sigmoid(REAL).log().mean() + (1 - torch.sigmoid(FAKE)).log().mean()),
         (1 - torch.sigmoid(FAKE)).log().mean()),
        ("non-saturating", -(torch.sigmoid(REAL).log().mean() + (1 - torch.sigmoid(FAKE)).log().mean()),
         -torch.sigmoid(FAKE).log().mean()),
        ("wasserstein", FAKE.mean() - REAL.mean(), -FAKE.mean()),
        ("hinge", torch.tensor((0.0 + 1.5 + 0.7) / 3 + (0.0 + 1.4 + 2.2) / 3).double(), -FAKE.mean()),
        ("least-squares", 0.5 * ((REAL - 1) ** 2).mean() + 0.5 * (FAKE**2).mean(), 0.5 * ((FAKE - 1) ** 2).mean()),
        ("dudley", 0.5 * (FAKE.tanh().mean() - REAL.tanh().mean()), -0.5 * FAKE.tanh().mean()),
        ("kl", (FAKE - 1).exp().mean() - REAL.mean(), -(FAKE - 1).exp().mean()),
        ("kl-alternative", (FAKE - 1).exp().mean() - REAL.mean(), -FAKE.mean()),
        ("reverse-kl", (-REAL).exp().mean() + FAKE.mean() - 1, 1 - FAKE.mean()),
    ],
)  # fmt: skip
def test_losses_by_hand(name: str, critic: torch.Tensor, generator: torch.Tensor) -> None:
    row = objective(name)
    torch.testing.assert_close(row.critic_loss(REAL, FAKE), critic)
    torch.testing.assert_close(row.generator_loss(FAKE), generator)


@pytest.mark.parametrize("name", ["kl", "jeffrey", "alpha=3", "alpha", "weighted-jensen-shannon=0.2", "total-variation"])
def test_an_f_divergence_is_bounded_from_below_by_the_critic(name: str) -> None:
    row, loss = divergence(name), objective(name).critic_loss(REAL, FAKE)
    torch.testing.assert_close(loss, -row.bound(REAL, FAKE))
    # Algorithm 1: both play for the same value; only its second term depends on the generator.
    torch.testing.assert_close(objective(name).generator_loss(FAKE), -row.conjugate(row.activation(FAKE)).mean())
    stem, equals, value = name.partition("=")
    alternative = objective(f"{stem}-alternative{equals}{value}")
    torch.testing.assert_close(alternative.generator_loss(FAKE), -row.activation(FAKE).mean())
    torch.testing.assert_close(alternative.critic_loss(REAL, FAKE), loss)


def test_the_gan_is_an_f_gan() -> None:
    for gan, row in (("minimax", "gan"), ("non-saturating", "gan-alternative")):
        torch.testing.assert_close(objective(gan).critic_loss(REAL, FAKE), objective(row).critic_loss(REAL, FAKE))
        torch.testing.assert_close(objective(gan).generator_loss(FAKE), objective(row).generator_loss(FAKE))


def test_smoothing_moves_the_best_output_to_the_smoothed_label() -> None:
    """Where all are data, D is best at 1 - e: the least of cross-entropy, and of squares, is at the label's mean."""
    none = torch.full((1, 1), -40.0, dtype=torch.float64)
    for name, best in (("non-saturating", math.log(0.9 / 0.1)), ("least-squares", 0.9)):
        v = torch.full((1, 1), best, dtype=torch.float64, requires_grad=True)
        objective(name).critic_loss(v, none if name != "least-squares" else 0.0 * none, 0.1).backward()
        assert float(v.grad) == pytest.approx(0.0, abs=1e-12)
    smoothed = objective("minimax").critic_loss(REAL, FAKE, 0.1)
    labels = torch.full_like(REAL, 0.9)
    expected = F.binary_cross_entropy_with_logits(REAL, labels) + F.binary_cross_entropy_with_logits(FAKE, 0.0 * FAKE)
    torch.testing.assert_close(smoothed, expected)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_have_the_right_sign(name: str) -> None:
    """A critic lowers its loss by a larger output on data and a smaller one on samples; a generator by a larger one."""
    real, fake = REAL.clone().clamp(max=0.9).requires_grad_(), FAKE.clone().clamp(min=0.1).requires_grad_()
    row = objective(name)
    row.critic_loss(real, fake).backward()
    assert bool((fake.grad > 0).all())
    # Of Pearson's, squares and the like one datum may be past its best: the mean is not.
    assert float(real.grad.sum()) < 0
    again = FAKE.clone().requires_grad_()
    row.generator_loss(again).backward()
    assert float(again.grad.sum()) < 0


def test_names_are_said_when_there_is_none() -> None:
    for name, match in (("wassertein", "Did you mean wasserstein"), ("kl-alternativ", "no objective"), ("alpha=1", "kl")):
        with pytest.raises(InvalidInput, match=match):
            objective(name)
