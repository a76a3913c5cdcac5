"""Draws from p(rest | observed) of autoregressive models: every completion from noise of its own."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ancestral.distributions import Sharpening
from ancestral.errors import InvalidInput
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import EntryValue
from ancestral.verbs.gibbs import gibbs_sweeps
from ancestral.verbs.inputs import auto_batch_size, track
from ancestral.verbs.noise import Streams, stream_number, uniform_noise
from ancestral.verbs.particles import FILTER, Particles, Plan, make_plan


@dataclass(frozen=True)
class Settings:
    """How completions are drawn; `complete` says more.

    Args:
        n: completions of each datum.
        particles: particles of each datum, where there are any.
        sweeps: Gibbs sweeps over completions that particles gave.
        seed: seed of the noise.
    """

    n: int
    particles: int
    sweeps: int
    seed: int


@dataclass(frozen=True)
class Rest:
    """Completions, and how they were come by; `Completion` says more.

    Args:
        x: (batch, n, numel), on the event's scale; what stands in the observed entries does not count.
        log_prob: log p(completion | observed), (batch, n), nats.
        log_evidence: log p(observed), (batch,), nats.
        sample_size: (batch,); infinite for data that are completed exactly.
        method: of each datum.
    """

    x: Tensor
    log_prob: Tensor
    log_evidence: Tensor
    sample_size: Tensor
    method: list[str]


def draw_rest(
    model: AutoregressiveModel,
    x: Tensor,
    observed: Tensor,
    condition: Tensor | None,
    settings: Settings,
    *,
    progress: bool = False,
) -> Rest:
    """Complete data, those of one mask together, as many at once as fit in memory.

    Args:
        model: the model, in evaluation mode, without gradients.
        x: (batch, *event.shape), of type `event.dtype`, zero where not observed, on the CPU.
        observed: (batch, *event.shape), bool.
        condition: (batch, *condition.shape), where the model has a condition.
        settings: how.
        progress: show a progress bar.

    Returns:
        The completions, on the CPU.

    Raises:
        InvalidInput: if the model gives an observed part probability 0 or NaN.
    """
    streams = _streams(x, observed, condition)
    masks, group = observed.flatten(1).unique(dim=0, return_inverse=True)
    work = []
    for i, mask in enumerate(masks):
        plan = make_plan(model, mask)
        size = auto_batch_size(model.event) // max(settings.n, settings.particles if plan.method == FILTER else 1)
        work += [(plan, rows) for rows in (group == i).nonzero()[:, 0].split(max(1, size))]
    parts = []
    for plan, rows in track(work, "completing", len(work), progress=progress):
        flat = x[rows].flatten(1).to(model.device, model.dtype)
        given = None if condition is None else condition[rows].to(model.device)
        parts.append(_Pass(model, plan, flat, given, [streams[i] for i in rows.tolist()], settings).complete(rows))
    order = torch.cat([rows for _, rows in work]).argsort()
    methods = [method for part in parts for method in part.method]
    return Rest(
        x=torch.cat([part.x for part in parts])[order],
        log_prob=torch.cat([part.log_prob for part in parts])[order],
        log_evidence=torch.cat([part.log_evidence for part in parts])[order],
        sample_size=torch.cat([part.sample_size for part in parts])[order],
        method=[methods[i] for i in order.tolist()],
    )


def _streams(x: Tensor, observed: Tensor, condition: Tensor | None) -> list[int]:
    """Return a stream for each datum, which follows from what is known of it, and how many equal ones come before it."""
    known = [t.contiguous().cpu().numpy() for t in (x, observed, condition) if t is not None]
    equal: Counter[int] = Counter()
    streams = []
    for parts in zip(*known, strict=True):
        number = stream_number(*(part.tobytes() for part in parts))
        streams.append(stream_number(number, equal[number]))
        equal[number] += 1
    return streams


class _Pass:
    """Data of one mask that are completed together.

    Args:
        model: the model.
        plan: mask and orders.
        x: (batch, numel).
        condition: (batch, *condition.shape), where the model has a condition.
        streams: of each datum, (batch,).
        settings: how.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        plan: Plan,
        x: Tensor,
        condition: Tensor | None,
        streams: Sequence[int],
        settings: Settings,
    ) -> None:
        self.model, self.plan, self.x, self.condition = model, plan, x, condition
        self.streams, self.settings = streams, settings
        self.limit = auto_batch_size(model.event)
        self.origin = torch.arange(len(x), device=x.device).repeat_interleave(settings.n)  # datum of each completion
        self.completions = [stream_number(stream, "completion", j) for stream in streams for j in range(settings.n)]
        self.noises = EntryValue(model.head, Sharpening()).noises

    def complete(self, numbers: Tensor) -> Rest:
        """Complete each datum by a member k drawn with probability p_k(observed) / sum_k p_k(observed).

        Members are drawn while they pass, one after another, so that the memory is that of one: completion j goes over to
        member k with probability p_k(observed) / sum_{l <= k} p_l(observed).

        Args:
            numbers: which data these are, (batch,), for an error to name them.
        """
        batch, n, members = len(self.x), self.settings.n, self.model.members
        drawn = self.x[self.origin]
        log_joint = drawn.new_zeros(len(drawn), dtype=torch.float64)
        member_of = torch.zeros_like(self.origin)
        choice = self._noise(torch.arange(len(drawn)), members)
        total = drawn.new_full((batch,), -math.inf, dtype=torch.float64)
        evidences, sizes = [], []
        for member in range(members):
            filtered = self._filter(member)
            evidences.append(filtered.log_evidence())
            sizes.append(filtered.sample_size())
            total = torch.logaddexp(total, evidences[-1])
            share = (evidences[-1] - total).exp()[self.origin]
            moved = (choice[:, member] < share).nonzero()[:, 0]
            member_of[moved] = member
            picked = filtered.pick(n)
            if len(moved):
                drawn[moved], log_joint[moved] = self._finish(filtered, picked[moved], moved)
        log_evidence = total - math.log(members)
        self._check(log_evidence, numbers)
        method = self.plan.method
        if method == FILTER and self.settings.sweeps > 0:
            method = f"{method}, {self.settings.sweeps} Gibbs sweeps"
            drawn, log_joint = self._sweep(drawn, member_of)
        if members > 1:
            log_joint = self._mixture_log_prob(drawn)
        shares = (torch.stack(evidences) - total).exp()  # (members, batch)
        return Rest(
            x=drawn.view(batch, n, -1).cpu(),
            log_prob=(log_joint.view(batch, n) - log_evidence[:, None]).cpu(),
            log_evidence=log_evidence.cpu(),
            sample_size=1.0 / (shares.square() / torch.stack(sizes)).sum(0).cpu(),
            method=[method] * batch,
        )

    def _check(self, log_evidence: Tensor, numbers: Tensor) -> None:
        bad = numbers[~log_evidence.isfinite().cpu()].tolist()
        if bad:
            raise InvalidInput(
                f"{self.model.name or type(self.model).__name__} gives the observed part of {len(bad)} data probability 0 or"
                f" NaN, of datum {bad[0]} first: these data or this mask are not usable, or more particles are needed"
            )

    def _filter(self, member: int) -> Particles:
        """Return one member's particles at the last observed entry."""
        streams = [stream_number(stream, "particles", member) for stream in self.streams]
        noise = Streams(self.settings.seed, streams, self.x.device)
        filtered = Particles(self.model, self.plan, member, self.x, self.condition, noise)
        filtered.take_steps(*self.plan.stops(member), self.settings.particles)
        return filtered

    def _finish(self, particles: Particles, picked: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the completions `rows`, (rows, numel), which go on from the particles `picked`, and their log p, (rows,)."""
        x, log_p = [], []
        for some in torch.arange(len(rows), device=rows.device).split(self.limit):
            noise = self._noise(rows[some], self.model.members + self.x.shape[1] * self.noises)[:, self.model.members :]
            ends = particles.finish(picked[some], noise.view(len(some), -1, self.noises))
            x.append(ends[0])
            log_p.append(ends[1])
        return torch.cat(x), torch.cat(log_p)

    def _noise(self, rows: Tensor, count: int) -> Tensor:
        """Return the first `count` numbers for each of the completions `rows`: one for each member, then for entries."""
        noise = [uniform_noise(self.settings.seed, self.completions[i], count) for i in rows.tolist()]
        return torch.from_numpy(np.stack(noise)).to(self.x.device)

    def _sweep(self, drawn: Tensor, member_of: Tensor) -> tuple[Tensor, Tensor]:
        """Return completions, (rows, numel), moved on by Gibbs sweeps, and their log p, (rows,)."""
        x, log_joint = drawn.clone(), drawn.new_zeros(len(drawn), dtype=torch.float64)
        for member in member_of.unique().tolist():
            own = (member_of == member).nonzero()[:, 0]
            for datum in self.origin[own].unique().tolist():
                rows = own[self.origin[own] == datum]
                x[rows] = gibbs_sweeps(
                    self.model,
                    self.plan,
                    member,
                    x[rows],
                    self._conditions(rows),
                    self.settings.sweeps,
                    seed=self.settings.seed,
                    datum=self.streams[datum],
                    streams=[self.completions[i] for i in rows.tolist()],
                )
            # What comes after the last observed entry is drawn again, given what comes before it now.
            order, last = self.plan.orders[member], self.plan.stops(member)[1]
            known = torch.zeros_like(self.plan.observed)
            known[order[:last]] = True
            forced = Particles(self.model, replace(self.plan, observed=known), member, x[own], self._conditions(own))
            forced.take_steps(last, last, 1)
            x[own], log_joint[own] = self._finish(forced, torch.arange(len(own), device=own.device), own)
        return x, log_joint

    def _conditions(self, rows: Tensor) -> Tensor | None:
        """Return the conditions of the completions `rows`."""
        return None if self.condition is None else self.condition[self.origin[rows]]

    def _mixture_log_prob(self, x: Tensor) -> Tensor:
        """Return log 1/K sum_k p_k(x), (rows,), where each member takes its order of the plan, for x of (rows, numel)."""
        everything = replace(self.plan, observed=torch.ones_like(self.plan.observed))
        found = []
        for rows in torch.arange(len(x), device=x.device).split(self.limit):
            given = self._conditions(rows)
            if not self.model.any_order:
                data = x[rows].view(-1, *self.model.event.shape).to(self.model.event.dtype)
                found.append(self.model.log_prob(data, given).double())
                continue
            each = []
            for member in range(self.model.members):
                forced = Particles(self.model, everything, member, x[rows], given)
                forced.take_steps(x.shape[1], x.shape[1], 1)
                each.append(forced.log_evidence())
            found.append(torch.logsumexp(torch.stack(each), 0) - math.log(self.model.members))
        return torch.cat(found)
