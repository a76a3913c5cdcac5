"""A soft window that slides along a text: which symbols a point of a pen is written for."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event


class SoftWindow(nn.Module):
    r"""w_t = sum_u phi(t, u) c_u, phi(t, u) = sum_k alpha_k exp(-beta_k (kappa_{t,k} - u)^2), for symbols c_u, one-hot.

    (log alpha, log beta, log step) are linear in the units h_t, and kappa_t = kappa_{t-1} + step: the window never goes back.

    Args:
        text: the event of the texts, sequences of whole numbers.
        units: length of h_t.
        components: k, bumps of the window.
        pace: symbols that the window moves on at each step, at first.

    References:
        Generating Sequences With Recurrent Neural Networks (Graves, 2013), https://arxiv.org/abs/1308.0850, section 5.1. There
        the window is told neither where a text begins nor what comes after it; here an end symbol is a symbol of it.

    >>> window = SoftWindow(Event.sentences(5, 3), units=4)
    >>> source = window.read(torch.tensor([[0, 1, 3, 3, 3]]))
    >>> source.shape
    torch.Size([1, 3, 4])
    >>> w, kappa = window(torch.zeros(1, 4), torch.zeros(1, 10), source)
    >>> w.shape, kappa.shape
    (torch.Size([1, 4]), torch.Size([1, 10]))
    """

    def __init__(self, text: Event, units: int, components: int = 10, pace: float = 1.0) -> None:
        super().__init__()
        self.text, self.components = text, components
        self.features = text.levels or 0
        self.map = nn.Linear(units, 3 * components)
        with torch.no_grad():
            self.map.weight *= 0.1
            self.map.bias.zero_()
            self.map.bias[2 * components :] = math.log(pace)

    def read(self, text: Tensor) -> Tensor:
        """Return one-hot vectors of the symbols of texts, (batch, symbols, levels), zeros after each end; cut to the longest.

        Args:
            text: (batch, *text.shape).
        """
        counts = self.text.counted(text)
        longest = int(counts.max()) if len(text) else 0
        live = torch.arange(longest, device=text.device) < counts[:, None]
        return F.one_hot(text[:, :longest].long(), self.features).to(self.map.weight.dtype) * live[..., None]

    def weights(self, h: Tensor, kappa: Tensor, positions: int) -> tuple[Tensor, Tensor]:
        """Return phi, (batch, positions), and the new kappa, (batch, components); see `forward`."""
        log_alpha, log_beta, log_step = self.map(h).chunk(3, dim=-1)  # (b, k) each
        kappa = kappa + torch.exp(log_step)
        place = torch.arange(positions, dtype=kappa.dtype, device=kappa.device)
        distance = (kappa[..., None] - place).square()  # (b, k, u)
        phi = torch.exp(log_alpha[..., None] - torch.exp(log_beta)[..., None] * distance).sum(-2)
        return phi, kappa

    def forward(self, h: Tensor, kappa: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Move the window and look through it.

        Args:
            h: units of the first layer, (batch, units).
            kappa: where the bumps were, (batch, components); zeros at first.
            source: from `read`, (batch, symbols, levels).

        Returns:
            w, (batch, levels), and where the bumps are now, (batch, components).
        """
        phi, kappa = self.weights(h, kappa, source.shape[1])
        return (phi[:, None] @ source)[:, 0], kappa
