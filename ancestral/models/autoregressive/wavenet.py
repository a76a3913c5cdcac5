"""WaveNet: stacks of dilated causal convolutions with gates and skip connections, over the samples of a sound."""

from typing import Self, cast

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.causal_conv1d import doubling_dilations
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.dilated_stack import DilatedStack
from ancestral.layers.fused import FusedSteps
from ancestral.layers.fused_stack import Given, Network, given_of, network_of, past_of, take_stack_steps
from ancestral.layers.kernels import Array
from ancestral.layers.mlp import check_choice
from ancestral.layers.upsample import Upsample
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register

INPUTS = ("auto", "symbols", "numbers")
"""How the value of an entry is fed to the network."""


class NumberEmbedding(nn.Embedding):
    """A linear embedding of whole numbers, a w + b with a in [-1, 1], and a vector of its own for none: used as a table is.

    Args:
        levels: how many numbers there are; `levels` itself stands for none.
        features: length of an embedding.

    >>> NumberEmbedding(65536, 4)(torch.tensor([[0, 65536]])).shape
    torch.Size([1, 2, 4])
    """

    def __init__(self, levels: int, features: int) -> None:
        super().__init__(3, features)  # w, b, none
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        """Embed `x`, (...), as (..., features)."""
        slope, offset, none = self.weight.unbind()
        a = (x.to(slope.dtype) * (2.0 / (self.levels - 1)) - 1.0)[..., None]
        return torch.where((x == self.levels)[..., None], none, torch.addcmul(offset, a, slope))


def is_framed(condition: Event) -> bool:
    """Return whether a condition is of frames along the time of a datum, real with axes time and one more.

    >>> is_framed(Event.real((95, 40), axes=("time", "band"))), is_framed(Event.real((3,)))
    (True, False)
    """
    return condition.levels is None and len(condition.shape) == 2 and condition.axes[0] == "time"


