"""The Transformer as a language model: causal self-attention over whatever a sequence is made of."""

from collections.abc import Callable
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.attention import CausalSelfAttention, KeyValueMemory, Rotation, rotation, step_rotations
from ancestral.layers.dropout import Dropout
from ancestral.layers.fused import FusedSteps
from ancestral.layers.fused_attention import Given, Network, linear_of, slots_of, take_attention_steps, together
from ancestral.layers.kernels import Array, array
from ancestral.layers.mlp import check_choice
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register

POSITIONS = ("rotary", "learned")
"""How a position is told from another."""


class Block(nn.Module):
    """h' = h + attention(norm(h)), then h'' = h' + W_2 gelu(W_1 norm(h')).

    Args:
        attention: the attention.
        hidden: units between W_1 and W_2.
        dropout: probability of dropping a feature of a branch.
    """

    def __init__(self, attention: CausalSelfAttention, hidden: int, dropout: float) -> None:
        super().__init__()
        width = attention.output.out_features
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.attention = attention
        self.norm = nn.LayerNorm(width, bias=False)
        self.expand = nn.Linear(width, hidden, bias=False)
        self.reduce = nn.Linear(hidden, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, h: Tensor, by: Rotation | None) -> Tensor:
        """Return the features after the block, (batch, positions, width)."""
        h = h + self.dropout(self.attention(self.attention_norm(h), by))
        return h + self.dropout(self._mlp(h))

    def step(self, h: Tensor, memory: KeyValueMemory, t: int, by: Rotation | None) -> Tensor:
        """Return the features of position `t` after the block, (batch, width)."""
        h = h + self.attention.step(self.attention_norm(h), memory, t, by)
        return h + self._mlp(h)

    def prefill(self, h: Tensor, memory: KeyValueMemory, t: int, by: Rotation | None) -> Tensor:
        """Return the features of positions from `t` on after the block, (batch, positions, width)."""
        h = h + self.attention.prefill(self.attention_norm(h), memory, t, by)
        return h + self._mlp(h)

    def _mlp(self, h: Tensor) -> Tensor:
        out: Tensor = self.reduce(F.gelu(self.expand(self.norm(h))))
        return out


