"""Completion: what a model expects where a datum was not observed, given the part that was."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.files import replacing
from ancestral.likelihood import NONE, Likelihood
from ancestral.models import registry
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model
from ancestral.verbs import pictures
from ancestral.verbs.inputs import Named, auto_batch_size, check_counts, evaluating, open_model, track
from ancestral.verbs.particles import FILTER, Particles, Plan, make_plan
from ancestral.verbs.sample import Condition, conditions_for
from ancestral.verbs.score import check_suffix, save_table

if TYPE_CHECKING:
    import pandas

FILES = (".png", ".npy", ".csv", ".parquet")
"""Suffixes of the files that completions are written to."""
PARTS = ("top", "bottom", "left", "right", "center")
"""Parts of an image that can be called by name."""
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
        method: of each datum: "exact (prefix)", "exact (order)", "sequential Monte Carlo", or the model's own.
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
    values that were drawn first, and P.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        x: data, (batch, *event.shape), or one datum, (*event.shape,); values that were not observed do not count.
        observed: which entries were, bool: (batch, *event.shape) or (*event.shape,); for images also (height, width), a
            name (top, bottom, left, right or center: that half of the image), or a file as in `read_observed`.
        n: completions of each datum.
        condition: for conditional models: one for all (3), one for each ((batch, *shape)), or "all".
        particles: P, for masks that need them; where None 1000, or as many as fit in memory, and at least 8 n.
        seed: seed of the draws.
        progress: show a progress bar.

    Returns:
        The completions, of n for each datum, with log p(completion | observed).

    Raises:
        Unsupported: if the model cannot complete data.
        InvalidInput: if the data, the mask or the condition do not fit the model.

    Warns:
        CollapseWarning: if the effective sample size of a datum is below n, or below 4.

    >>> from ancestral.models import create
    >>> model = create("fvsbn", Event.binary((4,)))
    >>> given, observed = torch.tensor([1, 0, 0, 0]), torch.tensor([True, True, False, False])
    >>> done = complete(model, given, observed, n=3)
    >>> done.x.shape, done.x[0, :, :2].tolist(), done.method, str(done.kind)
    (torch.Size([1, 3, 4]), [[1, 0], [1, 0], [1, 0]], ('exact (prefix)',), 'exact')
    """
    check_counts(n=n, particles=particles)
    subject = open_model(model)
    model = subject.model
    if not can_complete(type(model)):
        raise _unsupported(model)
    given, mask = _checked(model.event, x, observed)
    conditions = conditions_for(model, len(given), condition)
    generator = torch.Generator(device=model.device).manual_seed(seed)
    particles = particles or max(auto_batch_size(model.event), PER_COMPLETION * n)
    if not isinstance(model, AutoregressiveModel):
        return _by_itself(model, given, mask, n, conditions, generator)
    with evaluating(model):
        parts = list(_parts(model, given, mask, n, conditions, particles, generator, progress))
    order = torch.cat([part.rows for part in parts]).argsort()
    drawn = torch.cat([part.x for part in parts])[order].to(model.event.dtype).view(-1, n, *model.event.shape)
    sizes = torch.cat([part.sample_size for part in parts])[order]
    exact = bool(sizes.isinf().all())
    if not exact:
        _warn_of_collapse(sizes, n, particles)
    methods = [method for part in parts for method in [part.method] * len(part.rows)]
    return Completion(
        x=torch.where(mask[:, None], given[:, None], drawn),
        log_prob=torch.cat([part.log_prob for part in parts])[order],
        kind=model.likelihood if exact else replace(model.likelihood, kind="estimate", samples=particles),
        method=tuple(methods[i] for i in order.tolist()),
        effective_sample_size=None if exact else sizes,
        log_evidence=torch.cat([part.log_evidence for part in parts])[order],
        observed=mask,
    )


def save(done: Completion, event: Event, path: Path | str, truth: Tensor | None = None) -> None:
    """Write completions to a file by its suffix: a picture, the data as .npy, or a table .csv or .parquet of likelihoods.

    Images make a grid, a row for each datum: what was given, the completions, the truth; other data make a map.

    Args:
        done: the completions.
        event: what a datum is.
        path: the file; it is whole or not changed at all.
        truth: the whole data, (batch, *event.shape), where they are known; for pictures of images.

    Raises:
        InvalidInput: for another suffix.
    """
    check_suffix(path, FILES)
    suffix = Path(path).suffix.lower()
    if suffix == ".png" and event.is_image:
        pictures.save_image(pictures.completion_grid(event, done.x, done.observed, done.log_prob, truth), path)
    elif suffix == ".png":
        pictures.samples(event, done.x.flatten(0, 1), path)
    elif suffix == ".npy":
        with replacing(path) as temporary:
            np.save(temporary, done.x.numpy(), allow_pickle=False)
    else:
        save_table(to_table(done), path)


