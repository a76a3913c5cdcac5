"""Lipschitz layers: the constant that they certify against the operator's own norm, and finite differences."""

import pytest
import torch
from torch import Tensor, nn

from ancestral.layers.lipschitz import (
    OrthogonalConv2d,
    OrthogonalLinear,
    Spectral,
    SpectralConv2d,
    SpectralLinear,
    cayley,
    convolution_norm_bound,
)

CONVOLUTIONS = [
    (1, 3, 3, (5, 4), 1, 1),
    (2, 3, 4, (6, 8), 2, 1),
    (3, 2, 3, (7, 5), 2, 1),
    (2, 2, 5, (6, 6), 2, 2),
    (2, 4, 1, (3, 3), 1, 0),
    (1, 2, 3, (8, 8), 3, 0),
]
SHAPES = pytest.mark.parametrize(("inputs", "outputs", "kernel", "size", "stride", "padding"), CONVOLUTIONS)


def matrix(layer: nn.Module, *shape: int) -> Tensor:
    """Return the linear part of a layer as a matrix, column by column."""
    numel = torch.Size(shape).numel()
    x = torch.eye(numel, dtype=torch.float64).view(numel, *shape)
    with torch.no_grad():
        return (layer(x) - layer(torch.zeros(1, *shape, dtype=torch.float64))).flatten(1).T


def moved(layer: nn.Module) -> nn.Module:
    """Return a layer in double precision, its weights moved away from where they started."""
    torch.manual_seed(1)
    layer = layer.double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn_like(p))
    if isinstance(layer, Spectral):
        layer.iterate()
    return layer


def converge(layer: nn.Module, steps: int = 300) -> None:
    for _ in range(steps):
        layer.iterate()


@SHAPES
def test_a_spectral_convolution_is_certified(inputs, outputs, kernel, size, stride, padding) -> None:
    layer = moved(SpectralConv2d(inputs, outputs, kernel, size, stride=stride, padding=padding))
    true = float(torch.linalg.matrix_norm(matrix(layer, inputs, *size), 2))
    # Whether or not the power iteration has converged, the certified constant is no less than the true one, and it is near.
    assert true <= layer.constant() * (1 + 1e-9)
    converge(layer)
    true = float(torch.linalg.matrix_norm(matrix(layer, inputs, *size), 2))
    assert true == pytest.approx(1.0, abs=1e-6)
    assert 1.0 - 1e-9 <= layer.constant() < 1.3
    a = matrix(layer, inputs, *size) * layer.scale().detach()
    y = torch.randn(layer.v.shape, dtype=torch.float64)
    torch.testing.assert_close(layer.adjoint(y).flatten(), a.T @ y.flatten())


def test_the_certified_constant_nears_the_true_one_on_larger_images() -> None:
    layer = moved(SpectralConv2d(2, 3, 4, (24, 24), stride=2, padding=1))
    converge(layer)
    assert 1.0 - 1e-9 <= layer.constant() < 1.02


def test_the_norm_of_the_kernel_as_a_matrix_is_another_number() -> None:
    weight = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    layer = SpectralConv2d(1, 1, 3, (12, 12), padding=1).double()
    with torch.no_grad():
        layer.weight.copy_(weight)
    converge(layer)
    assert float(weight.flatten(1).norm()) == pytest.approx(3.0)
    # All ones over a wide constant image give 9 at each inner place.
    assert 8.0 < float(layer.scale().detach()) < 9.0
    assert convolution_norm_bound(weight, (12, 12)) == pytest.approx(9.0)


def test_a_spectral_linear_layer_is_certified() -> None:
    layer = moved(SpectralLinear(7, 5))
    true = float(torch.linalg.matrix_norm(matrix(layer, 7), 2))
    assert true == pytest.approx(layer.constant(), rel=1e-9)
    converge(layer)
    assert layer.constant() == pytest.approx(1.0, abs=1e-6)
    assert float(torch.linalg.matrix_norm(matrix(layer, 7), 2)) == pytest.approx(1.0, abs=1e-6)


