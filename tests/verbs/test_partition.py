"""`partition`: an estimate of log Z that is kept with the weights it is for, and with no others."""

import json
import math

import numpy as np
import pytest
import torch

from ancestral.cli.main import main
from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.energy import base
from ancestral.models.energy.annealing import LogPartition
from ancestral.models.store import load, save
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.partition import partition


@pytest.fixture
def data() -> Data:
    noise = torch.Generator().manual_seed(0)
    splits = {name: ArraySplit(torch.randint(2, (n, 9), generator=noise).byte()) for name, n in (("train", 40), ("test", 30))}
    return Data("coins", Event.binary((9,)), splits)


def machine(**options: object):
    torch.manual_seed(0)
    model = create("rbm", Event.binary((9,)), hidden=6, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch):
    """A machine that would be enumerated were it not for the limit, and its true log Z."""
    true = float(machine().double().log_partition().detach())
    monkeypatch.setattr(base, "MAX_ENUMERATED", 4)
    monkeypatch.setattr("ancestral.models.energy.rbm.MAX_ENUMERATED", 4)
    return machine(), true


def test_small_machines_have_both(data: Data) -> None:
    model = machine()
    found = partition(model, data, chains=300, distributions=300)
    assert found.exact == pytest.approx(float(machine().double().log_partition().detach()), abs=1e-4)
    assert abs(found.log_z - found.exact) < 3.0 * found.standard_error
    assert 0.0 < found.standard_error < 0.1
    assert found.low < found.log_z < found.high
    assert model.likelihood.kind == "exact"
    assert "exact" in str(found)
    json.dumps(found.to_json())


def test_the_estimate_makes_the_likelihood_one(data: Data, unknown) -> None:
    model, true = unknown
    assert evaluate(model, data).nats is None
    with pytest.raises(Unsupported, match="`ancestral partition`"):
        model.log_prob(data.split("test").batch(torch.arange(3))[0])
    found = partition(model, data, chains=300, distributions=300)
    assert abs(found.log_z - true) < 3.0 * found.standard_error
    figure = evaluate(model, data)
    assert figure.kind == f"estimate (300 samples, log Z ± {found.standard_error:.2f} nats by AIS over 300 distributions)"
    x = data.split("test").batch(torch.arange(30))[0]
    with torch.no_grad():
        assert figure.nats == pytest.approx(float(model.free_energy(x).mean()) + found.log_z, abs=1e-4)


def test_it_is_used_with_the_weights_that_it_is_for_alone(data: Data, unknown, tmp_path) -> None:
    model, _ = unknown
    partition(model, data, chains=10, distributions=10)
    x = data.split("test").batch(torch.arange(3))[0]
    first = model.log_prob(x)
    with torch.no_grad():
        model.hidden_bias[0] += 1e-3
    with pytest.raises(Unsupported, match="weights have changed since"):
        model.log_prob(x)
    assert model.kept_partition() is None
    save(model, tmp_path / "stale")
    assert load(tmp_path / "stale")[0].likelihood.kind == "none"
    with torch.no_grad():
        model.hidden_bias[0] -= 1e-3
    model.hidden_bias.data = machine().hidden_bias.data
    torch.testing.assert_close(model.log_prob(x), first)


def test_it_goes_through_files_and_floating_types(data: Data, unknown, tmp_path) -> None:
    model, _ = unknown
    save(model, tmp_path, half=True)
    weights = load(tmp_path)[0].state_dict()
    found = partition(tmp_path, data, chains=20, distributions=30, seed=5)
    again = load(tmp_path)[0]
    for name, tensor in again.state_dict().items():
        assert name == "partition" or torch.equal(tensor, weights[name])
    assert again.likelihood.kind == "estimate"
    kept = again.kept_partition()
    assert kept == LogPartition(pytest.approx(found.log_z, abs=1e-9), pytest.approx(found.standard_error, abs=1e-9), 20, 30, 5)
    assert float(again.log_partition()) == pytest.approx(found.log_z, abs=1e-4)
    assert float(again.double().log_partition()) == pytest.approx(found.log_z, abs=1e-9)
    save(again, tmp_path / "twice", half=True)
    assert load(tmp_path / "twice")[0].kept_partition() == kept
    partition(tmp_path, data, chains=3, distributions=3, keep=False)
    assert load(tmp_path)[0].kept_partition() == kept


def test_both_ways_meet_at_the_sum(data: Data) -> None:
    model = machine(gibbs_steps=200)
    found = partition(model, data, chains=500, distributions=300, reverse=True)
    for value in (found.reverse, found.both):
        assert value == pytest.approx(found.exact, abs=0.05)
    assert "back from samples" in str(found)


def test_seeds_decide_and_limits_hold(data: Data) -> None:
    model = machine()
    figures = [partition(model, data, chains=5, distributions=20, seed=seed).log_z for seed in (0, 0, 1)]
    assert figures[0] == figures[1] != figures[2]
    for few in (0, 1):
        with pytest.raises(InvalidInput, match="chains is"):
            partition(model, data, chains=few)
    with torch.no_grad():
        model.weight[0, 0] = math.nan
    with pytest.raises(InvalidInput, match="its weights are not usable"):
        partition(model, data, chains=2, distributions=5)


def test_other_models_have_none(data: Data) -> None:
    with pytest.raises(Unsupported, match=r"a fvsbn has no partition function.*rbm"):
        partition(create("fvsbn", data.event), data)


def test_the_command_keeps_it(data: Data, tmp_path, capsys, unknown) -> None:
    model, _ = unknown
    save(model, tmp_path / "m")
    np.savez(tmp_path / "coins.npz", train=data.split("train").x.numpy(), test=data.split("test").x.numpy())
    arguments = [str(tmp_path / "m"), str(tmp_path / "coins.npz")]
    assert main(["partition", *arguments, "--chains", "10", "--distributions", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["chains"], found["distributions"]) == (10, 50)
    assert main(["evaluate", *arguments]) == 0
    assert "estimate (10 samples, log Z ±" in capsys.readouterr().out
