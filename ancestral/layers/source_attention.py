"""Attention to a source: from each position of one sequence to all positions of another, or of itself."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of a source, (batch, heads, positions, features) each."""


def sinusoids(positions: int, features: int, like: Tensor) -> Tensor:
    r"""Return sin(t r_i) and cos(t r_i), r_i = 10000^{-2 i / features}: a vector for each position t, (positions, features).

    Args:
        positions: their number.
        features: length of a vector, even.
        like: a tensor of the wanted type and device.

    References:
        Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762. There sines and cosines alternate.

    >>> sinusoids(2, 4, torch.zeros(1))[0]
    tensor([0., 0., 1., 1.])
    """
    rates = 10_000.0 ** (-torch.arange(0, features, 2, dtype=torch.float64, device=like.device) / features)
    angles = torch.arange(positions, dtype=torch.float64, device=like.device)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1).to(like.dtype)


class SourceAttention(nn.Module):
    r"""y_t = W_o sum_s softmax_s(q_t . k_s / sqrt(d)) v_s in each head, over all positions s of a source.

    Args:
        width: features of a position, of the source too.
        heads: heads, which share the features evenly.

    Raises:
        InvalidInput: if the features cannot be shared evenly.

    References:
        Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762.

    >>> attention = SourceAttention(8, heads=2)
    >>> source = attention.remember(torch.zeros(3, 5, 8))
    >>> attention(torch.zeros(3, 4, 8), source).shape
    torch.Size([3, 4, 8])
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise InvalidInput(f"{heads} heads cannot share attention of width {width}: the width must be a multiple of them")
        self.heads = heads
        self.queries = nn.Linear(width, width, bias=False)
        self.source = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def remember(self, source: Tensor) -> KeysValues:
        """Return the keys and values of a source, (batch, positions, width): once, however often it is attended to."""
        n, t, width = source.shape
        k, v = self.source(source).view(n, t, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return k, v

    def _queries(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q: Tensor = self.queries(x)
        return q.view(n, t, self.heads, width // self.heads).transpose(1, 2)

    def forward(self, x: Tensor, source: KeysValues, mask: Tensor | None = None) -> Tensor:
        """Gather from a source.

        Args:
            x: (batch, positions, width).
            source: from `remember`.
            mask: which positions of the source there are, (batch, source positions); None for all.

        Returns:
            (batch, positions, width).
        """
        k, v = source
        allowed = None if mask is None else mask[:, None, None]
        y = F.scaled_dot_product_attention(self._queries(x), k, v, attn_mask=allowed)  # (b, heads, t, f)
        return self.output(y.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, source: KeysValues, mask: Tensor | None = None) -> Tensor:
        """Return how much each position gathers from where, the mean over heads, (batch, positions, source positions)."""
        q = self._queries(x)
        scores = (q @ source[0].mT) * q.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], -torch.inf)
        return torch.softmax(scores, dim=-1).mean(1)
