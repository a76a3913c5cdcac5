"""Deep energy: densities by quadrature, Langevin dynamics where its law is known, the score, and the buffer."""

import math

import pytest
import torch
from scipy import stats

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.energy.deep_energy import DeepEnergy
from tests.models.learning import generator, learn


def flat(radius: float = 1.0, **options: object) -> DeepEnergy:
    """A model whose network is 0: a Gaussian of deviation `radius`."""
    torch.manual_seed(0)
    model = DeepEnergy(Event.real((2,)), hidden=(4,), radius=radius, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model.double().eval()


def test_langevin_dynamics_has_the_law_of_its_energy() -> None:
    model = flat(radius=0.7, step_size=0.1)
    v = model.langevin(torch.full((4000, 2), 3.0, dtype=torch.float64), 500, generator())
    # A step of this size widens a Gaussian of deviation r to r / sqrt(1 - s^2 / (4 r^2)).
    deviation = 0.7 / math.sqrt(1.0 - 0.1**2 / (4.0 * 0.49))
    for i in range(2):
        assert stats.kstest(v[:, i].numpy(), "norm", args=(0.0, deviation)).pvalue > 1e-3


def test_hyvarinen_score_is_that_of_a_gaussian() -> None:
    model = flat(radius=2.0)
    x = torch.randn(5000, 2, dtype=torch.float64, generator=generator())
    found = model.measures(x, generator=generator(1))["hyvarinen"]
    expected = 0.5 * x.square().sum(1) / 16.0 - 2.0 / 4.0
    assert abs(float((found - expected).mean())) < 4.0 * float((found - expected).std()) / math.sqrt(5000)
    # It is least for the radius that the data have.
    scores = {r: float(flat(radius=r).measures(x, generator=generator(1))["hyvarinen"].mean()) for r in (0.8, 1.0, 1.3)}
    assert min(scores, key=lambda r: scores[r]) == 1.0


def test_density_approaches_the_truth() -> None:
    """Two Gaussians in the plane: the density, normalized by quadrature, beside the true one."""
    centres, spread = torch.tensor([[-1.0, -0.5], [1.0, 0.5]]), 0.45
    noise = generator(2)
    x = centres[torch.randint(2, (4000,), generator=noise)] + spread * torch.randn(4000, 2, generator=noise)
    true = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(2)),
        torch.distributions.Independent(torch.distributions.Normal(centres, torch.full((2, 2), spread)), 1),
    )
    line = torch.linspace(-4.0, 4.0, 161)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).view(-1, 2)
    torch.manual_seed(0)
    model = DeepEnergy(Event.real((2,)), hidden=(32, 32), step_size=0.2, langevin_steps=20, buffer=2000, sample_steps=200)

    def divergence() -> float:
        with torch.no_grad():
            log_z = torch.logsumexp(-model.free_energy(grid), 0) + 2.0 * math.log(0.05)
            held = true.sample((4000,))
            return float((true.log_prob(held) + model.free_energy(held) + log_z).mean())

    before = divergence()
    learn(model, x, steps=1200, rate=2e-3)
    assert before > 0.6
    assert -0.02 < divergence() < 0.06
    # Samples are from this density, up to the size of the steps.
    drawn = model.sample(2000, generator=generator(3))
    left = float((drawn @ torch.tensor([1.0, 0.5]) < 0.0).float().mean())
    assert left == pytest.approx(0.5, abs=0.08)
    assert float(drawn.std(0)[0]) == pytest.approx(math.sqrt(1.0 + spread**2), rel=0.08)


def test_the_buffer_keeps_where_chains_are_in_training_alone() -> None:
    model = flat(buffer=6, langevin_steps=2, fresh=0.0)
    x = torch.zeros(3, 2, dtype=torch.float64)
    start = model.chain.clone()
    model.loss(x, generator=generator())
    assert torch.equal(model.chain, start)
    model.train().loss(x, generator=generator())
    changed = (model.chain != start).any(1)
    assert 1 <= int(changed.sum()) <= 3


def test_regularization_is_of_both_energies() -> None:
    plain, heavy = (flat(regularization=r, langevin_steps=1) for r in (0.0, 0.5))
    x = torch.ones(3, 2, dtype=torch.float64)
    difference = heavy.loss(x, generator=generator())["loss"] - plain.loss(x, generator=generator())["loss"]
    assert float(difference.detach()) > 0.5 * 0.5 * 1.0**2 - 1e-9  # data alone have an energy of 1


def test_whole_numbers_are_spread_over_their_cells() -> None:
    model = DeepEnergy(Event.integers((1, 2, 2), 5), hidden=(4,))
    spread = model._spread(torch.full((2000, 1, 2, 2), 2, dtype=torch.uint8), generator())
    assert float(spread.abs().max()) <= 0.25
    assert stats.kstest(spread[:, 0].numpy(), "uniform", args=(-0.25, 0.5)).pvalue > 1e-3


def test_bad_input_is_refused() -> None:
    model = flat()
    with pytest.raises(Unsupported, match=r"deep-energy .* has no log_prob"):
        model.log_prob(torch.zeros(1, 2))
    for option, value in {"radius": 0.0, "step_size": -1.0, "fresh": 1.5, "regularization": -1.0}.items():
        with pytest.raises(InvalidInput, match=option):
            DeepEnergy(Event.real((2,)), **{option: value})
    with pytest.raises(InvalidInput, match="activation"):
        DeepEnergy(Event.real((2,)), activation="relu")
