"""Helmholtz machine: its densities and bounds against enumeration, and what each phase learns."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.latent.helmholtz import HelmholtzMachine
from tests.models.learning import learn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product((0, 1), repeat=n)), dtype=torch.uint8)


def tiny(condition: Event | None = None) -> HelmholtzMachine:
    torch.manual_seed(2)
    model = HelmholtzMachine(Event.binary((3,)), condition, hidden=(3, 2))
    with torch.no_grad():
        for p in model.parameters():
            p += 1.2 * torch.randn(p.shape, generator=generator(4))
    return model.double().eval()


def joint(model: HelmholtzMachine, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p(x, h) and log q(h | x) of each datum and every state of all hidden units, by plain loops."""

    def units(logits: Tensor, values: Tensor) -> Tensor:
        return sum((-torch.log1p(torch.exp(-a if v > 0 else a)) for a, v in zip(logits, values, strict=True)), torch.zeros(()))

    def weights(layer: torch.nn.Module) -> tuple[Tensor, Tensor]:
        return layer.layers[0].weight, layer.layers[0].bias

    (w, b), (g, d), (r1, c1), (r2, c2) = map(weights, (model.visible, model.generation[0], *model.recognition))
    log_p, log_q = [], []
    for datum in x.double():
        for h in states(5).double():
            low, high = h[:3], h[3:]
            log_p.append(units(w @ low + b, datum) + units(g @ high + d, low) + units(model.prior, high))
            log_q.append(units(r1 @ datum + c1, low) + units(r2 @ low + c2, high))
    return torch.stack(log_p).view(len(x), -1), torch.stack(log_q).view(len(x), -1)


@torch.no_grad()
def test_densities_are_those_of_the_layers() -> None:
    model, x, h = tiny(), states(3), states(5).double()
    log_p, log_q = joint(model, x)
    for i, datum in enumerate(x):
        rows = datum.expand(len(h), -1)
        torch.testing.assert_close(model.log_prior(h).sum(1) + model.log_likelihood(rows, h), log_p[i])
        torch.testing.assert_close(model.log_posterior(rows, h).sum(1), log_q[i])
    torch.testing.assert_close(log_q.exp().sum(1), torch.ones(8).double())
    z, drawn = model.draw_posterior(model.recognize(x), generator=generator())
    torch.testing.assert_close(drawn, model.log_posterior(x, z))


@torch.no_grad()
def test_bounds_rise_with_samples_towards_the_sum_over_all_states() -> None:
    model, x = tiny(), states(3)
    log_p, log_q = joint(model, x)
    truth = torch.logsumexp(log_p, dim=1)
    assert float(truth.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    one = (log_q.exp() * (log_p - log_q)).sum(1)  # the exact mean of the bound of one sample
    repeats = 2000
    many = x.repeat(repeats, 1)
    means, errors = {}, {}
    for k in (1, 5, 50):
        draws = model.bound(many, samples=k, generator=generator(k)).view(repeats, -1)
        means[k], errors[k] = draws.mean(0), draws.std(0) / math.sqrt(repeats)
        assert bool((means[k] < truth + 4.0 * errors[k]).all())
    assert bool(((means[1] - one).abs() < 5.0 * errors[1]).all())
    assert bool((means[5] > means[1] - 4.0 * errors[1]).all())
    assert float((truth - means[50]).mean()) < 0.2 * float((truth - one).mean())


@torch.no_grad()
def test_dreams_have_the_probabilities_of_the_model() -> None:
    model, n = tiny(), 40_000
    p = torch.logsumexp(joint(model, states(3))[0], dim=1).exp()
    share = torch.bincount(model.sample(n, generator=generator()).long() @ torch.tensor([4, 2, 1]), minlength=8) / n
    assert bool(((share - p).abs() < 5.0 * (p * (1.0 - p) / n).sqrt()).all())


def test_each_phase_trains_its_own_weights() -> None:
    model, x = tiny(), states(3)
    groups = model.parameter_groups()
    for group, other in (("wake", "sleep"), ("sleep", "wake")):
        model.zero_grad()
        model.loss(x, group=group, generator=generator())["loss"].backward()
        assert all(p.grad is not None and bool(p.grad.any()) for p in groups[group])
        assert all(p.grad is None for p in groups[other])


def test_wake_descends_the_bound_and_sleep_comes_near_the_posterior() -> None:
    """The mean gradient of wake is that of the exact bound; sleep alone brings q to p(h | x) of a fixed machine."""
    model, x = tiny(), states(3)
    wake = model.parameter_groups()["wake"]
    log_p, log_q = joint(model, x)
    expected = torch.autograd.grad(-(log_q.exp() * (log_p - log_q)).sum(1).mean(), wake)
    model.zero_grad()
    model.loss(x.repeat(20_000, 1), group="wake", generator=generator())["loss"].backward()
    for p, other in zip(wake, expected, strict=True):
        torch.testing.assert_close(p.grad, other, atol=0.01, rtol=0.0)

    def gap() -> float:
        """KL(p(h | x) || q(h | x)) in the mean over dreams."""
        with torch.no_grad():
            log_p, log_q = joint(model, x)
            return float((log_p.exp() * (log_p - torch.logsumexp(log_p, 1, keepdim=True) - log_q)).sum())

    before = gap()
    optimizer = torch.optim.Adam(model.parameter_groups()["sleep"], lr=0.03)
    noise = generator()
    for _ in range(200):
        optimizer.zero_grad()
        model.loss(x.repeat(20, 1), group="sleep", generator=noise)["loss"].backward()
        optimizer.step()
    assert gap() < 0.3 * before


def test_learns_patterns_and_their_labels() -> None:
    patterns = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0, 1, 0]], dtype=torch.uint8)
    label = torch.randint(0, 3, (600,), generator=generator())
    x = patterns[label]
    torch.manual_seed(0)
    blind = learn(HelmholtzMachine(Event.binary((8,)), hidden=(8,)), x, steps=800, rate=2e-2)
    told = learn(HelmholtzMachine(Event.binary((8,)), Event.label(3), hidden=(4,)), x, label, steps=400, rate=2e-2)
    with torch.no_grad():
        nats = -float(blind.bound(x, samples=50, generator=generator()).mean())
        given = -float(told.bound(x, label, samples=50, generator=generator()).mean())
    assert math.log(3.0) - 0.05 < nats < math.log(3.0) + 0.6
    assert given < 0.3
    assert torch.equal(told.sample(3, torch.arange(3), generator=generator()), patterns)


def test_bad_options_are_refused() -> None:
    for hidden, match in (((), "no hidden layers"), ((3, 0), "hidden needs whole numbers")):
        with pytest.raises(InvalidInput, match=match):
            HelmholtzMachine(Event.binary((3,)), hidden=hidden)