def to_table(done: Completion) -> "pandas.DataFrame":
    """Return a row for each completion: datum, completion, log_prob and log_evidence (nats), and how."""
    import pandas

    batch, n = done.x.shape[:2]
    nothing = torch.full((batch,), math.nan)
    columns = {
        "datum": torch.arange(batch).repeat_interleave(n).numpy(),
        "completion": torch.arange(n).repeat(batch).numpy(),
        "log_prob": (nothing.repeat_interleave(n) if done.log_prob is None else done.log_prob.flatten()).numpy(),
        "log_evidence": (nothing if done.log_evidence is None else done.log_evidence).repeat_interleave(n).numpy(),
        "kind": str(done.kind),
        "method": [method for method in done.method for _ in range(n)],
    }
    if done.effective_sample_size is not None:
        columns["effective_sample_size"] = done.effective_sample_size.repeat_interleave(n).numpy()
    return pandas.DataFrame(columns)


def can_complete(cls: type[Model]) -> bool:
    """Return whether models of a class can complete data: autoregressive ones, and those with a `complete` of their own."""
    return issubclass(cls, AutoregressiveModel) or callable(getattr(cls, "complete", None))


def _unsupported(model: Model) -> Unsupported:
    able = [name for name in registry.names() if can_complete(registry.get(name))]
    why = f"{model.name or type(model).__name__} ({model.family or 'custom'}) cannot complete data"
    return Unsupported(f"{why}. Models that can: {', '.join(able)}")


def _by_itself(
    model: Model, x: Tensor, mask: Tensor, n: int, condition: Tensor | None, generator: torch.Generator
) -> Completion:
    if not isinstance(model, Completes):
        raise TypeError(f"{type(model).__name__} has `complete`, and needs `completion`, the name of the way it does so")
    on_device = condition if condition is None else condition.to(model.device)
    with evaluating(model):
        drawn = model.complete(x.to(model.device), mask.to(model.device), n, on_device, generator=generator)
    drawn = torch.where(mask[:, None], x[:, None], drawn.cpu().to(x.dtype))
    return Completion(drawn, None, NONE, (model.completion,) * len(x), None, None, mask)


def _warn_of_collapse(sizes: Tensor, n: int, particles: int) -> None:
    few = sizes < max(float(n), LEAST_SAMPLE_SIZE)
    if bool(few.any()):
        warnings.warn(
            f"the particles of {int(few.sum())} of {len(sizes)} data collapsed: {n} completions of each from {particles}"
            f" particles that are worth {float(sizes.min()):.1f} independent ones at the least; give more particles, or take"
            " a model that serves any order",
            CollapseWarning,
            stacklevel=3,
        )


# The observed part


