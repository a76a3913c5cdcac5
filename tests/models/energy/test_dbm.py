"""DBM: energy, log Z and bound against sums over all states, chains, mean field, and pretraining."""

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.energy import base
from ancestral.models.energy.dbm import DBM
from ancestral.models.energy.rbm import RBM
from ancestral.training import TrainConfig, fit, resume
from ancestral.verbs.complete import complete
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.partition import partition
from tests.models.learning import generator, learn


def states(d: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(2)] * d).to(torch.uint8).view(-1, d)


def moved(visible: int = 3, hidden: tuple[int, ...] = (3, 2), by: float = 0.7, seed: int = 0, **options: object) -> DBM:
    torch.manual_seed(seed)
    model = DBM(Event.binary((visible,)), hidden=hidden, **options)
    with torch.no_grad():
        for p in model.parameters():
            p += by * torch.randn_like(p)
    return model.double().eval()


def table(model: DBM) -> tuple[Tensor, Tensor]:
    """Every state of all units, (states, units), and its energy."""
    everything = states(sum(model.sizes)).double()
    return everything, model.energy(list(everything.split(model.sizes, dim=1)))


@torch.no_grad()
@pytest.mark.parametrize("hidden", [(3, 2), (2, 3, 2), (2, 2, 2, 2)])
def test_log_z_and_likelihood_are_sums_over_all_states(hidden: tuple[int, ...]) -> None:
    model = moved(hidden=hidden)
    everything, energy = table(model)
    by_hand = -sum(
        (everything.split(model.sizes, 1)[i + 1] @ w * everything.split(model.sizes, 1)[i]).sum(1)
        for i, w in enumerate(model.weights)
    ) - everything @ torch.cat(list(model.biases))
    torch.testing.assert_close(energy, by_hand)
    log_z = torch.logsumexp(-energy, 0)
    torch.testing.assert_close(model.log_partition(), log_z)
    x = states(3)
    expected = torch.stack([torch.logsumexp(-energy[(everything[:, :3] == row).all(1)], 0) for row in x]) - log_z
    torch.testing.assert_close(model.enumerated_log_prob(x), expected)


@torch.no_grad()
def test_the_bound_is_below_and_close_where_units_hardly_meet() -> None:
    for seed in range(5):
        model = moved(4, (4, 3), seed=seed, mean_field_steps=50)
        slack = model.enumerated_log_prob(states(4)) - model.log_prob(states(4))
        assert bool((slack > -1e-9).all())
    weak = moved(4, (4, 3), by=0.0, mean_field_steps=50)
    torch.testing.assert_close(weak.log_prob(states(4)), weak.enumerated_log_prob(states(4)), atol=1e-4, rtol=0.0)


@torch.no_grad()
def test_mean_field_ends_at_a_fixed_point_that_raises_the_bound() -> None:
    few, many = (moved(4, (4, 3), mean_field_steps=steps) for steps in (1, 100))
    x = states(4)
    state = many.mean_field(x)
    for layer in (1, 2):
        torch.testing.assert_close(torch.sigmoid(many._logits(state, layer)), state[layer], atol=1e-8, rtol=0.0)
    assert float(many.log_prob(x).mean()) >= float(few.log_prob(x).mean())


@torch.no_grad()
def test_samples_and_completions_have_their_frequencies() -> None:
    model = moved(gibbs_steps=80)
    x = states(3)
    p = model.enumerated_log_prob(x).exp()
    drawn = model.sample(6000, generator=generator(1)).long() @ torch.tensor([4, 2, 1])
    assert chisquare(torch.bincount(drawn, minlength=8).numpy(), (6000 * p).numpy()).pvalue > 1e-3
    done = complete(model, x[5:6], torch.tensor([True, False, False]), n=6000, seed=1).x[0]
    assert bool((done[:, 0] == 1).all())
    given = p[4:] / p[4:].sum()
    counts = torch.bincount(done[:, 1:].long() @ torch.tensor([2, 1]), minlength=4)
    assert chisquare(counts.numpy(), (6000 * given).numpy()).pvalue > 1e-3


@torch.no_grad()
def test_chain_value_is_minus_the_log_of_the_odd_half() -> None:
    model = moved(hidden=(2, 3, 2))
    everything, energy = table(model)
    layers = everything.split(model.sizes, 1)
    odd = torch.cat((layers[1], layers[3]), 1)
    for row in states(4).double():
        expected = -torch.logsumexp(-energy[(odd == row).all(1)], 0)
        torch.testing.assert_close(model.chain_value(row[None])[0], expected)


