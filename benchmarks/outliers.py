"""Outlier detectors on tables: ours beside PyOD's, on the same splits.

python -m benchmarks.outliers --tables wine            print the table of one set
python -m benchmarks.outliers --tables wine --save     put it in the place of an earlier one, then the page

Tables of classes become tasks as ODDS has them: some classes are inliers, and of another so many rows are drawn that they
are few. Detectors see neither labels nor the test part.
"""

import argparse
import functools
import importlib
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from ancestral.sklearn import OutlierDetector
from ancestral.verbs.outlier_scores import typicality
from benchmarks import page

SEEDS, TEST, SHARE = 5, 0.4, 0.05
"""Draws of each task, share of the rows that are the test part, and share of outliers among all rows."""
Array = NDArray[Any]
Score = Callable[[Array, Array, int], dict[str, Array]]
"""From training rows, test rows and a seed to scores of the test rows by name, the larger the more unusual."""


# Tasks


@dataclass(frozen=True)
class Task:
    """Rows, (n, d), and a class for each; those of which are inliers and outliers.

    Args:
        rows: reads rows and their classes.
        inliers: classes.
        outliers: classes.
        about: what the outliers are.
    """

    rows: Callable[[], tuple[Array, Array]]
    inliers: tuple[int, ...]
    outliers: tuple[int, ...]
    about: str

    def draw(self, seed: int) -> tuple[Array, Array]:
        """Return rows, (n, d), and whether each is an outlier, (n,)."""
        x, y = self.rows()
        within, without = x[np.isin(y, self.inliers)], x[np.isin(y, self.outliers)]
        count = round(len(within) * SHARE / (1.0 - SHARE))
        without = without[np.random.default_rng(seed).permutation(len(without))[:count]]
        return np.concatenate((within, without)), np.repeat((0, 1), (len(within), len(without)))


TASKS = {
    "breast cancer": Task(functools.partial(datasets.load_breast_cancer, return_X_y=True), (1,), (0,), "malignant"),
    "wine": Task(functools.partial(datasets.load_wine, return_X_y=True), (1, 2), (0,), "cultivar 0"),
}


# Detectors


def ours(model: str, *, background: bool = False, **options: Any) -> Score:
    """Return the scores of a detector of this project, with its defaults.

    The three criteria share their model, and the ratio alone needs a second one, so that one detector is fitted for all.
    """

    def score(train: Array, test: Array, seed: int) -> dict[str, Array]:
        criterion = "ratio" if background else "likelihood"
        detector = OutlierDetector(model, criterion=criterion, random_state=seed, **options).fit(train)
        density = detector.estimator_
        nats, held = (-torch.from_numpy(density.score_samples(x)) for x in (test, train[density.held_out_]))
        found = {"likelihood": nats.numpy(), "typicality": typicality(nats, held)[0].numpy()}
        return {**found, "ratio": -detector.score_samples(test)} if background else found

    return score


