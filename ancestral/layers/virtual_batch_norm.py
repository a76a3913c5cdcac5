"""Virtual batch normalisation: statistics of a reference batch that stays, and of the datum itself."""

import torch
from torch import Tensor, nn

from ancestral.layers.mlp import check_sizes


class VirtualBatchNorm(nn.Module):
    r"""y = (x - m) / sqrt(s - m^2 + eps) * scale + shift, with m and s the means of x and x^2 over the reference and x.

    Axis 1 has the channels; a mean is over all later axes. The first `references` rows of the input are the reference batch,
    put before each batch by `Referenced`; these are normalised among themselves. Each other row is as one more of them: what
    becomes of it does not depend on the rows beside it, in training as in use.

    Args:
        channels: entries of axis 1.
        references: rows of the reference batch.
        eps: added to variances.

    Raises:
        InvalidInput: for a size below 1.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498, 3.5.

    >>> VirtualBatchNorm(1, 2)(torch.tensor([[-1.0], [1.0], [0.0]])).detach().round(decimals=3)
    tensor([[-1.],
            [ 1.],
            [ 0.]])
    """

    def __init__(self, channels: int, references: int, eps: float = 1e-5) -> None:
        super().__init__()
        check_sizes("virtual batch normalisation", (channels, references))
        self.references, self.eps = references, eps
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of the shape of x, (references + batch, channels, ...)."""
        n = self.references
        means = x.flatten(2).float().mean(2) if x.ndim > 2 else x.float()  # (n + b, channels)
        squares = x.flatten(2).float().square().mean(2) if x.ndim > 2 else x.float().square()
        mean, square = _running(means, n), _running(squares, n)  # each (n + b, channels)
        rate = torch.rsqrt((square - mean.square()).clamp(min=0.0) + self.eps) * self.scale
        shape = (*mean.shape, *(1,) * (x.ndim - 2))
        return x * rate.view(shape).to(x.dtype) + (self.shift - mean * rate).view(shape).to(x.dtype)


def _running(each: Tensor, n: int) -> Tensor:
    """Return, for each of the first n rows, their mean; for each later one, the mean of those and itself."""
    among = each[:n].mean(0).expand_as(each[:n])
    return torch.cat((among, (each[:n].sum(0) + each[n:]) / (n + 1)))


class Referenced(nn.Module):
    """A network with `VirtualBatchNorm` inside, given its reference batch, drawn from a standard normal once and kept.

    Args:
        network: takes (rows, inputs), and keeps rows apart but for `VirtualBatchNorm`.
        inputs: entries of a row.
        references: rows of the reference batch.

    >>> Referenced(nn.Sequential(nn.Linear(2, 3), VirtualBatchNorm(3, 4)), 2, 4)(torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    """

    reference: Tensor

    def __init__(self, network: nn.Module, inputs: int, references: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("reference", torch.randn(references, inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return what the network makes of x, (batch, inputs)."""
        out: Tensor = self.network(torch.cat((self.reference, x)))
        return out[len(self.reference) :]
