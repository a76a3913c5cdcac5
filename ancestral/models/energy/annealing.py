"""Annealed importance sampling: log Z of an energy, along a path of distributions from one whose log Z is known."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.layers.mlp import check_sizes

_BREAKS = ((0.0, 0.0), (500 / 14_500, 0.5), (4_500 / 14_500, 0.9), (1.0, 1.0))
"""Share of the distributions, and the inverse temperature that it ends at."""


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z, with what it was made from.

    Args:
        value: nats.
        standard_error: of `value`, by the spread of the chains' weights; nats.
        chains: independent chains.
        distributions: steps from the base distribution to the model's.
        seed: seed of the chains.
    """

    value: float
    standard_error: float
    chains: int
    distributions: int
    seed: int


class AnnealingPath(Protocol):
    """Distributions p_t(v) = f_t(v) / Z_t from one that can be drawn from, t = 0, to the model, t = 1; states are opaque."""

    log_base: float
    """log Z_0, nats."""

    def start(self, chains: int, generator: torch.Generator, at: Tensor | None = None) -> Any:
        """Return independent draws from p_0, or `at`, (chains, units), as states of the path."""
        ...

    def log_ratio(self, state: Any, before: float, after: float) -> Tensor:
        """Return log f_after - log f_before, (chains,), of the states."""
        ...

    def move(self, state: Any, t: float, generator: torch.Generator) -> Any:
        """Return states after a step that leaves p_t as it is; those that were given may be written over."""
        ...


def schedule(distributions: int) -> list[float]:
    """Return inverse temperatures from 0 to 1 in so many steps, closer to each other towards 1.

    The first 500 of 14,500 steps go to 0.5 and the next 4,000 to 0.9, as in the reference; other numbers in proportion.

    References:
        On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov & Murray, 2008),
        https://doi.org/10.1145/1390156.1390266

    >>> [round(t, 3) for t in schedule(29)]  # doctest: +ELLIPSIS
    [0.0, 0.5, 0.55, 0.6, ...0.995, 1.0]
    """
    check_sizes("distributions", (distributions,))

    def at(share: float) -> float:
        for (left, low), (right, high) in pairwise(_BREAKS):
            if share <= right:
                return low + (high - low) * (share - left) / (right - left)
        return 1.0

    return [at(i / distributions) for i in range(distributions)] + [1.0]


@torch.no_grad()
def annealed_log_weights(
    path: AnnealingPath, steps: Iterable[float], chains: int, generator: torch.Generator, start: Tensor | None = None
) -> Tensor:
    r"""Return log weights, (chains,), nats, in float64, of which the mean of the exponentials is Z_1 in expectation.

    w = Z_0 prod_i f_{t_i}(v_i) / f_{t_{i-1}}(v_i), where v_1 is drawn from p_0 and v_{i+1} from a step that leaves p_{t_i}
    as it is.

    Back from states of the model, with steps from 1 to 0, the mean of the exponentials of what is returned is Z_0^2 / Z_1 in
    expectation, if these are draws from the model.

    Args:
        path: the distributions.
        steps: inverse temperatures, as of `schedule`, from 0 to 1.
        chains: number of chains, which run side by side.
        generator: source of randomness.
        start: states of the model to go back from, (chains, units); draws from p_0 where None.

    References:
        Annealed Importance Sampling (Neal, 2001), https://doi.org/10.1023/A:1008923215028
    """
    check_sizes("chains", (chains,))
    state = path.start(chains, generator, start)
    total: Tensor | None = None
    before: float | None = None
    for t in steps:
        if before is not None:
            if total is not None:
                state = path.move(state, before, generator)
            ratio = path.log_ratio(state, before, t).double()
            total = path.log_base + ratio if total is None else total.add_(ratio)
        before = t
    return torch.full((chains,), path.log_base, dtype=torch.float64) if total is None else total


def log_mean(log_weights: Tensor) -> tuple[float, float]:
    """Return the log of the mean of weights, (n >= 2,) logarithms, and its standard error, to first order in that of the mean.

    >>> value, error = log_mean(torch.tensor([1.0, 3.0, 1.0, 3.0]).double().log())
    >>> round(math.exp(value), 6), round(error, 4)
    (2.0, 0.2887)
    """
    peak = log_weights.max()
    weights = (log_weights - peak).exp()
    mean = weights.mean()
    return float(peak + mean.log()), float(weights.std() / mean) / math.sqrt(len(weights))


def bennett(there: Tensor, back: Tensor) -> float:
    r"""Return the log of R from log weights both ways: exp(there) has mean R, exp(back) mean 1 / R.

    It is the L with sum_i sigmoid(there_i - L) = sum_j sigmoid(back_j + L), the estimate of least variance from as many of
    both. Errors of the two ways, which are of opposite signs, largely cancel where neither is enough.

    Args:
        there: (n,), nats.
        back: (n,), nats.

    References:
        Efficient Estimation of Free Energy Differences from Monte Carlo Data (Bennett, 1976),
        https://doi.org/10.1016/0021-9991(76)90078-4

    >>> round(bennett(torch.tensor([1.0, 3.0]), torch.tensor([-1.0, -3.0])), 6)
    2.0
    """
    there, back = there.double(), back.double()
    low = float(torch.minimum(there.min(), -back.max())) - 50.0
    high = float(torch.maximum(there.max(), -back.min())) + 50.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if float(torch.sigmoid(there - middle).sum() - torch.sigmoid(back + middle).sum()) > 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


