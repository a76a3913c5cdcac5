"""Causal convolutions over images in raster order, channels innermost: all pixels at once, or step by step."""

import math
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput


def channel_groups(channels: int, groups: int) -> Tensor:
    """Return the group of each of `channels` feature channels, (channels,): groups are contiguous and near equal.

    A feature of group g may depend on the channels 0, ..., g of its own pixel (R; R and G; R, G and B).

    Raises:
        InvalidInput: if there are fewer channels than groups.

    >>> channel_groups(7, 3)
    tensor([0, 0, 0, 1, 1, 2, 2])
    """
    if channels < groups:
        raise InvalidInput(f"{channels} feature channels cannot serve {groups} image channels: use at least {groups}")
    return torch.arange(channels) * groups // channels


class CausalConv2d(nn.Module):
    """A convolution whose kernel ends at the current row: `rows` rows, `left` and `right` columns beside the pixel.

    Build it with `vertical`, `horizontal`, `raster` or `pointwise`. Zeros stand outside the image. Kernels are cropped to what
    they may see rather than masked, so that only the last row of a raster kernel and the taps on the pixel itself
    carry a mask.

    Args:
        in_channels: input channels.
        out_channels: output channels.
        rows: rows of the kernel, the last being the current one.
        left: columns of the kernel to the left of the pixel.
        right: columns of the kernel to the right of the pixel: 0 or `left`.
        in_groups: group of each input channel, (in_channels,), see `channel_groups`; None with `out_groups`
            for a kernel without a mask.
        out_groups: group of each output channel, (out_channels,): an output of group g reads the inputs of
            groups 0, ..., g on its own pixel.
        strict: mask A, groups 0, ..., g - 1 only, for the image itself; otherwise mask B.
        separable: one window for each input channel, and then a product over channels: W_{oiyx} = P_{oi} D_{iyx}. The work
            is that of the product alone, so that windows can be large; for kernels without a mask.

    References:
        Pixel Recurrent Neural Networks (van den Oord et al., 2016), https://arxiv.org/abs/1601.06759, for the masks.
        Xception: Deep Learning with Depthwise Separable Convolutions (Chollet, 2017), https://arxiv.org/abs/1610.02357.

    >>> conv = CausalConv2d.horizontal(1, 4, 3, channel_groups(1, 1), channel_groups(4, 1), strict=True)
    >>> conv(torch.zeros(2, 1, 5, 5)).shape
    torch.Size([2, 4, 5, 5])
    """

    mask: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        rows: int,
        left: int,
        right: int,
        in_groups: Tensor | None = None,
        out_groups: Tensor | None = None,
        strict: bool = False,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.rows, self.left, self.right = rows, left, right
        mask = None
        if in_groups is not None and out_groups is not None:
            mask = torch.ones(out_channels, in_channels, rows, left + 1 + right)
            mask[:, :, -1, left + 1 :] = 0.0
            own = in_groups[None, :] < out_groups[:, None] if strict else in_groups[None, :] <= out_groups[:, None]
            mask[:, :, -1, left] = own.to(mask.dtype)
            if bool(mask.all()):
                mask = None
        self.register_buffer("mask", mask, persistent=False)
        columns = left + 1 + right
        self.windows = nn.Parameter(torch.empty(in_channels, 1, rows, columns)) if separable else None
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *((1, 1) if separable else (rows, columns))))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.reset()

    @classmethod
    def vertical(cls, in_channels: int, out_channels: int, kernel: int, separable: bool = False) -> Self:
        """The kernel // 2 rows above and the current row, all of `kernel` columns: for input shifted down by a row."""
        half = _half(kernel)
        return cls(in_channels, out_channels, half + 1, half, half, separable=separable)

    @classmethod
    def horizontal(
        cls, in_channels: int, out_channels: int, kernel: int, in_groups: Tensor, out_groups: Tensor, strict: bool = False
    ) -> Self:
        """The kernel // 2 pixels to the left, and on the pixel itself what the masks let through."""
        return cls(in_channels, out_channels, 1, _half(kernel), 0, in_groups, out_groups, strict)

    @classmethod
    def raster(
        cls, in_channels: int, out_channels: int, kernel: int, in_groups: Tensor, out_groups: Tensor, strict: bool = False
    ) -> Self:
        """A kernel x kernel window masked in raster order, as in PixelCNN."""
        half = _half(kernel)
        return cls(in_channels, out_channels, half + 1, half, half, in_groups, out_groups, strict)

    @classmethod
    def pointwise(
        cls, in_channels: int, out_channels: int, in_groups: Tensor | None = None, out_groups: Tensor | None = None
    ) -> Self:
        """The pixel itself, a 1 x 1 convolution."""
        return cls(in_channels, out_channels, 1, 0, 0, in_groups, out_groups)

    def reset(self, gain: float = 1.0) -> None:
        """Draw the weights from N(0, gain^2 / fan-in), where the fan-in counts what the mask lets through."""
        taps = self.weight[0].numel() if self.mask is None else float(self.mask.flatten(1).sum(1).mean())
        nn.init.normal_(self.weight, std=gain / math.sqrt(max(taps, 1.0)))
        nn.init.zeros_(self.bias)
        if self.windows is not None:
            nn.init.normal_(self.windows, std=1.0 / math.sqrt(self.windows[0].numel()))

    def kernel(self) -> Tensor:
        """Return the weights with the mask applied, (out, in, rows, left + 1 + right)."""
        if self.windows is not None:
            return self.weight * self.windows[:, 0]
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Convolve all pixels at once: (batch, in, height, width) to (batch, out, height, width)."""
        # Padding p input channels where the convolution cannot costs less than cropping p or 2p output channels, whose
        # gradient would have to be padded instead.
        above, left = self.rows - 1, self.left if self.right == 0 else 0
        if above or left:
            x = F.pad(x, (left, 0, above, 0))
        if self.windows is not None:
            return F.conv2d(depthwise(x, self.windows, self.right), self.weight, self.bias)
        return F.conv2d(x, self.kernel(), self.bias, padding=(0, self.right))

    # Steps: products of prepared weights with the windows of `PixelRow`. They carry no gradient.

    def step_weight(self, outputs: slice | Tensor = slice(None)) -> Tensor:
        """Return the weights of the current row for `outputs`: a window of `PixelRow` times them is the step.

        Returns:
            ((left + 1) * in, outputs), contiguous; an index runs over columns, then input channels.
        """
        last = self.kernel().detach()[outputs, :, -1, : self.left + 1]  # (out, in, taps)
        return last.permute(2, 1, 0).flatten(0, 1).contiguous()

    def step_weight_and_bias(self, outputs: slice = slice(None)) -> Tensor:
        """Return `step_weight` with the bias below it: for windows whose last column is 1, so that one product does both.

        Returns:
            ((left + 1) * in + 1, outputs), contiguous.
        """
        return torch.cat((self.step_weight(outputs), self.bias.detach()[None, outputs]))


def depthwise(x: Tensor, windows: Tensor, right: int = 0) -> Tensor:
    """Convolve each channel with a window of its own.

    Args:
        x: (batch, channels, height, width).
        windows: (channels, 1, rows, columns).
        right: columns of zeros on either side.

    Returns:
        (batch, channels, height - rows + 1, width + 2 right - columns + 1).

    >>> depthwise(torch.ones(1, 2, 3, 3), torch.ones(2, 1, 2, 2)).shape
    torch.Size([1, 2, 2, 2])
    """
    cpu = x.device.type == "cpu"
    if cpu and (torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype) == torch.bfloat16:
        out: Tensor = Depthwise.apply(x.to(torch.bfloat16), windows, right)  # type: ignore[no-untyped-call]
        return out
    if not cpu or x.dtype != torch.float64:
        return F.conv2d(x, windows, padding=(0, right), groups=x.shape[1])
    # On a CPU torch has no kernel for it in float64, and takes ten times as long as these sums.
    rows, columns = windows.shape[2:]
    taps = windows[:, 0].permute(1, 2, 0).contiguous()  # (rows, columns, channels)
    x = F.pad(x, (right, right)).permute(0, 2, 3, 1)
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    # Some images at a time, for the sums to stay in the processor's cache.
    size = max(1, 2**16 // max(1, height * width * x.shape[3]))
    sums = []
    for part in x.split(size):
        out = part[:, :height, :width] * taps[0, 0]
        for tap in range(1, rows * columns):
            i, j = divmod(tap, columns)
            out = out.addcmul_(part[:, i : i + height, j : j + width], taps[i, j])
        sums.append(out)
    return torch.cat(sums).permute(0, 3, 1, 2)


class Depthwise(torch.autograd.Function):
    """Torch's depthwise convolution in bfloat16 with gradients that take a CPU half the time of torch's own.

    The gradient of the windows, D_{cij} = sum_{nyx} x_{c,n,y+i,x+j} g_{c,n,y,x}, is the sums along the diagonals of
    M_{ci} = sum_{ny} x_{c,n,y+i,:} g_{c,n,y,:}^T. These are matrix products, and faster although they hold four times as much.
    """

    @staticmethod
    def forward(x: Tensor, windows: Tensor, right: int) -> Tensor:
        return F.conv2d(x, windows.to(x.dtype), padding=(0, right), groups=x.shape[1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        x, windows, ctx.right = inputs
        ctx.save_for_backward(x, windows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, windows = ctx.saved_tensors
        (rows, columns), right = windows.shape[2:], ctx.right
        to_x: Tensor | None = None
        to_windows: Tensor | None = None
        if ctx.needs_input_grad[0]:
            flipped, edge = windows.flip(2, 3).to(x.dtype), columns - 1 - right
            inner = gradient if edge >= 0 else F.pad(gradient, (edge, edge))
            to_x = F.conv2d(inner, flipped, padding=(rows - 1, max(edge, 0)), groups=x.shape[1])
        if ctx.needs_input_grad[1]:
            n, c, height, width = gradient.shape
            # Channels first, and images within rows, so that what a row of the windows reads is one matrix as it lies.
            padded = F.pad(x.contiguous(), (right, right)).permute(1, 2, 0, 3).contiguous()  # (c, tall, n, wide)
            g = gradient.contiguous().permute(1, 2, 0, 3).reshape(c, height * n, width)
            wide = padded.shape[3]
            diagonals = [
                # (c, wide, height n) times (c, height n, width)
                torch.bmm(padded[:, i : i + height].flatten(1, 2).mT, g)
                .as_strided((c, columns, width), (wide * width, width, width + 1))
                .sum(2, dtype=windows.dtype)
                for i in range(rows)
            ]
            to_windows = torch.stack(diagonals, dim=1)[:, None]  # (c, 1, rows, columns)
        return to_x, to_windows, None


class RowSteps:
    """Whole rows of a `CausalConv2d`, one at a time, over the last few rows of its input.

    In memory pixels come before data: what a column of the kernel reads is then one matrix as it lies, and needs no copy;
    and what lies outside the image is not computed with.

    Attributes:
        memory: (width, batch, 2 rows * channels), written in place. Each row is there twice, `rows` apart: the last few
            always lie side by side, and none has to be moved.

    Args:
        conv: the convolution; what it makes carries no gradient.
        like: a tensor of the same batch size, type and device.
        width: pixels of a row.
        rows: the rows of the kernel that are read.

    >>> conv = CausalConv2d.vertical(1, 1, 3)
    >>> _ = conv.weight.data.fill_(1.0)
    >>> steps = RowSteps(conv, torch.zeros(1), width=2)
    >>> steps.push(torch.tensor([[[5.0]], [[6.0]]]), 0)
    >>> steps.product(torch.zeros(1), 0)[:, 0, 0]
    tensor([11., 11.])
    """

    def __init__(self, conv: CausalConv2d, like: Tensor, width: int, rows: slice = slice(None)) -> None:
        self.channels, self.rows = conv.weight.shape[1], len(range(*rows.indices(conv.rows)))
        self.windows = None if conv.windows is None else conv.windows.detach()[:, :, rows].contiguous()
        kernel = (conv.weight if self.windows is not None else conv.kernel()[:, :, rows]).detach()  # (out, in, rows, columns)
        # One for each column, with its distance from the pixel; an index runs over kernel rows, then input channels.
        weights = kernel.permute(3, 2, 1, 0).flatten(1, 2).contiguous().unbind()
        # The middle column comes first: it alone reaches all pixels.
        self.weights = sorted(enumerate(weights, -(len(weights) // 2)), key=lambda column: abs(column[0]))
        self.memory = like.new_zeros(width, len(like), 2 * self.rows * self.channels)

    def push(self, row: Tensor, i: int) -> None:
        """Add row `i` of the input, (width, batch, channels), below row i - 1."""
        for slot in (i % self.rows, i % self.rows + self.rows):
            self.memory[..., slot * self.channels : (slot + 1) * self.channels] = row

    def product(self, bias: Tensor, i: int, out: Tensor | None = None) -> Tensor:
        """Return what the kernel makes of the rows up to row `i`.

        Args:
            bias: what is added, (out,) or another shape that broadcasts to the result's.
            i: the row that was pushed last.
            out: contiguous memory for the result.

        Returns:
            (width, batch, out).
        """
        width, n, _ = self.memory.shape
        # Above the first row there is nothing. A window of its own for each channel reads zeros there instead.
        seen = self.rows if self.windows is not None else min(i + 1, self.rows)
        end = i % self.rows + self.rows + 1
        x = self.memory[..., (end - seen) * self.channels : end * self.channels]  # (w, b, seen * channels)
        if self.windows is not None:
            by_row = x.unflatten(2, (self.rows, self.channels)).permute(1, 2, 0, 3).contiguous()  # (b, rows, w, channels)
            sums = depthwise(by_row.permute(0, 3, 1, 2), self.windows, self.windows.shape[3] // 2)  # (b, channels, 1, w)
            x = sums[:, :, 0].permute(2, 0, 1)  # (w, b, channels)
        x = x.flatten(0, 1)
        (_, middle), *others = ((offset, weight[-x.shape[1] :]) for offset, weight in self.weights)
        total = torch.addmm(spread(bias, width, n), x, middle, out=None if out is None else out.view(width * n, -1))
        for offset, weight in others:
            if abs(offset) < width:
                begin, stop = max(0, -offset) * n, (width - max(0, offset)) * n
                total[begin:stop].addmm_(x[begin + offset * n : stop + offset * n], weight)
        return total.view(width, n, -1)


def spread(bias: Tensor, width: int, n: int) -> Tensor:
    """Return a bias that broadcasts to (width, batch, features), as (width * batch, features): a view where it can be."""
    return bias.expand(width, n, bias.shape[-1]).reshape(width * n, -1)


class PixelRow:
    """Features of one row of pixels, in memory that is overwritten from row to row, with zeros to the left.

    Attributes:
        memory: (batch, left + width, channels).
        pixels: a view of each pixel, `width` of (batch, channels).
        windows: a view of each pixel and the `left` before it, `width` of (batch, (left + 1) * channels).

    Args:
        like: a tensor of the same batch size, type and device.
        left: columns of zeros.
        width: pixels.
        channels: features of a pixel.
        memory: zeros of the shape of `memory`, where they are part of other memory; None to make them.

    >>> row = PixelRow(torch.zeros(1), left=1, width=3, channels=1)
    >>> row.pixels[0][:] = 5.0
    >>> row.windows[0], row.windows[1]
    (tensor([[0., 5.]]), tensor([[5., 0.]]))
    """

    def __init__(self, like: Tensor, left: int, width: int, channels: int, memory: Tensor | None = None) -> None:
        n = len(like)
        self.memory = like.new_zeros(n, left + width, channels) if memory is None else memory
        # Views made once: at batch size 1, making a view takes as long as a tenth of a layer.
        self.pixels = list(self.memory[:, left:].unbind(1))
        rows = self.memory.view(n, -1)
        self.windows = [rows[:, j * channels : (j + left + 1) * channels] for j in range(width)]


def _half(kernel: int) -> int:
    if kernel < 3 or kernel % 2 == 0:
        raise InvalidInput(f"a causal convolution needs an odd kernel of at least 3, got {kernel}: use 3, 5 or 7")
    return kernel // 2


def group_slices(groups: Tensor) -> list[slice]:
    """Return the slice of each group, given the sorted group of each channel, as `channel_groups` returns it."""
    ends = torch.bincount(groups).cumsum(0).tolist()
    return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]


def shift_down(x: Tensor) -> Tensor:
    """Return images with every row one lower and zeros in the first: (b, c, h, w) to the same shape."""
    return F.pad(x, (0, 0, 1, -1))
