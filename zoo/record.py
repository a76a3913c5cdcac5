"""Put a run into the zoo: weights in half precision, the recipe's folder, and figures measured on what is stored.

    python zoo/record.py RUN NAME [--note TEXT] [--samples K] [--validation N]

Of an energy model log Z is estimated first, for the weights as they are stored. Validation is evaluated before the test split,
which is read once: a model that has a test figure is refused unless --again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import yaml

from ancestral.errors import InvalidInput
from ancestral.files import write_text
from ancestral.models import store
from ancestral.models.base import count_parameters
from ancestral.models.energy.base import EnergyModel
from ancestral.training import Run
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.inputs import Subject, open_model
from ancestral.verbs.partition import partition
from ancestral.verbs.translate import bleu

ZOO = Path(__file__).resolve().parent
KEPT = ("format", "version", "model", "event", "condition", "data", "training")


def put(run: Run, folder: Path) -> None:
    """Store a run's model in `folder`, in half precision."""
    store.save(run.model(), folder, {key: run.config[key] for key in KEPT if key in run.config}, half=True)


def stored(folder: Path) -> Subject:
    """Return a stored model, with how its data are loaded, under its registered name."""
    opened = open_model(folder)
    return replace(opened, name=opened.model.name)


def measure(subject: Subject, data: str, samples: int | None = None, validation: int | None = None) -> dict:
    """Return the figures of a stored model on validation, or the first data of it, and, after that, on test."""
    figures: dict = {}
    for split, limit in (("validation", validation), ("test", None)):
        figures[split] = evaluate(subject, data, split=split, samples=samples, limit=limit).to_json()
        print(json.dumps(figures[split]))
    return figures


def translated(subject: Subject, data: str) -> dict | None:
    """Return BLEU on validation and, after that, on test, of a model that translates sentences."""
    sides = (subject.model.event, subject.model.condition)
    if not all(side is not None and side.end and side.encoding is not None for side in sides):
        return None
    figures = {}
    for split in ("validation", "test"):
        figures[split] = bleu(subject, data, split).to_json()
        print(json.dumps(figures[split]))
    return figures


def record(
    run: Run,
    name: str,
    note: str = "",
    samples: int | None = None,
    again: bool = False,
    validation: int | None = None,
) -> dict:
    """Store a run's model under `name` and return its figures.

    Args:
        run: the run.
        name: <data>-<model>, a folder of the zoo with a recipe.yaml.
        note: a remark for the table.
        samples: samples for a bound.
        again: measure on test although a figure is there.
        validation: data of the validation split that are measured, the first ones; all where None.
    """
    folder = ZOO / name
    path = folder / "figures.json"
    if not (folder / "recipe.yaml").is_file():
        raise InvalidInput(f"{folder} has no recipe.yaml: write the recipe that trains the model first")
    if path.is_file() and not again:
        raise InvalidInput(f"{name} has a test figure already: the test split is read once; pass --again for a new model")
    put(run, folder)
    # Of the weights as they are stored, before anything is measured: it reads no test data.
    model = stored(folder).model
    estimated = isinstance(model, EnergyModel) and not model.enumerable
    partitioned = partition(folder, run.config["data"]["name"]).to_json() if estimated else None
    subject = stored(folder)
    figures = measure(subject, run.config["data"]["name"], samples, validation)
    translations = translated(replace(subject, name=name), run.config["data"]["name"])
    if partitioned:
        figures["partition"] = {**partitioned, "model": name}
    if translations:
        figures["bleu"] = translations
    published = yaml.safe_load((ZOO / "published.yaml").read_text(encoding="utf-8")).get(name, {})
    figures.update(published)
    figures["note"] = note or published.get("note", "")
    extra_samples = f" --samples {samples}" if samples else ""
    evaluated = f"ancestral evaluate {name} --split test{extra_samples} --json"
    figures["command"] = (
        f"ancestral translate {name} --data {figures['test']['data']} --split test" if translations else evaluated
    )
    figures["train_minutes"] = round(float(run.metrics["seconds"].max()) / 60, 1)
    figures["parameters"] = count_parameters(subject.model.parameters())
    write_text(path, json.dumps(figures, indent=2) + "\n")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--note", default="")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--validation", type=int, help="measure so many data of the validation split alone")
    arguments = parser.parse_args()
    record(Run(arguments.run), arguments.name, arguments.note, arguments.samples, arguments.again, arguments.validation)
