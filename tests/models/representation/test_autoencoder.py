"""Autoencoder: the linear one against principal components, layers trained one after another, and the resumed run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.representation.autoencoder import Autoencoder
from ancestral.training import TrainConfig, create_model, fit, resume
from tests.models.learning import generator, learn


def of_few_directions(n: int = 1000) -> torch.Tensor:
    """Return data of six entries with deviations 3, 2, 1.5 in three directions and 0.3 in the others."""
    deviations = torch.tensor([3.0, 2.0, 1.5, 0.3, 0.3, 0.3])
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator(1)))[0]
    return (torch.randn(n, 6, generator=generator()) * deviations) @ rotation.T + 1.0


@pytest.mark.parametrize("tied", [True, False])
def test_linear_one_spans_the_principal_subspace(tied: bool) -> None:
    x = of_few_directions()
    model = Autoencoder(Event.real((6,)), hidden=(3,), activation="identity", tied=tied)
    learn(model, x, steps=500, rate=2e-2, batch=len(x))
    learn(model, x, steps=500, rate=1e-3, batch=len(x))
    pca = PCA(3).fit(x.double().numpy())
    network = model.network
    decoder = network.layers[0].weight.T if network.weights is None else network.weights[0]  # (6, 3)
    angles = subspace_angles(decoder.detach().double().numpy(), pca.components_.T)
    assert np.rad2deg(angles.max()) < 0.5
    assert np.rad2deg(subspace_angles(model.filters().double().numpy().T, pca.components_.T).max()) < 0.5
    with torch.no_grad():
        error = float(model.measures(x)["reconstruction"].mean())
    left = x.double().numpy() - pca.inverse_transform(pca.transform(x.double().numpy()))
    assert error == pytest.approx(float(np.square(left).sum(1).mean()), rel=2e-3)


def test_layers_are_trained_one_after_another_then_together() -> None:
    model = Autoencoder(Event.real((6,)), hidden=(5, 4, 3), pretrain_steps=10)
    groups = [model.groups_at(step) for step in (0, 9, 10, 29, 30, 10_000)]
    assert groups == [("layer0",), ("layer0",), ("layer1",), ("layer2",), ("model",), ("model",)]
    assert Autoencoder(Event.real((6,))).groups_at(0) == ("model",)
    x = torch.randn(7, 6, generator=generator())
    model.loss(x, group="layer1")["loss"].backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {"network.layers.1.weight", "network.layers.1.bias", "network.weights.1", "network.biases.1"}


def test_a_layer_alone_reconstructs_the_codes_below_it() -> None:
    model = Autoencoder(Event.real((6,)), hidden=(5, 4), activation="tanh", pretrain_steps=1).double()
    x = torch.randn(7, 6, generator=generator(), dtype=torch.float64)
    first, second = model.network.layers
    below = torch.tanh(first(x))
    back = torch.tanh(second(below) @ model.network.weights[1].T + model.network.biases[1])
    torch.testing.assert_close(model.loss(x, group="layer1")["loss"], (back - below).square().sum(1).mean())


def test_masking_is_of_layers_alone() -> None:
    model = Autoencoder(Event.integers((1000,), 5), hidden=(3,), pretrain_steps=1, pretrain_masking=0.25)
    h = torch.full((20, 1000), 0.7)
    assert torch.equal(model.corrupt(h, generator()), h)
    for layer, lowest in ((0, -1.0), (1, 0.0)):
        corrupted = model.corrupt(h, generator(), layer)
        assert float((corrupted == lowest).float().mean()) == pytest.approx(0.25, abs=0.01)


def test_pretraining_helps_a_deep_network_of_sigmoids() -> None:
    """Three layers of sigmoids learn little together at this rate in so few steps; stacked ones do."""
    x = of_few_directions()
    errors = []
    for pretrain_steps in (0, 200):
        torch.manual_seed(0)
        options = {"hidden": (12, 8, 3), "activation": "sigmoid", "tied": True}
        model = Autoencoder(Event.real((6,)), pretrain_steps=pretrain_steps, **options)
        learn(model, x, steps=3 * 200 + 100, rate=5e-3)
        with torch.no_grad():
            errors.append(float(model.measures(x)["reconstruction"].mean()))
    assert errors[1] < errors[0]


def test_a_run_killed_while_a_layer_is_trained_alone_resumes_to_the_bit(tmp_path: Path) -> None:
    x = of_few_directions(64)
    data = Data("toy", Event.real((6,)), {"train": ArraySplit(x)})  # without validation the last weights are kept
    options = {"hidden": (5, 3), "pretrain_steps": 6, "pretrain_masking": 0.2}
    settings = {
        "epochs": None,
        "batch_size": 16,
        "samples": 0,
        "loggers": ("csv",),
        "checkpoint_every": 3,
        "schedule": "constant",
    }
    weights = []
    for steps in ((16,), (9, 16)):
        path = tmp_path / str(len(steps))
        model = create_model("autoencoder", data.event, seed=0, **options)
        run = fit(model, data, path, TrainConfig.for_model(type(model), steps=steps[0], **settings), progress=False)
        if len(steps) > 1:
            run = resume(path, data=data, steps=steps[1], progress=False)
        weights.append(run.model().state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.parametrize("name", ["autoencoder", "denoising-autoencoder", "contractive-autoencoder", "psd"])
def test_a_rate_that_diverges_is_a_sentence(name: str, tmp_path: Path) -> None:
    x = of_few_directions(64)
    data = Data("toy", Event.real((6,)), {"train": ArraySplit(x), "validation": ArraySplit(x)})
    model = create_model(name, data.event, seed=0)
    settings = {"steps": 20, "epochs": None, "batch_size": 16, "samples": 0, "loggers": ("csv",), "learning_rate": 1e38}
    with pytest.raises(InvalidInput, match=r"training diverged.*lower --train.learning_rate"):
        fit(model, data, tmp_path / "run", TrainConfig.for_model(type(model), **settings), progress=False)


def test_bad_options_are_refused() -> None:
    event = Event.binary((4,))
    for options, match in (
        ({"hidden": ()}, "hidden is empty"),
        ({"pretrain_steps": -1}, "pretrain_steps is -1"),
        ({"pretrain_masking": 1.0}, "pretrain_masking is 1.0"),
        ({"code_activation": "tahn"}, "no code activation 'tahn'"),
    ):
        with pytest.raises(InvalidInput, match=match):
            Autoencoder(event, **options)
