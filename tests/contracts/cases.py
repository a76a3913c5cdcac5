"""The cases that contracts run on: every registered model on each of its examples."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ancestral.event import Event
from ancestral.likelihood import Likelihood
from ancestral.models import Model, registry
from ancestral.models.autoregressive.base import AutoregressiveModel

MAX_STATES = 5000


@dataclass(frozen=True)
class Case:
    """One example of one model; printed as made[0]."""

    name: str
    index: int
    event: Event
    condition: Event | None = None
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.name}[{self.index}]"

    @property
    def cls(self) -> type[Model]:
        return registry.get(self.name)

    def build(self, seed: int = 0, *, dtype: torch.dtype = torch.float32, spread: float = 0.3) -> Model:
        """Return the model in evaluation mode.

        Its parameters are moved by noise of standard deviation `spread`: layers that start at zero would
        make most contracts hold for nothing.
        """
        torch.manual_seed(seed)
        model = registry.create(self.name, self.event, self.condition, **self.options)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += spread * torch.randn_like(parameter)
        for group in model.parameter_groups():
            model.after_step(group)
        return model.to(dtype).eval()

    def data(self, n: int, seed: int = 1) -> Tensor:
        """Return `n` random data of the event."""
        return random_data(self.event, n, seed)

    def conditions(self, n: int, seed: int = 2) -> Tensor | None:
        """Return `n` random conditions, or None where the model has none."""
        return None if self.condition is None else random_data(self.condition, n, seed)

    def each_condition(self, n: int) -> Iterator[Tensor | None]:
        """Yield every condition there is (two random ones where they cannot be counted), each for `n` data."""
        if self.condition is None:
            yield None
            return
        countable = self.condition.levels is not None and self.condition.levels**self.condition.numel <= 8
        for value in all_states(self.condition) if countable else random_data(self.condition, 2, 3):
            yield value.expand(n, *value.shape)

    # What the contracts ask of a case, for `contract`

    @functools.cached_property
    def likelihood(self) -> Likelihood:
        return self.build().likelihood

    @property
    def scores(self) -> bool:
        """Whether log_prob gives a figure."""
        return self.cls.can("log_prob") and self.likelihood.kind != "none"

    @property
    def exact(self) -> bool:
        return self.scores and self.likelihood.kind == "exact"

    @property
    def enumerable(self) -> bool:
        return self.event.levels is not None and self.event.levels**self.event.numel <= MAX_STATES

    @property
    def autoregressive(self) -> bool:
        return issubclass(self.cls, AutoregressiveModel)

    def can(self, primitive: str) -> bool:
        return self.cls.can(primitive)


def _cases() -> list[Case]:
    return [
        Case(name, i, **_split(example)) for name in registry.names() for i, example in enumerate(registry.get(name).examples)
    ]


def _split(example: dict[str, Any]) -> dict[str, Any]:
    options = {key: value for key, value in example.items() if key not in ("event", "condition")}
    return {"event": example["event"], "condition": example.get("condition"), "options": options}


CASES = _cases()


def contract(where: Callable[[Case], bool] = lambda case: True) -> pytest.MarkDecorator:
    """Return a mark that runs a test on every case for which `where` holds."""
    return pytest.mark.parametrize("case", [case for case in CASES if where(case)], ids=str)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_data(event: Event, n: int, seed: int = 1) -> Tensor:
    """Return `n` random data of any event, in its storage type."""
    if event.levels is not None:
        return filled(event, torch.randint(event.levels, (n, *event.shape), generator=generator(seed))).to(event.dtype)
    noise = generator(seed)
    x = event.from_network(torch.randn(n, *event.shape, generator=noise))
    for i, levels in enumerate(event.columns or ()):
        if levels is not None:
            x[..., i] = torch.randint(levels, x.shape[:-1], generator=noise).float()
    return event.closed(x)


def all_states(event: Event) -> Tensor:
    """Return every datum of a small discrete event, (states, *shape)."""
    states = itertools.product(range(event.levels or 0), repeat=event.numel)
    x = torch.tensor(list(states)).view(-1, *event.shape)
    return filled(event, x).unique(dim=0).to(event.dtype)


def frequencies(event: Event, x: Tensor) -> Tensor:
    """Return how often each of `all_states` is among `x`, (states,); raise if something else is."""
    powers = (event.levels or 0) ** torch.arange(event.numel - 1, -1, -1)
    counts = torch.bincount((x.flatten(1).long() * powers).sum(1), minlength=(event.levels or 0) ** event.numel).double()
    states = (all_states(event).flatten(1).long() * powers).sum(1)
    assert float(counts[states].sum()) == len(x), "some samples are no data of the event"
    return counts[states]


def filled(event: Event, x: Tensor) -> Tensor:
    """Return numbers as data of an event: after the first end symbol of a sequence there are only end symbols."""
    if event.end:
        for row in x:
            ends = (row == event.levels - 1).nonzero()
            if len(ends):
                row[int(ends[0]) :] = event.levels - 1
    return x


def log_prob(model: Model, x: Tensor, condition: Tensor | None, seed: int = 0) -> Tensor:
    """Return the model's log_prob; where it has randomness, that of a generator with `seed`."""
    return model.log_prob(x, condition, generator=generator(seed))


def repeat(condition: Tensor | None, n: int) -> Tensor | None:
    """Return one condition, (1, *shape), for `n` data."""
    return None if condition is None else condition.expand(n, *condition.shape[1:])


def standardized(case: Case) -> Case:
    """Return a real case whose event has an offset and a scale of its own for each entry."""
    d = case.event.numel
    whole = [n is not None for n in case.event.columns or (None,)] * d
    loc = [0.0 if whole[i] else 0.5 * i - 1.0 for i in range(d)]
    scale = [1.0 if whole[i] else 0.5 + 0.25 * i for i in range(d)]
    return replace(case, event=replace(case.event, loc=tuple(loc), scale=tuple(scale)))
