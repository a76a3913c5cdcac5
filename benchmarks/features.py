"""Classification from features: accuracy by the number of labels, on what models learned without labels.

python -m benchmarks features     the table of docs/representations.md and its plot; needs ANCESTRAL_DATA
"""

import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ancestral.data import load
from ancestral.training import TrainConfig, create_model, fit
from ancestral.verbs.inputs import Subject
from ancestral.verbs.pictures import save_figure
from ancestral.verbs.probe import Probe, probe

LABELS = (30, 100, 300, 1000)
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "assets" / "features.png"


@dataclass(frozen=True)
class Learner:
    """A model that features are of.

    Args:
        model: its registered name.
        options: its options.
        training: settings of its training.
    """

    model: str
    options: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """Data with labels, and what learns from them without.

    Args:
        data: what is classified.
        loading: how it is loaded.
        learners: by the name of the features.
        seen: how the data that are learned from are loaded, where they are patches of what is classified.
        limit: first data of train and of test that are used; all where None.
        stride: pixels between the places where models of patches encode.
        pools: parts of the height and the width that their codes are averaged over.
    """

    data: str
    loading: dict[str, Any]
    learners: dict[str, Learner]
    seen: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    stride: int = 4
    pools: int = 2


def _learners(penalty: float, widths: tuple[int, int], corruption: str, **more: Learner) -> dict[str, Learner]:
    """Return the models that take any data."""
    first, second = widths
    stack = {"hidden": (first, second), "corruption": corruption, "pretrain_steps": 400, "tied": True}
    return {
        "sparse codes": Learner("sparse-coding", {"atoms": first, "penalty": penalty}, {"steps": 400}),
        "PSD": Learner("psd", {"atoms": first, "penalty": penalty}, {"steps": 400}),
        "denoising stack": Learner("denoising-autoencoder", stack, {"steps": 2000}),
        **more,
        "VAE": Learner("vae", {"latent": 32, "hidden": (first,)}, {"steps": 2000}),
    }


TASKS = {
    "MNIST": Task(
        "mnist",
        {"binarize": 128},
        _learners(0.5, (256, 256), "masking", RBM=Learner("rbm", {"hidden": 256, "persistent": True}, {"steps": 2000})),
        limit=5000,
    ),
    "CIFAR-10": Task(
        "cifar10",
        {},
        _learners(1.0, (200, 200), "gaussian"),
        seen={"patches": 8, "patch_values": "contrast"},
        limit=2000,
    ),
    "textures": Task("texture-patches", {}, _learners(1.0, (200, 200), "gaussian"), seen={"patches": 8}, stride=2, pools=1),
}
"""An RBM with Gaussian visible units would do for the last two; the one here takes binary data."""


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return the table, and write the plot unless the sizes are the smallest."""
    tasks = {"textures": TASKS["textures"]} if tiny else TASKS
    found = {name: _probed(name, task, tiny, repeats) for name, task in tasks.items()}
    if not tiny:
        draw({name: result for name, (result, _) in found.items()}, PICTURE)
    return [_table(found, tasks, repeats)]


def _probed(name: str, task: Task, tiny: bool, repeats: int) -> tuple[Probe, dict[str, float]]:
    """Train the models of a task and probe them; also return the seconds of the processor that each was trained for."""
    seen = load(task.data, **task.loading, **task.seen)
    subjects, seconds = [], {}
    for features, learner in task.learners.items():
        began = time.process_time()
        model = create_model(learner.model, seen.event, seed=0, **({} if tiny else learner.options))
        steps = 3 if tiny else learner.training["steps"]
        settings = {"epochs": None, "steps": steps, "samples": 0, "evaluate_limit": 500, "evaluate_every": 1e9}
        config = TrainConfig.for_model(type(model), **settings)
        with tempfile.TemporaryDirectory() as folder:
            trained = fit(model, seen, Path(folder) / "run", config, progress=False).model()
        seconds[features] = time.process_time() - began
        print(f"features: {name}, {features}: {seconds[features]:.0f} s", file=sys.stderr, flush=True)
        subjects.append(Subject(trained, features, task.data, {**task.loading, **task.seen}))
    first, *others = subjects
    labelled = load(task.data, condition="label", **task.loading)
    labels = LABELS[:2] if tiny else LABELS
    result = probe(
        first,
        labelled,
        labels,
        beside=others,
        repeats=repeats,
        limit=task.limit,
        components=32,
        stride=task.stride,
        pools=task.pools,
    )
    return result, seconds


def _table(found: dict[str, tuple[Probe, dict[str, float]]], tasks: dict[str, Task], repeats: int) -> dict[str, Any]:
    rows = []
    counts = []
    for name, (result, seconds) in found.items():
        for features, part in result.table.groupby("features", sort=False):
            shown = {"data": "raw", "PCA": "32 principal components"}.get(str(features), str(features))
            spent = f"{seconds[str(features)]:.0f}" if features in seconds else ""
            cells = [f"{a:.1%} ± {e:.1%}" for a, e in zip(part["accuracy"], part["standard_error"], strict=True)]
            rows.append([name, shown, spent, *cells])
        train = tasks[name].limit
        among = f", labels among the first {train:,} of train" if train else ", labels among all of train"
        counts.append(f"{name} {result.count:,}{among}")
    labels = [f"{n:,} labels" for n in next(iter(found.values()))[0].table["labels"].unique()]
    return {
        "title": "Accuracy on test data by the number of labels",
        "header": ["data", "features", "seconds", *labels],
        "rows": rows,
        "notes": [
            f"Test data: {'; '.join(counts)}. Means of {repeats} draws of the labels, with the standard error over them; every"
            " model was trained once, from seed 0, without labels, for the seconds of one processor that are stated. Logistic"
            " regression of scikit-learn on standardized features, its penalty not tuned. Models of CIFAR-10 and of"
            " textures are of patches of 8 x 8 in equal contrast: those of an image of 32 x 32 are encoded at every fourth"
            " place and averaged over quadrants, those of a texture of 16 x 16 at every second one and averaged over it."
        ],
    }


def draw(found: dict[str, Probe], path: Path) -> None:
    """Write the plot: a panel for each data set, a line for each kind of features."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.0 * len(found), 3.6), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (name, result) in zip(panels, found.items(), strict=True):
        for features, rows in result.table.groupby("features", sort=False):
            errors = rows["standard_error"].astype(float)
            axes.errorbar(rows["labels"], rows["accuracy"], errors, label=str(features), marker="o", markersize=3, capsize=2)
        axes.set(xscale="log", xlabel="labelled data", title=name)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy on test data")
    panels[0].legend(fontsize=7)
    save_figure(figure, path)
