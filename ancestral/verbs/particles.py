"""Particles: several ways on from one point of an autoregressive model, weighed by the observed values they meet."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ancestral.distributions import Sharpening
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.verbs.noise import Streams

PREFIX, ORDER, FILTER = "exact (prefix)", "exact (order)", "sequential Monte Carlo"
"""How autoregressive models complete; see `ancestral.verbs.complete.complete`."""


@dataclass(frozen=True)
class Plan:
    """How data of one mask are completed.

    Args:
        observed: (numel,), bool.
        orders: of each member, (numel,).
        method: `PREFIX`, `ORDER` or `FILTER`.
    """

    observed: Tensor
    orders: list[Tensor]
    method: str

    def stops(self, member: int) -> tuple[int, int]:
        """Return the number of steps before the first entry that was not observed, and that up to the last that was."""
        seen = self.observed[self.orders[member]].long()
        return int(seen.cumprod(0).sum()), int((seen * torch.arange(1, len(seen) + 1)).max())


def make_plan(model: AutoregressiveModel, observed: Tensor) -> Plan:
    """Return how a model completes data of which the entries `observed`, (numel,), bool, are given.

    >>> from ancestral.event import Event
    >>> from ancestral.models import create
    >>> observed = torch.tensor([False, True, False])
    >>> [make_plan(create(name, Event.binary((3,))), observed).method for name in ("fvsbn", "deep-nade")]
    ['sequential Monte Carlo', 'exact (order)']
    """
    own = [model.member_order(k).cpu() for k in range(model.members)]
    orders = own
    if model.any_order:
        orders = [torch.cat((order[observed[order]], order[~observed[order]])) for order in own]
    plan = Plan(observed, orders, PREFIX)
    if any(lead < last for lead, last in map(plan.stops, range(model.members))):
        return replace(plan, method=FILTER)
    same = all(torch.equal(a, b) for a, b in zip(own, orders, strict=True))
    return plan if same else replace(plan, method=ORDER)


class Particles:
    """Particles of one member over data of one mask, with their weights; at first one for each datum.

    Args:
        model: the model.
        plan: mask and orders.
        member: the member.
        x: data, (batch, numel).
        condition: (batch, *condition.shape), where the model has a condition.
        noise: a stream for each datum; None where there are no particles to draw.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        plan: Plan,
        member: int,
        x: Tensor,
        condition: Tensor | None,
        noise: Streams | None = None,
    ) -> None:
        self.model, self.x, self.noise = model, x, noise
        self.value = EntryValue(model.head, Sharpening())
        self.observed = plan.observed.tolist()
        self.state = model.init_state(len(x), condition, plan.orders[member] if model.any_order else None, member)
        self.log_p = x.new_zeros(len(x), 1, dtype=torch.float64)  # of all entries so far, drawn or observed
        self.log_weight = torch.zeros_like(self.log_p)  # since particles were last drawn anew
        self.log_mean = self.log_p[:, 0].clone()  # of the weights up to then
        self.family: Tensor | None = None
        self.last = 0

    def take_steps(self, lead: int, last: int, count: int) -> None:
        """Take the steps to the last observed entry, by one particle up to `lead` and by `count` from there."""
        self.last = last
        read = Draws(self.value, given=self.x, scored=True)  # no entry before `lead` is drawn
        self.model.run(self.state, read, stop=lead)
        self.log_p, self.log_weight = self.log_p + read.log_p[..., None], self.log_weight + read.log_p[..., None]
        if lead == last:
            return
        b = len(self.x)
        self.state = self.model.fork(self.state, torch.arange(b, device=self.x.device).repeat_interleave(count))
        self.log_p, self.log_weight = self.log_p.repeat(1, count), self.log_weight.repeat(1, count)
        self.family = torch.arange(count, device=self.x.device).repeat(b, 1)
        self.model.run(self.state, self._choose, stop=last)

    def _choose(self, entry: int, raw: Tensor) -> Tensor:
        if not self.observed[entry]:
            noise = self._take(self.log_p.shape[1] * self.value.noises).view(len(raw), -1)
            value = self.model.entry_value(entry, self.value(raw, noise))
            self.log_p += self._log_prob(entry, raw, value)
            return value
        value = self.x[:, entry].repeat_interleave(self.log_p.shape[1])
        log_prob = self._log_prob(entry, raw, value)
        self.log_p += log_prob
        self.log_weight += log_prob
        if self.family is not None and self.state.t < self.last:
            self._draw_anew(self.family)
        return value  # the same for all particles of a datum, however they were exchanged

    def _take(self, count: int) -> Tensor:
        if self.noise is None:
            raise RuntimeError("particles without noise came to an entry that is not observed")
        return self.noise.take(count)

    def _log_prob(self, entry: int, raw: Tensor, value: Tensor) -> Tensor:
        return self.model.value_log_prob(entry, raw, value).double().view_as(self.log_p)

    def _draw_anew(self, family: Tensor) -> None:
        noise = self._take(1)  # whether or not it is needed, so that a datum's noise does not depend on other data
        weight = torch.softmax(self.log_weight, 1)
        count = weight.shape[1]
        poor = 1.0 / weight.square().sum(1) < count / 2
        if not bool(poor.any()):
            return
        index = torch.where(poor[:, None], systematic(weight, count, noise), torch.arange(count, device=weight.device))
        self.log_mean = torch.where(poor, self.log_evidence(), self.log_mean)
        self.log_weight = torch.where(poor[:, None], 0.0, self.log_weight)
        self.log_p, self.family = self.log_p.gather(1, index), family.gather(1, index)
        self.state.select(self._flat(index))

    def _flat(self, index: Tensor) -> Tensor:
        """Return the row of the state for each particle, (batch, k) within a datum, as (batch * k,)."""
        return (index + self.log_p.shape[1] * torch.arange(len(index), device=index.device)[:, None]).flatten()

    def log_evidence(self) -> Tensor:
        """Return the logarithm of the estimate of p(observed so far), (batch,), nats; exact for a single particle."""
        return self.log_mean + torch.logsumexp(self.log_weight, 1) - math.log(self.log_weight.shape[1])

    def sample_size(self) -> Tensor:
        """Return the effective number of families, (batch,); infinite where there was nothing to weigh."""
        if self.family is None:
            return torch.full_like(self.log_mean, math.inf)
        weight = torch.softmax(self.log_weight, 1)
        return 1.0 / torch.zeros_like(weight).scatter_add_(1, self.family, weight).square().sum(1)

    def pick(self, n: int) -> Tensor:
        """Draw `n` particles of each datum by weight and return their rows of the state, (batch * n,)."""
        if self.family is None:
            return self._flat(torch.zeros(len(self.x), n, dtype=torch.long, device=self.x.device))
        return self._flat(systematic(torch.softmax(self.log_weight, 1), n, self._take(1)))

    def finish(self, rows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Go on from rows of the state, past the last observed entry, to the end.

        Args:
            rows: (rows,); the state stays as it is.
            noise: uniform noise of each entry, (rows, numel, noises).

        Returns:
            x, (rows, numel), and log p(x), (rows,), nats.
        """
        draws = Draws(self.value, noise, scored=True)
        draws.add(self.log_p.flatten()[rows])
        state = self.model.fork(self.state, rows)
        self.model.run(state, draws)
        return state.x, draws.log_p


def systematic(weight: Tensor, n: int, noise: Tensor) -> Tensor:
    """Draw `n` indices by weight, evenly: index i comes up either floor(n w_i) or ceil(n w_i) times.

    Args:
        weight: (batch, k), which sum to 1.
        n: number of draws.
        noise: uniform noise in [0, 1), (batch, 1).

    Returns:
        (batch, n); each of them has the probabilities `weight`, and they depend on each other.

    >>> systematic(torch.tensor([[0.25, 0.0, 0.75]]), 4, torch.tensor([[0.9]])).sort().values
    tensor([[0, 2, 2, 2]])
    """
    cumulative = weight.double().cumsum(1)
    cumulative = cumulative / cumulative[:, -1:]
    points = (noise + torch.arange(n, device=weight.device) / n) % 1.0
    return torch.searchsorted(cumulative, points, right=True).clamp(max=weight.shape[1] - 1)