def test_gradient_is_mean_field_less_chains() -> None:
    model = moved(4, (3, 2))
    x = states(4)[::3]
    model.loss(x, generator=generator(2))["loss"].backward()
    up = model.mean_field(x)
    chain = model.chain.double().split(model.sizes, dim=1)
    down = model.gibbs(list(chain), model.cd_steps, generator(2))
    for i, weight in enumerate(model.weights):
        expected = up[i + 1].T @ up[i] / len(x) - down[i + 1].T @ down[i] / len(down[0])
        torch.testing.assert_close(-weight.grad, expected)
    torch.testing.assert_close(-model.biases[1].grad, up[1].mean(0) - down[1].mean(0))


def test_centred_gradient_is_that_of_centred_parameters() -> None:
    model = moved(4, (3, 2, 3), centered=True)
    offsets = [torch.rand(n, generator=generator(n + i)).double() for i, n in enumerate(model.sizes)]
    for i, offset in enumerate(offsets):
        model.get_buffer(f"offset{i}").copy_(offset)
    x = states(4)[::3]
    loss = model.loss(x, generator=generator(2))["loss"]
    loss.backward()
    up = model.mean_field(x)
    down = model.gibbs(list(model.chain.double().split(model.sizes, dim=1)), model.cd_steps, generator(2))
    weights = [w.detach().clone().requires_grad_() for w in model.weights]
    biases = [torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in model.sizes]

    def energy(state: list[Tensor]) -> Tensor:
        h = [layer - offset for layer, offset in zip(state, offsets, strict=True)]
        pairs = sum((-(h[i] @ w.T * h[i + 1]).sum(1) for i, w in enumerate(weights)), torch.zeros(()))
        return pairs - sum((layer @ b for layer, b in zip(h, biases, strict=True)), torch.zeros(()))

    expected = torch.autograd.grad(energy(up).mean() - energy(down).mean(), (*weights, *biases))
    for i in range(3):
        torch.testing.assert_close(model.weights[i].grad, expected[i])
    for i in range(4):
        # The plain bias is b_l - W_{l-1} m_{l-1} - W_l' m_{l+1}.
        moves = expected[3 + i].clone()
        if i > 0:
            moves -= expected[i - 1] @ offsets[i - 1]
        if i < 3:
            moves -= offsets[i + 1] @ expected[i]
        torch.testing.assert_close(model.biases[i].grad, moves)
    torch.testing.assert_close(loss, model.energy(up).mean() - model.energy(down).mean())


def test_pretraining_doubles_what_one_side_gives() -> None:
    """Where h is given, the negative phase off, the gradient of each layer is that of an RBM with a doubled input."""
    model = moved(4, (3, 3, 2), pretrain_steps=2)
    x = states(4)[:6]
    stages = []
    for step in range(8):
        model.groups_at(step)
        stages.append(model._stage)
    assert stages == [0, 0, 1, 1, 2, 2, 3, 3]
    for layer in range(3):
        model.zero_grad()
        model.groups_at(2 * layer)
        model.loss(x, generator=generator())["loss"].backward()
        moved_weights = [weight.grad is not None for weight in model.weights]
        assert moved_weights == [i == layer for i in range(3)]
        v = x.double()
        for i in range(layer):
            v = torch.sigmoid(2.0 * v @ model.weights[i].T + model.biases[i + 1])
        scale = 1.0 if layer == 2 else 2.0
        h = torch.sigmoid(scale * v @ model.weights[layer].T + model.biases[layer + 1])
        # The bias of the layer below has the mean of what it is given, less what comes back: in [-1, 1] around it.
        back = v.mean(0) + model.biases[layer].grad
        assert bool(((back > -1e-9) & (back < 1.0 + 1e-9)).all())
        torch.testing.assert_close(back * len(x), (back * len(x)).round(), atol=1e-9, rtol=0.0)
        assert h.shape == (6, model.hidden[layer])


