"""The product with a masked matrix whose zeros lie in one corner, without most of the products with zeros."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BAND = 128
"""Rows of a band: fewer would leave out more zeros, in products that are too small to be fast."""


class Band(NamedTuple):
    """Rows `first` to `last` - 1 of a mask, which see inputs 0 to `seen` - 1 at most."""

    first: int
    last: int
    seen: int


def bands_of(mask: Tensor) -> list[Band]:
    """Return the bands of a mask, (outputs, inputs), each of which sees what those before it see; one where that is no gain.

    >>> [tuple(band) for band in bands_of(torch.ones(256, 256).tril())]
    [(0, 128, 128), (128, 256, 256)]
    """
    outputs, inputs = mask.shape
    if min(outputs, inputs) < 2 * BAND:
        return [Band(0, outputs, inputs)]
    reach = mask * torch.arange(1.0, inputs + 1.0)
    starts = range(0, outputs, BAND)
    return [Band(a, min(a + BAND, outputs), int(reach[: a + BAND].max())) for a in starts]


def banded_linear(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, bands: list[Band]) -> Tensor:
    """Return x (W * M)^T + b, (batch, outputs), band by band; its gradients have no gradients of their own.

    Args:
        x: (batch, inputs).
        weight: W, (outputs, inputs).
        bias: b, (outputs,).
        mask: M, (outputs, inputs), 0 or 1.
        bands: of the mask, from `bands_of`.
    """
    y: Tensor = _BandedLinear.apply(x, weight, bias, mask, bands)  # type: ignore[no-untyped-call]
    return y


class _BandedLinear(torch.autograd.Function):
    """Written out, since the gradients of slices would each be a whole tensor of zeros first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, bands: list[Band]) -> Tensor:
        device = x.device.type
        # Products into given memory do not follow autocast by themselves.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        h, w, b = x.to(dtype), (weight * mask.to(weight.dtype)).to(dtype), bias.to(dtype)
        y = h.new_empty(len(h), len(w))
        for first, last, seen in bands:
            torch.addmm(b[first:last], h[:, :seen], w[first:last, :seen].T, out=y[:, first:last])
        ctx.save_for_backward(h, w, mask)
        ctx.bands, ctx.types = bands, (x.dtype, weight.dtype, bias.dtype)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        h, w, mask = ctx.saved_tensors
        of_x, of_weight = torch.zeros_like(h), torch.zeros_like(w)
        before = 0
        for first, last, seen in ctx.bands:
            torch.mm(grad[:, first:last].T, h[:, :seen], out=of_weight[first:last, :seen])
            # What this band sees for the first time is seen by it and by those after it.
            torch.mm(grad[:, first:], w[first:, before:seen], out=of_x[:, before:seen])
            before = seen
        x_type, weight_type, bias_type = ctx.types
        return of_x.to(x_type), of_weight.to(weight_type).mul_(mask), grad.sum(0).to(bias_type), None, None
