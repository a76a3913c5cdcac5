"""What the tests of image models share."""

import itertools

import torch
from hypothesis import strategies as st
from torch import Tensor

from ancestral.event import Event
from ancestral.models.autoregressive.base import AutoregressiveModel


def perturbed(model: AutoregressiveModel, dtype: torch.dtype = torch.float64) -> AutoregressiveModel:
    """Return the model in evaluation mode, moved away from its initialisation, whose biases are zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.to(dtype).eval()


def random_data(event: Event, n: int) -> Tensor:
    if event.levels is None:
        return torch.randn(n, *event.shape, dtype=torch.float64) * 3.0
    return torch.randint(0, event.levels, (n, *event.shape))


def largest_difference(model: AutoregressiveModel, n: int = 2) -> float:
    """Return the largest difference, over all steps, between the parameters by `step` and by `forward`.

    It is relative to the largest parameter where that is above 1: perturbed weights and real data make some in the hundreds.
    """
    x, event = random_data(model.event, n), model.event
    condition = None if model.condition is None else random_data(model.condition, n)
    with torch.no_grad():
        raw = model(x, condition).flatten(1, -2)
    state, previous, largest = model.init_state(n, condition), None, 0.0
    for t in range(event.numel):
        entry = int(model.order[t])
        largest = max(largest, float((model.step(state, previous) - raw[:, entry]).abs().max()))
        previous = x.flatten(1)[:, entry]
    return largest / max(1.0, float(raw.abs().max()))


def total_probability(model: AutoregressiveModel, condition: Tensor | None = None) -> float:
    """Return the sum of p over all states of a tiny discrete event."""
    event = model.event
    states = torch.tensor(list(itertools.product(range(event.levels or 0), repeat=event.numel)))
    with torch.no_grad():
        given = None if condition is None else condition.expand(len(states))
        return float(model.log_prob(states.view(-1, *event.shape), given).exp().sum())


def dependence(model: AutoregressiveModel) -> Tensor:
    """Return whether the parameters at step i depend on the value of step j, (numel, numel), by Jacobian.

    Collected over random data, since a ReLU that is off for one is on for another.
    """
    found = torch.zeros(model.event.numel, model.event.numel, dtype=torch.bool)
    for _ in range(8):
        x = torch.rand(1, *model.event.shape, dtype=torch.float64) * ((model.event.levels or 2) - 1)
        condition = None if model.condition is None else random_data(model.condition, 1)
        jacobian = torch.autograd.functional.jacobian(
            lambda x, condition=condition: model(x, condition).flatten(1, -2)[0], x
        )  # (numel, P, 1, *shape)
        found |= jacobian.flatten(2).abs().sum(1) > 0
    return found[model.order][:, model.order]


SHAPES = st.tuples(st.sampled_from((1, 3)), st.integers(1, 5), st.integers(1, 5))
HEADS = st.sampled_from(("auto", "softmax", "logistic-mixture", "real"))
CONDITIONS = st.sampled_from((None, Event.label(3), Event.real((2,))))


def event_and_head(shape: tuple[int, int, int], head: str) -> tuple[Event, str]:
    """Return an event that the head fits; "real" stands for real data with scales of their own."""
    if head == "real":
        numel = shape[0] * shape[1] * shape[2]
        return Event.real(shape, [0.1 * i for i in range(numel)], [1.0 + i % 3 for i in range(numel)]), "auto"
    return (Event.binary(shape) if head == "auto" else Event.integers(shape, 5)), head
