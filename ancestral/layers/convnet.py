"""Convolutional networks: from image to image of one size, from image to vector, and from vector to image."""

import itertools
import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.mlp import MLP, check_sizes


class ResidualConvNet(nn.Module):
    r"""h_0 = W x + e(c), h_l = h_{l-1} + V_l f(U_l f(h_{l-1})), y = O f(h_L); f is ReLU, U and W are 3x3.

    Args:
        inputs: channels of x.
        channels: channels of each h.
        outputs: channels of y.
        blocks: L, residual blocks.
        condition: the condition's event, or None.

    Raises:
        InvalidInput: for a size below 1.

    >>> import torch
    >>> ResidualConvNet(3, 8, 6)(torch.zeros(2, 3, 5, 4)).shape
    torch.Size([2, 6, 5, 4])
    """

    def __init__(self, inputs: int, channels: int, outputs: int, blocks: int = 2, condition: Event | None = None) -> None:
        super().__init__()
        check_sizes("a convolutional network", (inputs, channels, outputs, blocks))
        self.first = nn.Conv2d(inputs, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 1))
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(channels, outputs, 1)
        self.embedding = ConditionEmbedding(condition, channels) if condition is not None else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return y, (batch, outputs, height, width), for x, (batch, inputs, height, width)."""
        h: Tensor = self.first(x)  # (b, channels, h, w)
        if self.embedding is not None and condition is not None:
            h = h + self.embedding(condition)[:, :, None, None]
        for block in self.blocks:
            h = h + block(h)
        out: Tensor = self.last(F.relu(h))
        return out


class ConvEncoder(nn.Module):
    r"""h_0 = x, h_l = f(W_l * h_{l-1}) of half the height and width, y = MLP(h_L, c); kernels are 3 x 3.

    Args:
        shape: channels, height and width of x.
        channels: channels of each h, the one after x first.
        hidden: units of each hidden layer of the MLP.
        outputs: entries of y.
        activation: f, one of `layers.mlp.ACTIVATIONS`.
        condition: event of what the MLP is also given, or None.

    Raises:
        InvalidInput: for an unknown activation or a size below 1.

    >>> import torch
    >>> ConvEncoder((1, 28, 27), (4, 8), (), 6)(torch.zeros(2, 28 * 27)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int],
        hidden: Sequence[int],
        outputs: int,
        activation: str = "relu",
        condition: Event | None = None,
    ) -> None:
        super().__init__()
        check_sizes("channels", channels)
        self.shape = tuple(shape)
        sizes = halved(self.shape[1:], len(channels))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(m, n, 3, stride=2, padding=1) for m, n in itertools.pairwise((self.shape[0], *channels))
        )
        last = channels[-1] if channels else self.shape[0]
        self.dense = MLP(last * math.prod(sizes[-1]), hidden, outputs, activation, condition)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return y, (batch, outputs), for x, (batch, channels * height * width), and the condition."""
        h = x.view(-1, *self.shape)  # (b, c, h, w)
        for convolution in self.convolutions:
            h = self.dense.activation(convolution(h))
        y: Tensor = self.dense(h.flatten(1), condition)
        return y


class ConvDecoder(nn.Module):
    r"""h_0 = f(MLP(z, c)), h_l = f(W_l * h_{l-1}) of twice the height and width, cut to fit, y = W_L * h_{L-1}.

    The mirror of a `ConvEncoder`: transposed convolutions of 4 x 4 and stride 2, whose outputs reach each pixel evenly.

    Args:
        inputs: entries of z.
        hidden: units of each hidden layer of the MLP.
        channels: channels of each h, h_0 first.
        shape: channels, height and width of y.
        values: numbers for each entry of y.
        activation: f, one of `layers.mlp.ACTIVATIONS`.
        condition: event of what the MLP is also given, or None.

    Attributes:
        widest: numbers of the largest layer, for one z.

    Raises:
        InvalidInput: for an unknown activation or a size below 1.

    >>> import torch
    >>> ConvDecoder(6, (), (8, 4), (1, 28, 27), 2)(torch.zeros(2, 6)).shape
    torch.Size([2, 1512])
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        channels: Sequence[int],
        shape: Sequence[int],
        values: int = 1,
        activation: str = "relu",
        condition: Event | None = None,
    ) -> None:
        super().__init__()
        check_sizes("channels", channels)
        check_sizes("values", (values,))
        self.shape, self.values = tuple(shape), values
        self.sizes = halved(self.shape[1:], len(channels))[::-1]
        widths = (*channels, self.shape[0] * values)
        self.start = widths[0], *self.sizes[0]
        self.dense = MLP(inputs, hidden, math.prod(self.start), activation, condition)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(m, n, 4, stride=2, padding=1) for m, n in itertools.pairwise(widths)
        )
        self.widest = max(*hidden, *(n * math.prod(size) for n, size in zip(widths, self.sizes, strict=True)), 0)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return y, (batch, channels * height * width * values), for z, (batch, inputs), and the condition."""
        h = self.dense(z, condition).view(-1, *self.start)  # (b, channels[0], h, w)
        for convolution, (height, width) in zip(self.convolutions, self.sizes[1:], strict=True):
            h = convolution(self.dense.activation(h))[..., :height, :width]
        by_entry = h.unflatten(1, (self.shape[0], self.values)).permute(0, 1, 3, 4, 2)  # (b, c, h, w, values)
        return by_entry.flatten(1)


def halved(size: Sequence[int], times: int) -> list[tuple[int, int]]:
    """Return height and width, halved and rounded up once, twice, ...; before that as they are.

    >>> halved((28, 5), 2)
    [(28, 5), (14, 3), (7, 2)]
    """
    height, width = size
    sizes = [(height, width)]
    for _ in range(times):
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes
