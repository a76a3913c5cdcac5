"""Features that sample metrics look at: a small classifier of a data set's own labels, trained where it is asked for."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ancestral.data import Data, cache, load
from ancestral.data.mnist_scenes import CHANNELS, SCENE_LABELS, recoloured
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.verbs.codes import first_labelled
from ancestral.verbs.inputs import Subject

LABELS = {"stacked-mnist": CHANNELS, "digit-scenes": tuple(SCENE_LABELS)}
"""Columns that tell the labels of a data set where that is not `label`."""
REDRAWN = {"digit-scenes": recoloured}
"""What is done to the training data of a classifier of these labels, so that it can tell what training data never have."""
FEATURES = 64
"""Entries of a feature."""
STEPS, BATCH, RATE = 2000, 64, 4e-3
"""Training steps of the network, data in each, and the largest step size of Adam."""
SEED = 0
"""Of the network's first weights and of the order of its data."""
CHUNK = 1000
"""Data that features are computed of at once."""
_FORMAT = 1


class FeatureNetwork(nn.Module):
    """Three convolutions with pooling, a hidden layer whose units are the features, and a linear layer for each label.

    Data that are no images have two hidden layers in place of the convolutions.

    Args:
        event: what a datum is.
        classes: of each label.

    >>> network = FeatureNetwork(Event.binary((1, 28, 28)), (10,))
    >>> network(torch.zeros(3, 1, 28, 28)).shape, [logits.shape for logits in network.logits(torch.zeros(3, 64))]
    (torch.Size([3, 64]), [torch.Size([3, 10])])
    """

    num_features = FEATURES

    def __init__(self, event: Event, classes: Sequence[int]) -> None:
        super().__init__()
        self.event, self.classes = event, tuple(classes)
        if event.is_image:
            channels, height, width = event.shape
            sides = [min(4, math.ceil(side / 8)) for side in (height, width)]
            self.body = nn.Sequential(
                nn.Conv2d(channels, 16, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
                nn.Conv2d(32, 64, 3, padding=1),
                nn.ReLU(),
                nn.AdaptiveMaxPool2d((sides[0], sides[1])),
                nn.Flatten(),
                nn.Linear(64 * sides[0] * sides[1], FEATURES),
            )
        else:
            self.body = nn.Sequential(
                nn.Flatten(), nn.Linear(event.numel, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, FEATURES)
            )
        self.heads = nn.ModuleList(nn.Linear(FEATURES, count) for count in classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, (batch, 64), of data, (batch, *event.shape)."""
        features: Tensor = F.relu(self.body(self.event.to_network(x, torch.float32)))
        return features

    def logits(self, features: Tensor) -> list[Tensor]:
        """Return the log-odds of the classes of each label, (batch, classes), of features, (batch, 64)."""
        return [head(features) for head in self.heads]


@dataclass(frozen=True)
class Features:
    """What data are compared by.

    Args:
        name: what the features are, which is part of the name of every figure on them.
        network: the network; None where features are the entries of data on the scale of `Event.to_network`.
        accuracy: share of the test split whose labels the network tells, all of a datum's; None without a network.
        sha256: of the network's weights, their first 16 digits; figures on other weights are not comparable to the digit.
        labelled: the data with the labels that the network tells as their condition.
        columns: names of the labels.
    """

    name: str
    event: Event
    network: FeatureNetwork | None = None
    accuracy: float | None = None
    sha256: str | None = None
    labelled: Data | None = None
    columns: tuple[str, ...] = ()

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Return the features of data, (n, features), in single precision, on the CPU."""
        if self.network is None:
            return self.event.to_network(x, torch.float32).flatten(1)
        return torch.cat([self.network(part) for part in x.split(CHUNK)])

    @torch.no_grad()
    def told(self, x: Tensor) -> Tensor:
        """Return the labels that the network tells of data, (n, labels)."""
        if self.network is None:
            raise InvalidInput(f"{self.name} tell no labels: name columns of labels with by=")
        return torch.stack([logits.argmax(1) for logits in self.network.logits(self(x))], dim=1)

    def right(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return whether each label that is told of data, (n, *event.shape), is that given, (n, ...); (n, labels)."""
        return self.told(x) == labels.view(len(labels), -1)


def features_of(data: Data, by: Sequence[str] = ()) -> Features:
    """Return the features by which data of a set are compared: a classifier of their labels, or without labels the data.

    The network is trained on the training split with a fixed seed, in less than a minute, and kept in the cache.

    Args:
        data: a data set that `load` finds again by its name, or one whose condition is labels.
        by: columns of the labels; where not given what is usual for the set, and raw entries where it has no labels.

    Raises:
        InvalidInput: if columns are named, and the data have no labels there.
    """
    labelled = _with_labels(data, by)
    if labelled is None:
        return Features("the data themselves", data.event)
    x, labels = first_labelled(labelled, "train", None)
    labels = labels.view(len(labels), -1)
    if data.name in REDRAWN and not by:
        x, labels = REDRAWN[data.name](x, labels)
    condition = labelled.condition
    classes = condition.classes or (condition.levels or 0,) if condition is not None else ()
    network = FeatureNetwork(data.event, classes)
    digest = hashlib.sha256(x.contiguous().numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    key = {"features": _FORMAT, "of": digest, "event": data.event.to_json(), "classes": classes, "torch": torch.__version__}
    key |= {"training": [STEPS, BATCH, RATE, SEED, FEATURES]}

    def build(into: Path) -> None:
        train(network, x, labels)
        save_file(network.state_dict(), into / "network.safetensors")

    network.load_state_dict(load_file(cache.entry(key, build) / "network.safetensors"))
    network.eval().requires_grad_(False)
    weights = b"".join(value.contiguous().numpy().tobytes() for _, value in sorted(network.state_dict().items()))
    sha256 = hashlib.sha256(weights).hexdigest()[:16]
    columns = tuple(by or LABELS.get(data.name, ("label",)))
    found = Features(f"{data.name}-classifier", data.event, network, None, sha256, labelled, columns)
    if "test" not in labelled.splits:
        return found
    right = found.right(*first_labelled(labelled, "test", None))
    return replace(found, accuracy=float(right.all(1).float().mean()))


def _with_labels(data: Data, by: Sequence[str]) -> Data | None:
    """Return data with the labels of columns as their condition; None where none are named and there are none."""
    named = list(by or LABELS.get(data.name, ("label",)))
    if data.condition is not None and not by and _is_label(data.condition) and data.name not in LABELS:
        return data
    if data.record.get("source") == "memory" and not by:
        return None  # there is nothing to load again
    options = {key: value for key, value in data.record.get("options", {}).items() if key != "condition"}
    try:
        labelled = load(data.name, **options, condition=named if len(named) != 1 else named[0])
    except InvalidInput:
        if by:
            raise
        return None
    if labelled.condition is not None and _is_label(labelled.condition):
        return labelled
    if by:
        raise InvalidInput(f"{', '.join(by)} of {data.name} are {labelled.condition}, expected labels: name other columns")
    return None


def _is_label(condition: Event) -> bool:
    return condition.classes is not None or (condition.levels is not None and condition.shape == ())


def train(network: FeatureNetwork, x: Tensor, labels: Tensor) -> None:
    """Train a network to tell the labels of data, with a fixed seed, by Adam with a step size that rises and falls.

    Args:
        network: the network; its weights are drawn anew.
        x: data, (n, *event.shape).
        labels: (n, labels).
    """
    generator = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    rows = torch.empty(0, dtype=torch.long)
    with torch.enable_grad():
        for _ in range(STEPS):
            if len(rows) < min(BATCH, len(x)):
                rows = torch.cat((rows, torch.randperm(len(x), generator=generator)))
            batch, rows = rows[:BATCH], rows[BATCH:]
            of, truth = x[batch], labels[batch]
            outputs = network.logits(network(of))
            losses = [F.cross_entropy(output, truth[:, i]) for i, output in enumerate(outputs)]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
            schedule.step()


def drawn_like(subject: Subject, data: Data, n: int, split: str, seed: int) -> tuple[Tensor, Tensor | None]:
    """Return data that a model draws, (n, *event.shape), and the rows of a split whose conditions they were drawn for, (n,).

    Args:
        subject: the model.
        data: data with conditions, where the model has one.
        n: data drawn.
        split: of which conditions are taken at random.
        seed: seed of the draws.
    """
    from ancestral.verbs.sample import sample

    if subject.model.condition is None:
        return sample(subject, n, seed=seed), None
    part = data.split(split)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.cat([torch.randperm(len(part), generator=generator) for _ in range(-(-n // len(part)))])[:n]
    _, condition = part.batch(rows, generator)
    return sample(subject, n, condition, seed=seed), rows
