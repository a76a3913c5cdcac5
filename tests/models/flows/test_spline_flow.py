"""Spline flows: several modes, inverses of both kinds, and entries that all get changed."""

import math

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.flows.spline_flow import KINDS, SplineFlow
from tests.models.learning import generator, learn, moved


def modes(n: int) -> Tensor:
    """Return points around (-2, -2), (-2, 2), (2, -2) and (2, 2), each with standard deviation 0.2."""
    corners = torch.randint(0, 2, (n, 2), generator=generator()).float() * 4.0 - 2.0
    return corners + 0.2 * torch.randn(n, 2, generator=generator(1))


@pytest.mark.parametrize("kind", KINDS)
def test_learns_four_modes(kind: str) -> None:
    torch.manual_seed(0)
    x = modes(5000)
    event = Event.real((2,), x.mean(0).tolist(), x.std(0).tolist())
    model = learn(SplineFlow(event, kind=kind, layers=2, hidden=(32,)), x, steps=400, rate=1e-2)
    entropy = 2.0 * math.log(2.0) + math.log(2.0 * math.pi * math.e) + 2.0 * math.log(0.2)
    with torch.no_grad():
        assert entropy - 0.05 < -float(model.log_prob(x).mean()) < entropy + 0.15
        drawn = model.sample(4000, generator=generator(2))
    near = (drawn.abs() - 2.0).abs().amax(1) < 0.8
    assert float(near.float().mean()) > 0.95
    counts = torch.bincount((2 * (drawn[:, 0] > 0) + (drawn[:, 1] > 0)).long(), minlength=4)
    assert int(counts.min()) > 800


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["actnorm", "none"])
@torch.no_grad()
def test_inverse_undoes_inside_and_outside_the_bound(kind: str, norm: str) -> None:
    model = moved(SplineFlow(Event.real((7,)), Event.label(3), kind=kind, layers=4, hidden=(16,), norm=norm), by=0.1)
    u, condition = 3.0 * torch.randn(50, 7, dtype=torch.float64, generator=generator()), torch.arange(50) % 3
    z, _ = model.transform(u, condition)
    torch.testing.assert_close(model.inverse(z, condition), u, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orders", ["reversed", "random", "linear"])
@torch.no_grad()
def test_two_layers_change_every_entry(kind: str, orders: str) -> None:
    model = moved(SplineFlow(Event.real((2,)), kind=kind, layers=2, hidden=(8,), orders=orders, norm="none"), by=0.3)
    u = torch.randn(5, 2, dtype=torch.float64, generator=generator())
    z = model.transform(u)[0].sort(dim=1).values
    assert bool((z != u.sort(dim=1).values).all())


def test_bad_options_are_refused() -> None:
    for options, match in (
        ({"kind": "couplings"}, "no kind 'couplings'"),
        ({"layers": 0}, "layers needs"),
        ({"bins": 0}, "bins needs"),
        ({"bound": -1.0}, "bound is -1.0"),
        ({"orders": "natural"}, "no choice of orders"),
    ):
        with pytest.raises(InvalidInput, match=match):
            SplineFlow(Event.real((4,)), **options)
