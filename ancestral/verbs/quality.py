"""Sample quality: distances between what a model draws and held-out data, in features whose name goes with each figure."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ancestral.data import Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.verbs.features import FeatureNetwork, Features, drawn_like, features_of
from ancestral.verbs.inputs import Named, check_counts, open_data, open_model

COUNT = 10_000
"""Samples, and data of each split, where no number is given and there are so many."""
SUBSETS, SUBSET_SIZE = 100, 1_000
"""Random subsets that KID is the mean over, and data in each, or a half of all where there are fewer than 2,000."""
SPLITS = 10
"""Parts of the samples that the inception score is the mean over."""
NEIGHBOURS = 3
"""Precision and recall: a point is in a set if it is nearer to one of it than that one's third neighbour."""
LARGEST = 2_000
"""Classes, all labels together, up to which there is an inception score."""
_ROWS = 1024


@dataclass(frozen=True)
class Figure:
    """A figure of the model's samples, and the same figure of the training data in their place.

    Args:
        name: with the features that it is on.
        value: of the samples, against the held-out split.
        standard_error: of it, where its estimator tells.
        baseline: of the training data, against the held-out split: what a perfect sampler would have.
        baseline_error: likewise.
        better: "lower" or "higher".
    """

    name: str
    value: float
    standard_error: float | None
    baseline: float
    baseline_error: float | None
    better: str


