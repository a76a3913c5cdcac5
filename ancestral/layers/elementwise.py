"""Invertible functions of one entry, for the layers of flows that compute their parameters from other entries."""

from typing import Protocol

import torch
from torch import Tensor


class Elementwise(Protocol):
    """An invertible function of single entries, y = tau(x; raw), increasing in x.

    Args:
        values: numbers in `raw` for each entry, any of which give an invertible function.
    """

    values: int

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log dy/dx, both of the shape of x, for x, (...), and raw, (..., values)."""
        ...

    def inverse(self, y: Tensor, raw: Tensor) -> Tensor:
        """Return the x whose image is y."""
        ...


class Shift:
    """y = x + m.

    >>> Shift().forward(torch.ones(2), torch.tensor([[1.0], [2.0]]))
    (tensor([2., 3.]), tensor([0., 0.]))
    """

    values = 1

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return x + raw[..., 0], torch.zeros_like(x)

    def inverse(self, y: Tensor, raw: Tensor) -> Tensor:
        return y - raw[..., 0]


class Affine:
    r"""y = (x - m) * exp(s), (a, m) = raw, s = a / (1 + |a| / limit).

    Args:
        limit: bound of |s|; s is nearly a where a is far below it.

    >>> y, log_det = Affine().forward(torch.tensor([3.0]), torch.tensor([[0.0, 1.0]]))
    >>> y, log_det
    (tensor([2.]), tensor([0.]))
    """

    values = 2

    def __init__(self, limit: float = 8.0) -> None:
        self.limit = limit

    def _parameters(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        a, m = raw.unbind(-1)
        return a / (1.0 + a.abs() / self.limit), m

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, m = self._parameters(raw)
        return (x - m) * torch.exp(log_scale), log_scale

    def inverse(self, y: Tensor, raw: Tensor) -> Tensor:
        log_scale, m = self._parameters(raw)
        return y * torch.exp(-log_scale) + m
