"""Gaussian RBM: a mixture of Gaussians that can be written out, its chains, and annealing to it."""

import itertools
import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.energy import base, gaussian_rbm
from ancestral.models.energy.annealing import annealed_log_weights, log_mean, schedule
from ancestral.models.energy.chains import Tempering
from ancestral.models.energy.gaussian_rbm import GaussianRBM
from ancestral.verbs.complete import complete
from tests.models.learning import generator, learn


def moved(visible: int = 2, hidden: int = 3, *, by: float = 1.0, event: Event | None = None, **options: object) -> GaussianRBM:
    torch.manual_seed(0)
    model = GaussianRBM(event or Event.real((visible,)), hidden=hidden, **options)
    with torch.no_grad():
        for p in model.parameters():
            p += by * torch.randn_like(p)
    return model.double().eval()


def mixture(model: GaussianRBM) -> torch.distributions.Distribution:
    """The model written out as a mixture of 2^hidden Gaussians, on the scale of the network."""
    h = torch.tensor(list(itertools.product((0.0, 1.0), repeat=model.hidden)), dtype=torch.float64)
    s, b = model.scale, model.visible_bias
    shift = h @ model.weight
    logits = h @ model.hidden_bias + (0.5 * shift.square() + shift * b / s).sum(1)
    components = torch.distributions.Independent(torch.distributions.Normal(b + s * shift, s.expand_as(shift)), 1)
    return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=logits), components)


@torch.no_grad()
@pytest.mark.parametrize("variance", ["unit", "learned"])
def test_density_is_that_of_the_mixture_of_gaussians(variance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    event = Event.real((2,), loc=(1.0, -2.0), scale=(3.0, 0.5))
    model = moved(event=event, variance=variance)
    x = 4.0 * torch.randn(50, 2, generator=generator(), dtype=torch.float64)
    expected = mixture(model).log_prob(event.to_network(x)) - math.log(1.5)
    torch.testing.assert_close(model.log_prob(x), expected)
    monkeypatch.setattr(gaussian_rbm, "CHUNK", 6)
    model._known = None
    torch.testing.assert_close(model.log_prob(x), expected)


@torch.no_grad()
def test_chains_follow_the_density() -> None:
    model = moved(hidden=3, by=0.7, gibbs_steps=60, variance="learned")
    drawn, exact = model.sample(4000, generator=generator(1)), mixture(model).sample((4000,))
    for i in range(2):
        assert stats.ks_2samp(drawn[:, i].numpy(), exact[:, i].numpy()).pvalue > 1e-3
    given, observed = torch.tensor([[0.5, 0.0]]), torch.tensor([True, False])
    done = complete(model, given.double(), observed, n=4000, seed=3).x[0]
    assert bool((done[:, 0] == 0.5).all())
    grid = torch.linspace(-15.0, 15.0, 6001, dtype=torch.float64)
    density = mixture(model).log_prob(torch.stack((torch.full_like(grid, 0.5), grid), 1)).softmax(0)
    cdf = density.cumsum(0).numpy()
    found = stats.kstest(done[:, 1].numpy(), lambda v: cdf[((v + 15.0) / 0.005).round().astype(int).clip(0, 6000)])
    assert found.pvalue > 1e-3


@torch.no_grad()
def test_annealing_finds_log_z() -> None:
    off = []
    for seed in range(20):
        torch.manual_seed(seed)
        model = GaussianRBM(Event.real((4,)), hidden=5, variance="learned").double()
        for p in model.parameters():
            p += 0.7 * torch.randn_like(p)
        path = model.annealing_path(torch.randn(100, 4, dtype=torch.float64))
        value, error = log_mean(annealed_log_weights(path, schedule(300), 200, generator(seed)))
        off.append((value - float(model.enumerated_log_partition())) / error)
    assert torch.tensor(off).abs().max() < 4.0
    assert 0.6 < float(torch.tensor(off).std()) < 1.5


@torch.no_grad()
def test_tempering_keeps_the_model_as_it_is() -> None:
    model = moved(hidden=3, by=0.7, persistent=True, temperatures=3, variance="learned")
    exact = mixture(model).sample((3000,))
    path = model._path(model._tempered_base())
    # A start at equilibrium at t = 1 and t = 0 alone; the middle one has many steps to get there.
    middle = torch.stack([model._fresh(3000, generator(3)) for _ in range(2)])
    replicas, _ = Tempering(path, 3).steps(torch.cat((exact[None], middle)), 60, generator(4))
    for i in range(2):
        assert stats.ks_2samp(replicas[0][:, i].numpy(), exact[:, i].numpy()).pvalue > 1e-3
    # At t = 0 units are independent, with the scale of the model.
    assert stats.kstest((replicas[2] / model.scale)[:, 0].numpy(), "norm").pvalue > 1e-3


def test_learns_two_clusters_with_their_spread() -> None:
    noise = generator(5)
    centres = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    x: Tensor = centres[torch.randint(2, (2000,), generator=noise)] + 0.3 * torch.randn(2000, 2, generator=noise)
    torch.manual_seed(0)
    model = GaussianRBM(Event.real((2,)), hidden=4, variance="learned", persistent=True, temperatures=6, cd_steps=2)
    learn(model, x, steps=1500, rate=0.01)
    true = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(2)),
        torch.distributions.Independent(torch.distributions.Normal(centres, 0.3 * torch.ones(2, 2)), 1),
    )
    with torch.no_grad():
        assert float((true.log_prob(x) - model.log_prob(x)).mean()) < 0.15
        torch.testing.assert_close(model.scale, torch.full((2,), 0.3), atol=0.08, rtol=0.0)


def test_bad_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="gaussian-rbm takes real data"):
        GaussianRBM(Event.binary((3,)))
    with pytest.raises(InvalidInput, match="variance"):
        GaussianRBM(Event.real((3,)), variance="free")
    assert base.MAX_ENUMERATED == 20
    assert GaussianRBM(Event.real((3,)), hidden=21).likelihood.kind == "none"
