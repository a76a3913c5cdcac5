"""Scores: the log-likelihood of each datum, and what kind of figure it is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.data.base import Split
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.files import replacing
from ancestral.likelihood import Likelihood
from ancestral.models.base import Model
from ancestral.verbs.inputs import Named, batches, check_counts, count_batches, evaluating, open_data, open_model, track

if TYPE_CHECKING:
    import pandas

TABLES = (".csv", ".parquet", ".npy")
"""Suffixes of the files that scores are written to."""


@runtime_checkable
class Bounded(Protocol):
    """A model whose likelihood is a bound or an estimate from a number of samples."""

    def bound(self, x: Tensor, condition: Tensor | None = None, *, samples: int, generator: torch.Generator | None) -> Tensor:
        """Return a bound or estimate of log p(x | condition), (batch,), nats."""
        ...


@runtime_checkable
class Unnormalised(Protocol):
    """A model with an energy: log p up to a constant that may be unknown."""

    def free_energy(self, x: Tensor) -> Tensor:
        """Return -log p(x) - log Z, (batch,), nats."""
        ...


RELATIVE = Likelihood("none", note="log p up to a constant")
"""What figures are of which only differences between data mean something."""


def likelihood_of(model: Model, samples: int | None = None, *, relative: bool = False) -> Likelihood:
    """Return the kind of the figures that a model gives, with the samples behind each.

    Args:
        model: the model.
        samples: samples per datum, for models that use some; the model's own number where None.
        relative: whether log p up to a constant will do, where the model has nothing better.

    Raises:
        InvalidInput: if the model takes no samples and some are asked for.
    """
    if samples is None:
        alone = relative and model.likelihood.kind == "none" and isinstance(model, Unnormalised)
        return RELATIVE if alone else model.likelihood
    check_counts(samples=samples)
    if not isinstance(model, Bounded):
        raise InvalidInput(f"the likelihood of {model.name} is {model.likelihood}: it takes no samples, leave them out")
    return replace(model.likelihood, samples=samples)


def log_likelihood(
    model: Model, x: Tensor, condition: Tensor | None, likelihood: Likelihood, generator: torch.Generator
) -> Tensor:
    """Return log p(x | condition) of the kind `likelihood`, (batch,), nats, in float64.

    Args:
        model: the model.
        x: data, (batch, *event.shape).
        condition: (batch, *condition.shape) or None.
        likelihood: from `likelihood_of`.
        generator: source of the samples of a bound or an estimate.

    Raises:
        Unsupported: if the model has no likelihood.
        InvalidInput: if the model gives NaN.
    """
    if likelihood == RELATIVE and isinstance(model, Unnormalised):
        value = -model.free_energy(x)
    elif isinstance(model, Bounded):
        value = model.bound(x, condition, samples=likelihood.samples or 1, generator=generator)
    else:
        value = model.log_prob(x, condition, generator=generator)
    value = value.double()
    if bool(value.isnan().any()):
        raise InvalidInput(
            f"{model.name} gives NaN for {int(value.isnan().sum())} of {len(x)} data: its weights or these data are not usable"
        )
    return value


def scores(
    model: Model,
    split: Split,
    likelihood: Likelihood,
    *,
    batch_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's part of the scores of a split as (indices, log-likelihoods in nats), on the CPU.

    Args:
        model: the model.
        split: the data.
        likelihood: from `likelihood_of`.
        batch_size: examples in a batch; a size that fits in memory where None.
        limit: examples used, the first ones; all where None.
        seed: seed of everything random.
        progress: show a progress bar.
    """
    check_counts(batch_size=batch_size, limit=limit)
    generator = torch.Generator(device=model.device).manual_seed(seed)
    source = batches(split, model, batch_size=batch_size, limit=limit, seed=seed)
    with evaluating(model):
        for indices, x, condition in track(
            source, "scoring", count_batches(split, model, batch_size, limit), progress=progress
        ):
            yield indices, log_likelihood(model, x, condition, likelihood, generator).cpu()


def score(
    model: Named,
    data: Data | str | None = None,
    split: str = "test",
    *,
    samples: int | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> "pandas.DataFrame":
    """Return the log-likelihood of each datum of a split.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        data: data, their name or path; what the model was trained on where None.
        split: name of the split.
        samples: samples per datum, for models whose likelihood is a bound or an estimate.
        batch_size: examples in a batch; a size that fits in memory where None.
        limit: examples used, the first ones; all where None.
        seed: seed of everything random.
        progress: show a progress bar.

    Returns:
        A table with the columns index (of the datum in its split), log_prob (nats) and the same in the event's unit, such as
        bits_per_dim, bits_per_sample or nats_per_point, in the split's order; before that one, of sentences, tokens, and of
        drawings, points, which it is per. `attrs["kind"]` says what the figures are.

    Raises:
        Unsupported: if the model has no likelihood.
        InvalidInput: if there is no such model or split, or they do not fit.
    """
    import pandas

    subject = open_model(model)
    data = open_data(data, subject)
    likelihood = likelihood_of(subject.model, samples)
    parts = list(
        scores(
            subject.model,
            data.split(split),
            likelihood,
            batch_size=batch_size,
            limit=limit,
            seed=seed,
            progress=progress,
        )
    )
    index, value = torch.cat([i for i, _ in parts]), torch.cat([v for _, v in parts])
    table = pandas.DataFrame({"index": index.numpy(), "log_prob": value.numpy()})
    units = units_of(data.split(split), data.event, index)
    if data.event.end:  # else all have as many
        table[data.event.unit.partition("/")[2] + "s"] = units.numpy()
    table[column_of(data.event.unit)] = -table["log_prob"] * data.event.in_unit(1.0, 1.0) / units.numpy()
    table.attrs["kind"] = str(likelihood)
    return table


def column_of(unit: str) -> str:
    """Return the heading of figures in a unit; see `Event.unit`.

    >>> column_of("bits/dim")
    'bits_per_dim'
    """
    return unit.replace("/", "_per_")


def units_of(split: Split, event: Event, indices: Tensor) -> Tensor:
    """Return how many of what the unit of figures is for each datum has, (n,); see `Event.units`."""
    if not event.end:
        return torch.full((len(indices),), event.numel)
    return torch.cat([event.units(split.batch(part)[0]) for part in indices.split(1000)])


def save_table(table: "pandas.DataFrame", path: Path | str) -> None:
    """Write a table as .csv, .parquet, or .npy (a structured array), by the suffix; whole or not at all.

    Raises:
        InvalidInput: for another suffix.
    """
    import numpy as np

    check_suffix(path, TABLES)
    suffix = Path(path).suffix.lower()
    with replacing(path) as temporary:
        if suffix == ".csv":
            table.to_csv(temporary, index=False)
        elif suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            np.save(temporary, table.to_records(index=False), allow_pickle=False)


def check_suffix(path: Path | str, known: tuple[str, ...]) -> None:
    """Raise unless the suffix of `path` is known; called before anything is computed.

    Raises:
        InvalidInput: naming the suffixes that are.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        raise InvalidInput(f"cannot write {path}: its suffix is {suffix or 'missing'}, expected one of {', '.join(known)}")
