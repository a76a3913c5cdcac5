"""The Sparse Transformer: a Transformer whose layers attend to about sqrt(n) of the n positions."""

from dataclasses import asdict

import torch
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.layers.attention import CausalSelfAttention
from ancestral.layers.mlp import check_choice
from ancestral.layers.sparse_attention import SparseSelfAttention
from ancestral.layers.sparse_patterns import ScoreEntries, make_parts
from ancestral.models.autoregressive.transformer import AttentionModel
from ancestral.models.registry import register

POSITIONS = ("rotary", "factored")
"""How a position is told from another."""


@register("sparse-transformer")
class SparseTransformer(AttentionModel):
    r"""Blocks as a Transformer's, in turn with attention to the positions A_t^1 and A_t^2, of about sqrt(n) each.

    Strided, for data whose structure aligns with the stride l, such as images: A_t^1 = {s: t - l < s <= t} and A_t^2 =
    {s <= t: (t - s) mod l = 0}. Fixed, for text: A_t^1 = {s <= t: floor(s / l) = floor(t / l)} and A_t^2 = {s <= t: s mod l
    >= l - c}. Any two layers that follow each other take an entry to every later one. Where a position has no summary
    before it, the second attention adds nothing.

    Args:
        event: any event of whole numbers; images go pixel by pixel, channels innermost.
        condition: what every position's embedding also depends on, linearly; None for none.
        width: features of a position.
        layers: blocks; with fewer than 2, an entry does not depend on all before it.
        heads: heads of each block's attention.
        hidden: units of each block's own layer; None for four times the width.
        pattern: "strided" or "fixed".
        stride: l, entries; None for the root of their number, rounded. A row of an image is its width times its channels.
        summary: c, summary columns of a block of the fixed pattern; None for 8, or a quarter of the stride where that is
            less.
        positions: "rotary", which tells how far apart positions are, or "factored", a learned vector for the row and one
            for the column of a position, in rows of `stride` positions.
        tied: whether the output's weights are the embedding's.
        dropout: probability of dropping a feature of a branch, an embedding, or a weight of the attention.
        head: output distribution of an entry: "auto", "softmax", "logistic-mixture".
        components: mixture components, for mixture heads.

    Raises:
        InvalidInput: if an option is out of its range, or the head does not fit.

    References:
        Generating Long Sequences with Sparse Transformers (Child, Gray, Radford & Sutskever, 2019),
        https://arxiv.org/abs/1904.10509. Differences: rotary positions by default, where the paper has factored ones; of
        its three ways to use the two parts, the one that it advises for very long sequences, in turn by layer; all heads
        have the same summary columns; the window holds l positions, as in the authors' code; no biases in the blocks;
        activations are kept for the backward pass, not computed again.

    >>> model = SparseTransformer(Event.integers((16,), 65), width=16, layers=2, heads=2)
    >>> model.log_prob(torch.zeros(3, 16)).shape, model.config["stride"]
    (torch.Size([3]), 4)
    """

    summary = "causal self-attention to about sqrt(n) of n positions: strided or fixed patterns"
    reference = "Child et al. 2019"
    examples = (
        {"event": Event.binary((7,)), "width": 4, "layers": 2, "heads": 1},
        {"event": Event.integers((5,), 3), "width": 8, "layers": 2, "heads": 2, "pattern": "fixed", "stride": 2, "tied": True},
        {"event": Event.binary((11,)), "width": 8, "layers": 3, "heads": 2, "pattern": "fixed", "stride": 4, "summary": 2},
        {"event": Event.integers((1, 2, 2), 3), "width": 4, "layers": 2, "heads": 1, "positions": "factored"},
        {"event": Event.integers((3, 2, 1), 2), "width": 8, "layers": 2, "heads": 2, "stride": 3, "condition": Event.label(3)},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        hidden: int | None = None,
        pattern: str = "strided",
        stride: int | None = None,
        summary: int | None = None,
        positions: str = "rotary",
        tied: bool = False,
        dropout: float = 0.0,
        head: str = "auto",
        components: int = 10,
    ) -> None:
        check_choice("kind of positions", positions, POSITIONS)
        parts = make_parts(pattern, event.numel, stride, summary)

        def attention(layer: int) -> CausalSelfAttention:
            return SparseSelfAttention(width, heads, parts[layer % 2], dropout)

        super().__init__(event, condition, width, layers, hidden, attention, tied, dropout, head, components)
        # What the length decided is part of the configuration: the weights are of this pattern at any other length too.
        self._config.update(asdict(parts[1]))
        self.rows = self.columns = None
        if positions == "factored":
            size = min(parts[0].stride, event.numel)
            self.rows = nn.Parameter(0.02 * torch.randn(-(-event.numel // size), width))
            self.columns = nn.Parameter(0.02 * torch.randn(size, width))

    def place_vectors(self) -> Tensor | None:
        if self.rows is None or self.columns is None:
            return None
        return (self.rows[:, None] + self.columns).flatten(0, 1)[: self.event.numel]

    def score_entries(self) -> ScoreEntries:
        """Return the score entries of all layers and heads for one datum; dense attention would have layers heads n^2.

        Those computed are of the kernel that goes block by block.

        >>> SparseTransformer(Event.binary((1024,)), layers=2, heads=1).score_entries()
        ScoreEntries(computed=97280, needed=49168)
        """
        total = ScoreEntries(0, 0)
        for module in self.modules():
            if isinstance(module, SparseSelfAttention):
                one = module.part.entries(self.event.numel)
                total += ScoreEntries(module.heads * one.computed, module.heads * one.needed)
        return total
