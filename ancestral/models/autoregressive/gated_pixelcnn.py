"""Gated PixelCNN: two stacks of causal convolutions, which together see every pixel before the current one."""

import numpy as np
import torch
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.event import Event
from ancestral.layers.causal_conv import CausalConv2d, PixelRow, RowSteps, channel_groups, group_slices, shift_down
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.fused import FusedSteps
from ancestral.layers.fused_gated import RowMemory, RowNetwork, take_row_steps
from ancestral.layers.gated_layer import GatedLayer, GatedLayerSteps
from ancestral.layers.kernels import array
from ancestral.models.autoregressive.raster import Positions, RasterModel, Readout, ReadoutSteps, check_dropout, check_options
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register


@register("gated-pixelcnn")
class GatedPixelCNN(RasterModel):
    r"""A PixelCNN with gates and two stacks of convolutions, whose receptive field has no blind spot.

    The vertical stack v reads the rows above, the horizontal stack h the pixels to the left and v:
    v' = gate(W_v * v + V_v c), h' = h + W_o gate(W_h * h + W_l v' + V_h c), with gate(u, g) = tanh(u) sigmoid(g) and a
    condition c; where the vertical stack is residual, its next layer reads v + W_r v' in place of v'. Entries are visited
    row by row, pixel by pixel, and within a pixel channel by channel (R, G, B). A condition that is itself an image of that
    height and width is one of each pixel: its features there, times a matrix, are added to the first v and h.

    Args:
        event: an image event.
        condition: what the gates' biases also depend on, linearly, or, of an image, the first features of each pixel; None for
            none.
        channels: features of each stack.
        layers: gated layers, after a first convolution of 7 x 7.
        kernel: side of the square window that the kernels are cut from, odd.
        horizontal_kernel: the same for the horizontal stack, where it is to be smaller; None for `kernel`.
        separable: whether vertical kernels are one window for each feature and then a product over features, which makes
            large ones cheap.
        head_channels: features of the layer before the output; None for as many as `channels`.
        head: output distribution: "auto", "softmax", "logistic-mixture" and so on.
        components: mixture components, for mixture heads.
        skip: whether every layer also feeds the output directly.
        vertical_residual: whether the vertical stack has residual connections too; False is the paper's.
        positions: whether the first features also get a learned embedding of their row and column.
        dropout: probability of dropping a gated feature of the horizontal stack.

    Raises:
        InvalidInput: if the event is no image, an option is not positive, or the head does not fit.

    References:
        Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016), https://arxiv.org/abs/1606.05328.
        Differences: the horizontal stack reads the vertical features after their gate rather than before, which halves
        the cost of that link; residual connections in the vertical stack as well, worth a nat on binarized MNIST in
        equal time; the position embedding; gates carry their constants as `layers.gates.gate` says.

    >>> model = GatedPixelCNN(Event.binary((1, 4, 4)), channels=8, layers=2)
    >>> model.log_prob(torch.zeros(3, 1, 4, 4)).shape
    torch.Size([3])
    """

    summary = "two stacks of gated causal convolutions over an image"
    reference = "van den Oord et al. 2016b"
    fused_least = 100_000
    fused_types = (torch.float32, torch.bfloat16)
    training_defaults = {"learning_rate": 2e-3, "batch_size": 32}
    examples = (
        {"event": Event.binary((1, 2, 3)), "channels": 4, "layers": 2, "vertical_residual": False},
        {"event": Event.integers((3, 2, 1), 2), "channels": 6, "layers": 2, "skip": True, "condition": Event.label(3)},
        {"event": Event.integers((1, 2, 2), 3), "channels": 4, "layers": 1, "head": "logistic-mixture", "components": 2},
        {"event": Event.real((1, 2, 2)), "channels": 6, "layers": 1, "components": 2, "separable": True},
        {"event": Event.binary((2, 2, 2)), "channels": 4, "layers": 1, "condition": Event.real((3, 2, 2))},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        channels: int = 64,
        layers: int = 6,
        kernel: int = 5,
        horizontal_kernel: int | None = None,
        separable: bool = False,
        head_channels: int | None = None,
        head: str = "auto",
        components: int = 10,
        skip: bool = False,
        vertical_residual: bool = True,
        positions: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(event, condition)
        check_options(channels=channels, layers=layers, horizontal_kernel=horizontal_kernel, head_channels=head_channels)
        check_dropout(dropout)
        self.head = make_head(event, head, components)
        self.channels = channels
        count, height, width = event.shape
        image, groups = channel_groups(count, count), channel_groups(channels, count)
        self.first_vertical = CausalConv2d.vertical(count, channels, self.first_kernel)
        self.first_horizontal = CausalConv2d.horizontal(count, channels, self.first_kernel, image, groups, strict=True)
        self.positions = Positions(2 * channels, height, width) if positions else None
        skipped, across = channels if skip else 0, horizontal_kernel or kernel
        gated = [
            GatedLayer(channels, kernel, across, separable, groups, skipped, vertical_residual, dropout) for _ in range(layers)
        ]
        self.layers = nn.ModuleList(gated)
        self.readout = Readout(channels, head_channels or channels, count, self.head.parameters)
        by_pixel = condition is not None and condition.is_image and condition.shape[1:] == event.shape[1:]
        self.embedding = (
            ConditionEmbedding(condition, layers * 4 * channels) if condition is not None and not by_pixel else None
        )
        self.map = nn.Conv2d(condition.shape[0], 2 * channels, 1) if condition is not None and by_pixel else None

        for layer in gated:
            # The sum of all residual branches then has the scale of one.
            layer.scale_branches(layers**-0.5)
        for parameter in [] if self.embedding is None else self.embedding.parameters():
            nn.init.normal_(parameter, std=0.1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _biases(self, condition: Tensor | None) -> list[Tensor | None]:
        if self.embedding is None or condition is None:
            return [None] * len(self.layers)
        return list(self.embedding(condition).chunk(len(self.layers), dim=1))  # (b, 4p) each

    def _mapped(self, condition: Tensor | None) -> Tensor | None:
        if self.map is None or self.condition is None or condition is None:
            return None
        mapped: Tensor = self.map(self.condition.to_network(condition, self.dtype))  # (b, 2p, h, w)
        return mapped

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.event.to_network(x, self.dtype)  # (b, c, h, w)
        v, h = self.first_vertical(shift_down(y)), self.first_horizontal(y)  # (b, p, h, w) each
        if self.positions is not None:
            to_v, to_h = self.positions().chunk(2)  # (p, h, w) each
            v, h = v + to_v, h + to_h
        if (mapped := self._mapped(condition)) is not None:
            to_v, to_h = mapped.chunk(2, dim=1)  # (b, p, h, w) each
            v, h = v + to_v, h + to_h
        v, h = (t.contiguous(memory_format=torch.channels_last) for t in (v, h))
        total: Tensor | None = None
        for layer, bias in zip(self.layers, self._biases(condition), strict=True):
            v, h, skip = layer(v, h, bias)
            if skip is not None:
                total = skip if total is None else total + skip
        return self.entries(self.readout(h if total is None else total))

    # Steps

    def start_layers(self, state: State) -> None:
        n, p, (count, _, width), cache = len(state.x), self.channels, self.event.shape, state.cache
        groups = group_slices(channel_groups(p, count))
        layers = [layer for layer in self.layers if isinstance(layer, GatedLayer)]
        left = layers[0].horizontal.left
        cache["memory"] = state.x.new_zeros(len(layers) + 1, n, left + width, p)
        cache["context"] = state.x.new_zeros(len(layers), width, n, 2 * p)
        features = [PixelRow(state.x, left, width, p, memory) for memory in cache["memory"]]
        gated = state.x.new_ones(n, len(layers), p + 1)
        scratch = state.x.new_zeros(width, n, 2 * p), state.x.new_zeros(width, n, p)
        cache["layers"] = [
            GatedLayerSteps(layer, bias, features[k], features[k + 1], gated[:, k], scratch, cache["context"][k])
            for k, (layer, bias) in enumerate(zip(layers, self._biases(state.condition), strict=True))
        ]
        cache["map"] = self._mapped(state.condition)
        cache["rows"] = RowSteps(self.first_vertical, state.x, width)
        cache["horizontal"] = [self.first_horizontal.step_weight(s) for s in groups]
        cache["targets"] = [[pixel[:, s] for pixel in features[0].pixels] for s in groups]
        cache["groups"], cache["features"], cache["readout"] = groups, features[-1].pixels, ReadoutSteps(self.readout, state.x)
        cache["gated"] = gated
        state.remember(gated, cache["readout"].memory, *(row.memory for row in features))
        by_pixel = [memory for layer in cache["layers"] for memory in (layer.rows.memory, layer.context)]
        state.remember(*(memory.transpose(0, 1) for memory in (cache["rows"].memory, *by_pixel)))
        if layers[0].skip:
            cache["flat"], cache["total"] = gated.flatten(1), state.remember(state.x.new_zeros(n, p))
            cache["totals"] = [cache["total"][:, s] for s in groups]
            cache["skip"] = [
                torch.cat([layer.out.step_weight_and_bias(slice(p + s.start, p + s.stop)) for layer in layers]) for s in groups
            ]  # (layers * (p + 1), p_g) each

    def enter_row(self, state: State, i: int) -> None:
        cache, width = state.cache, self.event.shape[2]
        v, h = (conv.bias.detach().expand(width, -1) for conv in (self.first_vertical, self.first_horizontal))  # (w, p) each
        if self.positions is not None:
            to_v, to_h = self.positions.row(i).chunk(2, dim=1)  # (w, p) each
            v, h = v + to_v, h + to_h
        v, h = v[:, None], h[:, None]  # (w, 1, p) each
        if cache["map"] is not None:
            to_v, to_h = cache["map"][:, :, i].permute(2, 0, 1).chunk(2, dim=2)  # (w, b, p) each
            v, h = v + to_v, h + to_h
        cache["above_bias"] = v  # (w, 1 or b, p)
        cache["begin"] = h
        cache["row_bias"] = [h[:, :, s].unbind() for s in cache["groups"]]  # (1 or b, p_g) for each pixel

    def start_row(self, state: State, i: int, finished: Tensor | None) -> None:
        cache = state.cache
        if finished is not None:
            cache["rows"].push(finished, i)
        v = cache["rows"].product(cache["above_bias"], i)
        for layer in cache["layers"]:
            v = layer.row(v, i)

    def step_pixel(self, state: State, j: int, c: int) -> Tensor:
        cache = state.cache
        bias, window, weight = cache["row_bias"][c][j], cache["row"].windows[j], cache["horizontal"][c]
        torch.addmm(bias, window, weight, out=cache["targets"][c][j])
        for layer in cache["layers"]:
            layer.pixel(j, c)
        if "skip" not in cache:
            return cache["readout"].pixel(cache["features"][j], c)
        torch.mm(cache["flat"], cache["skip"][c], out=cache["totals"][c])
        return cache["readout"].pixel(cache["total"], c)

    # Many steps in one call

    @property
    def depth(self) -> int:
        return len(self.layers)

    def make_network(self) -> RowNetwork:
        p, count = self.channels, self.event.shape[0]
        layers = [layer for layer in self.layers if isinstance(layer, GatedLayer)]
        slices = group_slices(channel_groups(p, count))
        hidden, output = self.readout.hidden, self.readout.output
        inner, outer = (group_slices(channel_groups(len(conv.bias), count)) for conv in (hidden, output))
        matrices: list[Tensor] = []
        end = 0

        def place(weight: Tensor) -> int:
            nonlocal end
            matrices.append(weight.float().flatten())
            begin, end = end, end + weight.numel()
            return begin

        def both(s: slice) -> Tensor:
            channels = torch.arange(p)[s]
            return torch.cat((channels, channels + p)).to(self.device)

        def skip(s: slice) -> Tensor:
            return torch.cat([layer.out.step_weight_and_bias(slice(p + s.start, p + s.stop)) for layer in layers])

        return RowNetwork(
            image=np.array([place(self.first_horizontal.step_weight(s)) for s in slices]),
            inputs=np.array([[place(layer.horizontal.step_weight(both(s))) for s in slices] for layer in layers]),
            outputs=np.array([[place(layer.out.step_weight_and_bias(s)) for s in slices] for layer in layers]),
            skip=np.array([place(skip(s)) for s in slices] if layers[0].skip else [], np.int64),
            hidden=np.array([place(hidden.step_weight(s)) for s in inner]),
            output=np.array([place(output.step_weight(s)) for s in outer]),
            weights=array(torch.cat(matrices)),
            hidden_bias=array(hidden.bias.float()),
            output_bias=array(output.bias.float().view(count, -1)),
            edges=np.array([0, *(s.stop for s in slices)]),
            hidden_edges=np.array([0, *(s.stop for s in inner)]),
            scaled=array(self.scaled_levels()),
            image_taps=self.first_horizontal.left + 1,
            taps=layers[0].horizontal.left + 1,
        )

    def prepare_fused(self, state: State, begin: int, stop: int) -> tuple[RowNetwork, RowMemory, int]:
        self.approach(state, None if begin == 0 else state.x[:, state.entries[begin - 1]])
        memory = RowMemory(*(array(tensor.float()) for tensor in (*self._row_memory(state), state.cache["begin"])))
        return self.fused_network(), memory, begin % (self.event.shape[0] * self.event.shape[2])

    def _row_memory(self, state: State) -> tuple[Tensor, ...]:
        cache = state.cache
        total = cache["total"] if "total" in cache else state.x.new_zeros(0, 0)
        return cache["row"].memory, cache["memory"], cache["context"], cache["gated"], total, cache["readout"].memory

    def take_fused(self, state: State, prepared: tuple[RowNetwork, RowMemory, int], steps: FusedSteps, rows: slice) -> None:
        network, memory, begin = prepared
        take_row_steps(network, memory, steps, begin, rows.start, rows.stop)

    def finish_fused(self, state: State, prepared: tuple[RowNetwork, RowMemory, int]) -> None:
        if self.dtype != torch.float32:
            for tensor, copied in zip(self._row_memory(state), prepared[1], strict=False):
                tensor.copy_(torch.from_numpy(copied))
