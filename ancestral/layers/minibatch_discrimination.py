"""Minibatch discrimination: how close each datum's features are to those of the others in its batch."""

import torch
from torch import Tensor, nn

from ancestral.layers.mlp import check_sizes


class MinibatchDiscrimination(nn.Module):
    r"""y_i = (x_i, o_i), o_ib = sum_{j != i} exp(-||(x_i - x_j) T_b||_1), each T_b a learned map to a few numbers.

    A critic that sees o can tell a batch of equal samples from one of data, whatever each sample is like.

    Args:
        features: entries of x.
        kernels: entries of o.
        numbers: what each T_b maps to.

    Raises:
        InvalidInput: for a size below 1.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498, 3.2. There the sum has
        j = i too, which adds 1; without it, o is 0 in a batch of one.

    >>> MinibatchDiscrimination(4, 3)(torch.zeros(2, 4))[:, 4:]
    tensor([[1., 1., 1.],
            [1., 1., 1.]], grad_fn=<SliceBackward0>)
    """

    def __init__(self, features: int, kernels: int, numbers: int = 5) -> None:
        super().__init__()
        check_sizes("minibatch discrimination", (features, kernels, numbers))
        self.kernels = kernels
        self.map = nn.Linear(features, kernels * numbers, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (batch, features + kernels), for x, (batch, features)."""
        m = self.map(x).unflatten(1, (self.kernels, -1)).float()  # (b, kernels, numbers)
        distance = (m[:, None] - m[None]).abs().sum(-1)  # (b, b, kernels)
        others = 1.0 - torch.eye(len(x), device=x.device)
        close = (torch.exp(-distance) * others[:, :, None]).sum(1)  # (b, kernels)
        return torch.cat((x, close.to(x.dtype)), dim=1)
