"""Features at a low rate to features at every position, by a transposed convolution."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput


class Upsample(nn.Module):
    r"""y_t = b + sum_f W_{t - f s + s} x_f: a transposed convolution of stride s = ceil(positions / (frames - 1)).

    Frame f stands at position f s, and reaches one stride to either side of it. Weights begin as a linear map of the two
    frames around a position, weighted by how near they are.

    Args:
        frames: frames of x, at least 2, and features of a frame.
        outputs: features of a position.
        positions: positions of y.

    Raises:
        InvalidInput: if there are fewer than two frames, or a size is below 1.

    References:
        WaveNet: A Generative Model for Raw Audio (van den Oord et al., 2016), https://arxiv.org/abs/1609.03499, section 2.5.

    >>> Upsample((95, 40), 16, 6000)(torch.zeros(2, 95, 40)).shape
    torch.Size([2, 6000, 16])
    """

    def __init__(self, frames: tuple[int, int], outputs: int, positions: int) -> None:
        super().__init__()
        count, inputs = frames
        if count < 2 or min(inputs, outputs, positions) < 1:
            raise InvalidInput(
                f"frames that are upsampled are at least 2, of at least 1 feature, got {count} of {inputs} for {positions}"
                f" positions of {outputs}"
            )
        self.positions, self.stride = positions, math.ceil(positions / (count - 1))
        s = self.stride
        near = 1.0 - (torch.arange(2 * s) - s).abs() / s  # 0 one stride before the frame, 1 at it
        mixing = torch.randn(inputs, outputs, 1) * inputs**-0.5
        self.weight = nn.Parameter(mixing * near)  # (inputs, outputs, 2 s)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (batch, positions, outputs), for x, (batch, frames, inputs)."""
        y = F.conv_transpose1d(x.mT, self.weight, self.bias, stride=self.stride, padding=self.stride)
        return y[..., : self.positions].mT
