"""The learned mixing of channels: against the matrix that its factors make, and against autograd."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.layers.invertible_linear import InvertibleLinear


def moved(channels: int, seed: int = 0) -> InvertibleLinear:
    torch.manual_seed(seed)
    layer = InvertibleLinear(channels)
    with torch.no_grad():
        for p in layer.parameters():
            p += 0.3 * torch.randn_like(p)
    return layer.double()


@given(st.integers(1, 12), st.integers(0, 1000))
def test_it_starts_as_a_rotation(channels: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer = InvertibleLinear(channels).double()
    weight, log_det = layer(torch.eye(channels, dtype=torch.float64))
    torch.testing.assert_close(weight @ weight.T, torch.eye(channels, dtype=torch.float64), rtol=0.0, atol=1e-5)
    torch.testing.assert_close(log_det, torch.zeros_like(log_det), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (4, 3, 2), (1, 2, 2)])
def test_log_determinant_agrees_with_autograd_and_inverse_undoes(shape: tuple[int, ...]) -> None:
    layer = moved(shape[0])
    x = torch.randn(3, *shape, dtype=torch.float64)
    y, log_det = layer(x)
    assert y.shape == x.shape
    torch.testing.assert_close(layer.inverse(y), x, rtol=1e-10, atol=1e-10)
    jacobian = torch.autograd.functional.jacobian(lambda v: layer(v.view(1, *shape))[0].flatten(), x[0].flatten())
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-10, atol=1e-10)


def test_pixels_are_mixed_alike_and_by_themselves() -> None:
    layer = moved(4)
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    y, _ = layer(x)
    torch.testing.assert_close(y[:, :, 1, 3], layer(x[:, :, 1, 3])[0])


def test_all_digits_are_kept_under_autocast() -> None:
    torch.manual_seed(0)
    layer, x = InvertibleLinear(8), torch.randn(4, 8, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = layer(x)
    assert torch.equal(y, layer(x)[0])


def test_what_was_drawn_is_saved() -> None:
    torch.manual_seed(0)
    first, other = InvertibleLinear(6), InvertibleLinear(6)
    x = torch.randn(3, 6)
    assert not torch.allclose(first(x)[0], other(x)[0])
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(x)[0], other(x)[0])
