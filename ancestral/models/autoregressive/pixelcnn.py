"""PixelCNN: residual blocks of masked convolutions over an image in raster order."""

import torch
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.causal_conv import CausalConv2d, PixelRow, RowSteps, channel_groups, group_slices
from ancestral.layers.condition import ConditionEmbedding
from ancestral.models.autoregressive.raster import (
    Positions,
    RasterModel,
    Readout,
    ReadoutSteps,
    check_dropout,
    check_options,
)
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register


class MaskedBlock(nn.Module):
    """x + W_3 relu(W_2 * relu(W_1 relu(x)) + V c): 1 x 1 to half the features, masked kernel, 1 x 1 back.

    Args:
        channels: features of x.
        inner: features between the 1 x 1 convolutions.
        kernel: side of the masked kernel.
        count: channels of the image.
        dropout: probability that a feature is dropped before the last convolution.
    """

    def __init__(self, channels: int, inner: int, kernel: int, count: int, dropout: float) -> None:
        super().__init__()
        self.groups, self.inner_groups = channel_groups(channels, count), channel_groups(inner, count)
        self.reduce = CausalConv2d.pointwise(channels, inner, self.groups, self.inner_groups)
        self.masked = CausalConv2d.raster(inner, inner, kernel, self.inner_groups, self.inner_groups)
        self.expand = CausalConv2d.pointwise(inner, channels, self.inner_groups, self.groups)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the next features, (batch, channels, h, w); `bias`, (batch, inner), is from the condition."""
        y = self.masked(torch.relu(self.reduce(torch.relu(x))))  # (b, inner, h, w)
        if bias is not None:
            y = y + bias[:, :, None, None]
        return x + self.expand(self.dropout(torch.relu(y)))


class MaskedBlockSteps:
    """A `MaskedBlock`, one channel of a pixel at a time; what rows above give is computed once a row.

    Args:
        block: the block.
        bias: from the condition, (batch, inner), or None.
        x: memory for the features of a pixel, (batch, channels), which all blocks add to.
        width: pixels of a row.
    """

    def __init__(self, block: MaskedBlock, bias: Tensor | None, x: Tensor, width: int) -> None:
        n, inner = len(x), len(block.reduce.bias)
        outer_slices, inner_slices = group_slices(block.groups), group_slices(block.inner_groups)
        masked = block.masked
        self.above = RowSteps(masked, x, width, slice(0, -1))
        self.above_bias = masked.bias.detach() if bias is None else masked.bias.detach() + bias  # (inner,) or (b, inner)
        self.row = PixelRow(x, masked.left, width, inner)
        self.context = x.new_zeros(width, n, inner)
        self.contexts = [self.context[:, :, s].unbind() for s in inner_slices]
        self.targets = [[pixel[:, s] for pixel in self.row.pixels] for s in inner_slices]
        self.x_parts = [x[:, s] for s in outer_slices]
        # A last column of ones carries the bias of the convolution that comes after.
        self.rectified, self.hidden = x.new_ones(n, x.shape[1] + 1), x.new_ones(n, inner + 1)
        self.rectified_parts = [self.rectified[:, s] for s in outer_slices]
        self.hidden_parts = [self.hidden[:, s] for s in inner_slices]
        self.reduce = [block.reduce.step_weight_and_bias(s) for s in inner_slices]
        self.masked = [masked.step_weight(s) for s in inner_slices]
        self.expand = [block.expand.step_weight_and_bias(s) for s in outer_slices]

    def start_row(self, i: int) -> None:
        """Compute what the rows above give to row `i`."""
        if i:
            self.above.push(torch.stack(self.row.pixels), i)
        self.above.product(self.above_bias, i, out=self.context)

    def pixel(self, j: int, g: int) -> None:
        """Add to the features of group `g` of the pixel in column `j`."""
        torch.clamp(self.x_parts[g], min=0.0, out=self.rectified_parts[g])
        torch.mm(self.rectified, self.reduce[g], out=self.targets[g][j]).clamp_(min=0.0)
        y = torch.addmm(self.contexts[g][j], self.row.windows[j], self.masked[g])  # (b, inner_g)
        torch.clamp(y, min=0.0, out=self.hidden_parts[g])
        self.x_parts[g].addmm_(self.hidden, self.expand[g])


@register("pixelcnn")
class PixelCNN(RasterModel):
    r"""A residual network of convolutions masked so that a pixel sees only pixels before it in raster order.

    x_0 = W_A * image with mask A; x_{l+1} = x_l + W_3 relu(W_B * relu(W_1 relu(x_l)) + V c) with mask B and a
    condition c. Entries are visited row by row, pixel by pixel, and within a pixel channel by channel (R, G, B).
    Stacked masked kernels leave a blind spot to the upper right of a pixel: see `GatedPixelCNN`.

    Args:
        event: an image event.
        condition: what the biases of the masked convolutions also depend on, linearly; None for none.
        channels: features of the residual stream, at least 2 per image channel; the blocks work in half of them.
        layers: residual blocks, after a first convolution of 7 x 7.
        kernel: side of the blocks' masked kernels, odd, at least 3.
        head_channels: features of the layer before the output; None for as many as `channels`.
        head: output distribution: "auto", "softmax", "logistic-mixture" and so on.
        components: mixture components, for mixture heads.
        positions: whether the first features also get a learned embedding of their row and column.
        dropout: probability of dropping a feature before a block's last convolution.

    Raises:
        InvalidInput: if the event is no image, an option is out of range, or the head does not fit.

    References:
        Pixel Recurrent Neural Networks (van den Oord et al., 2016), https://arxiv.org/abs/1601.06759.
        Differences: the condition, after Conditional Image Generation with PixelCNN Decoders (van den Oord et al.,
        2016), https://arxiv.org/abs/1606.05328; and the position embedding.

    >>> model = PixelCNN(Event.binary((1, 4, 4)), channels=8, layers=2)
    >>> model.log_prob(torch.zeros(3, 1, 4, 4)).shape
    torch.Size([3])
    """

    summary = "residual masked convolutions over an image"
    reference = "van den Oord et al. 2016a"
    training_defaults = {"learning_rate": 1e-3, "batch_size": 32}
    examples = (
        {"event": Event.binary((1, 2, 3)), "channels": 8, "layers": 2},
        {"event": Event.integers((3, 1, 2), 2), "channels": 12, "layers": 2, "condition": Event.label(3)},
        {"event": Event.integers((1, 2, 2), 3), "channels": 6, "layers": 1, "head": "logistic-mixture", "components": 2},
        {"event": Event.real((1, 2, 2)), "channels": 8, "layers": 1, "components": 2},
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
        positions: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(event, condition)
        check_options(channels=channels, layers=layers, head_channels=head_channels)
        check_dropout(dropout)
        self.head = make_head(event, head, components)
        count, height, width = event.shape
        inner = channels // 2
        if inner < count:
            raise InvalidInput(f"{channels} features are too few for {count} image channels: use at least {2 * count}")
        image, groups = channel_groups(count, count), channel_groups(channels, count)
        self.first = CausalConv2d.raster(count, channels, self.first_kernel, image, groups, strict=True)
        self.positions = Positions(channels, height, width) if positions else None
        blocks = [MaskedBlock(channels, inner, kernel, count, dropout) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.readout = Readout(channels, head_channels or channels, count, self.head.parameters)
        self.embedding = ConditionEmbedding(condition, layers * inner) if condition is not None else None

        for block in blocks:
            block.reduce.reset(gain=2**0.5)  # a ReLU before a layer halves the second moment of its input
            block.masked.reset(gain=2**0.5)
            block.expand.reset(gain=(2.0 / layers) ** 0.5)  # the sum of all branches then has the scale of one
        for parameter in [] if self.embedding is None else self.embedding.parameters():
            nn.init.normal_(parameter, std=0.1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _biases(self, condition: Tensor | None) -> list[Tensor | None]:
        if self.embedding is None or condition is None:
            return [None] * len(self.blocks)
        return list(self.embedding(condition).chunk(len(self.blocks), dim=1))  # (b, inner) each

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.first(self.event.to_network(x, self.dtype))  # (b, p, h, w)
        if self.positions is not None:
            y = y + self.positions()
        y = y.contiguous(memory_format=torch.channels_last)
        for block, bias in zip(self.blocks, self._biases(condition), strict=True):
            y = block(y, bias)
        return self.entries(self.readout(y))

    # Steps

    def start_layers(self, state: State) -> None:
        (count, _, width), cache = self.event.shape, state.cache
        x = state.x.new_zeros(len(state.x), len(self.first.bias))
        blocks = [block for block in self.blocks if isinstance(block, MaskedBlock)]
        cache["blocks"] = [
            MaskedBlockSteps(block, bias, x, width) for block, bias in zip(blocks, self._biases(state.condition), strict=True)
        ]
        groups = group_slices(channel_groups(x.shape[1], count))
        cache["x"], cache["x_parts"] = x, [x[:, s] for s in groups]
        cache["above"] = RowSteps(self.first, x, width, slice(0, -1))
        cache["context"] = x.new_zeros(width, len(x), x.shape[1])
        cache["contexts"] = [cache["context"][:, :, s].unbind() for s in groups]
        cache["first"] = [self.first.step_weight(s) for s in groups]
        cache["readout"] = ReadoutSteps(self.readout, x)
        state.remember(x, cache["readout"].memory)
        by_pixel = [cache["above"].memory, cache["context"]]
        for block in cache["blocks"]:
            state.remember(block.row.memory, block.rectified, block.hidden)
            by_pixel += [block.above.memory, block.context]
        state.remember(*(memory.transpose(0, 1) for memory in by_pixel))

    def start_row(self, state: State, i: int, finished: Tensor | None) -> None:
        cache = state.cache
        if finished is not None:
            cache["above"].push(finished, i)
        bias = self.first.bias.detach()
        if self.positions is not None:
            bias = (bias + self.positions.row(i))[:, None]  # (w, 1, p)
        cache["above"].product(bias, i, out=cache["context"])
        for block in cache["blocks"]:
            block.start_row(i)

    def step_pixel(self, state: State, j: int, c: int) -> Tensor:
        cache = state.cache
        torch.addmm(cache["contexts"][c][j], cache["row"].windows[j], cache["first"][c], out=cache["x_parts"][c])
        for block in cache["blocks"]:
            block.pixel(j, c)
        return cache["readout"].pixel(cache["x"], c)
