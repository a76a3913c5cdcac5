"""ByteNet's decoder as a language model: residual blocks of dilated causal convolutions."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.causal_conv1d import CausalConv1d, doubling_dilations
from ancestral.layers.mlp import check_choice
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register

Convolve = Callable[[CausalConv1d, Tensor], Tensor]
"""How a block applies a convolution: to all positions, or to one of them with its memory."""


class ReLUBlock(nn.Module):
    """h + W_3 f(conv(f(W_1 f(h)))), where f is a layer norm and then a ReLU; the inner layers have half the features.

    Args:
        width: features of a position, even.
        kernel: taps of the convolution.
        dilation: positions between taps.
    """

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        half = width // 2
        self.norms = nn.ModuleList(nn.LayerNorm(n) for n in (width, half, half))
        self.reduce, self.conv = CausalConv1d(width, half), CausalConv1d(half, half, kernel, dilation)
        self.expand = CausalConv1d(half, width)

    def run(self, h: Tensor, convolve: Convolve) -> Tensor:
        """Return the features after the block, of the shape of `h`."""
        x = h
        for norm, conv in zip(self.norms, (self.reduce, self.conv, self.expand), strict=True):
            x = convolve(conv, torch.relu(norm(x)))
        return h + x


class MultiplicativeBlock(nn.Module):
    r"""h + W_4 MU(MU(W_1 h)), with units MU(x) = g_1 tanh(g_2 x + g_3 u), g = sigmoid(norm(W_g * x)), u = tanh(norm(W_u * x)).

    The convolutions of both units have `kernel` taps; the inner layers have half the features.

    Args:
        width: features of a position, even.
        kernel: taps of the convolutions.
        dilation: positions between taps.

    References:
        Video Pixel Networks (Kalchbrenner et al., 2017), https://arxiv.org/abs/1610.00527.
    """

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        half = width // 2
        self.norm = nn.LayerNorm(width)
        self.norms = nn.ModuleList(nn.LayerNorm(half) for _ in range(2 * 4))
        self.reduce, self.expand = CausalConv1d(width, half), CausalConv1d(half, width)
        self.first, self.second = (CausalConv1d(half, 4 * half, kernel, dilation) for _ in range(2))

    def run(self, h: Tensor, convolve: Convolve) -> Tensor:
        """Return the features after the block, of the shape of `h`."""
        x = convolve(self.reduce, torch.relu(self.norm(h)))
        for unit, conv in enumerate((self.first, self.second)):
            parts = convolve(conv, x).chunk(4, dim=-1)
            a, b, c, u = (norm(part) for norm, part in zip(self.norms[4 * unit : 4 * unit + 4], parts, strict=True))
            x = torch.sigmoid(a) * torch.tanh(torch.sigmoid(b) * x + torch.sigmoid(c) * torch.tanh(u))
        return h + convolve(self.expand, x)


BLOCKS = {"relu": ReLUBlock, "multiplicative": MultiplicativeBlock}
"""The two residual blocks of the paper, by name."""


@register("bytenet")
class ByteNet(SequenceModel):
    r"""Residual blocks of causal convolutions, whose dilation doubles from block to block up to `max_dilation`, over again.

    A position reads 1 + sum over blocks of (kernel - 1) dilation positions, in time that grows as the length; a step
    computes one position of each convolution.

    Args:
        event: any event of whole numbers.
        condition: what every position's embedding also depends on, linearly; None for none.
        width: features of a position, 2 d in the paper; even.
        sets: times that the dilations are run through.
        kernel: taps of a convolution.
        max_dilation: the largest dilation, a power of 2: 16 makes sets of 1, 2, 4, 8, 16.
        block: "relu", the paper's for translation, or "multiplicative", the paper's for language models.
        tied: whether the output's weights are the embedding's.
        dropout: probability of dropping a feature of an embedding, and of what the last block gives.
        head: output distribution of an entry: "auto", "softmax", "logistic-mixture".
        components: mixture components, for mixture heads.

    Raises:
        InvalidInput: if an option is out of its range, or the head does not fit.

    References:
        Neural Machine Translation in Linear Time (Kalchbrenner et al., 2016), https://arxiv.org/abs/1610.10099. Its
        decoder alone, without an encoder to stack on.

    >>> model = ByteNet(Event.integers((16,), 65), width=16, sets=1)
    >>> model.log_prob(torch.zeros(3, 16)).shape
    torch.Size([3])
    """

    summary = "dilated causal convolutions over a sequence"
    reference = "Kalchbrenner et al. 2016"
    training_defaults = {"learning_rate": 1e-3, "batch_size": 32, "clip": 1.0, "warmup_steps": 100}
    examples = (
        {"event": Event.binary((6,)), "width": 6, "sets": 1, "max_dilation": 2},
        {"event": Event.integers((5,), 3), "width": 8, "sets": 1, "max_dilation": 2, "block": "multiplicative", "tied": True},
        {"event": Event.integers((1, 2, 2), 3), "width": 6, "sets": 1, "max_dilation": 1, "condition": Event.label(3)},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        width: int = 256,
        sets: int = 3,
        kernel: int = 3,
        max_dilation: int = 16,
        block: str = "relu",
        tied: bool = False,
        dropout: float = 0.0,
        head: str = "auto",
        components: int = 10,
    ) -> None:
        super().__init__(event, condition, width, tied, head, components, dropout)
        if width % 2:
            raise InvalidInput(f"bytenet needs an even width, got {width}")
        check_choice("block", block, tuple(BLOCKS))
        dilations = doubling_dilations(sets, max_dilation)
        self.blocks = nn.ModuleList(BLOCKS[block](width, kernel, dilation) for dilation in dilations)
        self.norm = nn.LayerNorm(width)
        for made in self._blocks():
            made.expand.reset(gain=len(dilations) ** -0.5)  # the sum of all branches then has the scale of one

    def _blocks(self) -> list[ReLUBlock | MultiplicativeBlock]:
        return [block for block in self.blocks if isinstance(block, ReLUBlock | MultiplicativeBlock)]

    @property
    def receptive_field(self) -> int:
        """Entries before an entry that its distribution depends on."""
        return 1 + sum(conv.reach for conv in self.modules() if isinstance(conv, CausalConv1d))

    def features(self, h: Tensor) -> Tensor:
        for block in self._blocks():
            h = block.run(h, lambda conv, x: conv(x))
        return self.dropout(torch.relu(self.norm(h)))

    # Steps

    def start_features(self, state: State) -> None:
        convolutions = [conv for conv in self.modules() if isinstance(conv, CausalConv1d) and conv.kernel > 1]
        state.cache["memories"] = {conv: state.remember(conv.start(state.x)) for conv in convolutions}
        state.cache["blocks"] = self._blocks()

    def step_features(self, state: State, h: Tensor) -> Tensor:
        memories, t = state.cache["memories"], state.t
        for block in state.cache["blocks"]:
            h = block.run(h, lambda conv, x: conv.step(x, memories.get(conv, x), t))
        return torch.relu(self.norm(h))

    def prefill_features(self, state: State, h: Tensor) -> Tensor:
        memories, t = state.cache["memories"], state.t
        for block in state.cache["blocks"]:
            h = block.run(h, lambda conv, x: conv.prefill(x, memories.get(conv, x), t))
        return torch.relu(self.norm(h))
