"""Sparse coding: a dictionary that is recovered, atoms in their ball, the gradient at the best codes, and a rate too high."""

from pathlib import Path

import pytest
import torch

from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.representation.sparse_coding import SparseCoding
from ancestral.training import TrainConfig, fit
from tests.models.learning import generator, learn


def mixtures(n: int = 2000) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sums of one or two of ten atoms, (n, 12), and the atoms, (10, 12)."""
    atoms = torch.randn(10, 12, generator=generator(1))
    atoms /= atoms.norm(dim=1, keepdim=True)
    chosen = torch.rand(n, 10, generator=generator(2)).argsort(1) < torch.randint(1, 3, (n, 1), generator=generator(5))
    signs = torch.randint(0, 2, (n, 10), generator=generator(4)).mul(2).sub(1)
    return (chosen * signs * (1.0 + torch.rand(n, 10, generator=generator(3)))) @ atoms, atoms


def test_the_atoms_that_made_the_data_are_found() -> None:
    x, atoms = mixtures()
    torch.manual_seed(0)
    model = SparseCoding(Event.real((12,)), atoms=14, penalty=0.1, tolerance=1e-3)
    learn(model, x, steps=400, rate=5e-2)
    learn(model, x, steps=200, rate=5e-3)
    likeness = (model.atoms.detach() @ atoms.T).abs().amax(0)  # of each true atom to the nearest that was found
    assert float(likeness.min()) > 0.98


def test_atoms_stay_in_the_unit_ball() -> None:
    x, _ = mixtures(200)
    model = learn(SparseCoding(Event.real((12,)), atoms=8, penalty=0.05), x, steps=30, rate=0.5)
    assert float(model.filters().norm(dim=1).max()) <= 1.0 + 1e-6


def test_gradient_is_that_of_the_least_objective() -> None:
    """At the best codes the objective does not change with them, so the gradient by the atoms is that of the minimum."""
    x, _ = mixtures(50)
    model = SparseCoding(Event.real((12,)), atoms=8, penalty=0.3, tolerance=1e-13).double()
    x = x.double()
    model.loss(x)["loss"].backward()
    for index in ((0, 0), (3, 2), (7, 5)):
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                model.atoms[index] += step
                values.append(float(model.loss(x)["loss"]))
                model.atoms[index] -= step
        assert float(model.atoms.grad[index]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_measures_are_the_parts_of_the_objective() -> None:
    x, _ = mixtures(50)
    model = SparseCoding(Event.real((12,)), atoms=8, penalty=0.3)
    with torch.no_grad():
        z, found = model.encode(x), model.measures(x)
    error = 0.5 * (x - model.decode(z)).square().sum(1).detach()
    torch.testing.assert_close(found["error"], error)
    torch.testing.assert_close(found["objective"], error + 0.3 * z.abs().sum(1))
    assert torch.equal(found["active"], (z != 0).sum(1).float())
    assert float((found["gap"] / (0.5 * x.square().sum(1))).max()) < 1.1e-5


def test_filters_are_the_atoms_as_data() -> None:
    model = SparseCoding(Event.real((1, 2, 3)), atoms=4)
    assert model.filters().shape == (4, 1, 2, 3)
    assert torch.equal(model.filters().flatten(1), model.atoms)


def test_a_rate_far_too_high_ends_in_a_sentence_or_in_numbers(tmp_path: Path) -> None:
    """Atoms in their ball cannot run away, whatever the rate; a rate that makes them infinite is said to be too high."""
    x, _ = mixtures(300)
    data = Data("toy", Event.real((12,)), {"train": ArraySplit(x), "validation": ArraySplit(x)})
    settings = {"steps": 20, "epochs": None, "batch_size": 50, "samples": 0, "loggers": ("csv",)}
    for name, rate in (("high", 1e3), ("infinite", 1e39)):
        model = SparseCoding(data.event, atoms=8, penalty=0.3)
        config = TrainConfig.for_model(SparseCoding, learning_rate=rate, **settings)
        if rate < 1e30:
            fit(model, data, tmp_path / name, config, progress=False)
            assert bool(model.atoms.isfinite().all())
        else:
            with pytest.raises(InvalidInput, match=r"training diverged.*lower --train.learning_rate"):
                fit(model, data, tmp_path / name, config, progress=False)


def test_bad_options_are_refused() -> None:
    event = Event.real((4,))
    for options, match in (
        ({"atoms": 0}, "atoms needs whole numbers"),
        ({"penalty": 0.0}, "penalty is 0.0"),
        ({"tolerance": 1.0}, "tolerance is 1.0"),
    ):
        with pytest.raises(InvalidInput, match=match):
            SparseCoding(event, **options)
