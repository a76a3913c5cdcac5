"""Local contrast normalisation: against sums written out, and where there is no contrast."""

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.layers.contrast import ContrastNorm
from tests.models.learning import generator


def written_out(x: torch.Tensor, window: int, floor: float) -> torch.Tensor:
    """Return what the equations say of one image, (channels, height, width), place by place."""
    channels, height, width = x.shape
    half, deviation = window // 2, window / 6.0

    def mean(values: torch.Tensor, i: int, j: int) -> float:
        total, weights = 0.0, 0.0
        for p in range(max(0, i - half), min(height, i + half + 1)):
            for q in range(max(0, j - half), min(width, j + half + 1)):
                w = 2.718281828459045 ** (-0.5 * ((p - i) ** 2 + (q - j) ** 2) / deviation**2)
                total, weights = total + w * float(values[:, p, q].sum()), weights + w * channels
        return total / weights

    places = [(i, j) for i in range(height) for j in range(width)]
    v = x - torch.tensor([mean(x, i, j) for i, j in places], dtype=x.dtype).view(1, height, width)
    s = torch.tensor([max(mean(v.square(), i, j), floor**2) ** 0.5 for i, j in places], dtype=x.dtype).view(1, height, width)
    return v / torch.maximum(s, s.mean())


def test_it_is_what_the_equations_say() -> None:
    x = torch.randn(2, 3, 5, 6, generator=generator(), dtype=torch.float64)
    found = ContrastNorm(3).double()(x)
    # The window's weights are made in single precision.
    torch.testing.assert_close(found, torch.stack([written_out(each, 3, 1e-3) for each in x]), rtol=1e-5, atol=1e-6)


def test_brightness_and_contrast_of_an_image_do_not_matter() -> None:
    x = torch.randn(2, 1, 8, 8, generator=generator())
    layer = ContrastNorm(5)
    torch.testing.assert_close(layer(3.0 * x + 10.0), layer(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.3, 1000.0])
def test_a_blank_image_stays_blank_and_has_a_gradient(level: float) -> None:
    x = torch.full((1, 2, 6, 6), level, requires_grad=True)
    y = ContrastNorm(9)(x)
    assert float(y.detach().abs().max()) < 1e-3
    y.square().sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


def test_bad_windows_are_refused() -> None:
    for window in (0, 4, -3):
        with pytest.raises(InvalidInput, match=rf"window is {window}, expected an odd number"):
            ContrastNorm(window)
    with pytest.raises(InvalidInput, match=r"floor is 0.0"):
        ContrastNorm(3, 0.0)
