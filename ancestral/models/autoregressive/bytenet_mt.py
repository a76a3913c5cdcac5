"""ByteNet as a translator: a dilated decoder stacked on a dilated encoder, position by position."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.causal_conv1d import CausalConv1d, doubling_dilations
from ancestral.models.autoregressive.bytenet import ReLUBlock
from ancestral.models.autoregressive.encoder_decoder import EncoderDecoder, Source
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register


def centred(conv: CausalConv1d, x: Tensor, mask: Tensor | None) -> Tensor:
    """Apply a convolution with the own position in the middle of its kernel, zeros standing around and in place of padding.

    Args:
        conv: the convolution, of an odd number of taps.
        x: (batch, positions, inputs).
        mask: which positions there are, (batch, positions); None for all.

    Returns:
        (batch, positions, outputs).
    """
    if conv.kernel == 1:
        return conv(x)
    x = x if mask is None else x.masked_fill(~mask[..., None], 0.0)
    return F.conv1d(x.mT, conv.weight.mT, conv.bias, padding=conv.reach // 2, dilation=conv.dilation).mT


@register("bytenet-mt")
class ByteNetMT(EncoderDecoder):
    r"""Residual blocks of dilated convolutions read the source, and such of causal ones, stacked on them, predict the target.

    The decoder reads h_t = E y_{t-1} + W s_t, where s_t is what the encoder makes of position t of the source. For a target
    that is longer than its source, the source is read as if it were ceil(a |x|) + b long, with end symbols in the places
    added (*dynamic unfolding*); beyond that the decoder goes on without a source, until it ends. Time grows as the length.

    Args:
        event: what is predicted, as a rule `Event.sentences` of characters.
        condition: the source, a sequence of whole numbers.
        width: features of a position, 2 d in the paper; even.
        sets: times that the dilations are run through, on each side.
        kernel: taps of a decoder's convolution.
        encoder_kernel: taps of an encoder's convolution, odd.
        max_dilation: the largest dilation, a power of 2.
        unfold: a: how much longer than its source a target is expected to be.
        margin: b, positions.
        tied: "none"; "output", the output's weights are the embedding's; or "all", the source's too.
        smoothing: label smoothing in training, in [0, 1).
        dropout: probability of dropping a feature of an embedding, of the source that the decoder reads, and of what is
            predicted from.

    Raises:
        InvalidInput: if an option is out of its range, or the condition is no sequence.

    References:
        Neural Machine Translation in Linear Time (Kalchbrenner et al., 2016), https://arxiv.org/abs/1610.10099. The blocks
        of ReLUs, which are the paper's for translation. Its embeddings of n-grams of characters are left out.

    >>> sentences = Event.sentences(8, 20)
    >>> model = ByteNetMT(sentences, sentences, width=8, sets=1, max_dilation=2)
    >>> model.log_prob(torch.full((3, 8), 20), torch.full((3, 8), 20)).shape
    torch.Size([3])
    """

    summary = "a dilated causal decoder stacked on a dilated encoder, for translation by characters"
    reference = "Kalchbrenner et al. 2016"
    training_defaults = {**EncoderDecoder.training_defaults, "batch_size": 64, "clip": 20.0}
    examples = (
        {
            "event": Event.sentences(4, 2),
            "condition": Event.sentences(3, 2),
            "width": 4,
            "sets": 1,
            "max_dilation": 2,
            "unfold": 1.5,
        },
        {
            "event": Event.sentences(4, 2),
            "condition": Event.integers((2,), 4, ("time",)),
            "width": 6,
            "sets": 1,
            "kernel": 2,
            "encoder_kernel": 5,
            "max_dilation": 2,
            "margin": 2,
            "tied": "output",
        },
        {
            "event": Event.binary((4,)),
            "condition": Event.sentences(4, 1),
            "width": 6,
            "sets": 2,
            "max_dilation": 1,
            "tied": "none",
            "smoothing": 0.0,
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        width: int = 256,
        sets: int = 2,
        kernel: int = 3,
        encoder_kernel: int = 3,
        max_dilation: int = 16,
        unfold: float = 1.2,
        margin: int = 0,
        tied: str = "all",
        smoothing: float = 0.0,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(event, condition, width, tied, smoothing, dropout)
        if width % 2 or encoder_kernel % 2 == 0 or encoder_kernel < 1:
            raise InvalidInput(f"bytenet-mt needs an even width and an odd encoder_kernel, got {width} and {encoder_kernel}")
        if not (unfold >= 1.0 and math.isfinite(unfold)) or margin < 0:
            raise InvalidInput(f"unfold must be at least 1 and margin at least 0, got {unfold:g} and {margin}")
        self.unfold, self.margin = unfold, margin
        dilations = doubling_dilations(sets, max_dilation)
        self.encoder = nn.ModuleList(ReLUBlock(width, encoder_kernel, dilation) for dilation in dilations)
        self.decoder = nn.ModuleList(ReLUBlock(width, kernel, dilation) for dilation in dilations)
        self.encoder_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.join = nn.Linear(width, width)

    @staticmethod
    def _blocks(stack: nn.ModuleList) -> list[ReLUBlock]:
        return [block for block in stack if isinstance(block, ReLUBlock)]

    @property
    def receptive_field(self) -> int:
        """Entries before an entry that its distribution depends on."""
        return 1 + sum(block.conv.reach for block in self._blocks(self.decoder))

    def source_positions(self, counts: Tensor) -> Tensor:
        return (counts * self.unfold).ceil().long() + self.margin

    def encode_source(self, h: Tensor, mask: Tensor | None, counts: Tensor) -> Source:
        for block in self._blocks(self.encoder):
            h = block.run(h, lambda conv, x: centred(conv, x, mask))
        out = self.dropout(self.join(torch.relu(self.encoder_norm(h))))
        return Source(out if mask is None else out.masked_fill(~mask[..., None], 0.0), None)

    def decode_features(self, h: Tensor, source: Source, seen: list[Tensor] | None = None) -> Tensor:
        t, values = h.shape[1], source.values[:, : h.shape[1]]
        h = h + F.pad(values, (0, 0, 0, t - values.shape[1]))
        for block in self._blocks(self.decoder):
            h = block.run(h, lambda conv, x: conv(x))
        return self.dropout(torch.relu(self.norm(h)))

    # Steps

    def start_decoder(self, state: State, source: Source) -> None:
        blocks = self._blocks(self.decoder)
        convolutions = [conv for block in blocks for conv in (block.reduce, block.conv, block.expand) if conv.kernel > 1]
        state.cache["memories"] = {conv: state.remember(conv.start(state.x)) for conv in convolutions}
        state.cache["blocks"] = blocks
        state.cache["source"] = F.pad(source.values, (0, 0, 0, max(0, self.event.numel - source.values.shape[1])))

    def step_features(self, state: State, h: Tensor) -> Tensor:
        memories, t = state.cache["memories"], state.t
        h = h * self.scale + state.cache["source"][:, t]
        for block in state.cache["blocks"]:
            h = block.run(h, lambda conv, x: conv.step(x, memories.get(conv, x), t))
        return torch.relu(self.norm(h))

    def prefill_features(self, state: State, h: Tensor) -> Tensor:
        memories, t = state.cache["memories"], state.t
        h = h * self.scale + state.cache["source"][:, t : t + h.shape[1]]
        for block in state.cache["blocks"]:
            h = block.run(h, lambda conv, x: conv.prefill(x, memories.get(conv, x), t))
        return torch.relu(self.norm(h))