@dataclass(frozen=True)
class Quality:
    """Figures of samples with all that is needed to read them.

    Args:
        model: the model's name.
        data: name of the data.
        split: the split that samples are compared with.
        count: samples, data of the split, and training data of the baseline: as many of each.
        event: what a datum is: features are of data of this size and so many levels, not resized.
        features: what the features are.
        accuracy: share of test data whose labels the features' network tells.
        sha256: of the network's weights.
        figures: the figures.
    """

    model: str
    data: str
    split: str
    count: int
    event: str
    features: str
    accuracy: float | None
    sha256: str | None
    figures: tuple[Figure, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-able values."""
        return asdict(self)

    def value(self, start: str) -> float:
        """Return the figure whose name begins so."""
        return next(figure.value for figure in self.figures if figure.name.startswith(start))

    def about(self) -> str:
        """Return in words what the figures are of."""
        told = "" if self.accuracy is None else f" (right on {self.accuracy:.2%} of test data, weights {self.sha256})"
        return (
            f"{self.model} on {self.data}: {self.count:,} samples against {self.count:,} data of {self.split}; baseline:"
            f" {self.count:,} training data against the same\n{self.event} as drawn, not resized; features of"
            f" {self.features}{told}\nno figures on Inception features, whose weights are not here: none of these compares"
            " with published ones"
        )


def quality(
    model: Named,
    data: Data | str | None = None,
    *,
    n: int = COUNT,
    split: str = "test",
    by: Sequence[str] = (),
    seed: int = 0,
) -> Quality:
    """Compare what a model draws with held-out data: FID, KID, inception score, precision and recall.

    Where the model has a condition, samples are drawn for those of the split, taken at random, and it is counted how many have
    the labels that were asked for.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        data: the data; what the model was trained on where None.
        n: samples, and data of each split; fewer where a split has fewer, since the distances depend on the number.
        split: name of the split that samples are compared with.
        by: columns of the labels that the features are a classifier of; where not given what is usual for the data, and the
            data themselves where they have none.
        seed: seed of the draws, and of which data are taken.

    Raises:
        Unsupported: if the model cannot be sampled.
        InvalidInput: if the data are not of one length and of plain numbers, or there are too few.
    """
    check_counts(n=n)
    subject = open_model(model)
    data = open_data(data, subject)
    event = data.event
    if event.end or event.is_sequence or event.columns is not None:
        raise InvalidInput(f"features are of images and vectors, {data.name} is {event}: name other data")
    count = min(n, len(data.split(split)), len(data.split("train")))
    if count < 2 * NEIGHBOURS + 2:
        raise InvalidInput(f"got {count} data, expected at least {2 * NEIGHBOURS + 2} samples and data of each split")
    features = features_of(data, by)
    reference, training = (_some(data, name, count, seed) for name in (split, "train"))
    x, rows = drawn_like(subject, data, count, split, seed)
    found = compare_features(features(reference), features(x), features(training), features, seed)
    if rows is not None and features.labelled is not None:
        found = (*found, *_as_asked(features, x, split, rows))
    return Quality(
        model=subject.name,
        data=data.name,
        split=split,
        count=count,
        event=_described(event),
        features=features.name,
        accuracy=features.accuracy,
        sha256=features.sha256,
        figures=found,
    )


def _as_asked(features: Features, x: Tensor, split: str, rows: Tensor) -> Iterator[Figure]:
    """Yield how many samples have the labels of the data whose conditions they were drawn for: all of them, and each."""
    if features.labelled is None:
        raise InvalidInput(f"{features.name} tell no labels: name columns of labels with by=")
    data, labels = features.labelled.split(split).batch(rows, torch.Generator().manual_seed(0))
    if labels is None:
        raise InvalidInput(f"the split {split!r} of {features.labelled.name} has no labels: name another")
    right = [features.right(part, labels) for part in (x, data)]  # (n, labels) each
    told = f", told by {features.name} (baseline: held-out data)"
    yield _share(f"labels as asked{told}", *(each.all(1) for each in right))
    if len(features.columns) > 1:
        for i, column in enumerate(features.columns):
            yield _share(f"{column} as asked{told}", *(each[:, i] for each in right))


def _share(name: str, drawn: Tensor, held_out: Tensor) -> Figure:
    """Return a figure of the share of True among samples, with that among held-out data as its baseline; (n,) each."""
    one, other = (float(part.double().mean()) for part in (drawn, held_out))
    errors = [math.sqrt(share * (1.0 - share) / len(drawn)) for share in (one, other)]
    return Figure(name, one, errors[0], other, errors[1], "higher")


def _some(data: Data, split: str, count: int, seed: int) -> Tensor:
    part = data.split(split)
    generator = torch.Generator().manual_seed(seed)
    return part.batch(torch.randperm(len(part), generator=generator)[:count], generator)[0]


def _described(event: Event) -> str:
    return str(event) if event.levels is None else f"{event} ({math.log2(event.levels):.3g} bits)"


def compare_features(
    reference: Tensor, drawn: Tensor, training: Tensor, features: Features, seed: int = 0
) -> tuple[Figure, ...]:
    """Return the figures of drawn data, and of training data in their place, against a reference.

    Args:
        reference: features of held-out data, (n, features).
        drawn: of samples, (n, features).
        training: of training data, (n, features).
        features: what they are, which names the figures, and whose network has an inception score.
        seed: of the subsets and parts.
    """
    named = f", features of {features.name}"
    one, other = (_estimates(reference, y, features, seed) for y in (drawn, training))
    return tuple(
        Figure(name + named, *one[name], *other[name], "lower" if name in ("FID", "KID") else "higher") for name in one
    )


def _estimates(reference: Tensor, y: Tensor, features: Features, seed: int) -> dict[str, tuple[float, float | None]]:
    """Return figures of features against a reference, by name, with their standard errors where they have one."""
    found: dict[str, tuple[float, float | None]] = {"FID": (fid(reference, y), None), "KID": kid(reference, y, seed)}
    if features.network is not None and math.prod(features.network.classes) <= LARGEST:
        found["inception score"] = inception_score(_joint_logits(features.network, y), seed)
    # The set is taken as given: the error is that of a share of the points.
    for name, share in zip(("precision", "recall"), precision_recall(reference, y), strict=True):
        found[name] = (share, math.sqrt(share * (1.0 - share) / len(y)))
    return found


class _Given(nn.Module):
    """Features that are computed already, as the network of a metric."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features

    def forward(self, x: Tensor) -> Tensor:
        return x


def fid(reference: Tensor, drawn: Tensor) -> float:
    r"""Return ||m - m'||^2 + tr(C + C' - 2 (C C')^(1/2)) of the means m and covariances C of two sets of features.

    Args:
        reference: (n, features).
        drawn: (m, features).

    References:
        GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
        https://arxiv.org/abs/1706.08500. There the features are of an Inception network.

    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> round(fid(x, 2.0 * x + 3.0), 6)  # (0 - 3)^2 + (sqrt 2 - 2 sqrt 2)^2
    11.0
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(_Given(reference.shape[1]))
    metric.update(reference.double(), real=True)
    metric.update(drawn.double(), real=False)
    return float(metric.compute())


def kid(reference: Tensor, drawn: Tensor, seed: int = 0) -> tuple[float, float]:
    r"""Return the squared maximum mean discrepancy under the kernel (x . y / d + 1)^3, without bias, and its standard error.

    It is a mean over random subsets. Their deviation s is that of an estimate from one subset of m data. The error of the
    mean, which uses all n, is put at s (m / n)^(1/2): the variance of the estimator falls at least in proportion to the data.

    Args:
        reference: (n, features).
        drawn: (n, features).
        seed: of the subsets.

    References:
        Demystifying MMD GANs (Binkowski et al., 2018), https://arxiv.org/abs/1801.01401.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    least = min(len(reference), len(drawn))
    size = min(SUBSET_SIZE, max(2, least // 2))
    with _seeded(seed):
        metric = KernelInceptionDistance(_Given(reference.shape[1]), subsets=SUBSETS, subset_size=size)
        metric.update(reference.double(), real=True)
        metric.update(drawn.double(), real=False)
        mean, deviation = metric.compute()
    return float(mean), float(deviation) * math.sqrt(size / least)


def inception_score(logits: Tensor, seed: int = 0) -> tuple[float, float]:
    r"""Return exp(E_x KL(p(y | x) || p(y))) of what a classifier tells of samples, and its standard error over ten parts.

    Args:
        logits: log-odds of the classes, (n, classes).
        seed: of the parts.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498.

    >>> round(inception_score(1000.0 * torch.eye(2).repeat(2000, 1))[0], 2)
    2.0
    """
    from torchmetrics.image.inception import InceptionScore

    parts = min(SPLITS, len(logits) // 2)
    with _seeded(seed):
        metric = InceptionScore(_Given(logits.shape[1]), splits=parts)
        # A probability that is 0 to the last digit would give 0 log 0 / 0.
        metric.update(logits.double().log_softmax(1).clamp(min=-600.0))
        mean, deviation = metric.compute()
    return float(mean), float(deviation) / math.sqrt(parts)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Give torchmetrics, which takes no generator, draws from a seed, and leave the global state as it was."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.filterwarnings("ignore", message="Metric `.*` will save all extracted features")
        yield


@torch.no_grad()
def _joint_logits(network: FeatureNetwork, y: Tensor) -> Tensor:
    """Return log-probabilities of all combinations of labels, (n, combinations), of features, (n, features)."""
    joint = y.new_zeros(len(y), 1)
    for logits in network.logits(y):
        joint = (joint[:, :, None] + torch.log_softmax(logits, 1)[:, None]).flatten(1)
    return joint


def precision_recall(reference: Tensor, drawn: Tensor, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Return the share of drawn features near reference ones, and that of reference features near drawn ones.

    A point is near a set if it is no farther from some point of it than that one's k-th nearest neighbour in the set.

    Args:
        reference: (n, features).
        drawn: (m, features).
        k: neighbours.

    References:
        Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi et al., 2019),
        https://arxiv.org/abs/1904.06991. There the features are of VGG-16.

    >>> x = torch.arange(6.0)[:, None]
    >>> precision_recall(x, x), precision_recall(x, x + 100.0), precision_recall(x, x[:4], k=1)
    ((1.0, 1.0), (0.0, 0.0), (1.0, 0.8333333333333334))
    """
    return _near(drawn, reference, k), _near(reference, drawn, k)


def _near(points: Tensor, of: Tensor, k: int) -> float:
    """Return the share of points, (n, features), that are near a set, (m, features)."""
    points, of = points.double(), of.double()
    # The nearest one of a point of the set is itself.
    radii = torch.cat([torch.cdist(part, of).kthvalue(k + 1, 1).values for part in of.split(_ROWS)])
    inside = [(torch.cdist(part, of) <= radii).any(1) for part in points.split(_ROWS)]
    return float(torch.cat(inside).double().mean())
