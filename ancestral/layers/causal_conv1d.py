"""Dilated causal convolutions over a sequence: all positions at once, or one position with what the kernel still needs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput


def doubling_dilations(sets: int, largest: int) -> list[int]:
    """Return the dilations 1, 2, 4, ..., `largest`, `sets` times over.

    Raises:
        InvalidInput: if there is no set, or the largest dilation is no power of 2.

    >>> doubling_dilations(2, 4)
    [1, 2, 4, 1, 2, 4]
    """
    if sets < 1 or largest < 1 or largest & (largest - 1):
        raise InvalidInput(f"dilations need at least 1 set and a power of 2 as max_dilation, got {sets} and {largest}")
    return [2**i for i in range(largest.bit_length())] * sets


class CausalConv1d(nn.Module):
    r"""y_t = b + sum_{i=0}^{k-1} W_i x_{t - i r}: a kernel of k taps that are r positions apart and end at the own one.

    Zeros stand before the first position.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: taps k.
        dilation: positions r between taps.

    Raises:
        InvalidInput: if the kernel or the dilation is below 1.

    References:
        WaveNet: A Generative Model for Raw Audio (van den Oord et al., 2016), https://arxiv.org/abs/1609.03499.

    >>> CausalConv1d(3, 4, kernel=2, dilation=8)(torch.zeros(1, 5, 3)).shape
    torch.Size([1, 5, 4])
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        if kernel < 1 or dilation < 1:
            raise InvalidInput(
                f"a causal convolution needs a kernel and a dilation of at least 1, got {kernel} and {dilation}"
            )
        self.kernel, self.dilation = kernel, dilation
        self.weight = nn.Parameter(torch.empty(outputs, kernel, inputs))  # the last tap is on the own position
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.reset()

    @property
    def reach(self) -> int:
        """Positions before the own one that the kernel reads back to."""
        return (self.kernel - 1) * self.dilation

    def reset(self, gain: float = 1.0) -> None:
        """Draw the weights from N(0, gain^2 / fan-in)."""
        nn.init.normal_(self.weight, std=gain / math.sqrt(self.weight[0].numel()))
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve all positions: (batch, positions, inputs) to (batch, positions, outputs)."""
        if self.kernel == 1:
            return F.linear(x, self.weight[:, 0], self.bias)
        x = F.pad(x.mT, (self.reach, 0))  # (b, inputs, reach + t)
        return F.conv1d(x, self.weight.mT, self.bias, dilation=self.dilation).mT

    # Steps: they carry no gradient.

    def start(self, like: Tensor) -> Tensor:
        """Return memory for the last positions of a batch, (batch, reach + 1, inputs), zero, of `like`'s type and device."""
        return like.new_zeros(len(like), self.reach + 1, self.weight.shape[2])

    def step(self, x: Tensor, memory: Tensor, t: int) -> Tensor:
        """Convolve position `t`.

        Args:
            x: (batch, inputs).
            memory: from `start`; position t is written at t modulo its length.
            t: the position, from 0.

        Returns:
            (batch, outputs).
        """
        if self.kernel == 1:
            return F.linear(x, self.weight[:, 0], self.bias)
        size = memory.shape[1]
        memory[:, t % size] = x
        taps = [memory[:, (t - i * self.dilation) % size] for i in reversed(range(self.kernel))]
        return F.linear(torch.cat(taps, dim=1), self.weight.flatten(1), self.bias)

    def prefill(self, x: Tensor, memory: Tensor, t: int) -> Tensor:
        """Convolve several positions in one pass, to what `step` after `step` leads to.

        Args:
            x: of positions t, t + 1, ..., (batch, positions, inputs).
            memory: as in `step`.
            t: the first position, from 0.

        Returns:
            (batch, positions, outputs).
        """
        if self.kernel == 1:
            return F.linear(x, self.weight[:, 0], self.bias)
        x = extended(x, memory, t, self.reach)
        return F.conv1d(x.mT, self.weight.mT, self.bias, dilation=self.dilation).mT


def extended(x: Tensor, ring: Tensor, t: int, reach: int) -> Tensor:
    """Return positions with those before them in front, and put the last of them into the ring that these are from.

    Args:
        x: of positions t, t + 1, ..., (batch, positions, features).
        ring: position s is at s modulo its length, which is `reach` at least, (batch, length, features); zero where there
            was none.
        t: the first position, from 0.
        reach: how many are wanted of those before.

    Returns:
        (batch, reach + positions, features).

    >>> ring = torch.zeros(1, 2, 1)
    >>> [extended(torch.full((1, 3, 1), v), ring, t, 2).flatten().tolist() for t, v in ((0, 5.0), (3, 6.0))]
    [[0.0, 0.0, 5.0, 5.0, 5.0], [5.0, 5.0, 6.0, 6.0, 6.0]]
    """
    size, end = ring.shape[1], t + x.shape[1]
    last = torch.arange(max(t, end - size), end)
    x = torch.cat((ring[:, torch.arange(t - reach, t) % size], x), dim=1)
    ring[:, last % size] = x[:, last - end]
    return x
