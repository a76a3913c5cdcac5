"""Parallel sampling: the sample that steps would give, from fewer calls of the whole network."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ancestral.models.autoregressive.base import AutoregressiveModel

FORECAST = 100.0
"""Standard deviations that the forecast of a real entry is kept within."""


def in_parallel(
    model: AutoregressiveModel,
    member: int,
    condition: Tensor | None,
    noise: Tensor,
    value: Callable[[Tensor, Tensor], Tensor],
) -> Iterator[tuple[Tensor, Tensor]]:
    r"""Draw data as the fixed point of x = f(network(x), noise), from all entries at once.

    Entry o(t) of the right side depends on entries o(<t) alone. So there is one fixed point, the sample that steps
    give from the same noise, and iterating x <- f(network(x), noise) reaches it: each call draws at least one more
    entry, in order, from final values of those before it. It draws as many more as the last call had forecast right:
    an entry is final when all those before it were what the call was given. A datum whose entries are all final takes
    no part in later calls.

    Args:
        model: the model, in evaluation mode, without gradients.
        member: of a mixture, from 0.
        condition: (batch, *condition.shape), where the model has a condition.
        noise: of each entry, (batch, numel, noises).
        value: from raw parameters and noise to values on the scale of the model's head.

    Yields:
        After each call of the network: the data so far, on the event's scale, and whether each entry is final,
        (batch, numel) both. The last are the data.

    References:
        Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving (Song et al., 2021),
        https://arxiv.org/abs/2002.03629: Jacobi iteration.
        Predictive Sampling with Forecasting Autoregressive Models (Wiggers & Hoogeboom, 2020),
        https://arxiv.org/abs/2002.09928: the last iterate as forecast, and which entries are final ("fixed-point
        iteration"); there the batch goes on until its slowest datum is drawn.
    """
    shape, numel = model.event.shape, model.event.numel
    order = model.member_order(member).to(noise.device)
    place = order.argsort()
    lowest, highest = (limit[order] for limit in _limits(model, noise.device))
    x = torch.zeros(len(noise), numel, dtype=model.dtype, device=noise.device)  # by step
    final = torch.zeros(len(noise), dtype=torch.long, device=noise.device)  # leading steps whose values are
    steps = torch.arange(numel, device=noise.device)
    rows = torch.arange(len(noise), device=noise.device)
    while len(rows):
        known = steps < final[rows, None]
        # A forecast from wrong forecasts can be of any size. Were it infinite, even weights of 0 would make it NaN.
        forecast = torch.where(known, x[rows], x[rows].nan_to_num(0.0).clamp(lowest, highest))
        given = None if condition is None else condition[rows]
        raw = model.member_forward(member, forecast[:, place].view(-1, *shape), given)
        drawn = value(raw, noise[rows].view(*raw.shape[:-1], -1))
        if not model.head.own_scale:
            drawn = model.event.from_network(drawn)
        drawn = torch.where(known, forecast, drawn.flatten(1)[:, order].to(x.dtype))
        wrong = drawn != forecast
        x[rows] = drawn
        # The first entry that was forecast wrong is drawn from right ones: it is final, those after it are not.
        final[rows] = torch.where(wrong.any(1), wrong.int().argmax(1) + 1, numel)
        yield x[:, place], (steps < final[:, None])[:, place]
        rows = rows[final[rows] < numel]


def _limits(model: AutoregressiveModel, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest forecast of each entry, (numel,) each, on the event's scale."""
    event = model.event
    ones = torch.ones(1, *event.shape, dtype=model.dtype, device=device)
    if event.levels is not None:
        return 0.0 * ones.flatten(), (event.levels - 1.0) * ones.flatten()
    return event.from_network(-FORECAST * ones).flatten(), event.from_network(FORECAST * ones).flatten()
