"""Residual convolutional networks."""

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.convnet import ResidualConvNet


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 4)])
def test_size_of_the_image_is_kept(height: int, width: int) -> None:
    network = ResidualConvNet(2, 4, 3, blocks=1)
    assert network(torch.randn(2, 2, height, width)).shape == (2, 3, height, width)


def test_field_of_view_grows_by_a_pixel_with_each_block() -> None:
    network = ResidualConvNet(1, 4, 1, blocks=2).double()
    x = torch.randn(1, 1, 11, 11, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x)[0, 0, 5, 5], x)
    seen = gradient[0, 0].abs().amax(0) > 0
    assert seen.tolist() == [False] * 2 + [True] * 7 + [False] * 2


def test_condition_changes_every_output() -> None:
    network = ResidualConvNet(1, 4, 2, condition=Event.label(3))
    x = torch.randn(1, 1, 3, 3).expand(2, -1, -1, -1)
    out = network(x, torch.tensor([0, 2]))
    assert (out[0] != out[1]).all()


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(InvalidInput, match="whole numbers of at least 1"):
        ResidualConvNet(1, 4, 2, blocks=0)