class BipartitePath:
    r"""Tempered RBMs: f_t(v) = exp(((1 - t) a + t b)'v) prod_j (1 + exp((1 - t) e_j + t (c_j + W_j v))).

    The hidden units are summed out. At t = 0 all units are independent, with logits a and e.

    Args:
        weight: W, (hidden, visible).
        visible_bias: b, (visible,).
        hidden_bias: c, (hidden,).
        base: a, (visible,), such as the log-odds of the units in the training data.
        hidden_base: e, (hidden,); zeros, fair coins, where None.
    """

    def __init__(
        self, weight: Tensor, visible_bias: Tensor, hidden_bias: Tensor, base: Tensor, hidden_base: Tensor | None = None
    ) -> None:
        self.hidden_base = torch.zeros_like(hidden_bias) if hidden_base is None else hidden_base
        self.weight, self.bias, self.hidden_bias, self.base = weight, visible_bias, hidden_bias, base
        self.transposed = weight.T.contiguous()
        self.difference = visible_bias - base
        self.log_hidden_base = float(F.softplus(self.hidden_base.double()).sum())
        self.log_base = float(F.softplus(base.double()).sum()) + self.log_hidden_base
        self._room: Sequence[Tensor] = ()

    def start(self, chains: int, generator: torch.Generator, at: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return visible units, (chains, visible), and the logits of the hidden ones at t = 1, (chains, hidden)."""
        dtype, device = self.weight.dtype, self.weight.device
        hidden, visible = self.weight.shape
        # Memory for noise and probabilities is taken once: of a step, asking for it anew is a large part.
        self._room = [torch.empty(chains, n, dtype=dtype, device=device) for n in (visible, visible, hidden, hidden)]
        v = self._draw_base(chains, generator) if at is None else at.to(dtype).clone()
        return v, torch.addmm(self.hidden_bias, v, self.transposed)

    def _draw_base(self, chains: int, generator: torch.Generator) -> Tensor:
        return coins(self.base.expand(chains, -1).clone(), generator)

    def log_ratio(self, state: tuple[Tensor, Tensor], before: float, after: float) -> Tensor:
        v, logits = state
        room, more = self._room[2:]
        _softplus(torch.lerp(self.hidden_base, logits, after, out=room), room)
        _softplus(torch.lerp(self.hidden_base, logits, before, out=more), more)
        return (after - before) * torch.mv(v, self.difference) + room.sub_(more).sum(1)

    def move(self, state: tuple[Tensor, Tensor], t: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        v, logits = state
        visible, noise, hidden, coins = self._room
        # h given v, then v given h, written over what is there.
        h = torch.lt(
            coins.uniform_(generator=generator), torch.lerp(self.hidden_base, logits, t, out=hidden).sigmoid_(), out=hidden
        )
        bias = torch.lerp(self.base, self.bias, t)
        self._write_visible(v, torch.addmm(bias, h, self.weight, alpha=t, out=visible), noise, generator)
        return v, torch.addmm(self.hidden_bias, v, self.transposed, out=logits)

    def _write_visible(self, v: Tensor, natural: Tensor, noise: Tensor, generator: torch.Generator) -> None:
        """Write visible units over `v`, drawn given their logits or means; `natural` and `noise` may be written over."""
        torch.lt(noise.uniform_(generator=generator), natural.sigmoid_(), out=v)

    def step(self, v: Tensor, t: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return new states after a step that leaves p_t as it is, and the logits of their hidden units at t = 1.

        Args:
            v: visible units, (..., visible).
            t: inverse temperature of each, (..., 1).
            generator: source of randomness.
        """
        h = coins(torch.lerp(self.hidden_base, v @ self.transposed + self.hidden_bias, t), generator)
        v = self.draw_visible(h, t, generator)
        return v, v @ self.transposed + self.hidden_bias

    def log_value(self, v: Tensor, logits: Tensor, t: Tensor) -> Tensor:
        """Return log f_t(v) - log f_0(v), (...), of visible units and the logits of their hidden ones at t = 1."""
        hidden = F.softplus(torch.lerp(self.hidden_base, logits, t[..., None])).sum(-1)
        return t * (v @ self.difference) + hidden - self.log_hidden_base

    def draw_visible(self, h: Tensor, t: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return visible units, (..., visible), drawn given hidden ones, (..., hidden), at inverse temperatures, (..., 1)."""
        return coins(torch.lerp(self.base, self.bias, t) + t * (h @ self.weight), generator)


def coins(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return binary units drawn with P(1) = sigmoid(logits), written over the logits, which then are no more.

    Chains draw again and again: without the memory that each draw would ask for anew they take half the time.
    """
    noise = torch.empty_like(logits).uniform_(generator=generator)
    return torch.lt(noise, logits.sigmoid_(), out=logits)


def _softplus(x: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.softplus.out(x, out=out)
