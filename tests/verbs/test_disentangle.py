import json

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from ancestral.data import ArraySplit, Data, load
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.disentangle import dci, disentangle, importances, mutual_information_gaps
from tests.verbs.test_latents import Itself

NAMES = ("a", "b", "c")


def factors_of(n, seed=0):
    return torch.stack([torch.randint(k, (n,), generator=torch.Generator().manual_seed(seed + k)) for k in (3, 4, 5)], dim=1)


def as_data(codes, seed=0, n=600):
    """Data of known factors whose codes under `Itself` are those that a function of the factors gives."""
    splits = {}
    for i, name in enumerate(("train", "test")):
        factors = factors_of(n, seed + 10 * i)
        generator = torch.Generator().manual_seed(seed + i)
        splits[name] = ArraySplit(codes(factors, generator).float(), factors)
    event = Event.real(splits["train"].x.shape[1:])
    return Data("known", event, splits, Event.labels((3, 4, 5))), Itself(event)


def test_codes_that_are_the_factors_have_full_scores():
    data, model = as_data(lambda v, _: v[:, [2, 0, 1]] * 2.0 - 3.0)
    found = disentangle(model, data, NAMES)
    assert found.gap > 0.97  # factors drawn at random tell a little of each other
    assert found.disentanglement > 0.98
    assert found.completeness > 0.98
    assert found.informativeness == 1.0
    assert found.importance.argmax(0).tolist() == [1, 2, 0]
    assert (found.count, found.latents) == (600, 3)
    assert set(found.by_factor) == set(NAMES)
    json.dumps(found.to_json())


def test_random_codes_have_none():
    data, model = as_data(lambda v, g: torch.randn(len(v), 6, generator=g), n=2000)
    found = disentangle(model, data, NAMES)
    assert found.gap < 0.02
    assert found.disentanglement < 0.05
    assert found.completeness < 0.05
    assert found.informativeness < np.mean([1 / 3, 1 / 4, 1 / 5]) + 0.05


def test_mixed_codes_tell_the_factors_and_do_not_part_them():
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    whole, _ = as_data(lambda v, _: v.float())
    mixed, model = as_data(lambda v, _: v.float() @ rotation)
    apart = disentangle(Itself(whole.event), whole, NAMES)
    found = disentangle(model, mixed, NAMES)
    assert found.informativeness > 0.8
    assert found.disentanglement < 0.6 < apart.disentanglement
    assert found.gap < 0.3


def test_a_factor_told_by_two_latents_is_disentangled_and_not_complete():
    data, model = as_data(lambda v, g: torch.cat((v, v[:, :1] + 0.01 * torch.randn(len(v), 1, generator=g)), dim=1))
    found = disentangle(model, data, NAMES)
    assert found.disentanglement > 0.95
    assert found.by_factor["a"]["gap"] < 0.05
    assert found.by_factor["b"]["gap"] > 0.95


def test_information_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    v = factors_of(500)
    z = torch.stack((v[:, 0] + torch.randn(500, generator=generator), torch.randn(500, generator=generator)), dim=1).double()
    edges = [np.linspace(float(c.min()), float(c.max()), 11)[1:-1] for c in z.T]
    told = [[mutual_info_score(np.digitize(z[:, j], edges[j]), v[:, k]) for j in range(2)] for k in range(3)]
    entropy = [mutual_info_score(v[:, k], v[:, k]) for k in range(3)]
    expected = [abs(a - b) / h for (a, b), h in zip(told, entropy, strict=True)]
    np.testing.assert_allclose(mutual_information_gaps(z, v, bins=10), expected, atol=1e-9)


def test_constant_latents_and_factors_and_a_single_one():
    v = torch.stack((torch.arange(60) % 3, torch.zeros(60).long()), dim=1)
    codes = torch.stack((v[:, 0].double(), torch.ones(60).double()), dim=1)
    np.testing.assert_allclose(mutual_information_gaps(codes, v), [1.0, 0.0], atol=1e-9)
    importance, told = importances(codes, v, codes, v)
    assert told == [1.0, 1.0]
    disentanglement, completeness = dci(importance)
    assert disentanglement == pytest.approx(1.0)
    np.testing.assert_allclose(completeness, [1.0, 0.0])
    assert mutual_information_gaps(codes[:, :1], v[:, :1]).tolist() == [pytest.approx(1.0)]
    assert dci(np.ones((1, 1)))[0] == 1.0


def test_even_importance_is_worth_nothing():
    disentanglement, completeness = dci(np.ones((4, 3)))
    assert disentanglement == pytest.approx(0.0)
    np.testing.assert_allclose(completeness, 0.0, atol=1e-12)


def test_models_of_shapes_by_name():
    vae = create("vae", load("shapes").event, latent=3, hidden=(8,))
    found = disentangle(vae, "shapes", limit=200)
    assert list(found.by_factor) == ["shape", "scale", "rotation", "x", "y"]
    assert (found.latents, found.count) == (3, 200)
    assert list(disentangle(vae, "shapes", ["scale"], limit=100).by_factor) == ["scale"]


def test_refused():
    data, model = as_data(lambda v, _: v)
    vae = create("vae", data.event, data.condition, latent=2, hidden=(4,))
    with pytest.raises(InvalidInput, match="measure a model without a condition"):
        disentangle(vae, data, NAMES)
    with pytest.raises(InvalidInput, match="factors have classes, bare has none"):
        disentangle(model, Data("bare", data.event, {"train": ArraySplit(torch.zeros(3, 3))}), NAMES)
    with pytest.raises(InvalidInput, match="no column 'label'"):
        disentangle(create("vae", load("shapes").event, latent=2, hidden=(4,)), "shapes", ["label"])
    with pytest.raises(Unsupported, match=r"made .* has no encode"):
        disentangle(create("made", data.event), data, NAMES)
