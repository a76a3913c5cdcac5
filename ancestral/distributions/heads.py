"""Heads by name: which distribution an entry of an event has, and how many raw parameters it needs."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ancestral.distributions.mixed import IMPOSSIBLE, Mixed, MixedLayout
from ancestral.distributions.outputs import (
    Bernoulli,
    Categorical,
    DiscretizedLogisticMixture,
    GaussianMixture,
    Output,
    mixture_parameters,
)
from ancestral.errors import InvalidInput
from ancestral.event import Event

HEADS = ("auto", "bernoulli", "softmax", "logistic-mixture", "gaussian-mixture", "mixed")
"""Names of the output heads; "auto" is bernoulli, softmax, gaussian-mixture or mixed, by the event's support."""


@dataclass(frozen=True)
class Head:
    """From raw parameters, (..., `parameters`), to a batch of distributions of one entry each.

    Real entries are modelled on the standardized scale of `Event.to_network`, those of mixed columns on their own;
    `log_prob`, `draw` and `point` take and give whole data, on the event's own scale and measure. Use `make_head`.

    Args:
        name: the head's name, one of `HEADS`.
        parameters: raw parameters of one entry.
        build: from raw parameters to distributions of entries.
        event: what a datum is.
        layout: of the head of mixed columns, where which parameters lie; None for the others.
    """

    name: str
    parameters: int
    build: Callable[[Tensor], Output]
    event: Event
    layout: MixedLayout | None = None

    def __call__(self, raw: Tensor) -> Output:
        """Return the distributions that `raw`, (..., parameters), stands for, in single precision at least."""
        return self.build(raw.to(torch.promote_types(raw.dtype, torch.float32)))

    @property
    def own_scale(self) -> bool:
        """Whether values of the distributions are on the event's own scale."""
        return self.event.discrete or self.event.columns is not None

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        """Return log p of each entry of data, on the event's own measure.

        Args:
            raw: raw parameters, (batch, *shape, parameters).
            x: data, (batch, *shape).

        Returns:
            (batch, *shape), nats.
        """
        if self.own_scale:
            return self(raw).log_prob(x)
        y = self.event.to_network(x, torch.promote_types(raw.dtype, torch.float32))  # 16 bits would round the data
        return self(raw).log_prob(y) - self.event.log_scale(y)

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw data, each entry on its own.

        Args:
            raw: raw parameters, (batch, *shape, parameters).
            generator: source of randomness.

        Returns:
            (batch, *shape), of type `event.dtype`.
        """
        return self._datum(self(raw).draw(generator))

    def point(self, raw: Tensor) -> Tensor:
        """Return the mode of each discrete entry or the mean of each real one.

        Args:
            raw: raw parameters, (batch, *shape, parameters).

        Returns:
            (batch, *shape), of type `event.dtype`.
        """
        return self._datum(self.likeliest(raw))

    def likeliest(self, raw: Tensor) -> Tensor:
        """Return the mode of each discrete entry or the mean of each real one, on the scale of the distributions.

        Args:
            raw: raw parameters, (..., parameters).

        Returns:
            (...,): numbers of levels, or on the standardized scale of `Event.to_network`.
        """
        output = self(raw)
        return output.log_pmf().argmax(-1) if self.event.discrete else output.mean

    def certain(self, level: int, like: Tensor) -> Tensor:
        """Return raw parameters under which an entry has a value for sure, (parameters,).

        The others get log-probabilities of -10,000, which is 0 as a probability in every type, and finite in sums.

        Args:
            level: the value.
            like: a tensor of the wanted type and device.

        Raises:
            InvalidInput: if the head has no such parameters.

        >>> make_head(Event.integers((3,), 3)).certain(2, torch.zeros(1))
        tensor([-10000., -10000.,      0.])
        """
        if self.name == "bernoulli":
            return like.new_full((1,), -IMPOSSIBLE if level else IMPOSSIBLE)
        if self.name not in ("softmax", "mixed"):
            raise InvalidInput(f"the head {self.name!r} cannot be sure of a value: use the softmax head")
        raw = like.new_full((self.parameters if self.layout is None else self.layout.levels,), IMPOSSIBLE)
        raw[level] = 0.0
        return raw if self.layout is None else self.layout.whole(raw)

    def _datum(self, value: Tensor) -> Tensor:
        return (value if self.own_scale else self.event.from_network(value)).to(self.event.dtype)


def make_head(event: Event, name: str = "auto", components: int = 10) -> Head:
    """Return the head `name` for an entry of `event`.

    Args:
        event: the event.
        name: one of `HEADS`.
        components: mixture components, for the mixtures.

    Raises:
        InvalidInput: for an unknown name, or a head that does not fit the event's support.

    >>> make_head(Event.integers((3,), 17)).parameters
    17
    """
    if name not in HEADS:
        raise InvalidInput(f"there is no output head {name!r}: choose one of {', '.join(HEADS)}")
    if components < 1:
        raise InvalidInput(f"a mixture needs at least 1 component, got {components}")
    levels = event.levels
    if event.columns is not None:
        if name not in ("auto", "mixed"):
            raise InvalidInput(f"the head {name!r} does not fit an event of {event}: use auto")
        layout = MixedLayout(max(n for n in event.columns if n is not None), components)
        return Head("mixed", layout.parameters, functools.partial(Mixed, layout=layout), event, layout)
    if name == "auto":
        name = "gaussian-mixture" if levels is None else "bernoulli" if levels == 2 else "softmax"
    if name == "gaussian-mixture" and levels is None:
        return Head(name, mixture_parameters(components), GaussianMixture, event)
    if name == "bernoulli" and levels == 2:
        return Head(name, 1, _bernoulli, event)
    if name == "softmax" and levels is not None:
        return Head(name, levels, Categorical, event)
    if name == "logistic-mixture" and levels is not None:
        return Head(name, mixture_parameters(components), functools.partial(DiscretizedLogisticMixture, levels=levels), event)
    raise InvalidInput(f"the head {name!r} does not fit an event of {event}: use auto")


def _bernoulli(raw: Tensor) -> Bernoulli:
    return Bernoulli(raw.squeeze(-1))
