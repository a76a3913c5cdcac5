"""RBM: its partition function by brute force, contrastive divergence, chains, and pseudo-likelihood."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.energy import base, rbm
from ancestral.models.energy.chains import Tempering
from ancestral.models.energy.dbm import DBM
from ancestral.models.energy.dbn import DBN
from ancestral.models.energy.rbm import RBM
from ancestral.verbs.complete import complete
from tests.models.learning import learn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(d: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(2)] * d).to(torch.uint8).view(-1, d)


def moved(visible: int, hidden: int, **options: object) -> RBM:
    model = RBM(Event.binary((visible,)), hidden=hidden, **options)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p)
    return model.double().eval()


@torch.no_grad()
@pytest.mark.parametrize(("visible", "hidden"), [(7, 3), (3, 7), (4, 4)])
def test_partition_function_is_the_sum_over_both_layers(visible: int, hidden: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = moved(visible, hidden)
    v, h = states(visible).double(), states(hidden).double()
    energy = -(v @ model.visible_bias)[:, None] - (h @ model.hidden_bias)[None, :] - v @ model.weight.T @ h.T
    expected = torch.logsumexp(-energy.flatten(), dim=0)
    torch.testing.assert_close(model.log_partition(), expected)
    torch.testing.assert_close(model.free_energy(v), -torch.logsumexp(-energy, dim=1))
    assert float(model.log_prob(v).exp().sum()) == pytest.approx(1.0, abs=1e-12)
    monkeypatch.setattr(base, "CHUNK", 20)
    model.weight.mul_(1.0 + 1e-12)  # not the weights that were remembered: in parts, this time
    torch.testing.assert_close(model.log_partition(), expected)


@torch.no_grad()
def test_partition_function_follows_the_weights_however_they_change() -> None:
    model = moved(6, 3)
    x = states(6)
    model.log_partition()
    model.weight.data = model.weight.data * 2.0
    model.hidden_bias.data.add_(1.0)
    assert float(model.log_prob(x).exp().sum()) == pytest.approx(1.0, abs=1e-12)
    assert float(model.float().log_prob(x).exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_log_prob_has_the_gradient_of_maximum_likelihood() -> None:
    model = moved(4, 3)
    x = states(4)[:5]
    (gradient,) = torch.autograd.grad(model.log_prob(x).mean(), model.weight)
    everything = states(4).double()
    p = model.log_prob(everything).exp().detach()
    on_data = torch.sigmoid(x.double() @ model.weight.T + model.hidden_bias).T @ x.double() / len(x)
    on_model = (torch.sigmoid(everything @ model.weight.T + model.hidden_bias) * p[:, None]).T @ everything
    torch.testing.assert_close(gradient, (on_data - on_model).detach())


def test_gradient_of_the_loss_is_contrastive_divergence() -> None:
    model = moved(5, 3, cd_steps=2)
    x = states(5)[::3]
    v = x.double()
    negative = model.gibbs(v, 2, generator(4))
    assert not torch.equal(negative, v)
    model.loss(x, generator=generator(4))["loss"].backward()

    def statistics(v: Tensor) -> Tensor:
        return torch.sigmoid(v @ model.weight.T + model.hidden_bias).T @ v / len(v)

    torch.testing.assert_close(-model.weight.grad, (statistics(v) - statistics(negative)).detach())
    torch.testing.assert_close(-model.visible_bias.grad, v.mean(0) - negative.mean(0))


@pytest.mark.parametrize("persistent", [False, True])
def test_contrastive_divergence_learns_a_small_distribution(persistent: bool) -> None:
    patterns = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]], dtype=torch.uint8)
    x = patterns[torch.randint(0, 3, (600,), generator=generator())]
    # Chains that are kept must mix faster than the weights move.
    steps = 5 if persistent else 1
    model = RBM(Event.binary((6,)), hidden=8, persistent=persistent, cd_steps=steps, gibbs_steps=100)
    assert -float(model.log_prob(x).detach().mean()) == pytest.approx(6.0 * math.log(2.0), abs=0.1)
    learn(model, x, steps=600, rate=1e-2, betas=(0.5, 0.999))
    with torch.no_grad():
        nats = -float(model.log_prob(x).mean())
        drawn = model.sample(500, generator=generator(1))
    assert math.log(3.0) - 0.05 < nats < 2.0
    known = (drawn[:, None] == patterns).all(2).any(1)
    assert float(known.float().mean()) > 0.6


def test_chains_go_on_in_training_alone_and_are_saved() -> None:
    model = RBM(Event.binary((6,)), hidden=4, persistent=True, chains=7)
    start = model.chain.clone()
    x = states(6)
    model.eval().loss(x, generator=generator())
    assert torch.equal(model.chain, start)
    model.train().loss(x, generator=generator())
    moved_on = model.chain.clone()
    assert not torch.equal(moved_on, start)
    assert torch.equal(moved_on.float(), model.gibbs(start.float(), 1, generator()))
    other = RBM(Event.binary((6,)), hidden=4, persistent=True, chains=7)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.chain, moved_on)


@torch.no_grad()
def test_pseudo_likelihood_is_that_of_the_conditionals() -> None:
    model = moved(5, 3)
    x = states(5)
    table = model.log_prob(x).view(2, 2, 2, 2, 2)
    conditionals = sum(table - torch.logsumexp(table, dim=i, keepdim=True) for i in range(5)).flatten()
    measured = model.measures(x, generator=generator())
    torch.testing.assert_close(measured["pseudo_nats"], -conditionals)
    torch.testing.assert_close(measured["nats"], -model.log_prob(x))


@torch.no_grad()
def test_pseudo_likelihood_of_some_entries_estimates_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model = moved(5, 3)
    x = states(5)[11:12].expand(4000, -1)
    whole = model.measures(x[:1], generator=generator())["pseudo_nats"]
    monkeypatch.setattr(rbm, "_FLIPS", 2)
    some = model.measures(x, generator=generator())["pseudo_nats"]
    assert float(some.std()) > 0.0
    assert abs(float(some.mean() - whole)) < 5.0 * float(some.std()) / math.sqrt(len(some))


def test_unknown_partition_function_is_said_to_be() -> None:
    small, large = RBM(Event.binary((784,)), hidden=20), RBM(Event.binary((21,)), hidden=21)
    assert (small.likelihood.kind, large.likelihood.kind) == ("exact", "none")
    with pytest.raises(Unsupported, match=r"partition function .* is unknown.*annealed importance sampling"):
        large.log_prob(torch.zeros(1, 21))
    assert set(large.measures(torch.zeros(2, 21), generator=generator())) == {"pseudo_nats", "reconstruction"}


def test_validation_can_estimate_the_nats(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    true = float(moved(6, 5).log_partition().detach())
    torch.manual_seed(0)
    monkeypatch.setattr(rbm, "MAX_ENUMERATED", 4)
    model, x = moved(6, 5, annealing=400), states(6)
    assert model.monitor == "nats"
    first = model.measures(x, generator=generator())["nats"]
    assert float((first - model.free_energy(x)).mean().detach()) == pytest.approx(true, abs=0.1)
    # The same for all batches of a validation, whatever the run's noise is, and another for other weights.
    again = model.measures(x[5:9], generator=generator(3))["nats"]
    torch.testing.assert_close(again, first[5:9])
    assert model.likelihood.kind == "none"
    with torch.no_grad():
        model.weight.mul_(2.0)
        other = model.measures(x, generator=generator())["nats"] - model.free_energy(x)
    assert float((other - true).abs().min()) > 1.0
    with pytest.raises(InvalidInput, match="annealing is -1"):
        RBM(Event.binary((3,)), annealing=-1)


def test_codes_are_probabilities_and_decode_to_the_mode() -> None:
    model = moved(6, 4)
    x = states(6)[:10]
    code = model.encode(x)
    torch.testing.assert_close(code, torch.sigmoid(x.double() @ model.weight.T + model.hidden_bias))
    assert torch.equal(model.decode(code).bool(), code @ model.weight + model.visible_bias > 0)


def test_bad_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="takes binary data"):
        RBM(Event.real((3,)))
    for option in ("hidden", "cd_steps", "chains", "gibbs_steps"):
        with pytest.raises(InvalidInput, match=f"{option} needs whole numbers"):
            RBM(Event.binary((3,)), **{option: 0})


def test_data_that_are_not_binary_are_refused_and_told_how_to_be() -> None:
    for event in (Event.real((3,)), Event.integers((1, 2, 2), 256)):
        with pytest.raises(InvalidInput, match=r"rbm takes binary data, got .* make them binary: binarize=0\.5"):
            RBM(event)


@torch.no_grad()
def test_conditionals_are_those_of_the_joint() -> None:
    model = moved(3, 2)
    v, h = states(3).double(), states(2).double()
    joint = torch.exp(v @ model.visible_bias[:, None] + (h @ model.hidden_bias)[None] + v @ model.weight.T @ h.T)  # (8, 4)
    expected = joint @ h / joint.sum(1, keepdim=True)
    torch.testing.assert_close(model.hidden_given_visible(states(3)), expected)
    torch.testing.assert_close(model.visible_given_hidden(h), joint.T @ v / joint.sum(0)[:, None])


@torch.no_grad()
def test_completions_have_the_frequencies_of_the_conditional() -> None:
    torch.manual_seed(2)
    model = moved(5, 4, gibbs_steps=60)
    x = torch.tensor([[1, 0, 1, 1, 0]], dtype=torch.uint8)
    observed = torch.tensor([True, False, True, False, False])
    done = complete(model, x, observed, n=6000, seed=1)
    assert done.method == ("clamped Gibbs sampling",)
    assert done.log_prob is None
    assert str(done.kind) == "none"
    assert bool((done.x[0][:, observed] == x[:, observed]).all())
    rest = states(3)
    full = x.repeat(8, 1)
    full[:, ~observed] = rest
    p = torch.softmax(model.log_prob(full), 0)
    counts = torch.bincount((done.x[0][:, ~observed].long() @ torch.tensor([4, 2, 1])), minlength=8)
    assert chisquare(counts.numpy(), (6000 * p).numpy()).pvalue > 1e-3


@torch.no_grad()
def test_tempering_keeps_every_temperature_as_it_is() -> None:
    torch.manual_seed(3)
    model = moved(4, 3, persistent=True, temperatures=3)
    v = states(4).double()
    tempering = Tempering(model._path(model._tempered_base()), 3)
    n, powers = 20_000, torch.tensor([8, 4, 2, 1])
    laws, start = [], []
    for i, t in enumerate((1.0, 0.5, 0.0)):
        log_f = t * (v @ model.visible_bias) + F.softplus(t * (v @ model.weight.T + model.hidden_bias)).sum(1)
        laws.append(torch.softmax(log_f, 0))
        start.append(v[torch.multinomial(laws[-1], n, replacement=True, generator=generator(i))])
    after, swaps = tempering.steps(torch.stack(start), 3, generator(5))
    for law, found in zip(laws, after, strict=True):
        counts = torch.bincount((found.long() @ powers), minlength=16)
        assert chisquare(counts.numpy(), (n * law).numpy()).pvalue > 1e-3
    assert swaps.shape == (2,)
    assert bool(((swaps > 0.1) & (swaps < 1.0)).all())


def test_tempering_crosses_where_gibbs_does_not() -> None:
    """Two modes that Gibbs sampling does not leave: chains that start in one are in both with tempering, and stay without."""

    def model(temperatures: int) -> RBM:
        machine = RBM(Event.binary((12,)), hidden=12, persistent=True, temperatures=temperatures, chains=100, cd_steps=200)
        with torch.no_grad():
            machine.weight.fill_(1.0)
            machine.visible_bias.fill_(-6.0)
            machine.hidden_bias.fill_(-6.0)
            machine.chain.zero_()
            if temperatures > 1:
                machine.replicas.zero_()
        return machine

    share = []
    for temperatures in (1, 12):
        machine = model(temperatures)
        noise = generator(1)
        for _ in range(3):
            logged = machine.loss(torch.zeros(4, 12), generator=noise)
        share.append(float((machine.chain.float().mean(1) > 0.5).float().mean()))
    assert share[0] < 0.1
    assert 0.3 < share[1] < 0.7
    assert 0.0 < float(logged["least_swaps"]) <= float(logged["swaps"]) <= 1.0


def test_tempering_needs_chains() -> None:
    with pytest.raises(InvalidInput, match="persistent=True"):
        RBM(Event.binary((3,)), temperatures=3)


def test_filters_are_weights_in_the_shape_of_the_data() -> None:
    model = RBM(Event.binary((1, 2, 3)), hidden=4)
    assert model.filters().shape == (4, 1, 2, 3)
    assert torch.equal(model.filters()[2].flatten(), model.weight[2])


def test_centred_gradient_is_that_of_centred_parameters() -> None:
    torch.manual_seed(4)
    model = moved(5, 3, centered=True, cd_steps=2)
    model.visible_offset.copy_(torch.rand(5, generator=generator(1)))
    model.hidden_offset.copy_(torch.rand(3, generator=generator(2)))
    x = states(5)[::3]
    v = x.double()
    negative = model.gibbs(v, 2, generator(4))
    mean, middle = model.visible_offset, model.hidden_offset
    weight = model.weight.detach().clone().requires_grad_()
    b = (model.visible_bias + middle @ model.weight).detach().requires_grad_()  # biases of the centred machine
    c = (model.hidden_bias + model.weight @ mean).detach().requires_grad_()

    def free_energy(v: Tensor) -> Tensor:
        centred = v - mean
        logits = c + centred @ weight.T
        return -(centred @ b) - F.softplus(logits).sum(1) + logits @ middle

    expected = torch.autograd.grad(free_energy(v).mean() - free_energy(negative).mean(), (weight, b, c))
    loss = model.loss(x, generator=generator(4))["loss"]
    loss.backward()
    torch.testing.assert_close(model.weight.grad, expected[0])
    torch.testing.assert_close(model.visible_bias.grad, expected[1] - middle @ expected[0])
    torch.testing.assert_close(model.hidden_bias.grad, expected[2] - expected[0] @ mean)
    torch.testing.assert_close(loss, model.free_energy(x).mean() - model._free_energy(negative).mean())


def test_centred_learning_does_not_depend_on_which_state_is_called_1() -> None:
    """Data and their complement are learned equally well, and by the plain gradient they are not."""
    x = (torch.rand(500, 12, generator=generator()) < 0.1).to(torch.uint8)
    x[:, 6:] = x[:, :6]
    nats = {}
    for centered in (False, True):
        for data, name in ((x, "few"), (1 - x, "many")):
            torch.manual_seed(0)
            model = RBM(Event.binary((12,)), hidden=6, centered=centered, cd_steps=1)
            optimizer, noise = torch.optim.SGD(model.parameters(), lr=0.1), generator(1)
            for _ in range(150):
                optimizer.zero_grad()
                model.loss(data[torch.randint(500, (100,), generator=noise)], generator=noise)["loss"].backward()
                optimizer.step()
            nats[centered, name] = -float(model.eval().log_prob(data).detach().mean())
    assert abs(nats[True, "few"] - nats[True, "many"]) < 0.25 * abs(nats[False, "few"] - nats[False, "many"])


@torch.no_grad()
@pytest.mark.parametrize("model", [RBM, DBN, DBM])
def test_validation_under_autocast_estimates_log_z_in_full(
    model: type[RBM | DBN | DBM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ancestral.models.energy.base.MAX_ENUMERATED", 2)
    monkeypatch.setattr("ancestral.models.energy.rbm.MAX_ENUMERATED", 2)
    monkeypatch.setattr("ancestral.models.energy.dbm.MAX_ENUMERATED", 2)
    torch.manual_seed(0)
    machine = model(Event.binary((6,)), hidden=5 if model is RBM else (5, 4), annealing=20).eval()
    x = states(6)
    with torch.autocast("cpu", torch.bfloat16):
        machine.measures(x, generator=generator())
    rough = machine._rough
    machine._rough = None
    assert rough is not None
    assert torch.equal(rough[1], machine.rough_log_partition(x))
