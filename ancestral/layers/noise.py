"""Noise that spreads whole numbers over their cells, learned for each datum."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

START = 1.7
"""Standard deviation at first: the sigmoid of a normal is then nearest to uniform."""


class VariationalNoise(nn.Module):
    r"""n = sigmoid(m + exp(s) e) in (0, 1), e standard normal, (m, log-scale s) = network(x), with log q(n | x).

    Uniform noise has to be undone by the flow, where a value is certain: a density that is narrower than the cell would do as
    well, and cost nothing. Learned noise meets it: log P(x) >= E_q[log p(u) - log q(n | x)] - D log(levels),
    u = (x + n) / levels, of which uniform noise is the case q = 1.

    Args:
        network: from network input, (batch, *shape), to twice as many numbers: along axis 1 the means after the log-scales.

    References:
        Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design (Ho, Chen,
        Srinivas, Duan & Abbeel, 2019), https://arxiv.org/abs/1902.00275. There the noise is itself a flow of couplings,
        here its entries are independent given x.

    >>> noise = VariationalNoise(nn.Linear(3, 6))
    >>> n, log_q = noise(torch.zeros(2, 3))
    >>> n.shape, log_q.shape
    (torch.Size([2, 3]), torch.Size([2]))
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return n, (batch, *shape), and log q(n | x), (batch,), nats.

        Args:
            x: network input, (batch, *shape).
            generator: source of e; torch's default one where omitted.
        """
        log_scale, mean = self.network(x).to(x.dtype).chunk(2, dim=1)
        log_scale = log_scale + math.log(START)
        e = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        v = mean + torch.exp(log_scale) * e
        # log q(n | x) = log N(e) - s - log dn/dv, and dn/dv = n (1 - n).
        log_q = F.softplus(v) + F.softplus(-v) - log_scale - 0.5 * (e.square() + math.log(2.0 * math.pi))
        return torch.sigmoid(v), log_q.flatten(1).sum(1)
