"""Comparison of models on one split, paired example by example."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ancestral.data import Data
from ancestral.errors import InvalidInput
from ancestral.models.base import Model
from ancestral.verbs.evaluate import Moments
from ancestral.verbs.inputs import Named, check_fit, open_data, open_model
from ancestral.verbs.score import Bounded, column_of, likelihood_of, scores, units_of

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Comparison:
    """Several models on one split.

    Args:
        data: name of the data.
        split: the split that was read.
        count: examples read.
        table: one row for each model, best first: model, nats, standard_error, the same in `unit` (bits_per_dim,
            bits_per_sample ...), kind, difference (nats above the best), difference_standard_error (over paired examples) and
            note (why a row is not on a par).
        unit: what figures of such data are in; see `Event.unit`.
    """

    data: str
    split: str
    count: int
    table: "pandas.DataFrame"
    unit: str = "bits/dim"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON-able values."""
        rows = self.table.astype(object).where(self.table.notna(), None).to_dict("records")
        return {"data": self.data, "split": self.split, "count": self.count, "models": rows}


def compare(
    models: Sequence[Named],
    data: Data | str | None = None,
    split: str = "test",
    *,
    samples: int | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    """Compare the likelihoods of models on the same examples.

    The standard error of a difference is that of the mean of per-example differences, which is far below that of
    either figure, since what is hard for one model is hard for the other. Models of another event are refused:
    their figures are on another measure. A bound beside exact figures is marked, as is p(x | condition) beside p(x).

    Args:
        models: two or more models, or their zoo names, run directories or hub repositories.
        data: data, their name or path; what the first model was trained on where None.
        split: name of the split.
        samples: samples per datum, for those of the models whose likelihood is a bound or an estimate.
        batch_size: examples in a batch; a size that fits in memory where None.
        limit: examples used, the first ones; all where None.
        seed: seed of everything random.
        progress: show a progress bar.

    Raises:
        InvalidInput: if there are fewer than two models, or one is for another event.
        Unsupported: if a model has no likelihood.
    """
    import pandas

    if len(models) < 2:
        raise InvalidInput(f"got {len(models)} model{'s' * (len(models) != 1)} to compare, expected at least two")
    subjects = [open_model(model) for model in models]
    # A conditional model needs labels with the data; the others ignore them.
    chooser = next((s for s in subjects if s.model.condition is not None), subjects[0])
    data = open_data(data or subjects[0].data, chooser) if not isinstance(data, Data) else data
    for subject in subjects:
        check_fit(subject, data)
        if not subject.model.can("log_prob"):
            subject.model.log_prob(torch.empty(0))  # raises, and says which models have a likelihood
    part = data.split(split)
    values, kinds = [], []
    for subject in subjects:
        likelihood = likelihood_of(subject.model, samples if isinstance(subject.model, Bounded) else None)
        pieces = scores(subject.model, part, likelihood, batch_size=batch_size, limit=limit, seed=seed, progress=progress)
        values.append(-torch.cat([value for _, value in pieces]))
        kinds.append(likelihood)
    units = float(units_of(part, data.event, torch.arange(len(values[0]))).double().mean())
    moments = [Moments.of(value) for value in values]
    order = sorted(range(len(subjects)), key=lambda i: moments[i].mean)
    best = order[0]
    rows = []
    for i in order:
        difference = Moments.of(values[i] - values[best])
        rows.append(
            {
                "model": subjects[i].name,
                "nats": moments[i].mean,
                "standard_error": moments[i].standard_error,
                column_of(data.event.unit): data.event.in_unit(moments[i].mean, units),
                "kind": str(kinds[i]),
                "difference": difference.mean,
                "difference_standard_error": None if i == best else difference.standard_error,
                "note": _note(subjects[i].model, subjects[best].model),
            }
        )
    return Comparison(data.name, split, len(values[0]), pandas.DataFrame(rows), data.event.unit)


def _note(model: Model, best: Model) -> str:
    """Say why a model's figure is not on a par with the best one's, or nothing."""
    notes = []
    if model.likelihood.kind != best.likelihood.kind:
        notes.append(f"{model.likelihood.kind} beside {best.likelihood.kind}")
    if (model.condition is None) != (best.condition is None):
        given, free = ("p(x | condition)", "p(x)")
        notes.append(
            f"{given if model.condition is not None else free} beside {free if model.condition is not None else given}"
        )
    return "; ".join(notes)
