"""Products band by band against plain ones: values, gradients, types, and masks of other forms."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.layers.banded import banded_linear, bands_of

MASKS = {
    "a triangle": torch.ones(300, 300).tril(),
    "a staircase": (torch.arange(400)[:, None] // 90 >= torch.arange(256)[None] // 60).float(),
    "a band that sees nothing": (torch.arange(256)[:, None] // 128 > torch.arange(256)[None] // 256).float(),
    "bands out of order": torch.ones(300, 256).tril().flip(0),
    "no zeros": torch.ones(256, 256),
}


def case(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
        for shape in ((5, mask.shape[1]), tuple(mask.shape), (len(mask),))
    )
    return x, weight, bias


@pytest.mark.parametrize("name", MASKS)
def test_values_and_gradients_are_those_of_the_masked_product(name: str) -> None:
    mask = MASKS[name]
    inputs = case(mask)
    x, weight, bias = inputs
    plain = F.linear(x, weight * mask, bias)
    y = banded_linear(x, weight, bias, mask, bands_of(mask))
    torch.testing.assert_close(y, plain, rtol=1e-12, atol=1e-12)
    ours, expected = (torch.autograd.grad(out.sin().sum(), inputs) for out in (y, plain))
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_bands_leave_out_zeros() -> None:
    bands = bands_of(MASKS["a triangle"])
    assert [tuple(band) for band in bands] == [(0, 128, 128), (128, 256, 256), (256, 300, 300)]
    assert bands_of(torch.ones(255, 300).tril()) == [(0, 255, 300)]


def test_autocast_computes_in_its_type_and_gradients_keep_theirs() -> None:
    mask = MASKS["a triangle"]
    x, weight, bias = (t.detach().float().requires_grad_() for t in case(mask))
    with torch.autocast("cpu", torch.bfloat16):
        y = banded_linear(x, weight, bias, mask, bands_of(mask))
        plain = F.linear(x, weight * mask, bias)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, plain, rtol=2e-2, atol=2e-1)
    ours = torch.autograd.grad(y.float().sum(), (x, weight, bias))
    expected = torch.autograd.grad(plain.float().sum(), (x, weight, bias))
    assert all(g.dtype == torch.float32 for g in ours)
    torch.testing.assert_close(ours, expected, rtol=2e-2, atol=2e-1)
