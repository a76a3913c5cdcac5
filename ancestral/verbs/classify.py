"""Classification: how many data of a split a model puts into their class, its own classes matched to labels where need be."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ancestral.data import Data
from ancestral.data.labels import some_labelled
from ancestral.errors import InvalidInput
from ancestral.models.base import Model
from ancestral.verbs.inputs import Named, Subject, auto_batch_size, check_counts, evaluating, open_data, open_model, track


@dataclass(frozen=True)
class Classification:
    """How many data were put into their class.

    Args:
        errors: data put into another class.
        count: data of the split with a label.
        confusion: data by their class and that which the model says, (classes, classes).
        classes: names of the classes.
        matching: label of each of the model's own classes; None where its classes are those of the labels.
        matched: split whose labels chose the matching, and None.
        data: name of the data.
        split: the split that was classified.
    """

    errors: int
    count: int
    confusion: NDArray[np.int64]
    classes: tuple[str, ...]
    matching: tuple[int, ...] | None
    matched: str | None
    data: str
    split: str

    @property
    def accuracy(self) -> float:
        """Share of the data that were put into their class."""
        return 1.0 - self.errors / self.count

    @property
    def standard_error(self) -> float:
        """Standard error of the accuracy."""
        return math.sqrt(self.accuracy * (1.0 - self.accuracy) / self.count)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-able values."""
        figures = {**self.__dict__, "accuracy": self.accuracy, "standard_error": self.standard_error}
        return {**figures, "confusion": self.confusion.tolist()}


def classify(
    model: Named,
    data: Data | str | None = None,
    split: str = "test",
    *,
    by: str = "label",
    matched: str = "train",
    limit: int | None = None,
    progress: bool = False,
) -> Classification:
    """Return how many data of a split a model puts into their class.

    A model that has seen no labels has classes of its own. Each is matched with one label, one to one, so that most data of
    another split go right; the split that is classified has no say in it.

    Args:
        model: a model with `classify`, or its zoo name, run directory or hub repository.
        data: labelled data, their name or path; what the model was trained on where None.
        split: name of the split that is classified.
        by: column of the labels, for a model that has seen none.
        matched: name of the split whose labels choose the matching.
        limit: data used of each split, the first ones; all where None.
        progress: show a progress bar.

    Raises:
        Unsupported: if the model tells no classes.
        InvalidInput: if the data have no labels, or more classes than the model; or the split is to choose its own matching.

    References:
        The Hungarian Method for the Assignment Problem (Kuhn, 1955), https://doi.org/10.1002/nav.3800020109, by scipy.
    """
    check_counts(limit=limit)
    subject = open_model(model)
    if not subject.model.can("classify"):
        subject.model.classify(torch.empty(0))  # raises, and says which models can
    named = subject.model.labelled
    data = open_data(data, subject, reading(subject, by))
    some, event = some_labelled(data.condition), data.condition
    if event is None or not (some or (event.levels is not None and event.shape == ())):
        raise InvalidInput(f"classes are told of data with one label each, {data.name} has {event or 'none'}: name a column")
    if split == matched and not named:
        raise InvalidInput(f"{split} would choose the matching that it is judged by: match on another split with matched=")
    levels = event.classes[0] if event.classes is not None else event.levels or 0
    names = data.record.get("classes") or [str(k) for k in range(levels)]
    names = names[0] if some and names and not isinstance(names[0], str) else names
    matching = None
    if not named:
        counts = _counts(subject.model, data, matched, levels, limit, progress)
        matching = match(counts)
    counts = _counts(subject.model, data, split, levels, limit, progress)
    if counts.shape[1] != levels and matching is None:
        raise InvalidInput(f"{subject.name} tells {counts.shape[1]} classes, {data.name} has {levels}: choose data that fit")
    confusion = counts if matching is None else np.stack([counts[:, matching == k].sum(1) for k in range(levels)], axis=1)
    count = int(confusion.sum())
    return Classification(
        errors=count - int(np.trace(confusion)),
        count=count,
        confusion=confusion,
        classes=tuple(map(str, names)),
        matching=None if matching is None else tuple(map(int, matching)),
        matched=None if matching is None else matched,
        data=data.name,
        split=split,
    )


def reading(subject: Subject, by: str) -> dict[str, Any]:
    """Return how data are loaded to be classified by a model: as it was trained on, or with the labels of the column `by`."""
    return {"labelled": subject.options.get("labelled", 1)} if subject.model.labelled else {"condition": by}


def _counts(model: Model, data: Data, split: str, levels: int, limit: int | None, progress: bool) -> NDArray[np.int64]:
    """Return how many data of a split with a label have which label and are told which class, (labels, classes)."""
    part = data.split(split)
    pieces = torch.arange(min(len(part), limit or len(part))).split(auto_batch_size(model.event))
    total = torch.zeros(0, 0, dtype=torch.long)
    with evaluating(model):
        for indices in track(pieces, f"classifying {split}", len(pieces), progress=progress):
            x, label = part.batch(indices, torch.Generator().manual_seed(0))
            if label is None:
                raise InvalidInput(f"the split {split!r} of {data.name} has no labels: name another")
            scores = model.classify(x.to(model.device))
            told, label = scores.argmax(1).cpu(), label.long()
            if label.dim() == 2:
                known = label[:, 1] == 1
                told, label = told[known], label[known, 0]
            classes = scores.shape[1]
            found = torch.bincount(label * classes + told, minlength=levels * classes).view(levels, classes)
            total = found + total if len(total) else found
    if not int(total.sum()):
        raise InvalidInput(f"the split {split!r} of {data.name} has no labelled data: name another")
    return total.numpy()


def match(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the label of each of a model's classes, one to one, so that the sum of the counts that agree is largest.

    Args:
        counts: data by label and by class, (labels, classes), as many of both.

    Returns:
        (classes,).

    Raises:
        InvalidInput: if there are not as many classes as labels.

    >>> match(np.array([[1, 6], [5, 4]])).tolist()
    [1, 0]
    """
    from scipy.optimize import linear_sum_assignment

    if counts.shape[0] != counts.shape[1]:
        raise InvalidInput(
            f"one to one goes as many classes as labels, the model has {counts.shape[1]} and the data {counts.shape[0]}: train"
            " one with as many"
        )
    labels, classes = linear_sum_assignment(counts, maximize=True)
    return np.asarray(labels[np.argsort(classes)], dtype=np.int64)