def read_observed(event: Event, observed: str) -> Tensor:
    """Return a mask by its name, or from a file.

    Args:
        event: what a datum is.
        observed: top, bottom, left, right or center, the half of an image's height, width or (center) both; the name of an
            image file of its height and width, in which what was observed is white; or of an .npy file that holds a mask.

    Returns:
        (height, width) or, from an .npy file, whatever it holds.

    Raises:
        InvalidInput: if there is no such part or file, or it does not fit.

    >>> read_observed(Event.binary((1, 2, 3)), "left").tolist()
    [[True, True, False], [True, True, False]]
    """
    from ancestral.data.files import read_npy
    from ancestral.data.images import SUFFIXES, ImageDecoder, ImageFormat

    suffix = Path(observed).suffix.lower()
    if suffix == ".npy":
        return torch.from_numpy(read_npy(Path(observed)).copy())
    if suffix not in SUFFIXES and observed not in PARTS:
        raise InvalidInput(f"there is no part {observed!r}: give one of {', '.join(PARTS)}, or a file such as mask.png")
    if not event.is_image:
        raise InvalidInput(f"{observed!r} is a part of images, the data are {event}: give a mask of shape {event.shape}")
    _, height, width = event.shape
    if observed not in PARTS:
        decoder = ImageDecoder(ImageFormat(gray=True))
        pixels = torch.from_numpy(decoder([{"path": observed}], ["the mask"])[0, 0])
        return pixels >= decoder.levels // 2
    row, column = torch.arange(height)[:, None], torch.arange(width)
    upper, lower = row < (height + 1) // 2, row >= height // 2
    before, after = column < (width + 1) // 2, column >= width // 2
    middle = (row >= height // 4) & (row < height - height // 4) & (column >= width // 4) & (column < width - width // 4)
    parts = {"top": upper, "bottom": lower, "left": before, "right": after, "center": middle}
    return parts[observed].expand(height, width)


def _checked(event: Event, x: Tensor | NDArray[Any], observed: Tensor | NDArray[Any] | str) -> tuple[Tensor, Tensor]:
    """Return data, zero where not observed, and the mask, both (batch, *event.shape), on the CPU."""
    x = torch.as_tensor(x).detach().cpu()
    if x.shape == event.shape:
        x = x[None]
    event.check_shape(x)
    if len(x) == 0:
        raise InvalidInput("got no data, expected at least one: give some to complete")
    mask = read_observed(event, observed) if isinstance(observed, str) else torch.as_tensor(observed).detach().cpu()
    if mask.dtype != torch.bool:
        raise InvalidInput(f"observed is of type {mask.dtype}, expected bool: compare it, as in observed > 0")
    fits = mask.shape in (x.shape, event.shape) or (event.is_image and mask.shape == event.shape[1:])
    if not fits:
        also = f" or {event.shape[1:]}" if event.is_image else ""
        raise InvalidInput(
            f"observed has shape {tuple(mask.shape)}, expected {tuple(x.shape)}, {event.shape}{also}: give a mask of the data"
        )
    mask = mask.expand(x.shape)
    x = torch.where(mask, x, torch.zeros((), dtype=x.dtype))
    event.check(x, "the observed part of x")
    return x.to(event.dtype), mask


# Autoregressive models


@dataclass(frozen=True)
class _Part:
    """Completions of some of the data; see `Completion`."""

    rows: Tensor
    method: str
    x: Tensor  # (batch, n, numel)
    log_prob: Tensor
    sample_size: Tensor
    log_evidence: Tensor


def _parts(
    model: AutoregressiveModel,
    x: Tensor,
    mask: Tensor,
    n: int,
    condition: Tensor | None,
    particles: int,
    generator: torch.Generator,
    progress: bool,
) -> Iterator[_Part]:
    """Yield completions, mask by mask, of as many data at once as fit in memory."""
    masks, group = mask.flatten(1).unique(dim=0, return_inverse=True)
    work = []
    for i, observed in enumerate(masks):
        plan = make_plan(model, observed)
        size = auto_batch_size(model.event) // max(n, particles if plan.method == FILTER else 1)
        work += [(plan, rows) for rows in (group == i).nonzero()[:, 0].split(max(1, size))]
    for plan, rows in track(work, "completing", len(work), progress=progress):
        given = None if condition is None else condition[rows].to(model.device)
        flat = x[rows].flatten(1).to(model.device, model.dtype)
        yield _complete_some(model, plan, rows, flat, given, n, particles, generator)


def _complete_some(
    model: AutoregressiveModel,
    plan: Plan,
    rows: Tensor,
    x: Tensor,
    condition: Tensor | None,
    n: int,
    particles: int,
    generator: torch.Generator,
) -> _Part:
    """Complete data of one mask: of a mixture, each by a member k drawn with probability p_k(observed) / sum_k p_k(observed).

    Members are drawn while they pass, one after another, so that the memory is that of one: completion j goes over to
    member k with probability p_k(observed) / sum_{l <= k} p_l(observed).
    """
    b, numel = x.shape
    drawn, log_joint = x.new_zeros(b * n, numel), x.new_zeros(b * n, dtype=torch.float64)
    total = x.new_full((b,), -math.inf, dtype=torch.float64)
    evidences, sizes = [], []
    for member in range(model.members):
        filtered = Particles(model, plan, member, x, condition, generator)
        filtered.take_steps(*plan.stops(member), particles)
        evidence = filtered.log_evidence()
        evidences.append(evidence)
        sizes.append(filtered.sample_size())
        total = torch.logaddexp(total, evidence)
        share = (evidence - total).exp()[:, None]
        moved = (torch.rand(b, n, dtype=share.dtype, device=x.device, generator=generator) < share).flatten().nonzero()[:, 0]
        if len(moved):
            drawn[moved], log_joint[moved] = filtered.finish(filtered.pick(n)[moved])
    log_evidence = total - math.log(model.members)
    if not bool(log_evidence.isfinite().all()):
        bad = rows[~log_evidence.isfinite().cpu()].tolist()
        raise InvalidInput(
            f"{model.name or type(model).__name__} gives the observed part of {len(bad)} data probability 0 or NaN, of datum"
            f" {bad[0]} first: these data or this mask are not usable, or more particles are needed"
        )
    if model.members > 1:
        log_joint = _mixture_log_prob(model, plan, drawn, _repeated(condition, n))
    shares = (torch.stack(evidences) - total).exp()  # (members, b)
    return _Part(
        rows=rows,
        method=plan.method,
        x=drawn.view(b, n, numel).cpu(),
        log_prob=(log_joint.view(b, n) - log_evidence[:, None]).cpu(),
        sample_size=1.0 / (shares.square() / torch.stack(sizes)).sum(0).cpu(),
        log_evidence=log_evidence.cpu(),
    )


def _repeated(condition: Tensor | None, n: int) -> Tensor | None:
    return None if condition is None else condition.repeat_interleave(n, 0)


def _mixture_log_prob(model: AutoregressiveModel, plan: Plan, x: Tensor, condition: Tensor | None) -> Tensor:
    """Return log 1/K sum_k p_k(x), (rows,), where each member takes its order of the plan, for x of (rows, numel)."""
    everything = replace(plan, observed=torch.ones_like(plan.observed))
    values = []
    for part in torch.arange(len(x), device=x.device).split(auto_batch_size(model.event)):
        given = None if condition is None else condition[part]
        if not model.any_order:
            values.append(model.log_prob(x[part].view(-1, *model.event.shape).to(model.event.dtype), given).double())
            continue
        each = []
        for member in range(model.members):
            forced = Particles(model, everything, member, x[part], given, None)
            forced.take_steps(x.shape[1], x.shape[1], 1)
            each.append(forced.log_evidence())
        values.append(torch.logsumexp(torch.stack(each), 0) - math.log(model.members))
    return torch.cat(values)
