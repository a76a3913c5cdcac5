"""Predictive sparse decomposition: its codes against a lasso of more entries, what the encoder learns, and its limits."""

import pytest
import torch
from sklearn.linear_model import Lasso

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.representation.dictionary import EXACT
from ancestral.models.representation.psd import PSD
from ancestral.models.representation.sparse_coding import SparseCoding
from tests.models.learning import generator, learn, moved
from tests.models.representation.test_sparse_coding import mixtures


def test_codes_are_those_of_scikit_learn() -> None:
    """With the prediction as further entries: sqrt(a) p is to be told by atoms sqrt(a) e_k."""
    model = moved(PSD(Event.real((12,)), atoms=10, penalty=0.4, prediction=0.7))
    x = mixtures(20)[0].double()
    with torch.no_grad():
        near = model.predict(x)
        found = model.solve(x, 1e-13).z
        both = torch.cat((x, 0.7**0.5 * near), 1).numpy()
        atoms = torch.cat((model.atoms, 0.7**0.5 * torch.eye(10)), 1).numpy()
    for row, z in zip(both, found.numpy(), strict=True):
        peer = Lasso(alpha=0.4 / 22, fit_intercept=False, tol=1e-13, max_iter=200_000).fit(atoms.T, row)
        assert abs(peer.coef_ - z).max() < 1e-5


def test_one_atom_worked_out_by_hand() -> None:
    """Atom 1, x = 3, l = 1, a = 1, prediction 0.5: (z - 3) + 1 + (z - 0.5) = 0, so z = 1.25; the objective is 3.0625."""
    model = PSD(Event.real((1,)), atoms=1, penalty=1.0, prediction=1.0)
    with torch.no_grad():
        model.atoms.fill_(1.0)
        model.predictor.weight.zero_()
        model.predictor.bias.fill_(0.75)
        model.level.fill_(0.25)
        x = torch.tensor([[3.0]])
        assert float(model.encode(x)) == pytest.approx(0.5)
        found = model.measures(x)
    # 1/2 1.75^2 + 1.25 + 1/2 0.75^2
    assert float(found["objective"]) == pytest.approx(0.5 * 1.75**2 + 1.25 + 0.5 * 0.75**2, rel=1e-5)
    assert float(found["apart"]) == pytest.approx(0.75**2, rel=1e-4)
    assert float(found["error"]) == pytest.approx(0.5 * 2.5**2, rel=1e-5)


def test_without_prediction_the_codes_are_those_of_sparse_coding() -> None:
    x = mixtures(20)[0]
    model = PSD(Event.real((12,)), atoms=10, penalty=0.4, prediction=0.0)
    other = SparseCoding(Event.real((12,)), atoms=10, penalty=0.4)
    with torch.no_grad():
        other.atoms.copy_(model.atoms)
    torch.testing.assert_close(model.solve(x, EXACT).z, other.encode(x))


@pytest.mark.parametrize("encoder", ["shrink", "tanh"])
def test_the_encoder_comes_to_tell_codes_that_tell_the_data(encoder: str) -> None:
    x, _ = mixtures()
    torch.manual_seed(0)
    model = PSD(Event.real((12,)), atoms=14, penalty=0.1, encoder=encoder, tolerance=1e-3)
    with torch.no_grad():
        before = {name: float(value.mean()) for name, value in model.measures(x).items()}
    learn(model, x, steps=400, rate=1e-2)
    with torch.no_grad():
        after = {name: float(value.mean()) for name, value in model.measures(x).items()}
        left = 0.5 * (x - model.decode(model.encode(x))).square().sum(1).mean()
    assert after["objective"] < before["objective"]
    assert after["error"] < 0.2 * float(0.5 * x.square().sum(1).mean())
    assert float(left) == pytest.approx(after["error"], rel=1e-4)
    assert float(model.filters().norm(dim=1).max()) <= 1.0 + 1e-6


def test_bad_options_are_refused() -> None:
    for options, match in (({"prediction": -1.0}, "prediction is -1.0"), ({"encoder": "tahn"}, "no encoder 'tahn'")):
        with pytest.raises(InvalidInput, match=match):
            PSD(Event.real((4,)), **options)


def test_an_encoder_far_off_still_gives_finite_codes() -> None:
    model = PSD(Event.real((4,)), atoms=6, penalty=0.5)
    with torch.no_grad():
        model.predictor.weight.mul_(1e4)
    values = model.loss(torch.randn(8, 4, generator=generator()))
    assert bool(values["loss"].isfinite())
