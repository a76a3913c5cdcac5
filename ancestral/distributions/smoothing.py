"""The cross entropy of a softmax over a vocabulary, with label smoothing, straight from features."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 128
"""Rows of logits made at once on a CPU: those of some thousand symbols then stay in its cache until they are done with."""


def smoothed_nats(
    features: Tensor, weight: Tensor, bias: Tensor | None, symbols: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    r"""Return the sum of -log p of symbols, which carries no gradient, and the same under label smoothing, which does.

    With logits z = W h + b, log p_k = z_k - log sum_j exp z_j, smoothing a and K symbols, the second is the sum of
    (1 - a) (-log p_y) + (a / K) sum_k (-log p_k); at a = 0 it is the first.

    Args:
        features: h, (n, features).
        weight: W, (K, features).
        bias: b, (K,); None for none.
        symbols: y, (n,), whole numbers.
        smoothing: a, in [0, 1).

    Returns:
        Two scalars, nats.

    References:
        Rethinking the Inception Architecture for Computer Vision (Szegedy et al., 2016), https://arxiv.org/abs/1512.00567.

    >>> nats, smoothed = smoothed_nats(torch.zeros(2, 3), torch.zeros(4, 3), None, torch.tensor([0, 1]), 0.1)
    >>> bool((nats - smoothed).abs() < 1e-6)
    True
    """
    if features.device.type == "cpu" and features.dtype == weight.dtype and not torch.is_autocast_enabled("cpu"):
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        nats, smoothed = _SmoothedNats.apply(features, weight, bias, symbols, smoothing)  # type: ignore[no-untyped-call]
        return nats, smoothed
    logits = F.linear(features, weight, bias)
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    log_p = F.log_softmax(logits, dim=-1)  # (n, K)
    nats = -log_p.gather(1, symbols[:, None]).sum()
    return nats.detach(), (1.0 - smoothing) * nats - smoothing * log_p.mean(1).sum()


class _SmoothedNats(torch.autograd.Function):
    # Written out because eager autograd makes a dozen passes over logits that are larger than any cache, and keeps them:
    # on a CPU that is a fifth of a training step. Here the gradient is taken while some rows of them are at hand.

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, symbols: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        n, count = len(features), len(weight)
        wanted = any(ctx.needs_input_grad[:3])
        grads = [torch.empty_like(features), torch.zeros_like(weight), torch.zeros_like(bias)] if wanted else []
        # The mean of the logits over symbols is linear in the features: no pass over the logits is needed.
        means = features @ weight.mean(0) + bias.mean()
        nats = features.new_zeros(())
        smoothed = features.new_zeros(())
        for start in range(0, n, _ROWS):
            part = slice(start, start + _ROWS)
            h, y = features[part], symbols[part, None]
            z = torch.addmm(bias, h, weight.T)  # (rows, K)
            top = z.amax(1, keepdim=True)
            own = z.gather(1, y)
            p = z.sub_(top).exp_()
            total = p.sum(1, keepdim=True)
            log_total = total.log() + top
            nats += (log_total - own).sum()
            smoothed += (log_total - (1.0 - smoothing) * own).sum() - smoothing * means[part].sum()
            if wanted:
                p.div_(total)
                if smoothing:
                    p.sub_(smoothing / count)
                p.scatter_add_(1, y, p.new_full((1, 1), smoothing - 1.0).expand_as(y))  # the gradient of z
                torch.mm(p, weight, out=grads[0][part])
                grads[1].addmm_(p.T, h)
                grads[2] += p.sum(0)
        ctx.mark_non_differentiable(nats)
        ctx.save_for_backward(*grads)
        return nats, smoothed

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        scale = given[1]
        return *(grad * scale for grad in ctx.saved_tensors), None, None