class AttentionModel(SequenceModel):
    r"""Blocks on a residual stream, h_0 = e + place, h_{l+1} = block_l(h_l), with norm(h_L) to predict from.

    A subclass gives the attention of each block, and `place_vectors` where positions are not rotary.

    Args:
        event: any event of whole numbers.
        condition: what every position's embedding also depends on, linearly; None for none.
        width: features of a position.
        layers: blocks.
        hidden: units of each block's own layer; None for four times the width.
        attention: returns the attention of a block, given its number from 0.
        tied: whether the output's weights are the embedding's.
        dropout: probability of dropping a feature of a branch or an embedding.
        head: output distribution of an entry: "auto", "softmax", "logistic-mixture".
        components: mixture components, for mixture heads.

    Raises:
        InvalidInput: if an option is out of its range, or the head does not fit.
    """

    plain_linear = True
    fused_least = 2**8
    training_defaults = {
        "learning_rate": 1e-3,
        "batch_size": 32,
        "optimizer": "adamw",
        "betas": (0.9, 0.99),
        "weight_decay": 0.1,
        "clip": 1.0,
        "warmup_steps": 100,
    }

    def __init__(
        self,
        event: Event,
        condition: Event | None,
        width: int,
        layers: int,
        hidden: int | None,
        attention: Callable[[int], CausalSelfAttention],
        tied: bool,
        dropout: float,
        head: str,
        components: int,
    ) -> None:
        super().__init__(event, condition, width, tied, head, components, dropout)
        if layers < 1 or (hidden is not None and hidden < 1):
            raise InvalidInput(f"layers and hidden must be at least 1, got {layers} and {hidden}")
        self.blocks = nn.ModuleList(Block(attention(i), hidden or 4 * width, dropout) for i in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head_features = width // self._blocks()[0].attention.heads
        for block in self.blocks:
            for name, weight in block.named_parameters():
                if weight.dim() == 2:
                    # The sum of all branches then has the scale of one.
                    gain = (2.0 * layers) ** -0.5 if name in ("attention.output.weight", "reduce.weight") else 1.0
                    nn.init.normal_(weight, std=gain * weight.shape[1] ** -0.5)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def place_vectors(self) -> Tensor | None:
        """Return a learned vector for each position, (positions, width); None where positions are rotary."""
        return None

    def resized(self, length: int) -> Self:
        if self.place_vectors() is not None and length != self.event.numel:
            raise Unsupported(
                f"this transformer has learned {self.event.numel} positions and knows no others: train one with rotary ones"
            )
        return super().resized(length)

    def _rotation(self, like: Tensor, stop: int, begin: int = 0) -> Rotation:
        return rotation(torch.arange(begin, stop, device=like.device), self.head_features, like)

    def features(self, h: Tensor) -> Tensor:
        places = self.place_vectors()
        by = self._rotation(h, h.shape[1]) if places is None else None
        if places is not None:
            h = h + places[: h.shape[1]]
        for block in self.blocks:
            h = block(h, by)
        out: Tensor = self.norm(h)
        return out

    # Steps

    def start_features(self, state: State) -> None:
        places = state.cache["places"] = self.place_vectors()
        if places is None:
            state.cache["rotations"] = step_rotations(self._rotation(state.x, self.event.numel))
        blocks = self._blocks()
        memories = [block.attention.start(state.x, self.event.numel) for block in blocks]
        state.cache["blocks"] = list(zip(blocks, memories, strict=True))
        state.cache["past"] = together(memories)
        for memory in memories:
            state.remember(memory.keys, memory.values)

    def step_features(self, state: State, h: Tensor) -> Tensor:
        t, places = state.t, state.cache["places"]
        by = state.cache["rotations"][t] if places is None else None
        if places is not None:
            h = h + places[t]
        for block, memory in state.cache["blocks"]:
            h = block.step(h, memory, t, by)
        out: Tensor = self.norm(h)
        return out

    def prefill_features(self, state: State, h: Tensor) -> Tensor:
        t, stop, places = state.t, state.t + h.shape[1], state.cache["places"]
        by = self._rotation(h, stop, t) if places is None else None
        if places is not None:
            h = h + places[t:stop]
        for block, memory in state.cache["blocks"]:
            h = block.prefill(h, memory, t, by)
        out: Tensor = self.norm(h)
        return out

    # Many steps in one call

    @property
    def depth(self) -> int:
        return len(self.blocks)

    def make_network(self) -> Network:
        blocks = self._blocks()
        output, bias = (self.symbols.weight[:-1], self.output_bias) if self.output is None else (self.output, self.output.bias)
        return Network(
            table=array(self.symbols.weight),
            inputs=linear_of([block.attention.inputs for block in blocks]),
            mix=linear_of([block.attention.output for block in blocks]),
            expand=linear_of([block.expand for block in blocks]),
            reduce=linear_of([block.reduce for block in blocks]),
            output=linear_of([output]),
            output_bias=array(cast(Tensor, bias)),
            attention_norm=array(torch.stack([block.attention_norm.weight for block in blocks])),
            hidden_norm=array(torch.stack([block.norm.weight for block in blocks])),
            norm=array(self.norm.weight),
            heads=blocks[0].attention.heads,
        )

    def prepare_fused(self, state: State, begin: int, stop: int) -> tuple[Network, Given, Array]:
        memories = [memory for _, memory in state.cache["blocks"]]
        past, layout = state.cache["past"]
        places, shift, none = state.cache["places"], state.cache.get("condition"), torch.zeros(0, 0)
        steps = torch.zeros(stop - begin, 0)
        cos, sin = self._rotation(state.x, stop, begin) if places is None else (steps, steps)
        given = Given(
            shift=array(none if shift is None else shift),
            places=array(none if places is None else places[begin:stop]),
            cos=array(cos),
            sin=array(sin),
            slots=slots_of(memories, begin, stop),
            layout=layout,
        )
        return self.fused_network(), given, past.numpy()

    def take_fused(self, state: State, prepared: tuple[Network, Given, Array], steps: FusedSteps, rows: slice) -> None:
        network, given, past = prepared
        take_attention_steps(network, given, steps, past, rows.start, rows.stop)


@register("transformer")
class Transformer(AttentionModel):
    r"""Blocks of causal self-attention and of a layer applied to each position, on a residual stream.

    h_0 = E x_{t-1}, h_{l+1} = block_l(h_l), and p(x_t | x_{<t}) = softmax(W norm(h_L)). Steps keep keys and values of the
    positions that are attended to, so that one costs as much as one position of a pass.

    Args:
        event: any event of whole numbers.
        condition: what every position's embedding also depends on, linearly; None for none.
        width: features of a position.
        layers: blocks.
        heads: heads of each block's attention.
        hidden: units of each block's own layer; None for four times the width.
        window: positions that a position attends to, itself included; None for all before it.
        positions: "rotary", which tells how far apart positions are, or "learned", a vector for each.
        tied: whether the output's weights are the embedding's.
        dropout: probability of dropping a feature of a branch, an embedding, or a weight of the attention.
        head: output distribution of an entry: "auto", "softmax", "logistic-mixture".
        components: mixture components, for mixture heads.

    Raises:
        InvalidInput: if an option is out of its range, or the head does not fit.

    References:
        Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762. Differences: norms come before
        the branches, as in Language Models are Unsupervised Multitask Learners (Radford et al., 2019); rotary positions
        by default; no biases in the blocks.

    >>> model = Transformer(Event.integers((16,), 65), width=16, layers=1, heads=2)
    >>> model.log_prob(torch.zeros(3, 16)).shape
    torch.Size([3])
    """

    summary = "causal self-attention over a sequence"
    reference = "Vaswani et al. 2017"
    examples = (
        {"event": Event.binary((6,)), "width": 4, "layers": 1, "heads": 1},
        {"event": Event.integers((5,), 3), "width": 8, "layers": 2, "heads": 2, "window": 3, "tied": True},
        {"event": Event.integers((1, 2, 2), 3), "width": 4, "layers": 1, "heads": 1, "positions": "learned"},
        {"event": Event.sentences(4, 2), "width": 4, "layers": 1, "heads": 1, "positions": "learned"},
        {"event": Event.integers((3, 2, 1), 2), "width": 8, "layers": 2, "heads": 2, "condition": Event.label(3)},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        hidden: int | None = None,
        window: int | None = None,
        positions: str = "rotary",
        tied: bool = False,
        dropout: float = 0.0,
        head: str = "auto",
        components: int = 10,
    ) -> None:
        check_choice("kind of positions", positions, POSITIONS)

        def attention(layer: int) -> CausalSelfAttention:
            return CausalSelfAttention(width, heads, window, dropout)

        super().__init__(event, condition, width, layers, hidden, attention, tied, dropout, head, components)
        self.window = window
        self.places = nn.Parameter(0.02 * torch.randn(event.numel, width)) if positions == "learned" else None

    def place_vectors(self) -> Tensor | None:
        return self.places

    @property
    def receptive_field(self) -> int | None:
        """Entries before an entry that its distribution depends on: windows reach further by one in each block."""
        return None if self.window is None else 1 + len(self.blocks) * (self.window - 1)

    @property
    def longest(self) -> int | None:
        return super().longest if self.places is None else self.event.numel
