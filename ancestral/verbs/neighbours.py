"""Nearest neighbours: samples beside the training data that they are nearest to, so that memorising is seen."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.data.base import Split
from ancestral.event import Event
from ancestral.verbs.features import Features, drawn_like, features_of
from ancestral.verbs.inputs import Named, check_counts, open_data, open_model

REFERENCE = 1_000
"""Held-out data whose distances to the training data are measured, at most."""
_PART = 4096


@dataclass(frozen=True)
class Neighbours:
    """Samples and the training data nearest to them, by two distances.

    Args:
        model: the model's name.
        data: name of the data.
        features: what the second distance is between; its name.
        count: samples whose distances are measured.
        training: training data.
        x: the first samples, (n, *event.shape).
        by_entries: the training data nearest to each by Euclidean distance of the entries on the scale of `Event.to_network`,
            (n, k, *event.shape), the nearest first.
        by_features: likewise by that of features.
        distances: median distance of samples to the nearest training datum, "entries" and "features".
        held_out: likewise that of data of the test split.
        nearer: share of the samples that are nearer to a training datum than 99% of held-out data are, by each distance.
    """

    model: str
    data: str
    features: str
    count: int
    training: int
    x: Tensor
    by_entries: Tensor
    by_features: Tensor
    distances: dict[str, float]
    held_out: dict[str, float]
    nearer: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the figures, without data, as JSON-able values."""
        return {key: value for key, value in asdict(self).items() if not isinstance(value, Tensor)}

    def __str__(self) -> str:
        lines = [f"{self.model} on {self.data}: {self.count} samples and the nearest of {self.training:,} training data"]
        for name, what in (("entries", "the entries"), ("features", self.features)):
            lines.append(
                f"distance by {what}: median {self.distances[name]:.4g}, of held-out data {self.held_out[name]:.4g};"
                f" {self.nearer[name]:.1%} nearer than 99% of held-out data (1% if alike)"
            )
        return "\n".join(lines)


def neighbours(
    model: Named, data: Data | str | None = None, *, n: int = 8, k: int = 4, split: str = "test", seed: int = 0
) -> Neighbours:
    """Find the training data nearest to samples of a model, by their entries and by features.

    Distances of samples stand beside those of held-out data: samples that are much nearer to training data than these are
    copies. Samples that are as far may still be copies that were moved or changed a little: look at them.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        data: the data; what the model was trained on where None.
        n: samples that are shown; distances are of 100 at least.
        k: neighbours of each.
        split: name of the held-out split.
        seed: seed of the draws.

    Raises:
        Unsupported: if the model cannot be sampled.
    """
    check_counts(n=n, k=k)
    subject = open_model(model)
    data = open_data(data, subject)
    features = features_of(data)
    training, held = data.split("train"), data.split(split)
    k = min(k, len(training))
    x, _ = drawn_like(subject, data, max(n, 100), split, seed)
    generator = torch.Generator().manual_seed(seed)
    reference, _ = held.batch(torch.randperm(len(held), generator=generator)[:REFERENCE], generator)
    shown, distances, held_out, nearer = [], {}, {}, {}
    for name, by in (("entries", Features("entries", data.event)), ("features", features)):
        found, index = nearest(by, x, training, k)
        base, _ = nearest(by, reference, training, 1)
        shown.append(training.batch(index[:n].flatten(), torch.Generator().manual_seed(seed))[0].unflatten(0, (n, k)))
        distances[name], held_out[name] = float(found[:, 0].median()), float(base.median())
        nearer[name] = float((found[:, 0] < base[:, 0].double().quantile(0.01)).double().mean())
    return Neighbours(
        model=subject.name,
        data=data.name,
        features=features.name,
        count=len(x),
        training=len(training),
        x=x[:n],
        by_entries=shown[0],
        by_features=shown[1],
        distances=distances,
        held_out=held_out,
        nearer=nearer,
    )


def nearest(features: Features, x: Tensor, split: Split, k: int) -> tuple[Tensor, Tensor]:
    """Return the distances of data to the k data of a split that are nearest by features, and which these are, (n, k) each.

    Args:
        features: what distances are between.
        x: data, (n, *event.shape).
        split: the data that are looked through, part by part.
        k: how many.
    """
    own = features(x)
    best = torch.empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.long)
    for index in torch.arange(len(split)).split(_PART):
        part, _ = split.batch(index, torch.Generator().manual_seed(0))
        distance = torch.cdist(own, features(part), compute_mode="donot_use_mm_for_euclid_dist")  # a copy is 0 away
        all_found = torch.cat((best[0], distance), dim=1)
        index = torch.cat((best[1], index.expand(len(x), -1)), dim=1)
        values, places = all_found.topk(min(k, all_found.shape[1]), dim=1, largest=False)
        best = values, index.gather(1, places)
    return best


def save_neighbours(found: Neighbours, event: Event, path: Path | str) -> None:
    """Write a row for each sample: the sample, its neighbours by entries, and those by features; an array, or a picture.

    Raises:
        InvalidInput: for another suffix.
    """
    from ancestral.verbs.latent_pictures import save_grid

    rows = torch.cat((found.x[:, None], found.by_entries, found.by_features), dim=1)  # (n, 1 + 2 k, ...)
    captions = ["sample", *["entries"] * found.by_entries.shape[1], *["features"] * found.by_features.shape[1]]
    save_grid(rows, event, path, captions * len(rows))
