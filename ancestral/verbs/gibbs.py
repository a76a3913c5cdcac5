"""Gibbs sweeps: block after block of what was not observed is drawn anew, given the rest of a completion."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ancestral.distributions import Sharpening
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.models.autoregressive.state import State
from ancestral.verbs.inputs import auto_batch_size
from ancestral.verbs.noise import Streams, stream_number, uniform_noise
from ancestral.verbs.particles import Plan, systematic

CANDIDATES = 8
"""Values that a block is drawn from: the one that it has, and new ones."""


def gibbs_sweeps(
    model: AutoregressiveModel,
    plan: Plan,
    member: int,
    x: Tensor,
    condition: Tensor | None,
    sweeps: int,
    *,
    seed: int,
    datum: int,
    streams: Sequence[int],
) -> Tensor:
    r"""Let completions of one datum move on, each by itself, towards p(rest | observed).

    A sweep visits blocks B of successive entries that were not observed. New values of a block are drawn from the model
    given what comes before it, and one value i of these and the one at hand is taken, with a probability proportional to
    that of all other entries given it, w_i = prod_{t not in B} p(x_t | x_{<t}, x_B = i). That is a step of Gibbs sampling
    by importance resampling: it leaves p(rest | observed) what it is for any number of candidates, and from wherever
    completions start they follow it in the limit of many sweeps.

    A block holds about the logarithm of the number of candidates in nats, for a few candidates to be enough. How many
    nats an entry has is read off the completions at the start, and not again, as blocks that followed the chain would lead
    it astray; a real one, whose density says nothing of that, counts as one. Where the first block ends differs from
    sweep to sweep.

    Args:
        model: the model, in evaluation mode, without gradients.
        plan: mask and orders.
        member: the member of a mixture that the completions are from.
        x: completions, (rows, numel); entries after the last observed one, in order, do not count.
        condition: (rows, *condition.shape), where the model has a condition.
        sweeps: number of sweeps.
        seed: seed of the noise.
        datum: the datum's stream, from which the ends of blocks are.
        streams: the stream of each completion, (rows,).

    Returns:
        (rows, numel), the same but for those entries before the last observed one that were not observed.

    References:
        Uniform ergodicity of the iterated conditional SMC and geometric ergodicity of particle Gibbs samplers (Andrieu, Lee
        & Vihola, 2018), https://arxiv.org/abs/1312.6432: the step, as iterated sampling importance resampling.
    """
    order = plan.orders[member]
    last = plan.stops(member)[1]
    steps = (~plan.observed[order[:last]]).nonzero()[:, 0]
    if len(steps) == 0:
        return x
    nats = torch.ones(len(steps), dtype=torch.float64)
    if model.event.discrete:
        nats = -_entry_log_prob(model, member, x, condition).mean(0).cpu()[order[steps]]
    before = (nats.cumsum(0) - nats) / math.log(CANDIDATES)
    shifts = uniform_noise(seed, stream_number(datum, "blocks"), sweeps)
    moved = []
    for rows in torch.arange(len(x), device=x.device).split(max(1, auto_batch_size(model.event) // CANDIDATES)):
        noise = Streams(seed, [stream_number(streams[i], "sweeps") for i in rows.tolist()], x.device)
        chains = _Chains(model, member, order, last, x[rows], None if condition is None else condition[rows], noise)
        for shift in shifts.tolist():
            lengths = (before + shift).floor().unique_consecutive(return_counts=True)[1]
            chains.sweep(steps.split(lengths.tolist()))
        moved.append(chains.x)
    return torch.cat(moved)


def _entry_log_prob(model: AutoregressiveModel, member: int, x: Tensor, condition: Tensor | None) -> Tensor:
    """Return log p of each entry given those before it, (rows, numel), nats, for x of (rows, numel)."""
    found = []
    for rows in torch.arange(len(x), device=x.device).split(auto_batch_size(model.event)):
        data = x[rows].view(-1, *model.event.shape)
        raw = model.member_forward(member, data, None if condition is None else condition[rows])
        found.append(model.entry_log_prob(raw, data).flatten(1).double())
    return torch.cat(found)


class _Chains:
    """Completions of one datum by one member, each with a stream of noise; `gibbs_sweeps` says what is done to them."""

    def __init__(
        self,
        model: AutoregressiveModel,
        member: int,
        order: Tensor,
        last: int,
        x: Tensor,
        condition: Tensor | None,
        noise: Streams,
    ) -> None:
        self.model, self.member, self.order = model, member, order.to(x.device)
        self.x, self.condition, self.noise = x, condition, noise
        self.value = EntryValue(model.head, Sharpening())
        self.weighs = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
        self.weighs[self.order[:last]] = True

    def sweep(self, blocks: Sequence[Tensor]) -> None:
        """Draw blocks anew, (entries of it,) steps each, one after another."""
        state = self.model.init_state(len(self.x), self.condition, member=self.member)
        for block in blocks:
            self.model.run(state, Draws(self.value, given=self.x), stop=int(block[0]))
            self._draw(state, block)

    def _draw(self, state: State, block: Tensor) -> None:
        chains, new = torch.arange(len(self.x), device=self.x.device), CANDIDATES - 1
        entries = self.order[block.to(self.x.device)]
        noise = self.noise.take(1 + new * len(block) * self.value.noises)
        by_entry = noise[:, 1:].reshape(len(chains) * new, len(block), -1).unbind(1)
        noise_of = dict(zip(entries.tolist(), by_entry, strict=True))
        origin = chains.repeat_interleave(new)

        def choose(entry: int, raw: Tensor) -> Tensor:
            if entry not in noise_of:
                return self.x[origin, entry]
            return self.model.entry_value(entry, self.value(raw, noise_of[entry]))

        proposed = self.model.fork(state, origin)
        self.model.run(proposed, choose, stop=int(block[-1]) + 1)
        candidates = self.x[:, None].repeat(1, CANDIDATES, 1)
        candidates[:, 1:, entries] = proposed.x[:, entries].view(len(chains), new, -1)
        given = None if self.condition is None else self.condition.repeat_interleave(CANDIDATES, 0)
        log_prob = _entry_log_prob(self.model, self.member, candidates.flatten(0, 1), given).view(candidates.shape)
        weighs = self.weighs.clone()
        weighs[entries] = False
        weight = torch.softmax(log_prob[..., weighs].sum(-1), 1)
        self.x = candidates[chains, systematic(weight, 1, noise[:, :1])[:, 0]]
