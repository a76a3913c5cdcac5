"""Precision of retrieval by codes of semantic hashing, beside LSA and TF-IDF: documents and images.

Models are trained by the recipes of the zoo, and left in benchmarks/out/runs; the test split is read for the table alone.
"""

from typing import Any

from ancestral.cli.main import main
from ancestral.verbs.inputs import open_model
from ancestral.verbs.retrieval import RADIUS, retrieval
from benchmarks import page

RECIPE = "zoo/{}-semantic-hashing/recipe.yaml"
NOISE = ("--model.binarize", "noise")
PRETRAINED = (*NOISE, "--model.activation", "sigmoid", "--model.pretrain_steps", "300", "--train.epochs", "80")
"""The original: 300 steps of each of three RBMs first, which are 50 epochs of 1,831 documents, then as many as the others."""
SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "20newsgroups": {"straight-through": (), "noise": NOISE, "pretrained": PRETRAINED},
    "reuters": {"straight-through": ()},
    "mnist": {"straight-through": ()},
}
"""Models of each set, and how they differ from its recipe."""
LIMIT = {"mnist": 3000}
"""Data of each split that are used, where not all are."""


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return a table of each set."""
    if tiny:
        return [_table("digits", {"straight-through": ("semantic-hashing", "digits", "--train.steps", "5")}, 100)]
    return [
        _table(name, {kind: ("--config", RECIPE.format(name), *more) for kind, more in models.items()}, LIMIT.get(name))
        for name, models in SETS.items()
    ]


def _table(name: str, models: dict[str, tuple[str, ...]], limit: int | None) -> dict[str, Any]:
    subjects = []
    for kind, arguments in models.items():
        run = page.OUT / "runs" / f"{name}-{kind}"
        if not (run / "model.safetensors").is_file() or name == "digits":
            done = main(["fit", *arguments, "--train.samples", "0", "-o", str(run), "--overwrite"])
            if done:
                raise RuntimeError(f"training {name} ended with status {done}")
        subjects.append(open_model(run))
    first, *beside = subjects
    found = retrieval(first, beside=beside, limit=limit)
    labels = {subject.name: f"`semantic-hashing`, {kind}" for subject, kind in zip(subjects, models, strict=True)}
    rows = []
    for row in found.to_json()["summary"]:
        ball = ("", "") if row["ball_precision"] is None else (f"{row['ball_precision']:.1%}", f"{row['ball_empty']:.1%}")
        error = 0.0 if row["standard_error"] is None else row["standard_error"]
        precision = f"{row['average_precision']:.1%} ± {error:.1%}"
        rows.append(
            (labels.get(row["codes"], row["codes"]), f"{row['bits']:,}", precision, f"{row['precision_100']:.1%}", *ball)
        )
    header = ("codes", "bits", "average precision", "of the first 100", f"within {RADIUS} bits", "nothing there")
    minutes = [_minutes(page.OUT / "runs" / f"{name}-{kind}") for kind in models]
    trained = ", ".join(f"{m:.1f}" for m in minutes)
    note = (
        f"{found.queries:,} queries of the {found.split} split of {found.data} to {found.size:,} data of {found.database};"
        f" means over queries, ± standard error. Trained for {trained} minutes of a core that other work shared."
    )
    return {"title": found.data, "header": header, "rows": rows, "notes": [note]}


def _minutes(run: Any) -> float:
    from ancestral.training import Run

    return float(Run(run).metrics["seconds"].max()) / 60
