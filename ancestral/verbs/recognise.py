"""Recognition of drawn sounds: whether a classifier of recordings tells what they were drawn for."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data import Data
from ancestral.data.audio import log_mel
from ancestral.errors import InvalidInput, Unsupported
from ancestral.pcm import PCM
from ancestral.verbs.inputs import Named, check_counts, open_data, open_model
from ancestral.verbs.sample import sample

FRAMES = 12
"""Stretches of time that the frames of a sound are averaged over, which keeps what comes when."""


@dataclass(frozen=True)
class Accuracy:
    """How many were recognised.

    Args:
        what: of what.
        right: how many.
        count: of how many.
    """

    what: str
    right: int
    count: int

    @property
    def share(self) -> float:
        """Right ones of all."""
        return self.right / self.count

    @property
    def standard_error(self) -> float:
        """Standard error of the share, with one right and one wrong more, so that it is not 0 at either end."""
        p = (self.right + 1) / (self.count + 2)
        return math.sqrt(p * (1 - p) / self.count)

    def __str__(self) -> str:
        return f"{self.what}: {self.share:.1%} ± {self.standard_error:.1%} ({self.right} of {self.count})"


def recognise(
    model: Named,
    data: Data | str | None = None,
    split: str = "test",
    *,
    n: int = 100,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
) -> tuple[Accuracy, Accuracy]:
    """Train a classifier on recordings, and return how many it recognises of those held out and of what a model draws.

    The classifier is a support vector machine of scikit-learn's over log-mel spectra averaged over twelve stretches of time;
    it has never met what is drawn. Of several labels, the first one is recognised.

    Args:
        model: the model, or its zoo name, run directory or hub repository: of sounds, given labels.
        data: recordings with their labels; what the model was trained on where None.
        split: name of the split that recordings are held out in.
        n: sounds drawn, of each class in turn.
        temperature: as in `sample`.
        seed: seed of the draws.
        batch_size: sounds drawn at once; a size that fits in memory where None.
        progress: show a progress bar.

    Returns:
        The accuracy on recordings, and on sounds that were drawn.

    Raises:
        Unsupported: if the model is not of sounds given labels.
        InvalidInput: if the data do not fit, or a class is missing in training.
    """
    check_counts(n=n)
    subject = open_model(model)
    event, condition = subject.model.event, subject.model.condition
    if event.pcm is None or condition is None or (condition.levels is None and condition.classes is None):
        raise Unsupported(
            f"{subject.name} is of {event} data, given {condition or 'nothing'}; what can be recognised are sounds drawn for"
            " a label: train a model with --data.condition label"
        )
    data = open_data(data, subject)
    x, given = _all(data, "train")
    classifier = Classifier(x, _first(given), event.pcm)
    real, labels = _all(data, split)
    conditions = _each_class(condition.classes or (condition.levels or 1,), n)
    asked = conditions if condition.classes is not None else conditions[:, 0]
    drawn = sample(subject.model, n, asked, temperature=temperature, seed=seed, batch_size=batch_size, progress=progress)
    return (
        Accuracy(f"recordings ({split})", int((classifier(real) == _first(labels)).sum()), len(real)),
        Accuracy("drawn", int((classifier(drawn) == _first(conditions)).sum()), n),
    )


class Classifier:
    """Tells sounds apart by their log-mel spectra.

    Args:
        x: levels, (n, samples).
        label: of each, (n,).
        pcm: what levels mean.

    Raises:
        InvalidInput: if there is one class alone.
    """

    def __init__(self, x: Tensor, label: NDArray[np.int64], pcm: PCM) -> None:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        if len(np.unique(label)) < 2:
            raise InvalidInput("the training recordings are of one class, expected two or more: choose another label")
        self.pcm = pcm
        self.model = make_pipeline(StandardScaler(), SVC(C=10.0))
        self.model.fit(self.features(x), label)

    def features(self, x: Tensor) -> NDArray[np.float32]:
        """Return what is looked at, (n, `FRAMES` * bands), of levels, (n, samples)."""
        frames = log_mel(x.numpy(), self.pcm)  # (n, frames, bands)
        parts = np.array_split(frames, min(FRAMES, frames.shape[1]), axis=1)
        found: NDArray[np.float32] = np.concatenate([part.mean(1) for part in parts], axis=1)
        return found

    def __call__(self, x: Tensor) -> NDArray[np.int64]:
        """Return the label that each of (n, samples) sounds like, (n,)."""
        found: NDArray[np.int64] = self.model.predict(self.features(x))
        return found


def _all(data: Data, split: str) -> tuple[Tensor, Tensor]:
    part = data.split(split)
    x, label = part.batch(torch.arange(len(part)), torch.Generator().manual_seed(0))
    if label is None:
        raise InvalidInput(f"{data.name} has no labels: name their column with --data.condition")
    return x, label


def _first(label: Tensor) -> NDArray[np.int64]:
    found: NDArray[np.int64] = (label if label.dim() == 1 else label[:, 0]).long().numpy()
    return found


def _each_class(classes: tuple[int, ...], n: int) -> Tensor:
    """Return labels, (n, len(classes)), that go through the first one and, each time round, on to the next of the others."""
    number, columns = torch.arange(n), []
    for count in classes:
        columns.append(number % count)
        number = number // count
    return torch.stack(columns, dim=1)
