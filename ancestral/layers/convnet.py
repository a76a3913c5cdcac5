"""Residual convolutional networks that keep the size of the image."""

import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.mlp import check_sizes


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
