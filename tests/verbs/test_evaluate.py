import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.latent.base import CHUNK
from ancestral.verbs.evaluate import Moments, evaluate


def binary_data(n=50, d=6, condition=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(2, (n, d), generator=generator, dtype=torch.uint8)
    y = None if condition is None else torch.randint(condition, (n,), generator=generator, dtype=torch.uint8)
    label = None if condition is None else Event.label(condition)
    return Data("bits", Event.binary((d,)), {"test": ArraySplit(x, y)}, label)


@pytest.fixture
def data():
    return binary_data()


@pytest.fixture
def model(data):
    return create("fvsbn", data.event)


def test_mean_error_unit_kind_and_count(model, data):
    result = evaluate(model, data)
    nats = -model.log_prob(data.splits["test"].x).detach().double().numpy()
    assert result.nats == pytest.approx(nats.mean(), rel=1e-6)
    assert result.standard_error == pytest.approx(nats.std(ddof=1) / np.sqrt(50), rel=1e-5)
    assert result.bits_per_dim == pytest.approx(result.nats / (6 * np.log(2)))
    assert result.bits_per_dim_standard_error == pytest.approx(result.standard_error / (6 * np.log(2)))
    assert (result.model, result.data, result.split, result.kind, result.count) == ("fvsbn", "bits", "test", "exact", 50)
    assert {"model", "data", "split", "nats", "bits_per_dim", "standard_error", "kind", "count"} <= result.to_json().keys()
    assert "± " in str(result)
    assert "exact" in str(result)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_batches_do_not_change_the_figure(model, data, batch_size):
    assert evaluate(model, data, batch_size=batch_size).nats == pytest.approx(evaluate(model, data).nats, rel=1e-6)


def test_limit_takes_the_first(model, data):
    expected = -model.log_prob(data.splits["test"].x[:9]).detach().double().mean()
    result = evaluate(model, data, limit=9)
    assert result.nats == pytest.approx(float(expected), rel=1e-6)
    assert result.count == 9


def test_one_example_has_no_standard_error(model, data):
    result = evaluate(model, data, limit=1)
    assert result.standard_error is None
    assert json.loads(json.dumps(result.to_json()))["standard_error"] is None


def test_a_bound_says_its_samples_and_rises_with_them(data):
    model = create("vae", data.event, latent=2, hidden=(8,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5.0)
    few, many = evaluate(model, data, samples=1), evaluate(model, data, samples=100)
    assert few.kind == "lower bound (1 sample)"
    assert many.kind == "lower bound (100 samples)"
    assert many.nats < few.nats
    assert evaluate(model, data, samples=5).nats == evaluate(model, data, samples=5).nats
    assert evaluate(model, data, samples=5).nats != evaluate(model, data, samples=5, seed=1).nats
    with pytest.raises(InvalidInput, match="samples is 0"):
        evaluate(model, data, samples=0)


def test_five_thousand_samples_of_images_fit_into_memory():
    """Rows of codes are decoded in parts, whose size does not grow with the samples."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(2, (3, 1, 28, 28), generator=generator, dtype=torch.uint8)
    data = Data("noise", Event.binary((1, 28, 28)), {"test": ArraySplit(x, None)})
    model = create("vae", data.event, latent=2, hidden=(), network="conv", channels=(4, 8))
    rows = []
    model.decoder.register_forward_hook(lambda _, inputs, out: rows.append(len(out)))
    result = evaluate(model, data, samples=5000)
    assert (result.kind, result.count) == ("lower bound (5000 samples)", 3)
    assert "(test, 3 examples)" in str(result)
    assert str(result).endswith("lower bound (5000 samples)")
    assert sum(rows) == 3 * 5000
    widest = model.elements
    assert widest == 4 * 14 * 14
    assert max(rows) * widest <= CHUNK < 3 * 5000 * widest


def test_samples_are_refused_where_the_likelihood_takes_none(model, data):
    with pytest.raises(InvalidInput, match="takes no samples"):
        evaluate(model, data, samples=10)


def test_without_likelihood_what_the_model_measures_is_given():
    data = binary_data()
    result = evaluate(create("denoising-autoencoder", data.event), data)
    assert result.nats is None
    assert result.bits_per_dim is None
    assert result.kind.startswith("none")
    assert result.count == 50
    assert result.measures
    assert all(np.isfinite(mean) for mean, _ in result.measures.values())
    assert "no likelihood" in str(result)
    assert "measures" in result.to_json()


def test_the_model_is_left_in_its_mode(model, data):
    for mode in (True, False):
        model.train(mode)
        evaluate(model, data)
        assert model.training is mode
    assert all(p.grad is None for p in model.parameters())


def test_dropout_is_off():
    data = binary_data()
    model = create("made", data.event, hidden=(32,), dropout=0.9).train()
    assert evaluate(model, data).nats == evaluate(model, data, seed=5).nats


def test_conditions_go_with_the_data():
    data = binary_data(condition=3)
    model = create("fvsbn", data.event, data.condition)
    torch.nn.init.normal_(model.embedding.map.weight)
    split = data.splits["test"]
    assert evaluate(model, data).nats == pytest.approx(
        -model.log_prob(split.x, split.condition).detach().mean().item(), rel=1e-6
    )
    with pytest.raises(InvalidInput, match="needs a condition"):
        evaluate(model, binary_data())
    with pytest.raises(InvalidInput, match="conditioned on"):
        evaluate(model, binary_data(condition=4))
    unconditional = create("fvsbn", data.event)
    assert evaluate(unconditional, data).count == 50, "labels are not needed, and not in the way"


def test_other_events_splits_and_names_are_refused(model, data):
    with pytest.raises(InvalidInput, match=r"model of 6 binary data, bits is 7 binary"):
        evaluate(model, binary_data(d=7))
    with pytest.raises(InvalidInput, match=r"has no split 'tset'\. Did you mean test"):
        evaluate(model, data, "tset")
    with pytest.raises(InvalidInput, match="name the data"):
        evaluate(model)
    with pytest.raises(InvalidInput, match="limit is 0"):
        evaluate(model, data, limit=0)


def test_weights_that_give_nan_are_refused(model, data):
    torch.nn.init.constant_(model.bias, float("nan"))
    with pytest.raises(InvalidInput, match="gives NaN for 50 of 50"):
        evaluate(model, data)


def test_a_run_is_evaluated_on_its_own_data(digits_run, conditional_run):
    result = evaluate(digits_run)
    assert (result.model, result.data, result.count) == (str(digits_run), "digits", 100)
    assert evaluate(digits_run, "digits").count == 100, "the same data are read as in training"
    assert evaluate(conditional_run, split="validation").count == 100


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), min_size=1, max_size=5), st.floats(-1e9, 1e9))
def test_moments_of_parts_are_those_of_the_whole(parts, offset):
    merged = None
    for part in parts:
        moments = Moments.of(torch.tensor(part, dtype=torch.double) + offset)
        merged = moments if merged is None else merged.merge(moments)
    whole = np.concatenate([np.array(part) + offset for part in parts])
    assert merged.count == len(whole)
    assert merged.mean == pytest.approx(whole.mean(), rel=1e-12, abs=1e-6)
    assert merged.squares == pytest.approx(((whole - whole.mean()) ** 2).sum(), rel=1e-6, abs=1e-2)


def test_processes_share_the_examples(digits_run):
    command = ["evaluate", str(digits_run), "--json", "--limit", "13", "--device", "cpu"]
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ancestral"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*runner, *command], capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    shared, alone = json.loads(done.stdout), evaluate(digits_run, limit=13)
    assert shared["count"] == 13
    assert shared["nats"] == pytest.approx(alone.nats, rel=1e-9)
    assert shared["standard_error"] == pytest.approx(alone.standard_error, rel=1e-9)
