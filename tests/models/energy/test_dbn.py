"""DBN: its bound against sums over states, samples against frequencies, layers that train one after another."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.energy.dbn import DBN
from ancestral.models.energy.rbm import RBM
from ancestral.training import TrainConfig, fit, resume
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.partition import partition
from tests.models.learning import generator, learn


def states(d: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(2)] * d).to(torch.uint8).view(-1, d)


def moved(visible: int = 4, hidden: tuple[int, ...] = (3, 3), by: float = 0.7, **options: object) -> DBN:
    torch.manual_seed(0)
    model = DBN(Event.binary((visible,)), hidden=hidden, **options)
    with torch.no_grad():
        for p in model.parameters():
            p += by * torch.randn_like(p)
    return model.double().eval()


def enumerated(model: DBN, x: Tensor) -> Tensor:
    """log p(x) of a DBN with two hidden layers, the first summed out."""
    h = states(model.hidden[0]).double()
    first, top = model.machines
    given = torch.distributions.Bernoulli(logits=h @ first.weight + first.visible_bias).log_prob(x.double()[:, None]).sum(-1)
    prior = -top._free_energy(h) - top.log_partition()
    return torch.logsumexp(given + prior, dim=1)


@torch.no_grad()
def test_many_samples_close_the_bound() -> None:
    model = moved()
    x = states(4)
    true = enumerated(model, x)
    assert float(true.exp().sum()) == pytest.approx(1.0, abs=1e-10)
    one = torch.stack([model.bound(x, generator=generator(i)) for i in range(300)])
    error = one.std(0) / math.sqrt(300)
    assert bool((one.mean(0) < true + 4.0 * error).all())
    # exp(bound) has mean p(x), so that the log of a mean of many approaches log p(x).
    draws = model.bound(x.repeat(4000, 1), generator=generator(1)).view(4000, -1).exp()
    error = draws.std(0) / math.sqrt(4000)
    assert bool(((draws.mean(0) - true.exp()).abs() < 4.0 * error).all())
    few, many = (model.bound(x.repeat(50, 1), samples=k, generator=generator(k)).mean() for k in (1, 50))
    assert float(few) < float(many) < float(true.mean()) + 0.01


@torch.no_grad()
def test_samples_have_their_frequencies() -> None:
    model = moved(gibbs_steps=60)
    x = states(4)
    p = enumerated(model, x).exp()
    drawn = model.sample(6000, generator=generator(2)).long() @ torch.tensor([8, 4, 2, 1])
    assert chisquare(torch.bincount(drawn, minlength=16).numpy(), (6000 * p).numpy()).pvalue > 1e-3


def test_each_layer_is_an_rbm_of_what_is_below_it() -> None:
    model = moved(by=0.5)
    x = states(4)
    first, top = model.machines
    expected = first.loss(x, generator=generator(3))["loss"]
    torch.testing.assert_close(model.loss(x, group="layer1", generator=generator(3))["loss"], expected)
    noise = generator(3)
    h = torch.distributions.Bernoulli(logits=first._hidden_logits(x.double()))
    below = (torch.rand(h.probs.shape, generator=noise, dtype=torch.float64) < h.probs).double()
    torch.testing.assert_close(
        model.loss(x, group="layer2", generator=generator(3))["loss"], top.loss(below, generator=noise)["loss"]
    )


def test_layers_take_their_turns() -> None:
    model = moved(hidden=(3, 3, 2), layer_steps=5)
    turns = [model.groups_at(step) for step in range(13)]
    assert turns == [("layer1",)] * 5 + [("layer2",)] * 5 + [("layer3",)] * 3


@pytest.mark.parametrize("top", [4, 6])
def test_a_layer_that_is_turned_leaves_the_density_as_it_was(top: int) -> None:
    """With no extra units, p(x) is that of the first RBM, and the bound is p(x) for every draw."""
    model = moved(hidden=(3, top), layer_steps=2, transposed=True, persistent=True, chains=8, centered=True)
    first, last = model.machines
    with torch.no_grad():
        last.weight[4:] = 0.0
        model.groups_at(1)
        assert not torch.equal(last.weight[:4], first.weight.T)
        model.groups_at(2)
        x = states(4)
        torch.testing.assert_close(enumerated(model, x), first.log_prob(x))
        torch.testing.assert_close(model.bound(x, generator=generator()), first.log_prob(x))
        assert torch.equal(last.visible_offset, first.hidden_offset)
        assert torch.equal(last.hidden_offset[:4], first.visible_offset)
        # The step that begins a layer is that layer's first: what it learns after is kept.
        last.weight += 1.0
        model.groups_at(3)
        assert not torch.equal(last.weight[:4], first.weight.T)


def test_the_last_layer_has_a_rate_of_its_own(tmp_path: Path) -> None:
    x = states(6)
    data = Data("all", Event.binary((6,)), {"train": ArraySplit(x)})

    def moves(top_rate: float) -> list[float]:
        torch.manual_seed(0)
        model = DBN(data.event, hidden=(4, 3), layer_steps=1, top_rate=top_rate)
        before = [machine.weight.detach().clone() for machine in model.machines]
        settings = TrainConfig.for_model(
            DBN, steps=2, batch_size=8, samples=0, loggers=(), schedule="constant", optimizer="sgd", betas=(0.0, 0.9)
        )
        fit(model, data, tmp_path / str(top_rate), settings, progress=False)
        return [float((machine.weight - w).detach().norm()) for machine, w in zip(model.machines, before, strict=True)]

    whole, half = moves(1.0), moves(0.5)
    assert half == pytest.approx([whole[0], 0.5 * whole[1]], rel=1e-4)
    with pytest.raises(InvalidInput, match="top_rate is 0"):
        DBN(data.event, hidden=(4, 3), top_rate=0.0)


def test_too_few_units_for_a_layer_that_is_turned() -> None:
    with pytest.raises(InvalidInput, match="layer 2 has 3 units and the one two below 4"):
        DBN(Event.binary((4,)), hidden=(3, 3), transposed=True)


def test_a_second_layer_improves_on_the_first() -> None:
    """The bound of a trained stack is above the likelihood of its first layer alone, which was not trained to the end."""
    noise = generator(1)
    patterns = torch.tensor([[1, 1, 1, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, 1, 0, 1], [1, 0, 1, 0, 1, 0, 1, 1]], dtype=torch.uint8)
    x = patterns[torch.randint(3, (800,), generator=noise)] ^ (torch.rand(800, 8, generator=noise) < 0.05).byte()
    torch.manual_seed(0)
    alone = learn(RBM(Event.binary((8,)), hidden=8), x, steps=150, rate=0.02)
    torch.manual_seed(0)
    stack = learn(DBN(Event.binary((8,)), hidden=(8, 12), layer_steps=150), x, steps=1150, rate=0.02)
    with torch.no_grad():
        nats = -float(alone.log_prob(x).mean())
        bound = -float(stack.bound(x, samples=20, generator=generator()).mean())
    assert torch.equal(alone.weight, stack.machines[0].weight), "the first layer was trained as the RBM is"
    assert bound < nats - 0.05


@pytest.mark.parametrize(("at", "transposed"), [(4, False), (5, True), (6, True)])
def test_a_resumed_run_is_the_run(tmp_path, at: int, transposed: bool) -> None:
    x = states(6)
    data = Data("all", Event.binary((6,)), {"train": ArraySplit(x)})

    def settings(steps: int) -> TrainConfig:
        return TrainConfig.for_model(
            DBN, steps=steps, batch_size=8, samples=0, loggers=("csv",), schedule="constant", checkpoint_every=1
        )

    def machine() -> DBN:
        torch.manual_seed(0)
        return DBN(data.event, hidden=(4, 6), layer_steps=5, persistent=True, chains=4, transposed=transposed)

    whole = fit(machine(), data, tmp_path / "whole", settings(9), progress=False)
    half = fit(machine(), data, tmp_path / "half", settings(at), progress=False)
    again = resume(half.path, data=data, steps=9, progress=False)
    assert (whole.path / "model.safetensors").read_bytes() == (again.path / "model.safetensors").read_bytes()


def test_kind_says_what_the_bound_is_built_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(moved().likelihood) == "lower bound (1 sample)"
    true = float(moved(8, (7, 6)).log_partition().detach())
    monkeypatch.setattr("ancestral.models.energy.rbm.MAX_ENUMERATED", 4)
    model = moved(8, (7, 6), annealing=500)
    data = Data("few", model.event, {"train": ArraySplit(states(8)), "test": ArraySplit(states(8)[:20])})
    assert model.likelihood.kind == "none"
    with pytest.raises(Unsupported, match="`ancestral partition`"):
        model.log_prob(states(8), generator=generator())
    measured = model.measures(states(8), generator=generator())
    assert set(measured) == {"nats", "reconstruction"}
    found = partition(model, data, chains=200, distributions=300)
    assert abs(found.log_z - true) < 4.0 * found.standard_error
    figure = evaluate(model, data, samples=3)
    assert figure.kind.startswith("lower bound (3 samples, up to log Z of the top layers, an estimate, ± 0.")
    rough = float(model.rough_log_partition(states(8)))
    assert rough == pytest.approx(true, abs=0.1)


def test_bad_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least two hidden layers"):
        DBN(Event.binary((4,)), hidden=(3,))
    with pytest.raises(InvalidInput, match="dbn takes binary data"):
        DBN(Event.real((4,)))


def test_the_loss_of_a_layer_can_fade() -> None:
    model, plain = (moved(by=0.5, layer_steps=4, fade=fade) for fade in (True, False))
    shares = []
    for step in range(6):
        values = []
        for machine in (model, plain):
            (group,) = machine.groups_at(step)
            values.append(float(machine.loss(states(4), group=group, generator=generator())["loss"].detach()))
        shares.append(values[0] / values[1])
    assert shares == pytest.approx([1.0, 0.75, 0.5, 0.25, 1.0, 1.0])
