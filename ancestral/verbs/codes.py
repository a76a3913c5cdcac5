"""Codes: from data to latents and back, a batch at a time, for what is done with latents."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data import Data
from ancestral.data.base import Split
from ancestral.errors import InvalidInput, Unsupported
from ancestral.models import registry
from ancestral.models.base import Model
from ancestral.verbs.inputs import Named, Subject, auto_batch_size, evaluating, first_data, open_data, open_model
from ancestral.verbs.pictures import example_conditions

HOWS = ("linear", "spherical")
"""Ways from one code to another."""
Values = Tensor | NDArray[Any]
"""Data as an array, (batch, *event.shape), or one datum, (*event.shape,)."""


def open_coder(model: Named) -> Subject:
    """Return a model that has codes.

    Raises:
        Unsupported: if it lacks `encode` or `decode`; the models that have both are named.
    """
    subject = open_model(model)
    missing = [verb for verb in ("encode", "decode") if not subject.model.can(verb)]
    if missing:
        able = [n for n in registry.names() if registry.get(n).can("encode") and registry.get(n).can("decode")]
        why = f"{subject.model.name or subject.name} ({subject.model.family or 'custom'}) has no {' and no '.join(missing)}"
        raise Unsupported(f"{why}. Models that have codes: {', '.join(able)}")
    return subject


def open_encoder(model: Named) -> Subject:
    """Return a model without a condition whose data have codes.

    Raises:
        Unsupported: if it has no `encode`.
        InvalidInput: if it has a condition.
    """
    subject = open_model(model)
    if not subject.model.can("encode"):
        subject.model.encode(torch.empty(0))  # raises, and says which models can
    if subject.model.condition is not None:
        raise InvalidInput(
            f"{subject.name} is given {subject.model.condition}: take a model without a condition, with codes of data alone"
        )
    return subject


def encoded(model: Model, x: Tensor, condition: Tensor | None) -> Tensor:
    """Return the codes of data, (batch, code), on the CPU, a batch at a time."""
    return _in_batches(model, lambda part, c: model.encode(part, c).flatten(1), x, condition)


def decoded(model: Model, code: Tensor, condition: Tensor | None) -> Tensor:
    """Return what codes, (batch, code), are decoded to, (batch, *event.shape), on the CPU, a batch at a time."""
    return _in_batches(model, model.decode, code.to(model.dtype), condition)


def _in_batches(model: Model, call: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, condition: Tensor | None) -> Tensor:
    size = auto_batch_size(model.event)
    given = [None] * len(x) if condition is None else list(condition.split(size))
    with evaluating(model):
        parts = [
            call(part.to(model.device), None if c is None else c.to(model.device)).cpu()
            for part, c in zip(x.split(size), given, strict=False)
        ]
    return torch.cat(parts)


def first_labelled(data: Data, split: str, limit: int | None, what: str = "labels") -> tuple[Tensor, Tensor]:
    """Return the first data of a split and their classes.

    Args:
        data: data whose condition has classes.
        split: name of the split.
        limit: data that are read; all where None.
        what: what their classes are called in a message.

    Returns:
        x, (batch, *event.shape), and numbers of classes, (batch, *condition.shape).

    Raises:
        InvalidInput: if the split has no classes.
    """
    x, classes = first_data(data, split, limit)
    if classes is None:
        raise InvalidInput(f"the split {split!r} of {data.name} has no {what}: name another")
    return x, classes.long()


def code_length(model: Model) -> int:
    """Return the number of entries of a code."""
    x = torch.zeros(1, *model.event.shape, dtype=model.event.dtype)
    return encoded(model, x, example_conditions(model.condition, 1)).shape[1]


def codes_of(subject: Subject, data: Data | str | None, split: str, limit: int, seed: int) -> Tensor:
    """Return the codes of data drawn at random from a split, (at most limit, code)."""
    part: Split = open_data(data, subject).split(split)
    chosen = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:limit]  # rows may be in order of class
    x, condition = part.batch(chosen, torch.Generator().manual_seed(seed))
    return encoded(subject.model, x, condition if subject.model.condition is not None else None)


def as_data(model: Model, x: Values, what: str) -> Tensor:
    """Return data, (batch, *event.shape) or one datum, as (batch, *event.shape) of the event's type.

    Raises:
        InvalidInput: if they are none of the model's event, or there are none.
    """
    x = torch.as_tensor(x)
    x = x[None] if x.dim() == len(model.event.shape) else x
    model.event.check(x, what)
    if len(x) == 0:
        raise InvalidInput(f"{what} holds no data, expected at least one")
    return x.to(model.event.dtype)


def between(a: Tensor, b: Tensor, t: Tensor, how: str) -> Tensor:
    """Return codes on the way from one to another, (steps, code).

    Args:
        a: where it begins, (code,).
        b: where it ends, (code,).
        t: shares of the way, (steps, 1), from 0 to 1.
        how: linear or spherical; the second is the first where codes have no angle, or so many ways that none is meant.
    """
    if how == "spherical":
        cosine = torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0).clamp(-1.0, 1.0)
        angle = torch.arccos(cosine)
        if float(torch.sin(angle)) > 1e-6 and bool(a.any() and b.any()):
            weights = torch.sin(torch.cat(((1.0 - t), t), dim=1).double() * angle) / torch.sin(angle)  # (steps, 2)
            return (weights @ torch.stack((a, b)).double()).to(a.dtype)
    return (1.0 - t) * a + t * b
