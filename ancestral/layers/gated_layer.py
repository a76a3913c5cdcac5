"""The layer of a Gated PixelCNN, two stacks of causal convolutions, whole or a row and a pixel at a time."""

import torch
from torch import Tensor, nn

from ancestral.layers.causal_conv import CausalConv2d, PixelRow, RowSteps, channel_groups, group_slices, spread
from ancestral.layers.gates import gate


class GatedLayer(nn.Module):
    """One layer of both stacks.

    Args:
        channels: features of each stack.
        kernel: side of the square window that the vertical kernel is cut from.
        horizontal_kernel: the same for the horizontal kernel.
        separable: whether the vertical kernel is one window for each feature, and then a product over features.
        groups: group of each feature of the horizontal stack, (channels,).
        skip: features added to the skip connection; 0 for none.
        residual: whether the vertical stack has a residual connection, as the horizontal one has.
        dropout: probability that a gated feature of the horizontal stack is dropped.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        horizontal_kernel: int,
        separable: bool,
        groups: Tensor,
        skip: int,
        residual: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.channels, self.groups, self.skip, self.residual = channels, groups, skip, residual
        both, count = groups.repeat(2), int(groups.max()) + 1
        self.vertical = CausalConv2d.vertical(channels, 2 * channels, kernel, separable)
        # One product gives what the horizontal stack reads and, with a residual connection, what the vertical one adds.
        self.link = CausalConv2d.pointwise(channels, (3 if residual else 2) * channels)
        self.horizontal = CausalConv2d.horizontal(channels, 2 * channels, horizontal_kernel, groups, both)
        out_groups = torch.cat((groups, channel_groups(skip, count))) if skip else groups
        self.out = CausalConv2d.pointwise(channels, channels + skip, groups, out_groups)
        self.dropout = nn.Dropout(dropout)

    def scale_branches(self, gain: float) -> None:
        """Multiply the weights of both residual branches by `gain`."""
        with torch.no_grad():
            self.out.weight.mul_(gain)
            self.link.weight[2 * self.channels :].mul_(gain)

    def forward(self, v: Tensor, h: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the next features of both stacks, and what goes to the skip connection.

        Args:
            v: vertical features, (batch, channels, height, width): of rows above.
            h: horizontal features, (batch, channels, height, width): of pixels before.
            bias: from the condition, (batch, 4 channels), or None.
        """
        a, c = self.vertical(v), self.horizontal(h)  # (b, 2p, h, w) each
        if bias is not None:
            to_a, to_c = bias[:, :, None, None].chunk(2, dim=1)  # (b, 2p, 1, 1) each
            a, c = a + to_a, c + to_c
        gated = gate(a)  # (b, p, h, w)
        link = self.link(gated)  # (b, 2p or 3p, h, w)
        # Split, not sliced: the gradients of slices are whole tensors of zeros, filled in part, to be added up.
        if self.residual:
            link, added = link.split((2 * self.channels, self.channels), dim=1)
            v = v + added
        else:
            v = gated
        out = self.out(self.dropout(gate(c + link)))  # (b, p + s, h, w)
        if not self.skip:
            return v, h + out, None
        added, skip = out.split((self.channels, self.skip), dim=1)
        return v, h + added, skip


class GatedLayerSteps:
    """A `GatedLayer` one row (vertical stack) and one channel of a pixel (horizontal stack) at a time.

    The horizontal stack is all there is to do at a pixel, and at batch size 1 the number of operations is what it
    costs; so a step is four of them, on views and weights made before.

    Args:
        layer: the layer.
        bias: from the condition, (batch, 4 channels), or None.
        h: features that the horizontal stack reads.
        following: features that it writes.
        gated: memory for the gated features of a pixel, (batch, channels + 1), whose last column is 1: it carries the
            bias of the convolution that comes after.
        scratch: memory for what the gate of a row reads, (width, batch, 2 channels), and for what it gives, (width, batch,
            channels).
        context: memory for what the horizontal stack's gates read: of a row what comes from above, and of a pixel at its step
            all of it, (width, batch, 2 channels).
    """

    def __init__(
        self,
        layer: GatedLayer,
        bias: Tensor | None,
        h: PixelRow,
        following: PixelRow,
        gated: Tensor,
        scratch: tuple[Tensor, Tensor],
        context: Tensor,
    ) -> None:
        p, width = layer.channels, len(h.pixels)
        self.windows, self.gated, self.scratch = h.windows, gated, scratch
        self.rows = RowSteps(layer.vertical, gated, width)
        self.vertical_bias = layer.vertical.bias.detach()  # (2p,)
        if bias is not None:
            self.vertical_bias = self.vertical_bias + bias[:, : 2 * p]  # (b, 2p)
        # The context of a pixel holds u and v of the first group, then of the second ...: one slice for each group.
        slices = group_slices(layer.groups)
        both = [torch.cat((torch.arange(2 * p)[s], torch.arange(2 * p)[p:][s])).to(gated.device) for s in slices]
        ungrouped = torch.cat(both)
        self.link = layer.link.step_weight(ungrouped)  # (p, 2p)
        self.link_bias = (layer.link.bias.detach()[: 2 * p] + layer.horizontal.bias.detach())[ungrouped]  # (2p,)
        if bias is not None:
            self.link_bias = self.link_bias + bias[:, 2 * p :][:, ungrouped]  # (b, 2p)
        self.vertical_residual = layer.link.step_weight_and_bias(slice(2 * p, 3 * p)) if layer.residual else None  # (p + 1, p)
        self.context = context
        self.contexts = [
            [(a, *a.chunk(2, dim=1)) for a in self.context[:, :, 2 * s.start : 2 * s.stop].unbind()] for s in slices
        ]  # (b, 2 p_g), (b, p_g) and (b, p_g) for each pixel
        self.inputs = [layer.horizontal.step_weight(index) for index in both]  # (taps * p, 2 p_g) each
        self.outputs = [layer.out.step_weight_and_bias(s) for s in slices]  # (p + 1, p_g) each
        self.parts = [gated[:, s] for s in slices]
        self.residuals = [[pixel[:, s] for pixel in h.pixels] for s in slices]
        self.targets = [[pixel[:, s] for pixel in following.pixels] for s in slices]

    def row(self, v: Tensor, i: int) -> Tensor:
        """Take the vertical features of row `i`, (width, batch, channels), and return those of the next layer."""
        width, n, p = v.shape
        a, gated = self.scratch
        self.rows.push(v, i)
        u, g = self.rows.product(self.vertical_bias, i, out=a).tanh_().chunk(2, dim=2)  # (w, b, p) each
        flat = torch.addcmul(u, u, g, out=gated).view(width * n, p)
        torch.addmm(spread(self.link_bias, width, n), flat, self.link, out=self.context.view(width * n, 2 * p))
        if self.vertical_residual is None:
            return gated
        return torch.addmm(self.vertical_residual[-1], flat, self.vertical_residual[:-1]).view(width, n, p).add_(v)

    def pixel(self, j: int, g: int) -> None:
        """Compute the features of group `g` of the pixel in column `j`."""
        a, u, v = self.contexts[g][j]
        a.addmm_(self.windows[j], self.inputs[g]).tanh_()  # (b, 2 p_g)
        torch.addcmul(u, u, v, out=self.parts[g])
        torch.addmm(self.residuals[g][j], self.gated, self.outputs[g], out=self.targets[g][j])
