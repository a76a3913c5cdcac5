"""What every autoregressive model shares: conditionals for all entries at once, or for one entry after another."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ancestral.distributions import Head, Sharpening
from ancestral.errors import InvalidInput, Unsupported
from ancestral.likelihood import EXACT
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.models.autoregressive.state import State
from ancestral.models.base import Model

PREFILLED = 2**11
"""Entries of one pass over given values, of all data together: what is computed of them is in memory at once."""


class AutoregressiveModel(Model):
    r"""p(x | c) = prod_t p(x_{o(t)} | x_{o(<t)}, c), for an order o of the entries.

    A subclass sets `head` and implements `forward`; `order` where it is not 0, 1, 2, ...; `start` and `advance` where a step
    can cost less than a whole `forward`; and `advance_over` where several steps over given values can be one pass.

    Args:
        event: what a datum is.
        condition: what the conditionals also depend on, or None.
    """

    family = "autoregressive"
    likelihood = EXACT
    any_order: bool = False
    """Whether one set of weights serves any order of the entries, as `init_state` may ask."""
    members: int = 1
    """Members of a mixture; see `Ensemble`."""
    fused: bool = True
    """Whether models that can may take many steps in one call; set to False, they are taken one by one."""
    prefills: bool = False
    """Whether `prefill` is one pass."""
    head: Head
    """The distribution of one entry."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the raw head parameters of all conditionals.

        Args:
            x: data, (batch, *event.shape).
            condition: (batch, *condition.shape), where the model has a condition.

        Returns:
            (batch, *event.shape, head.parameters); those of entry d depend only on entries before d in `order`.
        """
        raise NotImplementedError

    @property
    def order(self) -> Tensor:
        """Flat index of the entry at each step, (numel,)."""
        return torch.arange(self.event.numel)

    def member_forward(self, member: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the raw head parameters of all conditionals of one member of a mixture; see `forward`."""
        raw: Tensor = self(x, condition)
        return raw

    def entry_log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        """Return log p of each entry of `x`, (batch, *event.shape), under its raw parameters, same shape, nats."""
        return self.head.log_prob(raw, x)

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        condition = self.check_batch(x, condition)
        return self.entry_log_prob(self(x, condition), x).flatten(1).sum(1)

    # Stepping: steps carry no gradient.

    def member_order(self, member: int) -> Tensor:
        """Return the flat index of the entry at each step of one member, (numel,)."""
        return self.order

    @torch.no_grad()
    def init_state(self, n: int, condition: Tensor | None = None, order: Tensor | None = None, member: int = 0) -> State:
        """Return the state before the first step, for `n` data.

        Args:
            n: batch size.
            condition: (n, *condition.shape), where the model has a condition.
            order: an order other than the model's own, (numel,), for models that serve any.
            member: which member of a mixture, from 0.

        Raises:
            InvalidInput: if `n` is not positive, the condition does not fit, `order` is not a permutation, or there is
                no such member.
            Unsupported: if the model does not serve any order.
        """
        numel = self.event.numel
        if n < 1:
            raise InvalidInput(f"got {n} data, expected at least 1")
        if not 0 <= member < self.members:
            raise InvalidInput(f"got member {member} of {self.members}, expected one from 0 to {self.members - 1}")
        if order is None:
            order = self.member_order(member)
        elif not self.any_order:
            raise Unsupported(f"{self.name or type(self).__name__} has an order of its own: leave `order` out")
        elif sorted(order.tolist()) != list(range(numel)):
            raise InvalidInput(f"an order holds each of 0, ..., {numel - 1} once, got {order.tolist()[:10]}...")
        return self._begin(n, self.check_condition(condition, n), order.cpu(), member)

    def _begin(self, n: int, condition: Tensor | None, order: Tensor, member: int) -> State:
        x = torch.zeros(n, self.event.numel, dtype=self.dtype, device=self.device)
        state = State(order, x, condition, member)
        self.start(state)
        return state

    @torch.no_grad()
    def fork(self, state: State, index: Tensor) -> State:
        """Return a new state, whose datum i goes on from where datum index[i] of `state` stands.

        Args:
            state: the state, which stays as it is.
            index: a datum of `state` for each datum of the new state, (batch,).
        """
        condition = None if state.condition is None else state.condition[index]
        new = self._begin(len(index), condition, state.order, state.member)
        for mine, theirs in zip((new.x, *new.memory), (state.x, *state.memory), strict=True):
            mine.copy_(theirs[index])
        new.t = state.t
        return new

    @torch.no_grad()
    def step(self, state: State, previous: Tensor | None = None) -> Tensor:
        """Give the value of the previous entry, get the raw parameters of the next one.

        Args:
            state: from `init_state`; it is changed in place.
            previous: value of entry `order[t - 1]`, (batch,), on the event's scale; None at the first step.

        Returns:
            Raw head parameters of entry `order[t]`, (batch, head.parameters).

        Raises:
            InvalidInput: if a step comes after the last, or lacks the value before it.
        """
        if state.t >= self.event.numel or (previous is None) != (state.t == 0):
            raise InvalidInput(
                f"step {state.t} of {self.event.numel} got {'no' if previous is None else 'a'} previous value:"
                " give none at step 0 and one at each later step"
            )
        if previous is not None:
            state.x[:, int(state.order[state.t - 1])] = previous.to(state.x.dtype)
        raw = self.advance(state, previous)
        state.t += 1
        return raw

    @torch.no_grad()
    def prefill(self, state: State, values: Tensor, previous: Tensor | None = None) -> Tensor:
        """Take a step for each of several values, to the state that `step` after `step` leads to, but for rounding.

        The last value is in the state's data then, and still to be given to the next step.

        Args:
            state: from `init_state`, at any step; it is changed in place.
            values: of entries `order[t]`, `order[t + 1]`, ..., (batch, steps), on the event's scale; at least one.
            previous: as in `step`.

        Returns:
            Raw head parameters of these entries, (batch, steps, head.parameters).

        Raises:
            InvalidInput: if there is no value, or one after the last step, or they lack the value before them.
        """
        t, steps = state.t, values.shape[1]
        if not 1 <= steps <= self.event.numel - t or (previous is None) != (t == 0):
            raise InvalidInput(
                f"step {t} of {self.event.numel} got {steps} values and {'no' if previous is None else 'a'} previous one: give"
                f" 1 to {self.event.numel - t}, and the previous one at each step but 0"
            )
        if previous is not None:
            state.x[:, state.entries[t - 1]] = previous.to(state.x.dtype)
        raw = self.advance_over(state, values, previous)
        state.x[:, state.entries[t : t + steps]] = values.to(state.x.dtype)
        state.t = t + steps
        return raw

    def start(self, state: State) -> None:
        """Fill `state.cache` before the first step, for `len(state.x)` data, and `remember` what steps will write.

        What else steps keep must follow from the condition and the number of steps taken alone.
        """

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        """Return the raw parameters of entry `state.order[state.t]`, (batch, parameters).

        This default runs the whole `forward`; models override it with what the step costs.
        """
        raw: Tensor = self(state.x.view(-1, *self.event.shape), state.condition)
        return raw.flatten(1, -2)[:, int(state.order[state.t])]

    def advance_over(self, state: State, values: Tensor, previous: Tensor | None) -> Tensor:
        """Return the raw parameters of the entries of several values, (batch, steps, parameters); see `prefill`.

        This default takes the steps one by one; models override it where one pass leads to the same, and set `prefills`.
        """
        raw = []
        for value in values.unbind(1):
            raw.append(self.step(state, previous))
            previous = value
        return torch.stack(raw, dim=1)

    def fuses(self, state: State, draws: Draws) -> bool:
        """Return whether `run_fused` takes these steps, and is the faster way to."""
        return False

    def run_fused(self, state: State, draws: Draws, stop: int) -> None:
        """Take steps up to `stop` in one call, to the same state and values as one after another, but for rounding.

        Args:
            state: as in `run`.
            draws: how values are chosen.
            stop: the number of steps taken at which to stop.
        """
        raise NotImplementedError

    @torch.no_grad()
    def run(self, state: State, choose: Draws | Callable[[int, Tensor], Tensor], stop: int | None = None) -> Tensor:
        """Take the steps that are left; sampling, completion and decoding differ in how they choose values.

        Where what is chosen is said by `Draws`, a model may take many steps in one call: see `prefill` and `fuses`.

        Args:
            state: from `init_state`, `fork` or an earlier `run`; it is changed in place.
            choose: values given or drawn from noise; or a function that, given an entry (flat index) and its raw
                parameters, (batch, parameters), returns its value on the event's scale, (batch,).
            stop: the number of steps taken at which to stop, so that another `run` can go on; all where None. Where all
                sentences are over, the steps that are left are not taken.

        Returns:
            The data so far, (batch, *event.shape), of type `event.dtype`; zero where not yet given.
        """
        order = state.entries
        stop = len(order) if stop is None else stop
        value = None if state.t == 0 else state.x[:, order[state.t - 1]].clone()
        if isinstance(choose, Draws):
            value = self._prefill_given(state, choose, stop, value)
        if state.t < stop and isinstance(choose, Draws) and self.fuses(state, choose):
            self.run_fused(state, choose, stop)
        else:
            choose = functools.partial(self.choose_value, choose) if isinstance(choose, Draws) else choose
            for t in range(state.t, stop):
                value = choose(order[t], self.step(state, value))
                if self.all_over(order[t], value):
                    state.x[:, t:stop] = self.event.ended(state.x)[t:stop]
                    break
            if value is not None:
                state.x[:, order[state.t - 1]] = value.to(state.x.dtype)
        return state.x.view(-1, *self.event.shape).to(self.event.dtype)

    def _prefill_given(self, state: State, draws: Draws, stop: int, value: Tensor | None) -> Tensor | None:
        """Take the steps up to `stop` or to the first value that is not given; return the value of the last one, (batch,).

        A single step is left to be taken as all are; so are those after the ends of all sentences.
        """
        given, order, size = draws.given, state.entries, PREFILLED // len(state.x)
        end = next((t for t in range(state.t, stop) if not draws.is_given(order[t])), stop)
        if given is None or not (self.prefills and self.fused) or min(end - state.t, size) < 2:
            return value
        for t in range(state.t, end, size):
            entries = order[t : min(t + size, end)]
            raw, values = self.prefill(state, given[:, entries], value), given[:, entries].unbind(1)
            value = values[-1]
            if draws.scored:
                for entry, one, each in zip(entries, raw.unbind(1), values, strict=True):
                    draws.add(self.value_log_prob(entry, one, each))
            if self.all_over(entries[-1], value):
                break
        return value

    def all_over(self, entry: int, value: Tensor) -> bool:
        """Return whether sentences, whose entry (flat index) now got values, (batch,), are all over: nothing is left."""
        return self.event.can_end(entry) and bool((value == self.event.end_symbol).all())

    def choose_value(self, draws: Draws, entry: int, raw: Tensor) -> Tensor:
        """Return the value of an entry (flat index) that `draws` say, (batch,), given its raw parameters."""
        if draws.given is not None and draws.is_given(entry):
            value = draws.given[:, entry]
        else:
            value = self.entry_value(entry, draws.value(raw, draws.noise_of(entry)))
        if draws.scored:
            draws.add(self.value_log_prob(entry, raw, value))
        return value

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        condition = self.check_condition(condition, n)
        x = torch.empty(n, *self.event.shape, dtype=self.event.dtype, device=self.device)
        member = torch.zeros(n, dtype=torch.long, device=self.device)
        if self.members > 1:
            member.random_(self.members, generator=generator)

        def choose(entry: int, raw: Tensor) -> Tensor:
            return self.entry_value(entry, self.head(raw).draw(generator))

        for k in member.unique().tolist():
            rows = (member == k).nonzero()[:, 0]
            given = None if condition is None else condition[rows]
            state = self.init_state(len(rows), given, member=k)
            draws = Draws(EntryValue(self.head, Sharpening()))
            if self.fuses(state, draws):
                draws.noise = self._noise_ahead(state, draws.value.noises, generator)
                x[rows] = self.run(state, draws)
            else:
                x[rows] = self.run(state, choose)
        return x

    def _noise_ahead(self, state: State, noises: int, generator: torch.Generator | None) -> Tensor:
        """Return the numbers that a generator gives to draw after draw, (batch, numel, noises), by entry."""
        dtype = self.dtype if noises == 1 else torch.float64  # as in `Output.draw`
        shape = (self.event.numel, len(state.x), noises)
        by_step = torch.rand(shape, dtype=dtype, device=self.device, generator=generator)
        noise = torch.empty_like(by_step)
        noise[state.order.to(self.device)] = by_step
        return noise.transpose(0, 1)

    def entry_value(self, entry: int, value: Tensor) -> Tensor:
        """Return a value of the head's distribution, (batch,), as a value of `entry` on the event's scale."""
        if self.head.own_scale:
            return value
        loc, scale = self._entry_affine(entry)
        return value * scale + loc

    def value_log_prob(self, entry: int, raw: Tensor, value: Tensor) -> Tensor:
        """Return log p of a value of one entry, as `entry_log_prob` has it for all of them.

        Args:
            entry: its flat index.
            raw: its raw parameters, (batch, head.parameters).
            value: its value on the event's scale, (batch,).

        Returns:
            (batch,), nats.
        """
        if self.head.own_scale:
            return self.head(raw).log_prob(value)
        loc, scale = self._entry_affine(entry)
        return self.head(raw).log_prob((value - loc) / scale) - math.log(scale)

    def _entry_affine(self, entry: int) -> tuple[float, float]:
        loc, scale = self.event.loc, self.event.scale
        return 0.0 if loc is None else loc[entry], 1.0 if scale is None else scale[entry]
