"""A learned linear map between channels that is inverted exactly: a permutation that is free to be any rotation and scale."""

import torch
from torch import Tensor, nn

from ancestral.layers.invertible import Invertible


class InvertibleLinear(Invertible):
    r"""y = W x at each pixel, W = P L (U + diag(sign exp(s))), log |det| = pixels * sum(s).

    P is a permutation and the signs are fixed; L, unit lower triangular, U, strictly upper triangular, and s are learned. The
    inverse solves two triangular systems. At first W is a random rotation.

    Args:
        channels: length of axis 1.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma & Dhariwal, 2018),
        https://arxiv.org/abs/1807.03039.

    >>> layer = InvertibleLinear(3)
    >>> x = torch.randn(2, 3, 4, 4)
    >>> torch.allclose(layer.inverse(layer(x)[0]), x, atol=1e-5)
    True
    """

    order: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels))
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        # Drawn, not made from the arguments: part of the saved state.
        self.register_buffer("order", permutation.argmax(1))
        self.register_buffer("sign", diagonal.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_scale = nn.Parameter(diagonal.abs().log())

    def _factors(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(len(self.order), dtype=self.lower.dtype, device=self.lower.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + torch.diag(self.sign * torch.exp(self.log_scale))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        pixels = x.flatten(2) if x.dim() > 2 else x[..., None]  # (b, c, n)
        lower, upper = self._factors()
        # A map that is to be inverted keeps all its digits, under autocast too.
        with torch.autocast(x.device.type, enabled=False):
            y = (lower @ upper).index_select(0, self.order) @ pixels
        return y.view_as(x), (self.log_scale.sum() * pixels.shape[2]).expand(len(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        columns = y.transpose(0, 1)  # (c, b, ...)
        lower, upper = self._factors()
        right = columns.flatten(1).index_select(0, torch.argsort(self.order))
        middle = torch.linalg.solve_triangular(lower, right, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, middle, upper=True).view_as(columns).transpose(0, 1)
