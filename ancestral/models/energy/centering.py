"""Centring: the gradient of layered machines that does not depend on which state of a unit is called 1."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

OFFSET_RATE = 0.01
"""How far the running means of units move to those of a step."""


@torch.no_grad()
def centered_directions(
    positive: Sequence[Tensor], negative: Sequence[Tensor], offsets: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    r"""Return the gradient of log p that centred parameters would have, in terms of the plain ones.

    With E = -sum_l (h_{l+1} - m_{l+1})'W_l (h_l - m_l) - sum_l (h_l - m_l)'b_l and constant m, a step in b is one in b alone.
    The plain biases are b_l - W_{l-1} m_{l-1} - W_l'm_{l+1}: their steps are those of b less what the steps in W do to them.

    Args:
        positive: states or means of each layer given data, the data first, each (batch, units).
        negative: those of the model, each (chains, units).
        offsets: m of each layer, (units,).

    Returns:
        For each two layers that meet, (units above, units below); for each layer, (units,).

    References:
        How to Center Deep Boltzmann Machines (Melchior, Fischer & Wiskott, 2016), https://jmlr.org/papers/v17/14-237.html

    >>> weights, biases = centered_directions([torch.ones(1, 2), torch.ones(1, 1)], [torch.zeros(1, 2), torch.zeros(1, 1)],
    ...     [torch.full((2,), 0.5), torch.full((1,), 0.5)])
    >>> weights[0], biases[0]
    (tensor([[0., 0.]]), tensor([1., 1.]))
    """
    layers = [torch.cat((p - m, n - m)) for p, n, m in zip(positive, negative, offsets, strict=True)]
    # Both means by one product: in half precision a difference of two rounded ones would keep little.
    share = torch.cat(
        [part.new_full((len(part), 1), sign / len(part)) for part, sign in ((positive[0], 1.0), (negative[0], -1.0))]
    )
    weights = [((share * above).T @ below).to(below.dtype) for below, above in pairwise(layers)]
    biases = [(share * layer).sum(0) for layer in layers]
    for i, weight in enumerate(weights):
        biases[i] = biases[i] - offsets[i + 1] @ weight
        biases[i + 1] = biases[i + 1] - weight @ offsets[i]
    return weights, biases


@torch.no_grad()
def follow(offsets: Sequence[Tensor], positive: Sequence[Tensor], negative: Sequence[Tensor]) -> None:
    """Move running means, in place, towards the mean over data and negative samples of each layer."""
    for offset, p, n in zip(offsets, positive, negative, strict=True):
        offset.lerp_((p.mean(0) + n.mean(0)) / 2.0, OFFSET_RATE)


def centered_loss(
    value: Tensor,
    weights: Iterable[Tensor],
    biases: Iterable[Tensor],
    positive: Sequence[Tensor],
    negative: Sequence[Tensor],
    offsets: Sequence[Tensor],
    *,
    moving: bool,
) -> Tensor:
    """Return `value`, a number, with minus `centered_directions` as its gradient in weights and biases; (,).

    Args:
        value: what the loss is said to be.
        weights: of each two layers that meet.
        biases: of each layer.
        positive: as in `centered_directions`.
        negative: as in `centered_directions`.
        offsets: as in `centered_directions`.
        moving: whether the offsets follow the layers first, as they do in training.
    """
    if moving:
        follow(offsets, positive, negative)
    directions = [part for parts in centered_directions(positive, negative, offsets) for part in parts]
    linear = torch.stack([(d * p).sum() for d, p in zip(directions, (*weights, *biases), strict=True)]).sum()
    return linear.detach() - linear + value
