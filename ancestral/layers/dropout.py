"""Dropout whose random numbers cost little on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STEPS = 2**16


class Dropout(nn.Dropout):
    r"""y_i = x_i / (1 - p) with probability 1 - p, else 0, in training; y = x else.

    On a CPU PyTorch draws a floating number for each feature, which takes a tenth of a training step of a small network.
    Here a draw of 64 bits serves four features, with p in steps of 2^-16. Draws are from the global generator.

    Args:
        p: probability of dropping a feature, in [0, 1).

    >>> Dropout(0.3).eval()(torch.ones(2)).tolist()
    [1.0, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop features of `input`, of any shape."""
        if not self.training or self.p == 0.0:
            return input
        if input.device.type != "cpu":
            return F.dropout(input, self.p, True)
        keep = max(1, round((1.0 - self.p) * _STEPS))
        count = input.numel()
        bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
        scale = (bits < keep - _STEPS // 2).to(input.dtype).mul_(_STEPS / keep)
        return input * scale.view(input.shape)
