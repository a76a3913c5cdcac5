"""Invertible layers: log-determinants against autograd, and inverses."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.event import Event
from ancestral.layers.convnet import ResidualConvNet
from ancestral.layers.couplings import AffineCoupling, Checkerboard, ElementwiseCoupling, Halves, PackedCheckerboard
from ancestral.layers.elementwise import Elementwise, Shift
from ancestral.layers.invertible import Chain, Invertible, Permutation, Squeeze
from ancestral.layers.mlp import MLP
from ancestral.layers.norms import ActNorm
from ancestral.layers.splines import RationalQuadratic

LABEL = Event.label(3)


def moved(layer: Invertible) -> Invertible:
    """Move the parameters away from the near-identity that layers start at."""
    with torch.no_grad():
        for p in layer.parameters():
            p += 0.5 * torch.randn_like(p)
    return layer.double().eval()


def halves(flip: bool, channels: int = 5) -> Invertible:
    parts = Halves(channels, flip)
    return AffineCoupling(MLP(parts.given, (16,), 2 * parts.changed, condition=LABEL), parts)


def checkerboard(flip: bool) -> Invertible:
    parts = Checkerboard(2, 3, 2, flip)
    return AffineCoupling(ResidualConvNet(2, 16, 4, 1, LABEL), parts, dimensions=2)


def packed_checkerboard(flip: bool) -> Invertible:
    parts = PackedCheckerboard(2, flip)
    return AffineCoupling(ResidualConvNet(4, 16, 8, 1, LABEL), parts, dimensions=2)


def image_halves(flip: bool) -> Invertible:
    parts = Halves(3, flip)
    return AffineCoupling(ResidualConvNet(parts.given, 16, 2 * parts.changed, 1, LABEL), parts, dimensions=2)


def elementwise(tau: Elementwise) -> Invertible:
    parts = Halves(5, False)
    return ElementwiseCoupling(MLP(parts.given, (16,), tau.values * parts.changed, condition=LABEL), parts, tau)


def spline_checkerboard() -> Invertible:
    parts, tau = Checkerboard(2, 3, 2, True), RationalQuadratic(4)
    return ElementwiseCoupling(ResidualConvNet(2, 8, tau.values * parts.changed, 1, LABEL), parts, tau)


LAYERS: dict[str, tuple[Callable[[], Invertible], tuple[int, ...]]] = {
    "halves": (lambda: halves(False), (5,)),
    "halves, flipped": (lambda: halves(True), (5,)),
    "checkerboard": (lambda: checkerboard(False), (2, 3, 2)),
    "checkerboard, flipped": (lambda: checkerboard(True), (2, 3, 2)),
    "packed checkerboard": (lambda: packed_checkerboard(False), (2, 2, 4)),
    "packed checkerboard, flipped": (lambda: packed_checkerboard(True), (2, 2, 4)),
    "halves of channels": (lambda: image_halves(False), (3, 2, 2)),
    "halves of channels, flipped": (lambda: image_halves(True), (3, 2, 2)),
    "halves, shifted": (lambda: elementwise(Shift()), (5,)),
    "halves, splines": (lambda: elementwise(RationalQuadratic(4)), (5,)),
    "checkerboard, splines": (spline_checkerboard, (2, 3, 2)),
    "actnorm": (lambda: ActNorm(4), (4,)),
    "actnorm of images": (lambda: ActNorm(2, 2), (2, 2, 3)),
    "squeeze": (Squeeze, (2, 4, 2)),
    "permutation": (lambda: Permutation(torch.tensor([2, 0, 3, 1])), (4,)),
    "chain": (lambda: Chain(halves(False), Permutation(torch.tensor([4, 0, 3, 1, 2])), ActNorm(5), halves(True)), (5,)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_log_determinant_agrees_with_autograd_and_inverse_undoes(name: str) -> None:
    make, shape = LAYERS[name]
    layer = moved(make())
    x = torch.randn(4, *shape, dtype=torch.float64)
    condition = torch.tensor([0, 2, 1, 1])
    y, log_det = layer(x, condition)
    assert y.flatten(1).shape == x.flatten(1).shape
    torch.testing.assert_close(layer.inverse(y, condition), x, rtol=1e-10, atol=1e-10)
    for i in range(len(x)):
        one = condition[i : i + 1]

        def single(v: Tensor, one: Tensor = one) -> Tensor:
            return layer(v.view(1, *shape), one)[0].flatten()

        jacobian = torch.autograd.functional.jacobian(single, x[i].flatten())
        torch.testing.assert_close(log_det[i], torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in LAYERS if "halves" in name or "checkerboard" in name])
def test_given_entries_stay_and_the_others_depend_on_them(name: str) -> None:
    make, shape = LAYERS[name]
    layer = moved(make())
    x = torch.randn(2, *shape, dtype=torch.float64)
    y, _ = layer(x, torch.tensor([0, 1]))
    stays = (y == x).all(0)
    assert 0 < int(stays.sum()) < stays.numel()
    jacobian = torch.autograd.functional.jacobian(lambda v: layer(v, torch.tensor([0]))[0].flatten(), x[:1])
    block = jacobian.view(x[0].numel(), -1)[~stays.flatten()][:, stays.flatten()]
    assert bool((block != 0).any(1).all())


def test_flipped_partitions_change_what_the_others_give() -> None:
    x = torch.ones(1, 2, 3, 3)
    a, b = Checkerboard(2, 3, 3, False), Checkerboard(2, 3, 3, True)
    torch.testing.assert_close(a.split(x)[0] + b.split(x)[0], x)
    assert float(a.split(x)[0][0, 0, 0, 0]) == 1.0
    y = torch.arange(5.0)[None]
    assert Halves(5, False).split(y)[0].tolist() == [[0, 1, 2]]
    assert Halves(5, True).split(y)[0].tolist() == [[3, 4]]


@given(channels=st.integers(2, 9), flip=st.booleans())
def test_halves_join_what_they_split(channels: int, flip: bool) -> None:
    parts = Halves(channels, flip)
    x = torch.arange(2.0 * channels).view(2, channels)
    first, second = parts.split(x)
    assert (first.shape[1], second.shape[1]) == (parts.given, parts.changed)
    assert torch.equal(parts.join(first, second), x)


@pytest.mark.parametrize("flip", [False, True])
def test_a_packed_checkerboard_has_the_colours_of_a_checkerboard(flip: bool) -> None:
    x = torch.arange(2.0 * 3 * 4 * 6).view(2, 3, 4, 6) + 1.0
    plain, packed = Checkerboard(3, 4, 6, flip), PackedCheckerboard(3, flip)
    given, changed = packed.split(x)
    assert given.shape == changed.shape == (2, 6, 2, 3)
    assert torch.equal(packed.join(given, changed), x)
    assert torch.equal(packed.join(given, torch.zeros_like(changed)), plain.split(x)[0])


def test_squeeze_is_pixel_unshuffle() -> None:
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(Squeeze()(x)[0], torch.nn.functional.pixel_unshuffle(x, 2))


def test_the_amplitude_bounds_log_scales() -> None:
    parts = Halves(4, False)
    layer = AffineCoupling(MLP(2, (8,), 4), parts, amplitude=2.5)
    with torch.no_grad():
        for p in layer.network.parameters():
            p.mul_(1e2)
    _, log_det = layer(torch.randn(100, 4))
    assert 4.9 < float(log_det.detach().abs().max()) <= 5.0 + 1e-5  # of two entries


def test_couplings_start_near_the_identity() -> None:
    x = torch.randn(50, 6)
    layer = Chain(*(halves(i % 2 == 1, channels=6) for i in range(8)))
    y, _ = layer(x, torch.zeros(50, dtype=torch.long))
    assert float((y - x).detach().abs().mean()) < 0.5
