"""Autoregressive layers: log-determinants against autograd, and the cached inverse against a pass for each entry."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.event import Event
from ancestral.layers.autoregressive import Autoregressive
from ancestral.layers.elementwise import Affine, Elementwise, Shift
from ancestral.layers.invertible import Inverse
from ancestral.layers.masked import MaskedMLP

TAUS: dict[str, Elementwise] = {"affine": Affine(), "shift": Shift()}


def layer(
    tau: Elementwise, entries: int, hidden: tuple[int, ...] = (16, 12), condition: Event | None = None
) -> Autoregressive:
    torch.manual_seed(0)
    made = Autoregressive(MaskedMLP(entries, hidden, tau.values, "elu", condition), tau)
    with torch.no_grad():
        for p in made.parameters():
            p += 0.3 * torch.randn_like(p)
    return made.double()


def naive_inverse(made: Autoregressive, y: Tensor, condition: Tensor | None = None) -> Tensor:
    """Return the inverse by a whole pass for each entry."""
    x = torch.zeros_like(y)
    for d in range(y.shape[1]):
        x[:, d] = made.tau.inverse(y, made.network(x, condition))[:, d]
    return x


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("differentiable", [False, True])
def test_cached_inverse_equals_that_of_a_pass_for_each_entry(tau: str, differentiable: bool) -> None:
    made = layer(TAUS[tau], 9, condition=Event.label(3))
    y, condition = torch.randn(20, 9, dtype=torch.float64), torch.arange(20) % 3
    with torch.set_grad_enabled(differentiable):
        x = made.inverse(y, condition)
    with torch.no_grad():
        torch.testing.assert_close(x.detach(), naive_inverse(made, y, condition), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(made(x, condition)[0], y, rtol=1e-10, atol=1e-10)


@given(entries=st.integers(1, 12), hidden=st.lists(st.integers(1, 20), max_size=3))
@torch.no_grad()
def test_inverse_undoes_whatever_the_sizes(entries: int, hidden: list[int]) -> None:
    made = layer(Affine(), entries, tuple(hidden))
    x = torch.randn(3, entries, dtype=torch.float64)
    torch.testing.assert_close(made.inverse(made(x)[0]), x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("inverted", [False, True], ids=["", "inverse"])
def test_log_determinant_agrees_with_autograd(tau: str, inverted: bool) -> None:
    made = layer(TAUS[tau], 5)
    flow = Inverse(made) if inverted else made
    x = torch.randn(3, 5, dtype=torch.float64)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], x[i])
        assert float(jacobian.triu(1).abs().max()) == 0.0
        torch.testing.assert_close(flow(x)[1][i], torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-10, atol=1e-10)


def test_gradients_through_the_inverse_are_those_of_the_naive_one() -> None:
    made = layer(Affine(), 4)
    y, weights = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, 4, dtype=torch.float64)

    def inverse() -> Tensor:
        known = torch.zeros(3, 0, dtype=torch.float64)
        for d in range(4):
            padded = torch.cat((known, torch.zeros(3, 4 - d, dtype=torch.float64)), dim=1)
            known = torch.cat((known, made.tau.inverse(y, made.network(padded))[:, d : d + 1]), dim=1)
        return known

    inputs = [y, *made.parameters()]
    found = torch.autograd.grad((made.inverse(y) * weights).sum(), inputs)
    expected = torch.autograd.grad((inverse() * weights).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_inverse_swaps_the_directions() -> None:
    made = layer(Affine(), 5)
    x = torch.randn(3, 5, dtype=torch.float64)
    y, log_det = made(x)
    back, other = Inverse(made)(y)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(other, -log_det, rtol=1e-10, atol=1e-10)
    assert torch.equal(Inverse(made).inverse(x), y)


def test_log_scales_are_bounded_whatever_the_network_says() -> None:
    raw = torch.tensor([[1e30, 0.0], [-1e30, 0.0], [0.1, 0.0]])
    _, log_scale = Affine(limit=8.0).forward(torch.ones(3), raw)
    torch.testing.assert_close(log_scale, torch.tensor([8.0, -8.0, 0.1 / (1.0 + 0.1 / 8.0)]))
