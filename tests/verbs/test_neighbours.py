import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from ancestral.cli.main import main
from ancestral.data import load
from ancestral.errors import InvalidInput
from ancestral.models import create
from ancestral.verbs import features as feature_module
from ancestral.verbs.features import Features
from ancestral.verbs.neighbours import nearest, neighbours, save_neighbours
from ancestral.verbs.parzen import ParzenWarning, parzen, window_log_density


@pytest.fixture(autouse=True)
def few_steps(monkeypatch, tmp_path):
    monkeypatch.setattr(feature_module, "STEPS", 20)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path, capsys):
    folder = tmp_path / "run"
    argv = ["fit", "vae", "digits", "--model.hidden", "8", "--model.latent", "2", "--train.steps", "2", "-o", str(folder)]
    assert main([*argv, "--train.samples", "0", "--quiet"]) == 0
    capsys.readouterr()
    return str(folder)


def gives(data, draw):
    """A model whose samples are what a function of their number and a generator gives."""
    model = create("gan", data.event, latent=1, hidden=(4,))
    model.sample = lambda n, condition=None, *, generator=None: draw(n, generator)
    return model


def test_nearest_data_by_hand(monkeypatch):
    monkeypatch.setattr("ancestral.verbs.neighbours._PART", 2)  # so that parts are merged
    data = load(np.array([[0.0], [10.0], [3.0], [4.0], [-1.0]]), validation=0, test=0, standardize=False)
    distance, index = nearest(Features("entries", data.event), torch.tensor([[3.2], [-9.0]]), data.split("train"), 2)
    rows = data.split("train").x[index, 0]
    assert rows.tolist() == [[3.0, 4.0], [-1.0, 0.0]]
    assert distance.flatten().tolist() == pytest.approx([0.2, 0.8, 8.0, 9.0])


def test_copies_are_told():
    data = load("digits")
    train = data.split("train").x
    copies = gives(data, lambda n, generator: train[torch.randint(len(train), (n,), generator=generator)])
    found = neighbours(copies, data, n=3, k=2)
    assert torch.equal(found.by_entries[:, 0], found.x)
    assert torch.equal(found.by_features[:, 0], found.x)
    assert found.distances == {"entries": 0.0, "features": 0.0}
    assert found.nearer == {"entries": 1.0, "features": 1.0}
    assert min(found.held_out.values()) > 0.0
    assert found.by_entries.shape == (3, 2, 1, 8, 8)
    # Held-out data in place of samples are like held-out data.
    found = neighbours(gives(data, lambda n, _: data.split("test").x[:n]), data, n=3)
    assert found.nearer["entries"] < 0.1
    assert "held-out data" in str(found)


def test_rows_of_the_picture_begin_with_the_samples(tmp_path):
    data = load("digits")
    found = neighbours(create("gan", data.event, latent=2, hidden=(4,)), data, n=3, k=2)
    save_neighbours(found, data.event, tmp_path / "it.npy")
    rows = np.load(tmp_path / "it.npy")
    assert rows.shape == (3, 5, 1, 8, 8)
    assert np.array_equal(rows[:, 0], found.x.numpy())
    assert np.array_equal(rows[:, 1:3], found.by_entries.numpy())
    save_neighbours(found, data.event, tmp_path / "it.png")
    with Image.open(tmp_path / "it.png") as picture:
        assert picture.width > 100


def test_neighbours_command(run, tmp_path, capsys):
    output = tmp_path / "n.png"
    assert main(["neighbours", run, "-n", "2", "-o", str(output), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["count"], found["training"], found["features"]) == (100, 1297, "digits-classifier")
    assert output.exists()
    assert "x" not in found


# Parzen windows


def test_windows_by_hand():
    x, centres = torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0]])

    def normal(square):
        return math.exp(-square / (2 * 0.25)) / (2 * math.pi * 0.25)

    expected = [math.log((normal(0) + normal(25)) / 2), math.log((normal(5) + normal(8)) / 2)]
    assert window_log_density(x.double(), centres.double(), 0.5).tolist() == pytest.approx(expected)
    # Its density is one: the integral over a grid.
    line = torch.linspace(-6, 10, 400, dtype=torch.float64)
    cell = float(line[1] - line[0]) ** 2
    total = window_log_density(torch.cartesian_prod(line, line), centres.double(), 0.5).exp().sum() * cell
    assert float(total) == pytest.approx(1.0, abs=1e-6)


def test_sigma_is_chosen_on_validation_and_the_figure_warns():
    generator = np.random.default_rng(0)
    data = load(generator.normal(size=(2000, 1)), standardize=False)
    model = gives(data, lambda n, _: torch.zeros(n, 1))
    with pytest.warns(ParzenWarning, match="ranks models wrongly"):
        found = parzen(model, data, n=10, sigmas=(0.25, 1.0, 4.0))
    assert found.sigma == 1.0
    assert found.kind == "estimate (10 samples, Parzen window)"
    x, _ = data.split("test").batch(torch.arange(200))
    assert found.nats == pytest.approx(float(torch.distributions.Normal(0.0, 1.0).log_prob(x).mean()), rel=1e-5)


def test_copies_of_few_data_beat_the_truth():
    # The reason of the warning: samples of the very distribution lose to five-fold repeated centres of its modes.
    data = load("ring")
    x, _ = data.split("train").batch(torch.arange(100))
    truth = gives(data, lambda n, _: x[:n])
    modes = torch.tensor(data.record["modes"]["means"])
    centres = gives(data, lambda n, _: modes[torch.arange(n) % 8])
    with pytest.warns(ParzenWarning):
        one, other = (parzen(model, data, n=80, limit=1000) for model in (truth, centres))
    assert other.nats > one.nats + 2 * (one.standard_error + other.standard_error)


def test_bad_input():
    data = load("digits", condition="label")
    with pytest.raises(InvalidInput, match="Parzen windows are of models without condition"):
        parzen(create("gan", data.event, data.condition, latent=2, hidden=(4,)), data)
    model = create("gan", data.event, latent=2, hidden=(4,))
    with pytest.raises(InvalidInput, match=r"sigmas are \[0\.0\], expected positive"):
        parzen(model, data, sigmas=(0.0,))
    with pytest.raises(InvalidInput, match="n is 0"):
        neighbours(model, data, n=0)


def test_parzen_command(run, capsys):
    assert main(["parzen", run, "-n", "50", "--limit", "20", "--split", "validation"]) == 0
    printed = capsys.readouterr()
    assert "estimate (50 samples, Parzen window)" in printed.out
    assert "in [0, 1]^64" in printed.out
    assert "warning: a Parzen window ranks models wrongly" in printed.err
    assert main(["parzen", run, "-n", "50", "--limit", "20", "--json"]) == 0
    assert "wrongly" in json.loads(capsys.readouterr().out)["warning"]
