"""The Transformer as a translator: an encoder, and a decoder that attends to it."""

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.attention import CausalSelfAttention, KeyValueMemory
from ancestral.layers.dropout import Dropout
from ancestral.layers.source_attention import KeysValues, SourceAttention, sinusoids
from ancestral.models.autoregressive.encoder_decoder import EncoderDecoder, Source
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register


class FeedForward(nn.Module):
    """W_2 relu(W_1 norm(h)).

    Args:
        width: features of a position.
        hidden: units between W_1 and W_2.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, bias=False)
        self.expand = nn.Linear(width, hidden, bias=False)
        self.reduce = nn.Linear(hidden, width, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Return what is added to `h`, of the same shape."""
        out: Tensor = self.reduce(torch.relu_(self.expand(self.norm(h))))
        return out


class EncoderBlock(nn.Module):
    """h' = h + attention(norm(h)), to all positions, then h'' = h' + feed-forward(h').

    Args:
        width: features of a position.
        heads: heads of the attention.
        hidden: units of the feed-forward layer.
        dropout: probability of dropping a feature of a branch.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, bias=False)
        self.attention = SourceAttention(width, heads)
        self.feed_forward = FeedForward(width, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """Return the features after the block, (batch, positions, width)."""
        x = self.norm(h)
        h = h + self.dropout(self.attention(x, self.attention.remember(x), mask))
        return h + self.dropout(self.feed_forward(h))


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to the source, and a feed-forward layer, each h + branch(norm(h)).

    Args:
        width: features of a position.
        heads: heads of both attentions.
        hidden: units of the feed-forward layer.
        dropout: probability of dropping a feature of a branch.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.attention = CausalSelfAttention(width, heads)
        self.source_norm = nn.LayerNorm(width, bias=False)
        self.source_attention = SourceAttention(width, heads)
        self.feed_forward = FeedForward(width, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, h: Tensor, source: KeysValues, mask: Tensor | None, seen: list[Tensor] | None = None) -> Tensor:
        """Return the features after the block, (batch, positions, width)."""
        h = h + self.dropout(self.attention(self.attention_norm(h)))
        x = self.source_norm(h)
        if seen is not None:
            seen.append(self.source_attention.weights(x, source, mask))
        h = h + self.dropout(self.source_attention(x, source, mask))
        return h + self.dropout(self.feed_forward(h))

    def step(self, h: Tensor, memory: KeyValueMemory, t: int, source: KeysValues, mask: Tensor | None) -> Tensor:
        """Return the features of position `t` after the block, (batch, width)."""
        h = h + self.attention.step(self.attention_norm(h), memory, t)
        h = h + self.source_attention(self.source_norm(h)[:, None], source, mask)[:, 0]
        out: Tensor = h + self.feed_forward(h)
        return out

    def prefill(self, h: Tensor, memory: KeyValueMemory, t: int, source: KeysValues, mask: Tensor | None) -> Tensor:
        """Return the features of positions from `t` on after the block, (batch, positions, width)."""
        h = h + self.attention.prefill(self.attention_norm(h), memory, t)
        h = h + self.source_attention(self.source_norm(h), source, mask)
        out: Tensor = h + self.feed_forward(h)
        return out


@register("transformer-mt")
class TransformerMT(EncoderDecoder):
    r"""An encoder of blocks of self-attention, and a decoder whose blocks attend to what comes before and to the source.

    s = norm(encoder(E x + place)), h = decoder(E y_{<t} + place; s), p(y_t | y_{<t}, x) = softmax(W norm(h_t)). Keys and
    values of the source are computed once for all steps, those of the target are kept.

    Args:
        event: what is predicted, as a rule `Event.sentences`.
        condition: the source, a sequence of whole numbers.
        width: features of a position, even.
        layers: blocks of the decoder.
        encoder_layers: blocks of the encoder; None for as many.
        heads: heads of each attention.
        hidden: units of each feed-forward layer.
        tied: "none"; "output", the output's weights are the embedding's; or "all", the source's too.
        smoothing: label smoothing in training, in [0, 1).
        dropout: probability of dropping a feature of a branch or an embedding.

    Raises:
        InvalidInput: if an option is out of its range, or the condition is no sequence.

    References:
        Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762. Differences: norms come before the
        branches, and once more at the ends; no biases.
        Good for Misconceived Reasons: An Empirical Revisiting on the Need for Visual Context in Multimodal Machine Translation
        (Wu et al., 2021), https://arxiv.org/abs/2105.14462, for the sizes.

    >>> sentences = Event.sentences(8, 20)
    >>> model = TransformerMT(sentences, sentences, width=8, layers=1, heads=2, hidden=8)
    >>> model.log_prob(torch.full((3, 8), 20), torch.full((3, 8), 20)).shape
    torch.Size([3])
    """

    summary = "an encoder and a decoder of attention, for translation"
    reference = "Vaswani et al. 2017"
    training_defaults = {**EncoderDecoder.training_defaults, "learning_rate": 4e-3}
    examples = (
        {
            "event": Event.sentences(4, 2),
            "condition": Event.sentences(3, 2),
            "width": 4,
            "layers": 1,
            "heads": 1,
            "hidden": 6,
        },
        {
            "event": Event.sentences(4, 2),
            "condition": Event.integers((2,), 4, ("time",)),
            "width": 8,
            "layers": 2,
            "encoder_layers": 1,
            "heads": 2,
            "hidden": 4,
            "tied": "output",
        },
        {
            "event": Event.binary((4,)),
            "condition": Event.sentences(3, 1),
            "width": 4,
            "layers": 1,
            "heads": 2,
            "hidden": 4,
            "tied": "none",
            "smoothing": 0.0,
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        width: int = 128,
        layers: int = 4,
        encoder_layers: int | None = None,
        heads: int = 4,
        hidden: int = 256,
        tied: str = "all",
        smoothing: float = 0.1,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(event, condition, width, tied, smoothing, dropout)
        encoder_layers = layers if encoder_layers is None else encoder_layers
        if layers < 1 or encoder_layers < 1 or hidden < 1:
            raise InvalidInput(
                f"layers, encoder_layers and hidden must be at least 1, got {layers}, {encoder_layers}, {hidden}"
            )
        self.encoder = nn.ModuleList(EncoderBlock(width, heads, hidden, dropout) for _ in range(encoder_layers))
        self.encoder_norm = nn.LayerNorm(width, bias=False)
        self.decoder = nn.ModuleList(DecoderBlock(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for blocks, branches in ((self.encoder, 2 * encoder_layers), (self.decoder, 3 * layers)):
            for name, weight in blocks.named_parameters():
                if weight.dim() == 2:
                    # The sum of all branches then has the scale of one.
                    gain = branches**-0.5 if name.endswith(("output.weight", "reduce.weight")) else 1.0
                    nn.init.normal_(weight, std=gain * weight.shape[1] ** -0.5)

    def _blocks(self) -> list[DecoderBlock]:
        return [block for block in self.decoder if isinstance(block, DecoderBlock)]

    def encode_source(self, h: Tensor, mask: Tensor | None, counts: Tensor) -> Source:
        h = h + sinusoids(h.shape[1], h.shape[2], h)
        for block in self.encoder:
            h = block(h, mask)
        return Source(self.encoder_norm(h), mask)

    def decode_features(self, h: Tensor, source: Source, seen: list[Tensor] | None = None) -> Tensor:
        h = h + sinusoids(h.shape[1], h.shape[2], h)
        for block in self._blocks():
            h = block(h, block.source_attention.remember(source.values), source.mask, seen)
        out: Tensor = self.norm(h)
        return out

    # Steps

    def start_decoder(self, state: State, source: Source) -> None:
        blocks = self._blocks()
        memories = [block.attention.start(state.x, self.event.numel) for block in blocks]
        sources = [block.source_attention.remember(source.values) for block in blocks]
        for memory in memories:
            state.remember(memory.keys, memory.values)
        state.cache["blocks"] = list(zip(blocks, memories, sources, strict=True))
        state.cache["mask"] = source.mask
        state.cache["places"] = sinusoids(self.event.numel, self.symbols.embedding_dim, source.values)

    def step_features(self, state: State, h: Tensor) -> Tensor:
        t = state.t
        h = h * self.scale + state.cache["places"][t]
        for block, memory, source in state.cache["blocks"]:
            h = block.step(h, memory, t, source, state.cache["mask"])
        out: Tensor = self.norm(h)
        return out

    def prefill_features(self, state: State, h: Tensor) -> Tensor:
        t = state.t
        h = h * self.scale + state.cache["places"][t : t + h.shape[1]]
        for block, memory, source in state.cache["blocks"]:
            h = block.prefill(h, memory, t, source, state.cache["mask"])
        out: Tensor = self.norm(h)
        return out
