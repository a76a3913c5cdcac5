"""Gated PixelCNN: two stacks of causal convolutions, which together see every pixel before the current one."""

import torch
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.causal_conv import CausalConv2d, channel_groups, shift_down
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.gates import gate
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.registry import register

FIRST_KERNEL = 7


class GatedLayer(nn.Module):
    """One layer of both stacks.

    Args:
        channels: features of each stack.
        kernel: side of the square window that the kernels are cut from.
        groups: group of each feature of the horizontal stack, (channels,).
        skip: features added to the skip connection; 0 for none.
        dropout: probability that a gated feature of the horizontal stack is dropped.
    """

    def __init__(self, channels: int, kernel: int, groups: Tensor, skip: int, dropout: float) -> None:
        super().__init__()
        self.channels = channels
        both, count = groups.repeat(2), int(groups.max()) + 1
        self.vertical = CausalConv2d.vertical(channels, 2 * channels, kernel)
        self.link = CausalConv2d.pointwise(channels, 2 * channels)
        self.horizontal = CausalConv2d.horizontal(channels, 2 * channels, kernel, groups, both)
        out_groups = torch.cat((groups, channel_groups(skip, count))) if skip else groups
        self.out = CausalConv2d.pointwise(channels, channels + skip, groups, out_groups)
        self.dropout = nn.Dropout(dropout)

    def forward(self, v: Tensor, h: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the next features of both stacks, and what goes to the skip connection.

        Args:
            v: vertical features, (batch, channels, height, width): of rows above.
            h: horizontal features, (batch, channels, height, width): of pixels before.
            bias: from the condition, (batch, 4 channels, 1, 1), or None.
        """
        a, c = self.vertical(v), self.horizontal(h)  # (b, 2p, h, w) each
        if bias is not None:
            a, c = a + bias[:, : 2 * self.channels], c + bias[:, 2 * self.channels :]
        v = gate(a)  # (b, p, h, w)
        out = self.out(self.dropout(gate(c + self.link(v))))  # (b, p + s, h, w)
        return v, h + out[:, : self.channels], out[:, self.channels :] if out.shape[1] > self.channels else None


@register("gated-pixelcnn")
class GatedPixelCNN(AutoregressiveModel):
    r"""A PixelCNN with gates and two stacks of convolutions, whose receptive field has no blind spot.

    The vertical stack v reads the rows above, the horizontal stack h the pixels to the left and v:
    v' = gate(W_v * v + V_v c), h' = h + W_o gate(W_h * h + W_l v' + V_h c), with gate(u, g) = tanh(u) sigmoid(g) and a
    condition c. Entries are visited row by row, pixel by pixel, and within a pixel channel by channel (R, G, B).

    Args:
        event: an image event.
        condition: what the gates' biases also depend on, linearly; None for none.
        channels: features of each stack.
        layers: gated layers, after a first convolution of 7 x 7.
        kernel: side of the square window that the kernels are cut from, odd.
        head_channels: features of the layer before the output; None for as many as `channels`.
        head: output distribution: "auto", "softmax", "logistic-mixture" and so on.
        components: mixture components, for mixture heads.
        skip: whether every layer also feeds the output directly.
        positions: whether the first features also get a learned embedding of their row and column.
        dropout: probability of dropping a gated feature of the horizontal stack.

    Raises:
        InvalidInput: if the event is no image, an option is not positive, or the head does not fit.

    References:
        Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016), https://arxiv.org/abs/1606.05328.
        Differences: the horizontal stack reads the vertical features after their gate rather than before, which halves
        the cost of that link; the position embedding; gates carry their constants as `layers.gates.gate` says.

    >>> model = GatedPixelCNN(Event.binary((1, 4, 4)), channels=8, layers=2)
    >>> model.log_prob(torch.zeros(3, 1, 4, 4)).shape
    torch.Size([3])
    """

    summary = "two stacks of gated causal convolutions over an image"
    reference = "van den Oord et al. 2016b"
    images_only = True
    training_defaults = {"learning_rate": 2e-3, "batch_size": 32}
    examples = (
        {"event": Event.binary((1, 2, 3)), "channels": 4, "layers": 2},
        {"event": Event.integers((3, 1, 2), 2), "channels": 6, "layers": 2, "skip": True, "condition": Event.label(3)},
        {"event": Event.integers((1, 2, 2), 3), "channels": 4, "layers": 1, "head": "logistic-mixture", "components": 2},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        channels: int = 64,
        layers: int = 8,
        kernel: int = 3,
        head_channels: int | None = None,
        head: str = "auto",
        components: int = 10,
        skip: bool = False,
        positions: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(event, condition)
        for name, value in (("channels", channels), ("layers", layers), ("head_channels", head_channels or 1)):
            if value < 1:
                raise InvalidInput(f"{name} must be at least 1, got {value}")
        if not 0.0 <= dropout < 1.0:
            raise InvalidInput(f"dropout must be in [0, 1), got {dropout}")
        self.head = make_head(event, head, components)
        self.channels = channels
        self.count, height, width = event.shape
        hidden = head_channels or channels
        image, groups, inner = (channel_groups(n, self.count) for n in (self.count, channels, hidden))
        outputs = torch.arange(self.count).repeat_interleave(self.head.parameters)

        self.first_vertical = CausalConv2d.vertical(self.count, channels, FIRST_KERNEL)
        self.first_horizontal = CausalConv2d.horizontal(self.count, channels, FIRST_KERNEL, image, groups, strict=True)
        self.rows = nn.Parameter(0.1 * torch.randn(2 * channels, height, 1)) if positions else None
        self.columns = nn.Parameter(0.1 * torch.randn(2 * channels, 1, width)) if positions else None
        gated = [GatedLayer(channels, kernel, groups, channels if skip else 0, dropout) for _ in range(layers)]
        self.layers = nn.ModuleList(gated)
        self.hidden = CausalConv2d.pointwise(channels, hidden, groups, inner)
        self.output = CausalConv2d.pointwise(hidden, self.count * self.head.parameters, inner, outputs)
        self.embedding = ConditionEmbedding(condition, layers * 4 * channels) if condition is not None else None

        for layer in gated:
            layer.out.reset(gain=layers**-0.5)  # the sum of all residual branches then has the scale of one
        self.output.reset(gain=0.1)
        for parameter in [] if self.embedding is None else self.embedding.parameters():
            nn.init.normal_(parameter, std=0.1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def order(self) -> Tensor:
        return torch.arange(self.event.numel, device=self.device).view(self.count, -1).T.flatten()

    def _biases(self, condition: Tensor | None) -> list[Tensor | None]:
        if self.embedding is None or condition is None:
            return [None] * len(self.layers)
        return list(self.embedding(condition)[:, :, None, None].chunk(len(self.layers), dim=1))  # (b, 4p, 1, 1) each

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.event.to_network(x, self.dtype)  # (b, c, h, w)
        v, h = self.first_vertical(shift_down(y)), self.first_horizontal(y)  # (b, p, h, w) each
        if self.rows is not None and self.columns is not None:
            at = (self.rows + self.columns)[None]  # (1, 2p, h, w)
            v, h = v + at[:, : self.channels], h + at[:, self.channels :]
        v, h = (t.contiguous(memory_format=torch.channels_last) for t in (v, h))
        total: Tensor | None = None
        for layer, bias in zip(self.layers, self._biases(condition), strict=True):
            v, h, skip = layer(v, h, bias)
            if skip is not None:
                total = skip if total is None else total + skip
        raw = self.output(torch.relu(self.hidden(torch.relu(h if total is None else total))))  # (b, c * P, h, w)
        b, _, height, width = raw.shape
        return raw.permute(0, 2, 3, 1).reshape(b, height, width, self.count, -1).permute(0, 3, 1, 2, 4)
