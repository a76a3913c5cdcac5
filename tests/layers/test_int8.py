"""Layers of eight bits: what they compute, and how far that is from what they stand for."""

import copy

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ancestral.layers.int8 import Int8Linear, replace_linear


def rounded(x: Tensor) -> Tensor:
    scale = x.abs().amax(1, keepdim=True) / 127
    return torch.where(scale > 0, (x / scale).round() * scale, x)


@given(
    n=st.integers(1, 40),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 40),
    bias=st.booleans(),
    seed=st.integers(0, 99),
    double=st.booleans(),
)
def test_a_layer_multiplies_rounded_inputs_and_rounded_weights(
    n: int, inputs: int, outputs: int, bias: bool, seed: int, double: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(inputs, outputs, bias=bias).requires_grad_(False).to(torch.float64 if double else torch.float32)
    for parameter in linear.parameters():
        parameter.normal_(generator=generator)
    x = torch.randn(n, inputs, generator=generator, dtype=linear.weight.dtype)
    expected = rounded(x) @ rounded(linear.weight).T + (linear.bias if bias else 0.0)
    tolerance = 1e-12 if double else 1e-4
    torch.testing.assert_close(Int8Linear(linear)(x), expected, rtol=tolerance, atol=tolerance)


def test_zeros_stay_zeros() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    assert torch.equal(Int8Linear(layer)(torch.ones(1, 3)), layer.bias.detach()[None])
    assert torch.equal(Int8Linear(nn.Linear(3, 2, bias=False))(torch.zeros(1, 3)), torch.zeros(1, 2))


def test_leading_axes_are_kept_and_a_copy_computes_the_same() -> None:
    layer = Int8Linear(nn.Linear(6, 5))
    x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    y = layer(x)
    assert y.shape == (2, 3, 5)
    assert torch.equal(layer(x[0, 1]), y[0, 1])
    assert torch.equal(copy.deepcopy(layer)(x), y)


def test_layers_within_layers_are_replaced() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    replace_linear(module)
    assert [type(m) for m in module.modules() if not list(m.children())] == [Int8Linear, nn.ReLU, Int8Linear]
