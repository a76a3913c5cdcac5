"""Invertible layers that change each entry given those before it: a pass in one direction, entry by entry in the other."""

import torch
from torch import Tensor

from ancestral.layers.elementwise import Elementwise
from ancestral.layers.invertible import Invertible
from ancestral.layers.masked import MaskedMLP


class Autoregressive(Invertible):
    r"""y_d = tau(x_d; network(x_{<d}, c)_d), log |det| = sum_d log dtau/dx_d.

    `forward` is one pass. `inverse` finds x_1, x_2, ... in turn, and computes each hidden unit once: when the last entry that
    it sees is known. All entries cost about as many products as one pass, in as many steps as there are entries.

    Gradients flow through `inverse` as well. They need what each step computed: memory then grows with each step, and the
    steps take several times as long as those of a draw.

    Args:
        network: gives the parameters of tau for each entry, `tau.values` numbers.
        tau: an invertible function of one entry.

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057.

    >>> from ancestral.layers.elementwise import Affine
    >>> layer = Autoregressive(MaskedMLP(4, (8,), 2), Affine())
    >>> x = torch.randn(3, 4)
    >>> torch.allclose(layer.inverse(layer(x)[0]), x, atol=1e-5)
    True
    """

    def __init__(self, network: MaskedMLP, tau: Elementwise) -> None:
        super().__init__()
        self.network = network
        self.tau = tau
        with torch.no_grad():  # near the identity at first, however deep the flow
            network.output.weight.mul_(0.1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raw = self.network(x, condition).to(x.dtype)  # (b, d, values); log-determinants leave autocast's type here
        y, log_det = self.tau.forward(x, raw)
        return y, log_det.sum(1)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        differentiable = torch.is_grad_enabled()
        steps = self.network.steps(len(y), condition, differentiable)
        x = torch.empty_like(y.T, memory_format=torch.contiguous_format)  # (d, b)
        for t, column in enumerate(y.T):
            raw = steps.advance(x[:t], t, t).to(y.dtype)  # (values, b)
            entry = self.tau.inverse(column, raw.T)  # (b,)
            if differentiable:
                x = torch.cat((x[:t], entry[None]))
            else:
                x[t] = entry
        return x.T
