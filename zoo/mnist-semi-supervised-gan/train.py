"""Train the recipe on several draws of the labels, one after another, and record their test errors, mean and deviation.

    python zoo/mnist-semi-supervised-gan/train.py [--draws 10] [-o runs/mnist-semi-supervised-gan] [--quiet]

A draw that is recorded is passed over and one that was stopped is resumed, so that the work can be taken up again. Nothing is
chosen by what comes out: the weights are those of the end, and the test split of each draw is read once.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from ancestral.files import write_text
from ancestral.recipe import read_recipe
from ancestral.training.fit import resume
from ancestral.verbs.classify import classify
from ancestral.verbs.fit import fit

HERE = Path(__file__).resolve().parent
RECIPE = HERE / "recipe.yaml"
FIGURES = HERE / "figures.json"


def train(draw: int, folder: Path, progress: bool) -> dict[str, Any]:
    """Train on one draw of the labels, which is the seed of the training, too, and return its errors on test."""
    recipe = read_recipe(RECIPE)
    model, data = dict(recipe["model"]), dict(recipe["data"])
    name, source = model.pop("name"), data.pop("name")
    if (folder / "checkpoints").is_dir():
        run = resume(folder, progress=progress)
    else:
        run = fit(
            name,
            source,
            output=folder,
            data_options={**data, "label_seed": draw},
            model_options=model,
            train={**recipe["train"], "seed": draw},
            overwrite=True,
            progress=progress,
        )
    found = classify(str(folder), split="test")
    steps = int(run.metrics["step"].max())
    return {"errors": found.errors, "count": found.count, "labels": data["labelled"], "steps": steps}


def summary(draws: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of the errors and their deviation over draws (of two or more)."""
    errors = [found["errors"] for found in draws.values()]
    return {
        "draws": len(errors),
        "mean_errors": statistics.fmean(errors),
        "deviation": statistics.stdev(errors) if len(errors) > 1 else None,
    }


def main() -> None:
    """Train the draws that are not recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/mnist-semi-supervised-gan"))
    parser.add_argument("--figures", type=Path, default=FIGURES, help="file that figures are recorded in")
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args()
    recorded = json.loads(given.figures.read_text(encoding="utf-8"))["test"]["by_draw"] if given.figures.is_file() else {}
    for draw in range(given.draws):
        if str(draw) in recorded:
            continue
        recorded[str(draw)] = train(draw, given.output / f"draw-{draw}", not given.quiet)
        found = {
            "test": {**summary(recorded), "by_draw": recorded},
            "command": "python zoo/mnist-semi-supervised-gan/train.py",
        }
        write_text(given.figures, json.dumps(found, indent=2) + "\n")
        print(f"draw {draw}: {recorded[str(draw)]['errors']} errors; {found['test']['mean_errors']:.1f} so far", flush=True)


if __name__ == "__main__":
    main()