def theirs(name: str, *, seeded: bool = False) -> Score:
    """Return the score of a detector of PyOD, with its defaults."""

    def score(train: Array, test: Array, seed: int) -> dict[str, Array]:
        detector = getattr(importlib.import_module(f"pyod.models.{name.lower()}"), name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {"": detector(**({"random_state": seed} if seeded else {})).fit(train).decision_function(test)}

    return score


DETECTORS: dict[str, Score] = {
    "ancestral MADE": ours("made", background=True),
    "ancestral MAF": ours("maf", options={"hidden": (64, 64)}),
    "PyOD ECOD": theirs("ECOD"),
    "PyOD COPOD": theirs("COPOD"),
    "PyOD IForest": theirs("IForest", seeded=True),
    "PyOD KNN": theirs("KNN"),
    "PyOD LOF": theirs("LOF"),
    "PyOD OCSVM": theirs("OCSVM"),
    "PyOD GMM": theirs("GMM", seeded=True),
}
"""Detectors by name; one of PyOD's, the GMM, is a density too."""


# The table


def column(task: Task, detectors: dict[str, Score], seeds: int) -> dict[str, Any]:
    """Return the AUROC of detectors on draws of a task: by name the area of each draw, or why there is none.

    Args:
        task: the task.
        detectors: by name.
        seeds: draws of outliers, of splits and of models.
    """
    areas: dict[str, list[float]] = {}
    skipped: dict[str, str] = {}
    for seed in range(seeds):
        x, y = task.draw(seed)
        train, test, _, outlier = train_test_split(x, y, test_size=TEST, stratify=y, random_state=seed)
        scaler = StandardScaler().fit(train)
        for name, score in detectors.items():
            try:
                found = score(scaler.transform(train), scaler.transform(test), seed)
            except ImportError as reason:
                skipped[name] = str(reason)
                continue
            for criterion, values in found.items():
                ranks = np.unique(values, return_inverse=True)[1]  # infinite scores have ranks too
                row = f"{name}, {criterion}" if criterion else name
                areas.setdefault(row, []).append(float(roc_auc_score(outlier, ranks)))
                print(f"{task.about}, {seed}: {row} {areas[row][-1]:.3f}", file=sys.stderr, flush=True)
    x, y = task.draw(0)
    return {"areas": areas, "skipped": skipped, "rows": len(x), "columns": x.shape[1], "outliers": int(y.sum())}


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return the table of all tasks, or for a trial of one, by the quickest of detectors."""
    if not tiny:
        return [table({name: column(task, DETECTORS, SEEDS) for name, task in TASKS.items()})]
    quick = {"ancestral MADE": ours("made", epochs=1, options={"hidden": (8,)})}
    return [table({"wine": column(TASKS["wine"], {**quick, "PyOD ECOD": DETECTORS["PyOD ECOD"]}, 2)})]


def table(columns: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a table of the mean AUROC of each detector on each task.

    Args:
        columns: by task, from `column`.
    """
    names = list(dict.fromkeys(name for one in columns.values() for name in one["areas"]))
    best = {task: max(statistics.mean(areas) for areas in one["areas"].values()) for task, one in columns.items()}
    rows = []
    for name in names:
        cells = [_cell(one["areas"].get(name, []), best[task]) for task, one in columns.items()]
        means = [statistics.mean(one["areas"][name]) for one in columns.values() if name in one["areas"]]
        rows.append([name, *cells, f"{statistics.mean(means):.3f}" if len(means) == len(columns) else ""])
    skipped = {name: why for one in columns.values() for name, why in one["skipped"].items()}
    sizes = "; ".join(
        f"{task}: {one['rows']:,} rows of {one['columns']}, {one['outliers']} outliers ({TASKS[task].about})"
        for task, one in columns.items()
    )
    seeds = max(len(areas) for one in columns.values() for areas in one["areas"].values())
    return {
        "columns": columns,
        "title": f"AUROC on tables: mean ± standard error over {seeds} draws",
        "header": ["detector", *columns, "mean"],
        "rows": rows,
        "notes": [f"{sizes}.", *(f"{name} was skipped: {why}." for name, why in skipped.items())],
    }


def _cell(areas: Sequence[float], best: float) -> str:
    if not areas:
        return ""
    mean = statistics.mean(areas)
    error = statistics.stdev(areas) / len(areas) ** 0.5 if len(areas) > 1 else float("nan")
    shown = f"{mean:.3f} ± {error:.3f}"
    return f"**{shown}**" if mean == best else shown


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=list(TASKS), choices=list(TASKS), help="sets")
    parser.add_argument("--save", action="store_true", help="keep what is measured, and write the page")
    given = parser.parse_args(arguments)
    facts = {"table": "outliers", "machine": page.machine(), "threads": torch.get_num_threads()}
    earlier = page.kept("outliers") if given.save else []
    columns = earlier[0]["columns"] if earlier else {}
    for name in given.tables:  # each takes minutes: none is lost if a later one is stopped
        columns[name] = column(TASKS[name], DETECTORS, SEEDS)
        result = {**facts, "tables": [table({one: columns[one] for one in TASKS if one in columns})]}
        if given.save:
            page.keep(result)
            page.write(page.OUT)
    if not given.save:
        print(page.render(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
