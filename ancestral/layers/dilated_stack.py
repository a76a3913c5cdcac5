"""Gated residual layers of dilated causal convolutions: all positions at once, or one position of all layers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.layers.causal_conv1d import extended
from ancestral.layers.gates import gate


@dataclass
class StackMemory:
    """What steps keep, and buffers that they write to, so that a step makes no new ones.

    Args:
        past: the last inputs of each layer, a ring of its reach for each, one below another, (batch, reach, channels).
        places: where each ring begins, (layers, 1), the distance of its taps, (layers, kernel - 1), its length, (layers, 1).
        bias: what the gates begin with, (layers, batch, 2 channels).
        inputs: of each layer at the position, (layers, batch, channels).
        gates: of each layer, (layers, batch, 2 channels).
        gated: what passes them, (batch, layers, channels).
        local: local features, (batch, positions, local); None where there are none.
        rows: views of inputs, gates and gated, and of the weights, layer by layer, in the order in which a step needs them.
    """

    past: Tensor
    places: tuple[Tensor, Tensor, Tensor]
    bias: Tensor
    inputs: Tensor
    gates: Tensor
    gated: Tensor
    local: Tensor | None
    rows: list[tuple[Tensor, ...]]


class DilatedStack(nn.Module):
    r"""g_l = gate(b_l + s_l + V_l z_t + sum_{i<k} W_{l,i} x_{l, t - i r_l}), x_{l+1} = x_l + R_l g_l, y = c + sum_l S_l g_l.

    `gate` is tanh(u) sigmoid(v) up to constants; zeros stand before the first position. The weights of all layers are one
    tensor, for a step to take the past taps of all of them in one product: they are known before it begins.

    Args:
        channels: features of x.
        skip: features of y.
        dilations: r_l, positions between taps, of each layer.
        kernel: taps k, at least 2.
        local: features of z, which differ from position to position; 0 for none.

    Raises:
        InvalidInput: if there is no layer, or a size is too small.

    References:
        WaveNet: A Generative Model for Raw Audio (van den Oord et al., 2016), https://arxiv.org/abs/1609.03499. There R_l g_l
        has a bias, which that of the next gate stands for here.

    >>> DilatedStack(4, 8, (1, 2, 4))(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 10, 8])
    """

    def __init__(self, channels: int, skip: int, dilations: Sequence[int], kernel: int = 2, local: int = 0) -> None:
        super().__init__()
        if min(channels, skip, len(dilations), *dilations) < 1 or kernel < 2 or local < 0:
            raise InvalidInput(
                "a stack needs at least 1 layer, channel, skip channel and dilation and a kernel of at least 2, got"
                f" {len(dilations)}, {channels}, {skip}, {tuple(dilations)} and {kernel}"
            )
        self.channels, self.dilations, self.kernel = channels, tuple(dilations), kernel
        layers = len(dilations)
        # The last tap is on the own position. What the last layer would add to x nobody reads.
        self.weight = nn.Parameter(torch.empty(layers, kernel * channels, 2 * channels))
        self.bias = nn.Parameter(torch.zeros(layers, 2 * channels))
        self.residual = nn.Parameter(torch.empty(layers - 1, channels, channels))
        self.skip_weight = nn.Parameter(torch.empty(layers * channels, skip))
        self.skip_bias = nn.Parameter(torch.zeros(skip))
        self.local_weight = nn.Parameter(torch.empty(local, layers * 2 * channels)) if local else None
        nn.init.normal_(self.weight, std=(kernel * channels) ** -0.5)
        if self.local_weight is not None:
            nn.init.normal_(self.local_weight, std=local**-0.5)
        with torch.no_grad():
            self.residual.normal_(std=(layers * channels) ** -0.5)  # the sum of all has the scale of one
        nn.init.normal_(self.skip_weight, std=(layers * channels) ** -0.5)

    @property
    def reach(self) -> int:
        """Positions before the own one that y reads back to."""
        return (self.kernel - 1) * sum(self.dilations)

    def forward(self, x: Tensor, shift: Tensor | None = None, local: Tensor | None = None) -> Tensor:
        """Return y, (batch, positions, skip).

        Args:
            x: (batch, positions, channels).
            shift: s of all layers, (batch, layers * 2 channels).
            local: z, (batch, positions, local), where there is any.
        """
        biases = self.bias if shift is None else self.bias + shift.view(len(x), 1, *self.bias.shape)
        return self._layers(x, biases.unbind(-2), local, self._taps)

    def _taps(self, layer: int, x: Tensor) -> Tensor:
        """Return what the kernel of a layer reads at each position, (batch, positions, kernel * channels)."""
        t = x.shape[1]
        back = [min(i * self.dilations[layer], t) for i in reversed(range(1, self.kernel))]
        return torch.cat([*(F.pad(x[:, : t - b], (0, 0, b, 0)) for b in back), x], dim=-1)

    def _layers(
        self, x: Tensor, biases: Sequence[Tensor], local: Tensor | None, taps: Callable[[int, Tensor], Tensor]
    ) -> Tensor:
        """Return y of positions, (batch, positions, skip), given what the gates of each layer begin with, and their taps."""
        residuals = (*self.residual.unbind(), None)
        locals_ = self._local_weights(local)
        passed = []
        for layer, (weight, bias, residual, local_weight) in enumerate(
            zip(self.weight.unbind(), biases, residuals, locals_, strict=True)
        ):
            a = (taps(layer, x) @ weight).add_(bias)  # (b, t, 2 c)
            if local is not None and local_weight is not None:
                a = a + local @ local_weight
            g = gate(a, dim=-1)  # (b, t, c)
            passed.append(g)
            if residual is not None:
                x = x + g @ residual
        return torch.cat(passed, dim=-1) @ self.skip_weight + self.skip_bias

    def _local_weights(self, local: Tensor | None) -> Sequence[Tensor | None]:
        """Return V of each layer, (local, 2 channels), None where there is none.

        Raises:
            InvalidInput: if local features are given and not expected, or the other way about.
        """
        if (local is None) is not (self.local_weight is None):
            raise InvalidInput(f"a stack {'without' if self.local_weight is None else 'with'} local features got {local}")
        return [None] * len(self.dilations) if self.local_weight is None else self.local_weight.chunk(len(self.dilations), 1)

    # Steps: they carry no gradient.

    def start(self, like: Tensor, shift: Tensor | None = None, local: Tensor | None = None) -> StackMemory:
        """Return memory for a batch as large as that of `like`, of its type and device.

        Args:
            like: (batch, ...).
            shift: as in `forward`.
            local: as in `forward`, of all positions that will be visited.
        """
        self._local_weights(local)
        n, c, (layers, _) = len(like), self.channels, self.bias.shape
        past = like.new_zeros(self.reach, n, c)  # gathered by place: the batch is inside
        apart = torch.tensor(self.dilations, device=like.device)[:, None]
        sizes = apart * (self.kernel - 1)
        places = (sizes.cumsum(0) - sizes, apart * torch.arange(self.kernel - 1, device=like.device), sizes)
        bias = self.bias[:, None].expand(-1, n, -1)
        if shift is not None:
            bias = bias + shift.view(n, layers, 2 * c).transpose(0, 1)
        inputs, gates = like.new_zeros(layers, n, c), like.new_zeros(layers, n, 2 * c)
        gated = like.new_zeros(n, layers, c)
        halves = gates.chunk(2, dim=-1)
        present = self.weight[:, -c:].unbind()
        # The last layer has no input to give on.
        given = [*zip(self.residual.unbind(), inputs[1:].unbind(), strict=True), ()]
        rows = [
            (*row, *onward)
            for *row, onward in zip(
                inputs.unbind(),
                gates.unbind(),
                *(half.unbind() for half in halves),
                gated.unbind(1),
                present,
                given,
                strict=True,
            )
        ]
        return StackMemory(past.transpose(0, 1), places, bias, inputs, gates, gated, local, rows)

    def step(self, x: Tensor, memory: StackMemory, t: int) -> Tensor:
        """Return y at position `t`, (batch, skip).

        Args:
            x: (batch, channels).
            memory: from `start`; it is changed in place.
            t: the position, from 0.
        """
        past = memory.past.transpose(0, 1)
        first, apart, sizes = memory.places
        places = (apart + t) % sizes + first  # (l, k - 1), the oldest first
        taps = past.index_select(0, places.flatten()).unflatten(0, places.shape)  # (l, k - 1, b, c)
        taps = taps.transpose(1, 2).flatten(2)  # (l, b, (k - 1) c)
        torch.baddbmm(memory.bias, taps, self.weight[:, : -self.channels], out=memory.gates)
        if memory.local is not None and self.local_weight is not None:
            shifts = memory.local[:, t] @ self.local_weight  # (b, l 2 c)
            memory.gates.add_(shifts.view(len(x), *self.bias.shape).transpose(0, 1))
        memory.inputs[0].copy_(x)
        for x_l, a, u, v, g, present, *onward in memory.rows:
            a.addmm_(x_l, present).tanh_()
            torch.addcmul(u, u, v, out=g)  # `gate`, in place
            if onward:
                torch.addmm(x_l, g, onward[0], out=onward[1])
        past.index_copy_(0, places[:, 0], memory.inputs)  # in the place of the oldest
        return torch.addmm(self.skip_bias, memory.gated.flatten(1), self.skip_weight)

    def prefill(self, x: Tensor, memory: StackMemory, t: int) -> Tensor:
        """Return y at several positions in one pass, (batch, positions, skip): what `step` after `step` leads to.

        Args:
            x: of positions t, t + 1, ..., (batch, positions, channels).
            memory: as in `step`.
            t: the first position, from 0.
        """
        steps = x.shape[1]
        rings = memory.past.split([(self.kernel - 1) * dilation for dilation in self.dilations], dim=1)

        def taps(layer: int, x: Tensor) -> Tensor:
            ring, dilation = rings[layer], self.dilations[layer]
            x = extended(x, ring, t, ring.shape[1])
            return torch.cat([x[:, i * dilation : i * dilation + steps] for i in range(self.kernel)], dim=-1)

        local = None if memory.local is None else memory.local[:, t : t + steps]
        return self._layers(x, memory.bias[:, :, None].unbind(), local, taps)
