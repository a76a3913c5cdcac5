"""What every autoregressive model shares: conditionals for all entries at once, or for one entry after another."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ancestral.distributions import Head, Output
from ancestral.errors import InvalidInput, Unsupported
from ancestral.likelihood import EXACT
from ancestral.models.base import Model


@dataclass
class State:
    """What a model remembers between steps.

    Args:
        order: entry (flat index) at each step, (numel,); on the CPU, since the loop over steps reads it.
        x: data so far, on the event's scale, (batch, numel); zero where not yet given.
        condition: as in `Model.log_prob`.
        t: steps taken.
        cache: what the model itself keeps.
    """

    order: Tensor
    x: Tensor
    condition: Tensor | None
    t: int = 0
    cache: dict[str, Any] = field(default_factory=dict)


class AutoregressiveModel(Model):
    r"""p(x | c) = prod_t p(x_{o(t)} | x_{o(<t)}, c), for an order o of the entries.

    A subclass sets `head` and implements `forward`; `order` where it is not 0, 1, 2, ...; and `start` and
    `advance` where a step can cost less than a whole `forward`.

    Args:
        event: what a datum is.
        condition: what the conditionals also depend on, or None.
    """

    family = "autoregressive"
    likelihood = EXACT
    any_order: ClassVar[bool] = False
    """Whether one set of weights serves any order of the entries, as `init_state` may ask."""
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

    def entry_log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        """Return log p of each entry of `x`, (batch, *event.shape), under its raw parameters, same shape, nats."""
        return self.head.log_prob(raw, x)

    def log_prob(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        condition = self.check_batch(x, condition)
        return self.entry_log_prob(self(x, condition), x).flatten(1).sum(1)

    # Stepping

    def init_state(self, n: int, condition: Tensor | None = None, order: Tensor | None = None) -> State:
        """Return the state before the first step, for `n` data.

        Args:
            n: batch size.
            condition: (n, *condition.shape), where the model has a condition.
            order: an order other than the model's own, (numel,), for models that serve any.

        Raises:
            InvalidInput: if `n` is not positive, the condition does not fit, or `order` is not a permutation.
            Unsupported: if the model does not serve any order.
        """
        numel = self.event.numel
        if order is None:
            order = self.order
        elif not self.any_order:
            raise Unsupported(f"{self.name or type(self).__name__} has an order of its own: leave `order` out")
        elif sorted(order.tolist()) != list(range(numel)):
            raise InvalidInput(f"an order holds each of 0, ..., {numel - 1} once, got {order.tolist()[:10]}...")
        return self._begin(n, condition, order)

    def _begin(self, n: int, condition: Tensor | None, order: Tensor, **cache: Any) -> State:
        if n < 1:
            raise InvalidInput(f"got {n} data, expected at least 1")
        condition = self.check_condition(condition, n)
        x = torch.zeros(n, self.event.numel, dtype=self.dtype, device=self.device)
        state = State(order.cpu(), x, condition, cache=cache)
        self.start(state)
        return state

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

    def start(self, state: State) -> None:
        """Fill `state.cache` before the first step."""

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        """Return the raw parameters of entry `state.order[state.t]`, (batch, parameters).

        This default runs the whole `forward`; models override it with what the step costs.
        """
        raw: Tensor = self(state.x.view(-1, *self.event.shape), state.condition)
        return raw.flatten(1, -2)[:, int(state.order[state.t])]

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        return self._run(self.init_state(n, condition), generator)

    def _run(self, state: State, generator: torch.Generator | None) -> Tensor:
        value = self._draw(self.head(self.step(state)), state, generator)
        for _ in range(1, self.event.numel):
            value = self._draw(self.head(self.step(state, value)), state, generator)
        state.x[:, int(state.order[-1])] = value
        return state.x.view(-1, *self.event.shape).to(self.event.dtype)

    def _draw(self, output: Output, state: State, generator: torch.Generator | None) -> Tensor:
        value = output.draw(generator)
        if self.event.discrete:
            return value
        d = int(state.order[state.t - 1])
        loc = self.event.loc[d] if self.event.loc else 0.0
        scale = self.event.scale[d] if self.event.scale else 1.0
        return value * scale + loc
