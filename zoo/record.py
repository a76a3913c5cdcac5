"""Put a run into the zoo: weights in half precision, the recipe's folder, and figures measured on what is stored.

    python zoo/record.py RUN NAME [--note TEXT] [--samples K] [--validation N] [--byte]
    python zoo/record.py --repack NAME      store what is there already as bytes, and measure that

Of an energy model log Z is estimated first, for the weights as they are stored. Validation is evaluated before the test split,
which is read once: a model that has a test figure is refused unless --again. With --byte, matrices and kernels take one byte a
number; --repack keeps the recorded remarks and says what the figures were.
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


def put(folder: Path, source: Path, *, byte: bool = False) -> None:
    """Store the model of `source`, a run or a stored model, in `folder`: in half precision, or as bytes."""
    model, config = store.load(source)
    store.save(model, folder, {key: config[key] for key in KEPT if key in config}, half=not byte, byte=byte)


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
    byte: bool = False,
) -> dict:
    """Store a run's model under `name` and return its figures.

    Args:
        run: the run.
        name: <data>-<model>, a folder of the zoo with a recipe.yaml.
        note: a remark for the table.
        samples: samples for a bound.
        again: measure on test although a figure is there.
        validation: data of the validation split that are measured, the first ones; all where None.
        byte: store matrices and kernels as bytes.
    """
    folder = ZOO / name
    path = folder / "figures.json"
    if not (folder / "recipe.yaml").is_file():
        raise InvalidInput(f"{folder} has no recipe.yaml: write the recipe that trains the model first")
    if path.is_file() and not again:
        raise InvalidInput(f"{name} has a test figure already: the test split is read once; pass --again for a new model")
    put(folder, run.path, byte=byte)
    # Of the weights as they are stored, before anything is measured: it reads no test data.
    model = stored(folder).model
    estimated = isinstance(model, EnergyModel) and not model.enumerable
    partitioned = partition(folder, run.config["data"]["name"], reverse=True).to_json() if estimated else None
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


def repack(name: str) -> dict:
    """Store a model of the zoo as bytes, measure what is stored now, and return its figures."""
    folder = ZOO / name
    path = folder / "figures.json"
    figures = json.loads(path.read_text(encoding="utf-8"))
    put(folder, folder, byte=True)
    subject, data, before = stored(folder), figures["test"]["data"], figures["test"]
    count = figures["validation"]["count"]
    figures.update(measure(subject, data, before.get("samples"), count))
    translations = translated(replace(subject, name=name), data)
    if translations:
        figures["bleu"] = translations
    figures["before_bytes"] = {"nats": before["nats"], "weights": "half precision"}
    write_text(path, json.dumps(figures, indent=2) + "\n")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--note", default="")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--validation", type=int, help="measure so many data of the validation split alone")
    parser.add_argument("--byte", action="store_true", help="store matrices and kernels as one byte a number")
    parser.add_argument("--repack", metavar="NAME", help="store this model of the zoo as bytes")
    given = parser.parse_args()
    if given.repack:
        repack(given.repack)
    elif given.name:
        record(Run(given.run), given.name, given.note, given.samples, given.again, given.validation, given.byte)
    else:
        parser.error("name a run and a model of the zoo: RUN NAME")
