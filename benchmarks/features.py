"""Classification from features: accuracy by the number of labels, on what models learned without labels.

python -m benchmarks.features --data textures     print the table of one data set; needs ANCESTRAL_DATA
python -m benchmarks.features --save              all of them, onto docs/representations.md, and the plot
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ancestral.data import load
from ancestral.training import TrainConfig, create_model, fit
from ancestral.verbs.inputs import Subject
from ancestral.verbs.pictures import save_figure
from ancestral.verbs.probe import Probe, probe
from benchmarks import page

LABELS = (30, 100, 300, 1000)
COMPONENTS = 32
"""Principal components."""
REPEATS = 3
"""Draws of the labels."""
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


GAUSSIAN = Learner("gaussian-rbm", {"hidden": 200, "persistent": True}, {"steps": 2000, "learning_rate": 3e-4})
STACK = Learner("conv-psd", {"maps": (16, 32), "penalty": 0.1, "stage_steps": 200}, {"steps": 400})
TASKS = {
    "MNIST": Task(
        "mnist",
        {"binarize": 128},
        {
            **_learners(0.5, (256, 256), "masking", RBM=Learner("rbm", {"hidden": 256, "persistent": True}, {"steps": 2000})),
            "convolutional PSD": STACK,
        },
        limit=5000,
    ),
    "CIFAR-10": Task(
        "cifar10",
        {},
        _learners(1.0, (200, 200), "gaussian", RBM=GAUSSIAN),
        seen={"patches": 8, "patch_values": "contrast"},
        limit=2000,
    ),
    "textures": Task(
        "texture-patches",
        {},
        _learners(1.0, (200, 200), "gaussian", RBM=GAUSSIAN),
        seen={"patches": 8},
        stride=2,
        pools=1,
    ),
}
"""The RBM of real patches has Gaussian visible units. A convolutional stack is of whole images: a patch has no room for it."""


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return a table for each data set."""
    return [table(name, tiny, repeats) for name in (["textures"] if tiny else TASKS)]


def _probed(name: str, task: Task, tiny: bool, repeats: int) -> tuple[Probe, dict[str, float]]:
    """Train the models of a task and probe them; also return the seconds of the processor that each was trained for."""
    seen = load(task.data, **task.loading, **task.seen)
    subjects, seconds = [], {}
    for features, learner in task.learners.items():
        began = time.process_time()
        model = create_model(learner.model, seen.event, seed=0, **({} if tiny else learner.options))
        steps = 3 if tiny else learner.training["steps"]
        settings = {
            **learner.training,
            "epochs": None,
            "steps": steps,
            "samples": 0,
            "evaluate_limit": 500,
            "evaluate_every": 1e9,
        }
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
        limit=200 if tiny else task.limit,
        components=COMPONENTS,
        stride=8 if tiny else task.stride,
        pools=task.pools,
    )
    return result, seconds


def table(name: str, tiny: bool, repeats: int) -> dict[str, Any]:
    """Return the table of one data set, with the accuracies that the plot is of."""
    task = TASKS[name]
    result, seconds = _probed(name, task, tiny, repeats)
    rows, curves = [], {}
    for features, part in result.table.groupby("features", sort=False):
        shown = {"data": "raw", "PCA": f"{COMPONENTS} principal components"}.get(str(features), str(features))
        spent = f"{seconds[str(features)]:.0f}" if features in seconds else ""
        rows.append(
            [shown, spent, *(f"{a:.1%} ± {e:.1%}" for a, e in zip(part["accuracy"], part["standard_error"], strict=True))]
        )
        curves[shown] = part[["labels", "accuracy", "standard_error"]].astype(float).to_numpy().tolist()
    among = f"the first {task.limit:,} data" if task.limit else "all data"
    places = (
        f" Models are of patches of 8 x 8 in equal contrast, encoded at places {task.stride} pixels apart, and averaged over"
        f" {task.pools} x {task.pools} parts."
        if task.seen
        else ""
    )
    return {
        "data": name,
        "title": f"{name}: accuracy by the number of labels",
        "header": ["features", "seconds", *(f"{n:,} labels" for n in result.table["labels"].unique())],
        "rows": rows,
        "curves": curves,
        "notes": [
            f"{result.count:,} test data, labels among {among} of train. Means of {repeats} draws of the labels, with the"
            " standard error over them; every model was trained once, from seed 0, without labels, for the seconds of one"
            f" processor that are stated.{places}"
        ],
    }


def draw(tables: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the plot: a panel for each data set, a line for each kind of features."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 3.5 * len(tables), 3.6), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    # The same features have one colour in all panels, also where a panel lacks some.
    colours: dict[str, str] = {}
    for axes, each in zip(panels, tables, strict=True):
        for features, points in each["curves"].items():
            labels, accuracy, error = zip(*points, strict=True)
            colour = colours.setdefault(features, f"C{len(colours)}")
            axes.errorbar(labels, accuracy, error, color=colour, label=features, marker="o", markersize=3, capsize=2)
        axes.set(xscale="log", xlabel="labelled data", title=each["data"])
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy on test data")
    panels[0].legend(fontsize=7)
    save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=list(TASKS), choices=list(TASKS), help="data sets")
    parser.add_argument("--save", action="store_true", help="keep what is measured, and write the page and the plot")
    given = parser.parse_args(arguments)
    facts = {"table": "features", "machine": page.machine(), "threads": torch.get_num_threads()}
    for name in given.data:  # each takes minutes: none is lost if a later one is stopped
        found = table(name, False, REPEATS)
        if given.save:
            page.keep_among(facts, found, "data", list(TASKS))
            page.write(page.OUT)
            draw(page.kept("features"), PICTURE)
        else:
            print(page.render({**facts, "tables": [found]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
