"""What layers of normalizing flows are: `forward` with its log-determinant, and `inverse`; and the plainest of them."""

from typing import cast

import torch
from torch import Tensor, nn


class Invertible(nn.Module):
    """A map x -> y with a tractable inverse and log |det dy/dx|, given a condition where there is one."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return y, (batch, ...), and log |det dy/dx|, (batch,), nats."""
        raise NotImplementedError

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the x whose image is y."""
        raise NotImplementedError


class Chain(Invertible):
    """Invertible maps, one after another.

    Args:
        *layers: the maps, the first one first.
    """

    def __init__(self, *layers: Invertible) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, log_det = layer(x, condition)
            total = total + log_det
        return x, total

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        for layer in list(self.layers)[::-1]:
            y = cast(Invertible, layer).inverse(y, condition)
        return y


class Inverse(Invertible):
    """A layer the other way round: its inverse is `forward`, and its `forward` the inverse.

    Args:
        layer: the layer.

    >>> Inverse(Squeeze())(torch.zeros(1, 4, 1, 1))[0].shape
    torch.Size([1, 1, 2, 2])
    """

    def __init__(self, layer: Invertible) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = self.layer.inverse(x, condition)
        _, log_det = self.layer(y, condition)
        return y, -log_det

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        x: Tensor = self.layer(y, condition)[0]
        return x


class Squeeze(Invertible):
    """Each 2x2 block of pixels becomes four channels of one pixel: (c, h, w) -> (4 c, h / 2, w / 2)."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        b, c, h, w = x.shape
        # As F.pixel_unshuffle, which loses the shape of an empty batch.
        blocks = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)
        return blocks.reshape(b, 4 * c, h // 2, w // 2), x.new_zeros(b)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        b, c, h, w = y.shape
        return y.reshape(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * h, 2 * w)


class Permutation(Invertible):
    """The entries of axis 1 in another order.

    Args:
        order: index into x of each entry of y, (channels,).
    """

    order: Tensor
    inverse_order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        # Made from the arguments: not part of the saved state.
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse_order", torch.argsort(order), persistent=False)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.index_select(1, self.order), x.new_zeros(len(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        return y.index_select(1, self.inverse_order)