@register("wavenet")
class WaveNet(SequenceModel):
    r"""Gated layers of dilated causal convolutions, which the next layer and the output both read.

    h_0 = E x_{t-1}, g_l = tanh(W_l * h_l + V_l c_t) sigmoid(W'_l * h_l + V'_l c_t), h_{l+1} = h_l + R_l g_l, and
    p(x_t | x_{<t}, c) = softmax(A relu(B relu(sum_l S_l g_l))), where c_t is c at all positions, or upsampled frames of it.
    Dilations double from layer to layer up to `max_dilation`, over again. A step computes one position of each layer.

    Args:
        event: any event of whole numbers, such as that of sounds, `Event.audio`.
        condition: what all gates also depend on, linearly; None for none. A condition of frames, real with axes time and one
            more, such as a log-mel spectrogram, is spread over the positions by a transposed convolution (`Upsample`) and
            differs from one to the next; any other is the same at all of them.
        channels: features of the residual stream h_l and of what passes a gate.
        skip: features of the sum over layers.
        sets: times that the dilations are run through.
        kernel: taps of a convolution.
        max_dilation: the largest dilation, a power of 2: 512 makes sets of 10 layers.
        inputs: "symbols", a vector for each value (a convolution of its one-hot code); "numbers", a linear map of the
            value, for more levels than have been seen of each; "auto" is symbols up to 256 levels.
        head: output distribution of an entry: "auto", "softmax", "logistic-mixture".
        components: mixture components, for mixture heads.
        local: features of a position that frames are made into.

    Raises:
        InvalidInput: if an option is out of its range, or the head does not fit.

    References:
        WaveNet: A Generative Model for Raw Audio (van den Oord et al., 2016), https://arxiv.org/abs/1609.03499. The first
        convolution has one tap, since that of the first layer follows at once.
        Parallel WaveNet (van den Oord et al., 2018), https://arxiv.org/abs/1711.10433, for the mixture of logistics and values
        as numbers, for 16 bits.

    >>> from ancestral.pcm import PCM
    >>> model = WaveNet(Event.audio(400, PCM(8000)), channels=4, skip=8, sets=1, max_dilation=16)
    >>> model.receptive_field, model.receptive_milliseconds
    (32, 4.0)
    """

    summary = "gated dilated causal convolutions over the samples of a sound"
    reference = "van den Oord et al. 2016"
    fused_least = 2**16
    training_defaults = {"learning_rate": 2e-3, "batch_size": 4, "clip": 1.0, "ema": 0.999, "warmup_steps": 100, "samples": 6}
    examples = (
        {"event": Event.binary((6,)), "channels": 3, "skip": 4, "sets": 1, "max_dilation": 4},
        {"event": Event.integers((5,), 3), "channels": 3, "skip": 5, "sets": 2, "max_dilation": 2, "inputs": "numbers"},
        {
            "event": Event.integers((5,), 4, ("time",)),
            "channels": 3,
            "skip": 4,
            "sets": 1,
            "kernel": 3,
            "max_dilation": 2,
            "head": "logistic-mixture",
            "components": 2,
            "condition": Event.label(3),
        },
        {
            "event": Event.integers((1, 2, 2), 3),
            "channels": 4,
            "skip": 4,
            "sets": 1,
            "max_dilation": 2,
            "condition": Event.real((2,)),
        },
        {
            "event": Event.integers((5,), 3, ("time",)),
            "channels": 3,
            "skip": 4,
            "sets": 1,
            "max_dilation": 2,
            "condition": Event.real((2, 2), axes=("time", "band")),
            "local": 1,
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        channels: int = 32,
        skip: int = 256,
        sets: int = 3,
        kernel: int = 2,
        max_dilation: int = 512,
        inputs: str = "auto",
        head: str = "auto",
        components: int = 10,
        local: int = 32,
    ) -> None:
        super().__init__(event, condition, channels, False, head, components, 0.0, skip)
        check_choice("kind of inputs", inputs, INPUTS)
        levels = event.levels or 0
        if inputs == "numbers" or (inputs == "auto" and levels > 256):
            self.symbols = NumberEmbedding(levels, channels)
        nn.init.normal_(self.symbols.weight)  # no norm follows: features begin at the scale of one
        if local < 1:
            raise InvalidInput(f"local must be at least 1, got {local}")
        framed = condition is not None and is_framed(condition)
        dilations = doubling_dilations(sets, max_dilation)
        self.stack = DilatedStack(channels, skip, dilations, kernel, local if framed else 0)
        # The condition goes to every gate, in place of the embeddings.
        self.embedding = None
        self.shift = None if condition is None or framed else ConditionEmbedding(condition, self.stack.bias.numel())
        self.upsample = (
            None if condition is None or not framed else Upsample((condition.shape[0], condition.shape[1]), local, event.numel)
        )
        self.hidden = nn.Linear(skip, skip)
        nn.init.normal_(self.hidden.weight, std=(2.0 / skip) ** 0.5)

    @property
    def receptive_field(self) -> int:
        """Entries before an entry that its distribution depends on."""
        return 1 + self.stack.reach

    @property
    def receptive_milliseconds(self) -> float | None:
        """The same in milliseconds; None where the event is no sound."""
        return None if self.event.pcm is None else 1000.0 * self.receptive_field / self.event.pcm.rate

    def conditioned(self, h: Tensor, condition: Tensor | None) -> Tensor:
        local = self._local(condition)
        return self._hidden(self.stack(h, self._shift(condition), None if local is None else local[:, : h.shape[1]]))

    def _shift(self, condition: Tensor | None) -> Tensor | None:
        return None if self.shift is None or condition is None else self.shift(condition)

    def _local(self, condition: Tensor | None) -> Tensor | None:
        if self.upsample is None or condition is None or self.condition is None:
            return None
        frames: Tensor = self.upsample(self.condition.to_network(condition, self.dtype))  # (b, t, local)
        return frames

    def resized(self, length: int) -> Self:
        if self.upsample is not None:
            raise Unsupported(
                f"this {self.name} is given frames of {self.event.numel} samples, and draws no sound of another length: leave"
                " the length out"
            )
        return super().resized(length)

    @property
    def longest(self) -> int | None:
        return super().longest if self.upsample is None else None  # windows would begin beside their frames

    def _hidden(self, skip: Tensor) -> Tensor:
        return torch.relu_(self.hidden(torch.relu_(skip)))

    # Steps

    def start_features(self, state: State) -> None:
        state.cache["stack"] = self.stack.start(state.x, self._shift(state.condition), self._local(state.condition))
        state.remember(state.cache["stack"].past)

    def step_features(self, state: State, h: Tensor) -> Tensor:
        return self._hidden(self.stack.step(h, state.cache["stack"], state.t))

    def prefill_features(self, state: State, h: Tensor) -> Tensor:
        return self._hidden(self.stack.prefill(h, state.cache["stack"], state.t))

    # Many steps in one call

    @property
    def depth(self) -> int:
        return len(self.stack.dilations)

    def make_network(self) -> Network:
        output = cast(nn.Linear, self.output)  # not tied
        return network_of(self.symbols, self.event.levels or 0, self.stack, self.hidden, output)

    def prepare_fused(self, state: State, begin: int, stop: int) -> tuple[Network, Given, Array]:
        memory = state.cache["stack"]
        if "given" not in state.cache:  # local features of all positions: to be copied once, not in each call
            state.cache["given"] = given_of(memory)
        return self.fused_network(), state.cache["given"], past_of(memory)

    def take_fused(self, state: State, prepared: tuple[Network, Given, Array], steps: FusedSteps, rows: slice) -> None:
        network, given, past = prepared
        take_stack_steps(network, given, steps, past, rows.start, rows.stop)
