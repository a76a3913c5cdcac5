"""MAF and IAF: what MAF is known to equal, what they learn, and what their options change."""

import math

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.flows.iaf import IAF
from ancestral.models.flows.maf import MAF
from tests.models.learning import generator, learn, moved

BOTH = pytest.mark.parametrize("cls", [MAF, IAF], ids=["maf", "iaf"])


def banana(n: int) -> Tensor:
    x = torch.randn(n, 2, generator=generator())
    return torch.stack((3.0 * x[:, 0], 0.2 * x[:, 1] + x[:, 0].square() + 5.0), dim=1)


@pytest.mark.parametrize(("cls", "steps"), [(MAF, 400), (IAF, 700)], ids=["maf", "iaf"])
def test_learned_density_has_the_entropy_of_the_data(cls: type[MAF | IAF], steps: int) -> None:
    """In the order (x_1, x_2) one layer of MAF holds this density; that of IAF needs more than one."""
    torch.manual_seed(0)
    x = banana(5000)
    event = Event.real((2,), x.mean(0).tolist(), x.std(0).tolist())
    model = learn(cls(event, layers=4, hidden=(32,), activation="tanh"), x, steps=steps, rate=1e-2)
    entropy = 2.0 * 0.5 * math.log(2.0 * math.pi * math.e) + math.log(3.0) + math.log(0.2)
    with torch.no_grad():
        nats = -float(model.log_prob(x).mean())
        drawn = model.sample(5000, generator=generator(1))
    assert entropy - 0.05 < nats < entropy + 0.15
    error = drawn[:, 1] - 5.0 - (drawn[:, 0] / 3.0).square()
    assert float(drawn[:, 0].std()) == pytest.approx(3.0, abs=0.4)
    assert float(error.quantile(0.9) - error.quantile(0.1)) == pytest.approx(0.2 * 2.563, rel=0.6)


def test_one_layer_is_a_gaussian_for_each_entry_given_those_before() -> None:
    model = moved(MAF(Event.real((3,)), layers=1, hidden=(8,), norm="none"))
    (layer,) = model.stages[0].layers
    x = torch.randn(4, 3, dtype=torch.float64)
    raw = layer.network(x)
    mean, scale = raw[..., 1], torch.exp(-raw[..., 0] / (1.0 + raw[..., 0].abs() / 8.0))
    expected = torch.distributions.Normal(mean, scale).log_prob(x).sum(1)
    torch.testing.assert_close(model.log_prob(x), expected, rtol=1e-10, atol=1e-10)


@BOTH
@pytest.mark.parametrize("orders", ["reversed", "random", "linear"])
@torch.no_grad()
def test_inverse_undoes_over_many_layers(cls: type[MAF | IAF], orders: str) -> None:
    model = moved(cls(Event.real((7,)), Event.label(3), layers=4, hidden=(16, 16), orders=orders))
    u, condition = torch.randn(10, 7, dtype=torch.float64), torch.arange(10) % 3
    z, _ = model.transform(u, condition)
    torch.testing.assert_close(model.inverse(z, condition), u, rtol=1e-10, atol=1e-10)


@BOTH
def test_orders_let_the_first_entry_depend_on_the_last(cls: type[MAF | IAF]) -> None:
    def depends(layers: int) -> bool:
        model = moved(cls(Event.real((4,)), layers=layers, hidden=(16,)))
        u = torch.randn(1, 4, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda v: model.transform(v)[0][0], u)[:, 0]
        return bool((jacobian.triu(1) != 0).any() and (jacobian.tril(-1) != 0).any())

    assert depends(2)
    assert not depends(1)


@torch.no_grad()
def test_seeds_of_orders_give_other_orders() -> None:
    first, again, other = (
        moved(MAF(Event.real((6,)), layers=3, hidden=(8,), orders="random", order_seed=seed)) for seed in (0, 0, 1)
    )
    again.load_state_dict(first.state_dict())
    other.load_state_dict(first.state_dict())
    x = torch.randn(5, 6, dtype=torch.float64)
    assert torch.equal(first.log_prob(x), again.log_prob(x))
    assert not torch.allclose(first.log_prob(x), other.log_prob(x))


@BOTH
@torch.no_grad()
def test_codes_of_discrete_data_decode_to_them_in_single_precision(cls: type[MAF | IAF]) -> None:
    model = moved(cls(Event.integers((1, 4, 4), 17), layers=3, hidden=(32,)), by=0.05).float()
    x = torch.randint(0, 17, (50, 1, 4, 4), generator=generator()).to(torch.uint8)
    x[0], x[1] = 0, 16
    assert torch.equal(model.decode(model.encode(x)), x)


@BOTH
def test_bad_options_are_refused(cls: type[MAF | IAF]) -> None:
    for options, match in (
        ({"layers": 0}, "layers needs"),
        ({"hidden": (0,)}, "a network needs"),
        ({"activation": "rely"}, "no activation 'rely'"),
        ({"orders": "natural"}, "no choice of orders 'natural'"),
        ({"norm": "batch"}, "no norm 'batch'"),
        ({"alpha": 0.5}, "alpha is 0.5"),
    ):
        with pytest.raises(InvalidInput, match=match):
            cls(Event.real((4,)), **options)
    with pytest.raises(InvalidInput, match="2 entries or more"):
        cls(Event.real((1,)))
