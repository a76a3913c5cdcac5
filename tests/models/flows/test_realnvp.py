"""RealNVP: what it learns, its inverse over all layouts, and its bound on discrete data."""

import math

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.flows.realnvp import RealNVP
from tests.models.learning import check_change_of_variables, generator, learn, moved


def banana(n: int) -> Tensor:
    x = torch.randn(n, 2, generator=generator())
    return torch.stack((3.0 * x[:, 0], 0.2 * x[:, 1] + x[:, 0].square() + 5.0), dim=1)


@pytest.fixture(scope="module")
def learned() -> RealNVP:
    torch.manual_seed(0)
    x = banana(5000)
    event = Event.real((2,), x.mean(0).tolist(), x.std(0).tolist())
    return learn(RealNVP(event, couplings=4, hidden=(32,)), x, steps=400, rate=1e-2)


@torch.no_grad()
def test_learned_density_has_the_entropy_of_the_data(learned: RealNVP) -> None:
    x = banana(5000)
    entropy = 2.0 * 0.5 * math.log(2.0 * math.pi * math.e) + math.log(3.0) + math.log(0.2)
    assert entropy - 0.05 < -float(learned.log_prob(x).mean()) < entropy + 0.1


@torch.no_grad()
def test_learned_density_integrates_to_1(learned: RealNVP) -> None:
    model = RealNVP(learned.event, **learned.config).double().eval()
    model.load_state_dict(learned.state_dict())
    a = torch.linspace(-25.0, 25.0, 501, dtype=torch.float64)
    b = torch.linspace(-20.0, 45.0, 651, dtype=torch.float64)
    x = torch.cartesian_prod(a, b)
    total = sum(float(model.log_prob(part).exp().sum()) for part in x.split(200_000))
    assert total * float((a[1] - a[0]) * (b[1] - b[0])) == pytest.approx(1.0, abs=1e-3)


@torch.no_grad()
def test_samples_are_of_the_data(learned: RealNVP) -> None:
    x = learned.sample(5000, generator=generator(1))
    error = x[:, 1] - 5.0 - (x[:, 0] / 3.0).square()
    assert float(x[:, 0].std()) == pytest.approx(3.0, abs=0.3)
    assert float(error.quantile(0.9) - error.quantile(0.1)) == pytest.approx(0.2 * 2.563, rel=0.4)


LAYOUTS = {
    "vector": (Event.real((5,)), {"couplings": 3}),
    "pair": (Event.real((2,)), {"couplings": 1, "norm": "none"}),
    "series": (Event.real((3, 4)), {}),
    "odd image": (Event.real((1, 3, 3)), {"scales": 2}),
    "one pixel": (Event.real((3, 1, 1)), {}),
    "down to one pixel": (Event.real((1, 4, 4)), {"couplings": 2, "scales": 5}),
    "half odd": (Event.real((2, 4, 6)), {"couplings": 1, "scales": 3}),
    "packed": (Event.real((1, 4, 4)), {"couplings": 2, "scales": 1, "packed": True}),
    "packed until it is odd": (Event.real((2, 6, 4)), {"couplings": 1, "packed": True}),
    "no squeeze": (Event.real((1, 4, 4)), {"scales": 0}),
    "flattened image": (Event.real((1, 4, 4)), {"network": "mlp"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inverse_and_log_determinant(layout: str) -> None:
    event, options = LAYOUTS[layout]
    model = moved(RealNVP(event, Event.label(3), **{"hidden": (8,), "channels": 4, "blocks": 1, **options}), by=0.1)
    check_change_of_variables(model, torch.tensor([2, 0]))


@torch.no_grad()
@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
def test_codes_of_discrete_data_decode_to_them_in_single_precision(levels: int) -> None:
    event = Event.integers((1, 8, 8), levels)
    model = moved(RealNVP(event, channels=8, blocks=1), by=0.02).float()
    x = torch.randint(0, levels, (50, 1, 8, 8), generator=generator()).to(event.dtype)
    x[0], x[1] = 0, levels - 1
    assert torch.equal(model.decode(model.encode(x)), x)


@torch.no_grad()
def test_bound_rises_with_samples() -> None:
    model = moved(RealNVP(Event.integers((3,), 3), couplings=2, hidden=(8,)), by=0.1)
    assert str(model.likelihood) == "lower bound (1 sample, uniform dequantization)"
    x = torch.randint(0, 3, (2000, 3), generator=generator())
    means = [float(model.bound(x, samples=k, generator=generator(k)).mean()) for k in (1, 5, 25)]
    assert means[0] + 0.01 < means[1] < means[2]


@torch.no_grad()
def test_real_data_are_exact_whatever_the_samples() -> None:
    model = moved(RealNVP(Event.real((3,)), couplings=2, hidden=(8,)), by=0.1)
    assert model.likelihood.kind == "exact"
    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(model.bound(x, samples=7), model.log_prob(x))


def test_initialization_is_saved_with_the_weights() -> None:
    x = torch.randn(64, 3) * 5.0 + 2.0
    model = RealNVP(Event.real((3,)), couplings=2, hidden=(8,))
    model.loss(x)
    other = RealNVP(Event.real((3,)), couplings=2, hidden=(8,))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.loss(x + 100.0)["loss"], model.loss(x + 100.0)["loss"])


def test_learns_digits_of_three_patterns() -> None:
    event = Event.integers((1, 2, 2), 4)
    patterns = torch.tensor([[0, 1, 2, 3], [3, 3, 0, 0], [1, 2, 1, 2]], dtype=torch.uint8).view(3, 1, 2, 2)
    label = torch.randint(0, 3, (500,))
    model = RealNVP(event, Event.label(3), couplings=2, channels=8, blocks=1, scales=1)
    learn(model, patterns[label], label, steps=150, rate=1e-2)
    with torch.no_grad():
        nats = -float(model.bound(patterns[label], label, samples=10, generator=generator()).mean())
        x = model.sample(300, torch.arange(300) % 3, generator=generator())
    assert nats < 1.0
    assert float((x == patterns[torch.arange(300) % 3]).float().mean()) > 0.9


def test_bad_options_are_refused() -> None:
    vector, image = Event.real((4,)), Event.binary((1, 4, 4))
    for event, options, match in (
        (Event.real((1,)), {}, "2 entries or more"),
        (vector, {"network": "conv"}, "conv takes images"),
        (vector, {"network": "cnn"}, "no network 'cnn'"),
        (vector, {"norm": "batch"}, "no norm 'batch'"),
        (vector, {"couplings": 0}, "couplings needs"),
        (image, {"scales": -1}, "scales is -1"),
        (image, {"alpha": 0.5}, "alpha is 0.5"),
        (image, {"amplitude": 0.0}, "amplitude is 0.0"),
    ):
        with pytest.raises(InvalidInput, match=match):
            RealNVP(event, **options)
