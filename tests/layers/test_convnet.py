"""Convolutional networks."""

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.convnet import ConvDecoder, ConvEncoder, ResidualConvNet


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


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 8), (28, 27)])
@pytest.mark.parametrize("channels", [(), (4,), (4, 6, 8)])
def test_encoder_and_decoder_mirror_each_other(height: int, width: int, channels: tuple[int, ...]) -> None:
    shape = (2, height, width)
    encoder = ConvEncoder(shape, channels, (7,), 3)
    decoder = ConvDecoder(3, (7,), channels[::-1], shape, values=5)
    y = encoder(torch.randn(2, 2 * height * width))
    assert y.shape == (2, 3)
    assert decoder(y).shape == (2, 2 * height * width * 5)
    weights = [[tuple(layer.weight.shape[:2]) for layer in network.convolutions] for network in (encoder, decoder)]
    assert weights[0][1:] == weights[1][-2::-1]  # but for the one at the image, which has 5 values


def test_decoder_gives_values_in_the_order_of_the_data() -> None:
    """One transposed convolution, written out as a sum over its taps."""
    decoder = ConvDecoder(2, (), (3,), (2, 3, 5), values=4, activation="tanh")
    z = torch.randn(1, 2)
    h = torch.tanh(decoder.dense(z)).view(3, 2, 3)
    weight, bias = decoder.convolutions[0].weight, decoder.convolutions[0].bias  # (3, 8, 4, 4), (8,)
    expected = bias[:, None, None].expand(8, 3, 5).clone()
    for i in range(2):
        for j in range(3):
            for a in range(4):
                for b in range(4):
                    row, column = 2 * i + a - 1, 2 * j + b - 1
                    if 0 <= row < 3 and 0 <= column < 5:
                        expected[:, row, column] += h[:, i, j] @ weight[:, :, a, b]
    by_entry = expected.view(2, 4, 3, 5).permute(0, 2, 3, 1)
    torch.testing.assert_close(decoder(z).view(2, 3, 5, 4), by_entry)


def test_condition_reaches_the_encoder() -> None:
    y = ConvEncoder((1, 4, 4), (4,), (), 2, condition=Event.label(3))(torch.zeros(3, 16), torch.arange(3))
    assert len(y.unique(dim=0)) == 3


def test_widest_layer_is_known() -> None:
    assert ConvDecoder(2, (), (8, 4), (1, 28, 28)).widest == 14 * 14 * 4
    assert ConvDecoder(2, (5000,), (8, 4), (1, 28, 28)).widest == 5000
    assert ConvDecoder(2, (), (8, 4), (1, 28, 28), values=3).widest == 3 * 28 * 28


def test_convolutions_without_channels_are_refused() -> None:
    for network in (lambda: ConvEncoder((1, 4, 4), (0,), (), 2), lambda: ConvDecoder(2, (), (4,), (1, 4, 4), values=0)):
        with pytest.raises(InvalidInput, match="whole numbers of at least 1"):
            network()
