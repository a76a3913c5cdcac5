"""Train the recipe on each of the binary density sets that are at hand, and record figures and weights.

The recipe is run with little and with much dropout, and validation chooses; then the test split is read, once.

    python zoo/binary20/train.py [SET ...] [-o runs/binary20]

A set whose figures are recorded is passed over, so that the work can be stopped and taken up again.
"""

import argparse
import json
import sys
from pathlib import Path

from ancestral.files import write_text
from ancestral.recipe import read_recipe
from ancestral.training import Run
from ancestral.verbs.fit import fit

# Of the usual twenty, those whose three splits are at hand; smallest first.
SETS = (
    "nltcs", "msnbc", "kdd", "baudio", "jester", "bnetflix", "accidents", "tretail", "pumsb_star", "dna", "msweb", "book",
    "cwebkb", "cr52", "c20ng", "bbc", "ad",
)  # fmt: skip
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from record import measure, put, stored  # noqa: E402

WIDEST_KEPT = 300
"""Variables up to which weights are kept here; those of the six wider sets would take 24 MB."""

FIGURES = HERE / "figures.json"
COMMAND = "python zoo/binary20/train.py\nancestral evaluate binary20/nltcs --split test --json"

DROPOUTS = (0.1, 0.5)
"""What the recipe is run with on each set: the large sets need little, the small ones much."""


def train(name: str, runs: Path) -> dict:
    """Train on one set, put the weights that validation chooses here, and return their figures."""
    recipe = read_recipe(HERE / "recipe.yaml")
    options = {key: value for key, value in recipe["model"].items() if key != "name"}
    best: tuple[float, Run] | None = None
    for dropout in DROPOUTS:
        run = fit(
            recipe["model"]["name"],
            name,
            output=runs / f"{name}-{dropout}",
            model_options={**options, "dropout": dropout},
            train=recipe["train"],
            overwrite=True,
        )
        metrics = run.metrics
        nats = float(metrics[(metrics["split"] == "validation") & (metrics["metric"] == "nats")]["value"].min())
        if best is None or nats < best[0]:
            best = nats, run
    run = best[1]
    folder = HERE / name if run.model().event.numel <= WIDEST_KEPT else runs / f"{name}-half"
    put(run, folder)
    return {**measure(stored(folder), name), "dropout": run.config["model"]["options"]["dropout"]}


def main() -> None:
    """Train what is asked for and not recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/binary20"))
    arguments = parser.parse_args()
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {"sets": {}, "command": COMMAND}
    for name in arguments.sets or SETS:
        if name in figures["sets"]:
            continue
        figures["sets"][name] = train(name, arguments.output)
        write_text(FIGURES, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