def test_gradients_pass_through_the_scale() -> None:
    """W / ||W|| does not change with the length of W: its gradient along W is zero."""
    layer = moved(SpectralLinear(4, 3))
    converge(layer)
    (layer(torch.randn(5, 4, dtype=torch.float64)) - layer.bias).square().sum().backward()
    assert float((layer.weight.grad * layer.weight.detach()).sum()) == pytest.approx(0.0, abs=1e-9)
    assert float(layer.weight.grad.abs().max()) > 1e-3


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 7), (7, 4), (5, 5)])
def test_an_orthogonal_linear_layer_has_orthonormal_rows_or_columns(inputs: int, outputs: int) -> None:
    layer = moved(OrthogonalLinear(inputs, outputs))
    singular = torch.linalg.svdvals(matrix(layer, inputs))
    torch.testing.assert_close(singular, torch.ones_like(singular))
    assert layer.constant() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "size", "stride"),
    [(2, 2, 3, (5, 4), 1), (1, 4, 3, (6, 6), 2), (2, 5, 3, (7, 5), 2), (3, 2, 2, (4, 4), 1), (1, 3, 3, (2, 2), 2)],
)
def test_an_orthogonal_convolution_is_an_orthogonal_operator(inputs, outputs, kernel, size, stride) -> None:
    layer = moved(OrthogonalConv2d(inputs, outputs, kernel, size, stride=stride))
    singular = torch.linalg.svdvals(matrix(layer, inputs, *size))
    assert float(singular.max()) <= 1.0 + 1e-9
    if outputs >= inputs * stride**2:
        torch.testing.assert_close(singular, torch.ones_like(singular))
    if not any(n % stride for n in size):
        torch.testing.assert_close(singular, torch.ones_like(singular))
    assert layer.constant() == pytest.approx(1.0)


def test_cayley_reaches_every_parameter() -> None:
    free = torch.randn(3, 5, 2, dtype=torch.complex128, requires_grad=True)
    q = cayley(free)
    torch.testing.assert_close(q.mH @ q, torch.eye(2, dtype=torch.complex128).expand(3, 2, 2))
    assert torch.autograd.gradcheck(cayley, (free,))


@pytest.mark.parametrize("kind", ["spectral", "orthogonal"])
def test_finite_differences_never_exceed_the_certified_constant(kind: str) -> None:
    if kind == "spectral":
        layers = [SpectralConv2d(1, 4, 4, (8, 8), stride=2, padding=1), SpectralConv2d(4, 6, 3, (4, 4), padding=1)]
        layers += [SpectralLinear(96, 1)]
    else:
        layers = [OrthogonalConv2d(1, 4, 3, (8, 8), stride=2), OrthogonalConv2d(4, 6, 3, (4, 4)), OrthogonalLinear(96, 1)]
    layers = [moved(layer) for layer in layers]
    certified = torch.tensor([layer.constant() for layer in layers]).prod()
    network = nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1], nn.ReLU(), nn.Flatten(), layers[2])
    x = torch.randn(500, 1, 8, 8, dtype=torch.float64)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(network(x).sum(), x)
    x = x.detach()
    # Along the gradient and in random directions, near and far.
    for step in (slope, torch.randn_like(x), 0.01 * torch.randn_like(x)):
        rise = (network(x + step) - network(x)).detach().abs().flatten()
        assert float((rise / step.flatten(1).norm(dim=1)).max()) <= float(certified) + 1e-6


@pytest.mark.parametrize(
    "layer", [SpectralLinear(6, 4), OrthogonalLinear(6, 4), SpectralConv2d(1, 2, 3, (2, 3)[::-1], padding=1),
              OrthogonalConv2d(1, 2, 3, (3, 2))], ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_mixed_precision_and_state(layer: nn.Module) -> None:
    x = torch.randn(3, 6) if "Linear" in type(layer).__name__ else torch.randn(3, 1, 3, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(x)
    torch.testing.assert_close(mixed.float(), layer(x), atol=0.03, rtol=0.03)
    again = type(layer)(*((6, 4) if "Linear" in type(layer).__name__ else (1, 2, 3, (3, 2))), **(
        {"padding": 1} if isinstance(layer, SpectralConv2d) else {}))  # fmt: skip
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))
