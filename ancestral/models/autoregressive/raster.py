"""What convolutional models of images share: raster order, channels innermost, and steps by row, pixel and channel."""

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.layers.causal_conv import CausalConv2d, PixelRow, channel_groups, group_slices
from ancestral.models.autoregressive.fused import FusedModel
from ancestral.models.autoregressive.state import State


class RasterModel(FusedModel):
    """A model that visits an image row by row, pixel by pixel, and in a pixel channel by channel (R, then G, then B).

    A subclass implements `forward`, and for steps `start_layers`, `start_row` and `step_pixel`. The current row of the
    image is in `state.cache["row"]`, a `PixelRow` on the scale of `Event.to_network`. Steps carry no gradient.
    """

    images_only = True
    fused_data = True
    first_kernel = 7
    """Side of the first convolution's window."""

    @property
    def order(self) -> Tensor:
        return torch.arange(self.event.numel).view(self.event.shape[0], -1).T.flatten()

    def entries(self, raw: Tensor) -> Tensor:
        """Return an output of the network, (batch, channels * parameters, h, w), as (batch, channels, h, w, parameters)."""
        b, _, height, width = raw.shape
        by_pixel = raw.permute(0, 2, 3, 1).reshape(b, height, width, self.event.shape[0], self.head.parameters)
        return by_pixel.permute(0, 3, 1, 2, 4)

    def start_layers(self, state: State) -> None:
        """Prepare weights and memory for steps, in `state.cache`."""
        raise NotImplementedError

    def enter_row(self, state: State, i: int) -> None:
        """Prepare what the pixels of row `i` take from their place and the condition alone, in `state.cache`."""

    def start_row(self, state: State, i: int, finished: Tensor | None) -> None:
        """Compute what the pixels of row `i` take from the rows above, in memory that the state remembers.

        Args:
            state: the state.
            i: index of the row.
            finished: the row above, (width, batch, channels), on the scale of `Event.to_network`; None for the first.
        """
        raise NotImplementedError

    def step_pixel(self, state: State, j: int, c: int) -> Tensor:
        """Return the raw parameters of channel `c` of the pixel in column `j` of the current row, (batch, parameters)."""
        raise NotImplementedError

    def start(self, state: State) -> None:
        channels, _, width = self.event.shape
        state.cache["row"] = PixelRow(state.x, self.first_kernel // 2, width, channels)
        state.cache["row_index"] = -1
        state.remember(state.cache["row"].memory)
        self.start_layers(state)

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        self.approach(state, previous)
        channels, _, width = self.event.shape
        return self.step_pixel(state, *divmod(state.t % (width * channels), channels))

    def approach(self, state: State, previous: Tensor | None) -> None:
        """Do what comes before `step_pixel` at a step: note the value of the entry before, and enter a row."""
        channels, _, width = self.event.shape
        i, rest = divmod(state.t, width * channels)
        row: PixelRow = state.cache["row"]
        if previous is not None:
            before, entry = divmod((state.t - 1) % (width * channels), channels)
            row.pixels[before][:, entry] = self._scaled(state, previous)
        if state.cache["row_index"] != i:
            self.enter_row(state, i)
            state.cache["row_index"] = i
        if rest == 0:
            self.start_row(state, i, torch.stack(row.pixels) if i else None)

    def fused_stop(self, t: int) -> int:
        channels, _, width = self.event.shape
        return (t // (width * channels) + 1) * width * channels  # what comes from above is made for a row

    def _scaled(self, state: State, previous: Tensor) -> Tensor:
        if self.event.discrete:
            return self.event.to_network(previous, state.x.dtype)
        # Real entries have scales of their own; the whole datum is the unit that the event knows.
        scaled = self.event.to_network(state.x.view(-1, *self.event.shape))
        return scaled.flatten(1)[:, int(state.order[state.t - 1])]


def check_options(**options: float | None) -> None:
    """Raise unless each option given is at least 1; None stands for a default.

    Raises:
        InvalidInput: naming the option.
    """
    for name, value in options.items():
        if value is not None and value < 1:
            raise InvalidInput(f"{name} must be at least 1, got {value}")


def check_dropout(dropout: float) -> None:
    """Raise unless `dropout` is in [0, 1).

    Raises:
        InvalidInput: otherwise.
    """
    if not 0.0 <= dropout < 1.0:
        raise InvalidInput(f"dropout must be in [0, 1), got {dropout}")


class Positions(nn.Module):
    """A learned embedding of rows plus one of columns.

    Args:
        features: length of the embedding.
        height: rows.
        width: columns.
    """

    def __init__(self, features: int, height: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(0.1 * torch.randn(features, height, 1))
        self.columns = nn.Parameter(0.1 * torch.randn(features, 1, width))

    def forward(self) -> Tensor:
        """Return the embedding of all positions, (features, height, width)."""
        return self.rows + self.columns

    def row(self, i: int) -> Tensor:
        """Return the embedding of row `i`, (width, features)."""
        return (self.rows[:, i] + self.columns[:, 0]).detach().T


class Readout(nn.Module):
    """From features to raw parameters: ReLU, 1 x 1 convolution, ReLU, 1 x 1 convolution.

    Args:
        features: features of a pixel, in groups, see `channel_groups`.
        hidden: features between the convolutions.
        channels: channels of the image.
        parameters: raw parameters of an entry.
    """

    def __init__(self, features: int, hidden: int, channels: int, parameters: int) -> None:
        super().__init__()
        inputs, inner, outputs = (channel_groups(n, channels) for n in (features, hidden, channels * parameters))
        self.channels = channels
        self.hidden = CausalConv2d.pointwise(features, hidden, inputs, inner)
        self.output = CausalConv2d.pointwise(hidden, channels * parameters, inner, outputs)
        self.output.reset(gain=0.1)  # close to even odds at first

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, channels * parameters, h, w), given (batch, features, h, w)."""
        raw: Tensor = self.output(torch.relu(self.hidden(torch.relu(features))))
        return raw


class ReadoutSteps:
    """A `Readout`, one channel of a pixel at a time.

    Args:
        readout: the layers.
        like: a tensor of the same batch size, type and device.
    """

    def __init__(self, readout: Readout, like: Tensor) -> None:
        hidden, output = readout.hidden, readout.output
        inner, outer = (group_slices(channel_groups(len(conv.bias), readout.channels)) for conv in (hidden, output))
        self.memory = like.new_zeros(len(like), len(hidden.bias))
        self.parts = [self.memory[:, s] for s in inner]
        self.first = [(hidden.bias.detach()[s], hidden.step_weight(s)) for s in inner]
        self.last = [(output.bias.detach()[s], output.step_weight(s)) for s in outer]

    def pixel(self, features: Tensor, g: int) -> Tensor:
        """Return the raw parameters of channel `g` of a pixel, (batch, parameters), given its (batch, features)."""
        bias, weight = self.first[g]
        torch.clamp(torch.addmm(bias, torch.relu(features), weight), min=0.0, out=self.parts[g])
        bias, weight = self.last[g]
        return torch.addmm(bias, self.memory, weight)
