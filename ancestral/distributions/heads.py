"""Heads by name: which distribution an entry of an event has, and how many raw parameters it needs."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ancestral.distributions.outputs import (
    Bernoulli,
    Categorical,
    DiscretizedLogisticMixture,
    GaussianMixture,
    Output,
)
from ancestral.errors import InvalidInput
from ancestral.event import Event

HEADS = ("auto", "bernoulli", "softmax", "logistic-mixture", "gaussian-mixture")
"""Names of the output heads; "auto" is bernoulli, softmax or gaussian-mixture, by the event's support."""


@dataclass(frozen=True)
class Head:
    """From raw parameters, (..., `parameters`), to a batch of distributions of one entry each.

    Real entries are modelled on the standardized scale of `Event.to_network`: `log_prob` and `draw` below
    take and give values on the event's own scale through the model, not through the head.
    """

    name: str
    parameters: int
    build: Callable[[Tensor], Output]

    def __call__(self, raw: Tensor) -> Output:
        """Return the distributions that `raw`, (..., parameters), stands for."""
        return self.build(raw)


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
    if name == "auto":
        name = "gaussian-mixture" if levels is None else "bernoulli" if levels == 2 else "softmax"
    if name == "gaussian-mixture" and levels is None:
        return Head(name, 3 * components, GaussianMixture)
    if name == "bernoulli" and levels == 2:
        return Head(name, 1, lambda raw: Bernoulli(raw.squeeze(-1)))
    if name == "softmax" and levels is not None:
        return Head(name, levels, Categorical)
    if name == "logistic-mixture" and levels is not None:
        return Head(name, 3 * components, lambda raw: DiscretizedLogisticMixture(raw, levels))
    raise InvalidInput(f"the head {name!r} does not fit an event of {event}: use auto")