@pytest.mark.parametrize("centered", [False, True])
def test_the_first_layer_alone_is_trained_as_an_rbm(centered: bool) -> None:
    model = moved(4, (3, 2), pretrain="first", pretrain_steps=2, centered=centered, chain_steps_per_update=2).train()
    rbm = RBM(model.event, hidden=3, persistent=True, chains=len(model.chain), centered=centered, cd_steps=2).double()
    with torch.no_grad():
        rbm.weight.copy_(model.weights[0])
        rbm.visible_bias.copy_(model.biases[0])
        rbm.hidden_bias.copy_(model.biases[1])
        rbm.chain.copy_(model.chain[:, :4])
    x, above = states(4)[::3], model.chain[:, 7:].clone()
    model.groups_at(1)
    model.loss(x, generator=generator(2))["loss"].backward()
    rbm.loss(x, generator=generator(2))["loss"].backward()
    assert torch.equal(rbm.chain, model.chain[:, :4])
    assert torch.equal(model.chain[:, 7:], above)
    torch.testing.assert_close(model.weights[0].grad, rbm.weight.grad)
    torch.testing.assert_close(model.biases[0].grad, rbm.visible_bias.grad)
    torch.testing.assert_close(model.biases[1].grad, rbm.hidden_bias.grad)
    assert model.weights[1].grad is None
    model.groups_at(2)
    model.loss(x, generator=generator(3))["loss"].backward()
    assert model.weights[1].grad is not None


@pytest.mark.parametrize("centered", [False, True])
def test_learns_a_small_distribution(centered: bool) -> None:
    noise = generator(1)
    patterns = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]], dtype=torch.uint8)
    x = patterns[torch.randint(3, (600,), generator=noise)]
    torch.manual_seed(0)
    pretrain = 0 if centered else 150
    model = DBM(Event.binary((6,)), hidden=(8, 4), pretrain_steps=pretrain, centered=centered, gibbs_steps=100)
    if centered:
        # Adam's steps, entry by entry, are not those of centred parameters.
        optimizer = torch.optim.SGD(model.train().parameters(), lr=0.05)
        for _ in range(1500):
            optimizer.zero_grad()
            model.loss(x[torch.randint(600, (100,), generator=noise)], generator=noise)["loss"].backward()
            optimizer.step()
        model.eval()
    else:
        model = learn(model, x, steps=1000, rate=0.01, betas=(0.5, 0.999))
    with torch.no_grad():
        bound, true = (-float(f(patterns).mean()) for f in (model.log_prob, model.enumerated_log_prob))
    assert true <= bound < 2.0


@pytest.mark.parametrize("centered", [False, True])
def test_a_resumed_run_is_the_run(tmp_path, centered: bool) -> None:
    x = states(6)
    data = Data("all", Event.binary((6,)), {"train": ArraySplit(x)})

    def settings(steps: int) -> TrainConfig:
        return TrainConfig.for_model(
            DBM, steps=steps, batch_size=8, samples=0, loggers=("csv",), schedule="constant", checkpoint_every=1
        )

    def machine() -> DBM:
        torch.manual_seed(0)
        return DBM(data.event, hidden=(4, 3), pretrain_steps=3, chains=4, centered=centered)

    whole = fit(machine(), data, tmp_path / "whole", settings(9), progress=False)
    half = fit(machine(), data, tmp_path / "half", settings(5), progress=False)
    again = resume(half.path, data=data, steps=9, progress=False)
    assert (whole.path / "model.safetensors").read_bytes() == (again.path / "model.safetensors").read_bytes()


def test_annealing_finds_log_z_and_the_kind_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(moved().likelihood) == "lower bound (mean field)"
    true = float(moved(6, (6, 5)).log_partition().detach())
    monkeypatch.setattr("ancestral.models.energy.dbm.MAX_ENUMERATED", 4)
    model = moved(6, (6, 5), annealing=600)
    data = Data("few", model.event, {"train": ArraySplit(states(6)), "test": ArraySplit(states(6)[:20])})
    assert float(model.rough_log_partition(states(6))) == pytest.approx(true, abs=0.15)
    found = partition(model, data, chains=300, distributions=400, reverse=True)
    assert abs(found.log_z - true) < 4.0 * found.standard_error
    assert found.both == pytest.approx(true, abs=0.1)
    figure = evaluate(model, data)
    assert figure.kind.startswith("lower bound (mean field, up to log Z, an estimate, ± 0.")


def test_bad_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least two hidden layers"):
        DBM(Event.binary((4,)), hidden=(3,))
    with pytest.raises(InvalidInput, match="pretrain_steps is -1"):
        DBM(Event.binary((4,)), pretrain_steps=-1)
    assert base.MAX_ENUMERATED == 20
