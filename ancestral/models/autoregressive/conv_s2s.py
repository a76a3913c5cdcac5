"""Convolutional sequence to sequence learning: gated convolutions on both sides, with attention in each decoder layer."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.causal_conv1d import CausalConv1d
from ancestral.layers.dropout import Dropout
from ancestral.models.autoregressive.encoder_decoder import EncoderDecoder, Source
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register

HALF = math.sqrt(0.5)
"""Keeps the scale of a sum of two features of one scale."""


class GatedConv(CausalConv1d):
    """A convolution whose outputs pass gated linear units: half of them times the sigmoid of the other half.

    Args:
        width: features of a position, in and out.
        kernel: taps.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__(width, 2 * width, kernel)
        self.reset(2.0)  # a gate halves, at first: 4 times the variance going in keeps what comes out

    def centred(self, x: Tensor) -> Tensor:
        """Convolve all positions, the own one in the middle of the kernel, (batch, positions, width); zeros stand around."""
        before = (self.kernel - 1) // 2
        padded = F.pad(x.mT, (before, self.kernel - 1 - before))
        return F.conv1d(padded, self.weight.mT, self.bias).mT


class DecoderLayer(nn.Module):
    r"""g = glu(conv(h)), a = softmax((W g + b + e) . z / sqrt n), c = W' sum_s a_s v_s, h' = ((g + c) / sqrt 2 + h) / sqrt 2.

    Here e are embeddings of the entries before, of n features, z and v the keys and values of the source.

    Args:
        width: features of a position.
        embedding: features of an embedding, and of a source's keys.
        kernel: taps of the convolution.
        dropout: probability of dropping a feature that the convolution reads.
    """

    def __init__(self, width: int, embedding: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv = GatedConv(width, kernel)
        self.query, self.context = nn.Linear(width, embedding), nn.Linear(embedding, width)
        self.dropout = Dropout(dropout)

    def attend(self, g: Tensor, e: Tensor, source: Source, seen: list[Tensor] | None = None) -> Tensor:
        """Return what the layer adds, for gated convolutions and embeddings of (batch, positions, ...)."""
        query = (self.query(g) + e) * (HALF * e.shape[-1] ** -0.5)
        scores = query @ source.values.mT  # (b, t, s)
        if source.mask is not None:
            scores = scores.masked_fill(~source.mask[:, None], -torch.inf)
        weights = torch.softmax(scores, dim=-1)
        if seen is not None:
            seen.append(weights)
        values = source.values if source.embeddings is None else source.embeddings
        # A mean of m values has a smaller scale than each: by sqrt(m), if attention is even.
        count = source.values.shape[1] if source.mask is None else source.mask.sum(1)[:, None, None]
        context: Tensor = self.context(weights @ values) * torch.as_tensor(count, dtype=g.dtype).sqrt()
        return (g + context) * HALF

    def forward(self, h: Tensor, e: Tensor, source: Source, seen: list[Tensor] | None = None) -> Tensor:
        """Return the features after the layer, (batch, positions, width)."""
        return (h + self.attend(F.glu(self.conv(self.dropout(h)), dim=-1), e, source, seen)) * HALF

    def step(self, h: Tensor, e: Tensor, memory: Tensor, t: int, source: Source) -> Tensor:
        """Return the features of position `t` after the layer, (batch, width)."""
        g = F.glu(self.conv.step(h, memory, t), dim=-1)
        return (h + self.attend(g[:, None], e[:, None], source)[:, 0]) * HALF

    def prefill(self, h: Tensor, e: Tensor, memory: Tensor, t: int, source: Source) -> Tensor:
        """Return the features of positions from `t` on after the layer, (batch, positions, width)."""
        return (h + self.attend(F.glu(self.conv.prefill(h, memory, t), dim=-1), e, source)) * HALF


@register("conv-s2s")
class ConvS2S(EncoderDecoder):
    r"""Gated convolutions read the source; gated causal convolutions, each with attention to the source, the target.

    Encoder: e = E x + place, h_0 = W e, h_{l+1} = (h_l + glu(conv(h_l))) / sqrt 2, keys z = V h_L, values (z + e) / sqrt 2.
    Decoder: the same with causal convolutions, each followed by attention, and p(y_t | y_{<t}, x) = softmax(W' U h_L).

    Args:
        event: what is predicted, as a rule `Event.sentences`.
        condition: the source, a sequence of whole numbers.
        width: features of an embedding.
        channels: features of a position between convolutions.
        layers: layers of the decoder.
        encoder_layers: layers of the encoder; None for as many.
        kernel: taps of each convolution.
        tied: "none"; "output", the output's weights are the embedding's; or "all", the source's too.
        smoothing: label smoothing in training, in [0, 1).
        dropout: probability of dropping a feature of an embedding, of what a convolution reads, and of what is predicted from.

    Raises:
        InvalidInput: if an option is out of its range, or the condition is no sequence.

    References:
        Convolutional Sequence to Sequence Learning (Gehring et al., 2017), https://arxiv.org/abs/1705.03122. Differences: no
        weight normalization, and the gradient of the encoder is not scaled, since Adam trains it; weights may be tied;
        embeddings begin at a scale of one, so that scores are divided by sqrt n, and values are brought to that scale.

    >>> sentences = Event.sentences(8, 20)
    >>> model = ConvS2S(sentences, sentences, width=8, channels=8, layers=1)
    >>> model.log_prob(torch.full((3, 8), 20), torch.full((3, 8), 20)).shape
    torch.Size([3])
    """

    summary = "gated convolutions with attention in each layer, for translation"
    reference = "Gehring et al. 2017"
    examples = (
        {"event": Event.sentences(4, 2), "condition": Event.sentences(3, 2), "width": 4, "channels": 3, "layers": 2},
        {
            "event": Event.sentences(4, 2),
            "condition": Event.integers((2,), 4, ("time",)),
            "width": 4,
            "channels": 4,
            "layers": 1,
            "encoder_layers": 2,
            "kernel": 4,
            "tied": "output",
        },
        {
            "event": Event.binary((4,)),
            "condition": Event.sentences(3, 1),
            "width": 3,
            "channels": 3,
            "layers": 2,
            "tied": "none",
            "smoothing": 0.0,
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        width: int = 256,
        channels: int = 256,
        layers: int = 3,
        encoder_layers: int | None = None,
        kernel: int = 3,
        tied: str = "all",
        smoothing: float = 0.1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(event, condition, width, tied, smoothing, dropout)
        encoder_layers = layers if encoder_layers is None else encoder_layers
        if min(channels, layers, encoder_layers) < 1:
            raise InvalidInput(
                f"channels, layers and encoder_layers must be at least 1, got {channels}, {layers}, {encoder_layers}"
            )
        self.source_places = nn.Parameter(torch.randn(self.source_event.numel, width))
        self.places = nn.Parameter(torch.randn(event.numel, width))
        self.encoder_in, self.encoder_out = nn.Linear(width, channels), nn.Linear(channels, width)
        self.encoder = nn.ModuleList(GatedConv(channels, kernel) for _ in range(encoder_layers))
        self.decoder_in, self.decoder_out = nn.Linear(width, channels), nn.Linear(channels, width)
        self.decoder = nn.ModuleList(DecoderLayer(channels, width, kernel, dropout) for _ in range(layers))
        for module in self.modules():
            if isinstance(module, nn.Linear) and module is not self.output:
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)

    def _layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.decoder if isinstance(layer, DecoderLayer)]

    @property
    def receptive_field(self) -> int:
        """Entries before an entry that its distribution depends on."""
        return 1 + sum(layer.conv.reach for layer in self._layers())

    def encode_source(self, h: Tensor, mask: Tensor | None, counts: Tensor) -> Source:
        e = (h + self.dropout(self.source_places[: h.shape[1]])) * HALF
        h = self.encoder_in(e)
        for conv in self.encoder:
            # What stands for padding must be zero, as what stands beyond the ends is.
            x = self.dropout(h) if mask is None else self.dropout(h).masked_fill(~mask[..., None], 0.0)
            h = (h + F.glu(conv.centred(x), dim=-1)) * HALF  # type: ignore[operator]
        z = self.encoder_out(h)
        return Source(z, mask, (z + e) * HALF)

    def decode_features(self, h: Tensor, source: Source, seen: list[Tensor] | None = None) -> Tensor:
        e = (h + self.dropout(self.places[: h.shape[1]])) * HALF
        h = self.decoder_in(e)
        for layer in self.decoder:
            h = layer(h, e, source, seen)
        return self.dropout(self.decoder_out(h))

    # Steps

    def start_decoder(self, state: State, source: Source) -> None:
        layers = self._layers()
        memories = [state.remember(layer.conv.start(state.x)) for layer in layers]
        state.cache["layers"], state.cache["source"] = list(zip(layers, memories, strict=True)), source

    def step_features(self, state: State, h: Tensor) -> Tensor:
        t, source = state.t, state.cache["source"]
        e = (h * self.scale + self.places[t]) * HALF
        h = self.decoder_in(e)
        for layer, memory in state.cache["layers"]:
            h = layer.step(h, e, memory, t, source)
        return self.decoder_out(h)

    def prefill_features(self, state: State, h: Tensor) -> Tensor:
        t, source = state.t, state.cache["source"]
        e = (h * self.scale + self.places[t : t + h.shape[1]]) * HALF
        h = self.decoder_in(e)
        for layer, memory in state.cache["layers"]:
            h = layer.prefill(h, e, memory, t, source)
        return self.decoder_out(h)
