import json

import pytest
import torch

from ancestral.cli.main import main
from ancestral.errors import Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.store import save
from ancestral.verbs.mixing import mixing


def machine(weight: float):
    """Two modes, all units on and all off, that are the further apart the larger the weights are."""
    model = create("rbm", Event.binary((6,)), hidden=6, gibbs_steps=50)
    with torch.no_grad():
        model.weight.fill_(weight)
        model.visible_bias.fill_(-3.0 * weight + 0.3 * weight)
        model.hidden_bias.fill_(-3.0 * weight)
    return model


def test_time_grows_with_the_barrier():
    fast, slow = (mixing(machine(weight), 20, 3000) for weight in (0.1, 1.3))
    assert fast.autocorrelation_time < 2.0
    assert slow.autocorrelation_time > 10.0
    assert fast.effective_sample_size > 5 * slow.effective_sample_size
    assert slow.effective_sample_size == pytest.approx(20 * 3000 / slow.autocorrelation_time)
    short = mixing(machine(1.0), 20, 100)
    assert not short.trusted
    assert "give more" in str(short)


def test_the_command_prints_it(tmp_path, capsys):
    save(machine(0.5), tmp_path)
    assert main(["mixing", str(tmp_path), "--chains", "5", "--steps", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["chains"], found["steps"], found["burn_in"]) == (5, 50, 50)


def test_models_without_chains_are_refused():
    with pytest.raises(Unsupported, match=r"fvsbn is not sampled by Markov chains\. Models that are: .*rbm"):
        mixing(create("fvsbn", Event.binary((4,))))
