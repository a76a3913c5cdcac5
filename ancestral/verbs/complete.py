"""Completion: what a model expects where a datum was not observed, given the part that was."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.likelihood import NONE, Likelihood
from ancestral.models import registry
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model
from ancestral.verbs.conditional import Settings, draw_rest
from ancestral.verbs.inputs import Named, auto_batch_size, check_counts, evaluating, open_model
from ancestral.verbs.observed import check_observed
from ancestral.verbs.sample import Condition, conditions_for

PER_COMPLETION = 8
"""Least number of particles for each completion, where none are asked for."""
LEAST_SAMPLE_SIZE = 4.0
"""Effective sample size below which particles count as collapsed, however few the completions."""


class CollapseWarning(UserWarning):
    """The completions of a datum go back to too few particles to stand for the model's distribution."""


@runtime_checkable
class Completes(Protocol):
    """A model that is not autoregressive and completes data in a way of its own."""

    completion: str
    """What way, such as "clamped Gibbs sampling"."""

    def complete(
        self, x: Tensor, observed: Tensor, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw completions.

        Args:
            x: data, (batch, *event.shape); zero where not observed.
            observed: (batch, *event.shape), bool.
            n: completions of each.
            condition: (batch, *condition.shape), where the model has a condition.
            generator: source of randomness.

        Returns:
            (batch, n, *event.shape); what stands in the observed entries does not count.
        """
        ...


@dataclass(frozen=True)
class Completion:
    """Completed data, and how they were come by.

    Args:
        x: (batch, n, *event.shape), of type `event.dtype`; observed entries are those that were given, to the bit.
        log_prob: log p(completion | observed, condition), (batch, n), nats, in float64; None where the model has no
            likelihood.
        kind: what `log_prob` and `log_evidence` are; an estimate as soon as one of them is.
        method: of each datum: "exact (prefix)", "exact (order)", "sequential Monte Carlo" and how many Gibbs sweeps
            follow it, or the model's own.
        effective_sample_size: (batch,), in float64: the number of independent particles that the completions of a datum
            are worth, see `complete`; infinite for data that are completed exactly, None where all are.
        log_evidence: log p(observed | condition), (batch,), nats, in float64; None where the model has no likelihood.
        observed: (batch, *event.shape), bool.
    """

    x: Tensor
    log_prob: Tensor | None
    kind: Likelihood
    method: tuple[str, ...]
    effective_sample_size: Tensor | None
    log_evidence: Tensor | None
    observed: Tensor


def complete(
    model: Named,
    x: Tensor | NDArray[Any],
    observed: Tensor | NDArray[Any] | str,
    n: int = 8,
    condition: Condition = None,
    *,
    particles: int | None = None,
    sweeps: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Completion:
    r"""Draw the part of each datum that was not observed from p(rest | observed, condition).

    Autoregressive models do so exactly where the observed entries come first in the model's order, and where the model
    serves any order, by taking one in which they do. For any other mask, particles i = 1, ..., P of each datum take the
    steps together: entries that were not observed are drawn, those that were weigh the particle,
    w_i <- w_i p(x_t | past of particle i), and where 1 / sum_i w_i^2 falls below P / 2 particles are drawn anew by weight.
    The completions are drawn from the particles by weight when the last observed entry has passed. They follow the
    conditional in the limit of many particles; the product of the mean weights estimates p(observed) without bias.

    The effective sample size counts the particles' families, those that descend from one particle at the first draw:
    1 / sum_f W_f^2, with W_f the weight of family f at the end. It is between 1, where all completions share the
    values that were drawn first, and P. Gibbs sweeps (`ancestral.verbs.gibbs.gibbs_sweeps`) draw such completions
    apart: each goes on by itself, block after block drawn anew given all else, and this too leads to the conditional; of a
    mixture, to that of the member which the completion is from.

    The noise of a datum's completions follows from `seed` and from what is known of the datum (values, mask and
    condition) alone; of equal data in a call, from which of them it is as well. So they are the same whatever other
    data they are completed with, and however the work is split to fit in memory; where they are exact, the first ones
    are the same for any `n`. All that is up to rounding, as in `sample`.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        x: data, (batch, *event.shape), or one datum, (*event.shape,); values that were not observed do not count.
        observed: which entries were, bool: (batch, *event.shape) or (*event.shape,); for images also (height, width), a
            name (top, bottom, left, right or center: that half of the image), or a file as in `read_observed`.
        n: completions of each datum.
        condition: for conditional models: one for all (3), one for each ((batch, *shape)), or "all".
        particles: P, for masks that need them; where None 1000, or as many as fit in memory, and at least 8 n.
        sweeps: Gibbs sweeps over the completions that particles gave; 0 for none.
        seed: seed of the draws.
        progress: show a progress bar.

    Returns:
        The completions, of n for each datum, with log p(completion | observed).

    Raises:
        Unsupported: if the model cannot complete data.
        InvalidInput: if the data, the mask or the condition do not fit the model, or it gives an observed part
            probability 0.

    Warns:
        CollapseWarning: if the effective sample size of a datum is below n, or below 4, and no sweeps follow.

    >>> from ancestral import Event
    >>> from ancestral.models import create
    >>> model = create("fvsbn", Event.binary((4,)))
    >>> given, observed = torch.tensor([1, 0, 0, 0]), torch.tensor([True, True, False, False])
    >>> done = complete(model, given, observed, n=3)
    >>> done.x.shape, done.x[0, :, :2].tolist(), done.method, str(done.kind)
    (torch.Size([1, 3, 4]), [[1, 0], [1, 0], [1, 0]], ('exact (prefix)',), 'exact')
    """
    check_counts(n=n, particles=particles)
    if sweeps < 0:
        raise InvalidInput(f"sweeps is {sweeps}, expected at least 0")
    model = open_model(model).model
    if not can_complete(type(model)):
        raise _unsupported(model)
    given, mask = check_observed(model.event, x, observed)
    conditions = conditions_for(model, len(given), condition)
    if not isinstance(model, AutoregressiveModel):
        return _by_itself(model, given, mask, n, conditions, seed)
    particles = particles or max(auto_batch_size(model.event), PER_COMPLETION * n)
    with evaluating(model):
        rest = draw_rest(model, given, mask, conditions, Settings(n, particles, sweeps, seed), progress=progress)
    exact = bool(rest.sample_size.isinf().all())
    if not exact and sweeps == 0:
        _warn_of_collapse(rest.sample_size, n, particles)
    drawn = rest.x.to(model.event.dtype).view(-1, n, *model.event.shape)
    return Completion(
        x=torch.where(mask[:, None], given[:, None], drawn),
        log_prob=rest.log_prob,
        kind=model.likelihood if exact else replace(model.likelihood, kind="estimate", samples=particles),
        method=tuple(rest.method),
        effective_sample_size=None if exact else rest.sample_size,
        log_evidence=rest.log_evidence,
        observed=mask,
    )


def can_complete(cls: type[Model]) -> bool:
    """Return whether models of a class can complete data: autoregressive ones, and those with a `complete` of their own."""
    return issubclass(cls, AutoregressiveModel) or callable(getattr(cls, "complete", None))


def _unsupported(model: Model) -> Unsupported:
    able = [name for name in registry.names() if can_complete(registry.get(name))]
    why = f"{model.name or type(model).__name__} ({model.family or 'custom'}) cannot complete data"
    return Unsupported(f"{why}. Models that can: {', '.join(able)}")


def _by_itself(model: Model, x: Tensor, mask: Tensor, n: int, condition: Tensor | None, seed: int) -> Completion:
    if not isinstance(model, Completes):
        raise TypeError(f"{type(model).__name__} has `complete`, and needs `completion`, the name of the way it does so")
    on_device = condition if condition is None else condition.to(model.device)
    generator = torch.Generator(device=model.device).manual_seed(seed)
    with evaluating(model):
        drawn = model.complete(x.to(model.device), mask.to(model.device), n, on_device, generator=generator)
    drawn = torch.where(mask[:, None], x[:, None], drawn.cpu().to(x.dtype))
    return Completion(drawn, None, NONE, (model.completion,) * len(x), None, None, mask)


def _warn_of_collapse(sizes: Tensor, n: int, particles: int) -> None:
    few = sizes < max(float(n), LEAST_SAMPLE_SIZE)
    if bool(few.any()):
        warnings.warn(
            f"the particles of {int(few.sum())} of {len(sizes)} data collapsed: {n} completions of each from {particles}"
            f" particles that are worth {float(sizes.min()):.1f} independent ones at the least; give more particles, add"
            " Gibbs sweeps, or take a model that serves any order",
            CollapseWarning,
            stacklevel=3,
        )
