"""Probes: how well a linear classifier on codes does with few labels, beside raw data and principal components."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ancestral.data import Data, load
from ancestral.data.labels import spread
from ancestral.errors import InvalidInput
from ancestral.verbs.codes import encoded, first_labelled, open_encoder
from ancestral.verbs.inputs import Named, Subject, check_counts, check_fit, open_data
from ancestral.verbs.patch_features import pooled_codes, sees_patches

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

LABELS = (10, 30, 100, 300, 1000)
"""Numbers of labels where none are given."""


@dataclass(frozen=True)
class Probe:
    """Accuracies of a linear classifier by features and number of labels.

    Args:
        table: columns features (data, PCA, and the name of each model), labels, accuracy (mean over the draws of the labels)
            and standard_error (over them; None where there is one draw).
        data: name of the data.
        split: the split that accuracies are of.
        count: data of it.
        repeats: draws of the labels.
    """

    table: "pandas.DataFrame"
    data: str
    split: str
    count: int
    repeats: int

    def to_json(self) -> dict[str, Any]:
        """Return the probe as JSON-able values."""
        rows = self.table.astype(object).where(self.table.notna(), None).to_dict("records")
        return {"data": self.data, "split": self.split, "count": self.count, "repeats": self.repeats, "probe": rows}


def probe(
    model: Named,
    data: Data | str | None = None,
    labels: Sequence[int] = LABELS,
    *,
    beside: Sequence[Named] = (),
    by: str = "label",
    labelled: Sequence[str] = ("train",),
    split: str = "test",
    components: int | None = None,
    repeats: int = 3,
    limit: int | None = None,
    stride: int = 4,
    pools: int = 2,
    seed: int = 0,
) -> Probe:
    """Train logistic regression on the codes of few labelled data, on the data themselves and on their principal components.

    Features are standardized by their mean and deviation over the labelled data. The components are of all data that could
    have labels, which the model was trained on, too, without labels. Each number of labels is drawn `repeats` times, evenly
    over the classes as far as it goes, and the same draws serve all features; all the labels there are are drawn once.

    A model of patches smaller than the images serves as well: it encodes each place, and its codes are averaged over parts of
    the image, the two signs apart.

    Args:
        model: an unconditional model with `encode`, or its zoo name, run directory or hub repository.
        data: labelled data, their name or path; what the model was trained on where None.
        labels: numbers of labelled data.
        beside: further such models, for data of the same event.
        by: the column that tells the label.
        labelled: names of the splits that labelled data are of.
        split: name of the split that accuracies are of.
        components: principal components; as many as the first model's code has entries where None.
        repeats: draws of the labels.
        limit: data used, the first ones of each split; all where None.
        stride: models of patches: pixels from one place of an image to the next.
        pools: models of patches: parts of the height, and of the width, over which codes are averaged; 2 are quadrants.
        seed: seed of the draws.

    Raises:
        Unsupported: if a model has no `encode`.
        InvalidInput: if a model has a condition or is for other data, two have one name, or the data have no labels, or not
            so many.

    References:
        Semi-supervised Learning with Deep Generative Models (Kingma et al., 2014), https://arxiv.org/abs/1406.5298, of which
        this is the model M1, with a linear classifier.
    """
    import pandas
    from sklearn.decomposition import PCA

    check_counts(repeats=repeats, limit=limit, components=components, stride=stride, pools=pools)
    subjects = [open_encoder(each) for each in (model, *beside)]
    names = ["data", "PCA", *(subject.name for subject in subjects)]
    if len(set(names)) < len(names):
        raise InvalidInput(f"features are told apart by name, got {', '.join(names)}: name each model once")
    if split in labelled or not labelled:
        raise InvalidInput(f"labelled data are of {list(labelled)}, expected splits other than {split!r}, which is held out")
    data = open_for_probe(data, subjects[0], {"condition": by})
    for subject in subjects[1:]:
        if not sees_patches(subject, data.event):
            check_fit(subject, data)
    if data.condition is None or data.condition.levels is None or data.condition.shape != ():
        raise InvalidInput(
            f"a probe is of data with one label each, {data.name} has {data.condition or 'none'}: name a column"
        )
    x, y = (torch.cat(parts) for parts in zip(*(first_labelled(data, name, limit) for name in labelled), strict=True))
    others, truth = first_labelled(data, split, limit)
    if not labels or min(labels) < 2 or max(labels) > len(x):
        raise InvalidInput(
            f"labels are {list(labels)}, expected numbers from 2 to {len(x)}, the data of {', '.join(labelled)}"
        )
    plain, of_others = (v.flatten(1).double().numpy() for v in (x, others))
    codes = [_codes(subject, (x, others), data, stride, pools) for subject in subjects]
    with np.errstate(invalid="ignore"):  # shares of the variance, where there is none
        wanted = components or codes[0][0].shape[1]
        principal = PCA(min(wanted, *plain.shape), random_state=seed).fit(plain)
    features = [(plain, of_others), (principal.transform(plain), principal.transform(of_others)), *codes]
    random = np.random.default_rng(seed)
    classes, right = y.numpy(), truth.numpy()
    draws = {n: [spread(classes, n, random) for _ in range(repeats if n < len(x) else 1)] for n in labels}
    rows = []
    for name, (z, held) in zip(names, features, strict=True):
        for n in labels:
            told = np.array([_accuracy(z[chosen], classes[chosen], held, right) for chosen in draws[n]])
            error = float(told.std(ddof=1) / np.sqrt(len(told))) if len(told) > 1 else None
            rows.append({"features": name, "labels": n, "accuracy": float(told.mean()), "standard_error": error})
    return Probe(pandas.DataFrame(rows), data.name, split, len(truth), repeats)


def probe_plot(found: Probe) -> "Figure":
    """Return the accuracies over the number of labels, a line for each kind of features."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, rows in found.table.groupby("features", sort=False):
        axes.errorbar(
            rows["labels"], rows["accuracy"], rows["standard_error"].astype(float), label=str(name), marker="o", capsize=2
        )
    axes.set(xscale="log", xlabel="labelled data", ylabel=f"accuracy on the {found.split} split of {found.data}")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def open_for_probe(data: Data | str | None, subject: Subject, options: dict[str, Any]) -> Data:
    """Return data for a probe: of the model's own event, or images for a model of patches of them.

    Args:
        data: the data, their name or path; what the model was trained on where None.
        subject: the model.
        options: how to load them.

    Raises:
        InvalidInput: if there are no such data, or the model is for others.
    """
    # The options of a model's own patches are not those of the images that are named.
    if isinstance(data, str) and subject.model.event.is_image and "patches" in subject.options:
        data = load(data, **options)
    if isinstance(data, Data) and sees_patches(subject, data.event):
        return data
    try:
        return open_data(data, subject, options)
    except InvalidInput:
        images = load(data, **options) if isinstance(data, str) and subject.model.event.is_image else None
        if images is None or not sees_patches(subject, images.event):
            raise
        return images


def _codes(subject: Subject, parts: Sequence[torch.Tensor], data: Data, stride: int, pools: int) -> list[NDArray[np.float64]]:
    """Return the features of labelled and of held-out data, (n, features) each."""
    if not sees_patches(subject, data.event):
        return [encoded(subject.model, x, None).double().numpy() for x in parts]
    labelled, *others = (pooled_codes(subject, x, stride, pools).double().numpy() for x in parts)
    used = labelled.std(0) > 0  # a model whose codes have one sign leaves the other's places empty
    return [z[:, used] for z in (labelled, *others)]


def _accuracy(z: NDArray[Any], y: NDArray[Any], held: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the share of held-out data that logistic regression on some labelled ones tells right."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(y)) < 2:
        return float((truth == y[0]).mean())
    mean, spread = z.mean(0), z.std(0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    # Once standardized, single precision tells as well in half the time.
    z, held = (((v - mean) / spread).astype(np.float32) for v in (z, held))
    model = LogisticRegression(max_iter=300, tol=1e-3).fit(z, y)
    return float(model.score(held, truth))
