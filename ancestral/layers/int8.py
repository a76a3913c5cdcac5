"""Linear layers of whole numbers of eight bits: a quarter of the memory to read for a step, and products of bytes."""

import torch
from torch import Tensor, nn

from ancestral.errors import Unsupported

LARGEST = 127
"""Weights and inputs are rounded to -127, ..., 127."""


class Int8Linear(nn.Module):
    r"""y = s_x s_w (q_x q_w) + b: a linear layer whose weights, and inputs as they come, are rounded to eight bits.

    The weights of an output have a scale of their own, s_w = max |w| / 127, and so have the inputs of a row. The products of
    bytes are added up as whole numbers of 32 bits, so that they are exact.

    Args:
        linear: the layer to take the place of, on a CPU; it stays as it is.

    Raises:
        Unsupported: if it is elsewhere.

    References:
        Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference (Jacob et al., 2018),
        https://arxiv.org/abs/1712.05877. There ranges of inputs are learned; here each row takes its own.

    >>> layer = nn.Linear(64, 8)
    >>> x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    >>> bool((Int8Linear(layer)(x) - layer(x)).abs().max() < 0.05)
    True
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = _rounded(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (..., out_features), of `x`, (..., in_features)."""
        rows, scale = _rounded(x.reshape(-1, self.in_features))
        # torch._int_mm is wrong for one input, up to 2.13 at least.
        sums = torch._int_mm(rows, self.weight.T) if self.in_features > 1 else rows.int() * self.weight.T
        y = sums.to(x.dtype) * (scale * self.scale)
        if self.bias is not None:
            y += self.bias
        return y.view(*x.shape[:-1], self.out_features)


def _rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return whole numbers for rows of numbers, (rows, columns), and the scale of each row, (rows, 1)."""
    if x.device.type != "cpu":
        raise Unsupported(f"weights of eight bits compute on a CPU, got {x.device.type}: leave weights= out, or take the CPU")
    scale = x.abs().amax(dim=1, keepdim=True).clamp_min_(torch.finfo(x.dtype).tiny).div_(LARGEST)
    return (x / scale).round_().to(torch.int8), scale


def replace_linear(module: nn.Module) -> None:
    """Put an `Int8Linear` in the place of every `nn.Linear` below `module`."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            replace_linear(child)


def share_int8(source: nn.Module, target: nn.Module) -> None:
    """Let `target`, of the same modules as `source` was, have those of its layers that are of eight bits."""
    for name, layer in source.named_modules():
        if isinstance(layer, Int8Linear):
            target.set_submodule(name, layer)
