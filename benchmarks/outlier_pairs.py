"""Scores of outliers on pairs of data sets: digits against letters, and photographs against smooth pictures.

python -m benchmarks.outlier_pairs --pairs digits             print a table
python -m benchmarks.outlier_pairs --pairs digits --save      put it in the place of an earlier one, then the page

A background model is trained once, for minutes, and left in benchmarks/out/.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image, ImageFilter
from torch import Tensor

import ancestral
from ancestral.data import load
from ancestral.models.base import count_parameters
from ancestral.verbs.background import NOISE, fit_background
from ancestral.verbs.outlier_scores import SCORES, auroc
from benchmarks import page

if TYPE_CHECKING:
    import pandas

BLUR, SIDE, PHOTO = 2, 32, 321
"""Radius of the blur, and sides of pieces and of the squares that they are cut from, pixels."""


def drawn(name: str, split: str, start: int, count: int, **options: Any) -> Tensor:
    """Return data of a split, from `start` on in an order drawn at random."""
    part = load(name, **options).split(split)
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))
    return part.batch(order[start : start + count])[0]


def blurred(count: int) -> Tensor:
    """Return test images of CIFAR-10, none of which is among the inliers, after a Gaussian blur, (n, 3, 32, 32)."""
    x = drawn("cifar10", "test", 5000, count).permute(0, 2, 3, 1).numpy()
    pictures = [Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR)) for image in x]
    bytes_of = b"".join(picture.tobytes() for picture in pictures)
    return torch.frombuffer(bytearray(bytes_of), dtype=torch.uint8).view(x.shape).permute(0, 3, 1, 2)


def pieces(count: int) -> Tensor:
    """Return pieces of the central squares of larger photographs, at full resolution, (n, 3, 32, 32)."""
    photographs = load("bsds500_sample", size=(PHOTO, PHOTO))
    x = torch.cat([part.batch(torch.arange(len(part)))[0] for part in photographs.splits.values()])
    tiles = x.unfold(2, SIDE, SIDE).unfold(3, SIDE, SIDE).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, SIDE, SIDE)
    return tiles[torch.randperm(len(tiles), generator=torch.Generator().manual_seed(0))[:count]]


@dataclass(frozen=True)
class Pair:
    """Inliers, the model of them, and outliers.

    Args:
        title: heading of the table.
        model: trained model of the zoo.
        data: what it was trained on, whose test split has the inliers.
        inliers: what they are called.
        others: outliers by name: from a number to so many of them.
        count: inliers, inliers that calibrate, and outliers of each kind.
        options: of the background model, in place of the model's own.
        training: settings of the background model, in place of the model's own.
        note: what outliers are.
    """

    title: str
    model: str
    data: str
    inliers: str
    others: dict[str, Callable[[int], Tensor]]
    count: int
    options: dict[str, Any]
    training: dict[str, Any]
    note: str


PAIRS = {
    "digits": Pair(
        "Digits against letters",
        "binarized-mnist-nade",
        "binarized-mnist",
        "digits",
        {"letters": lambda count: drawn("omniglot", "test", 0, count)},
        1000,
        {"hidden": 100},
        {"steps": 300, "ema": 0.98, "evaluate_limit": 200},
        "Letters are Omniglot's evaluation set, 28 x 28.",
    ),
    "photographs": Pair(
        "Photographs against smooth pictures",
        "cifar10-gated-pixelcnn",
        "cifar10",
        "CIFAR-10",
        {"blurred": blurred, "pieces": pieces},
        400,
        {"channels": 16, "layers": 2, "kernel": 5, "head_channels": 16, "components": 3, "separable": False},
        {"steps": 400, "ema": 0.98, "learning_rate": 0.01, "evaluate_limit": 100},
        f"Blurred are other test images of CIFAR-10, after a Gaussian blur of {BLUR} pixels. Pieces are {SIDE} x {SIDE} pixels"
        " cut at full resolution from 13 photographs of BSDS500. Pieces of one photograph are alike: their standard error,"
        " which takes them for independent, is too small.",
    ),
}


def scored(pair: Pair, count: int, background: Any = None) -> dict[str, "pandas.DataFrame"]:
    """Return the scores and p-values of inliers and of outliers of each kind, by name."""
    sets = {pair.inliers: drawn(pair.data, "test", 0, count), **{name: make(count) for name, make in pair.others.items()}}
    found = ancestral.outliers(
        pair.model, torch.cat(list(sets.values())), score="all", background=background, calibration_limit=count
    )
    table, tables, start = found.table.sort_values("index"), {}, 0
    for name, x in sets.items():
        tables[name] = table.iloc[start : start + len(x)]
        start += len(x)
    return tables


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return a table for each pair; nothing is timed, so that nothing is repeated."""
    if not tiny:
        return [_table(name, page.OUT) for name in PAIRS]
    with tempfile.TemporaryDirectory() as folder:
        return [_table("digits", Path(folder), 20, {"steps": 2, "evaluate_limit": 20})]


def _table(name: str, folder: Path, count: int | None = None, training: dict[str, Any] | None = None) -> dict[str, Any]:
    pair = PAIRS[name]
    place = folder / f"{pair.model}-background"
    if not place.exists():
        settings = training or pair.training
        fit_background(pair.model, model_options=pair.options, output=place, progress=False, **settings)
    background = ancestral.load(place)
    tables = scored(pair, count or pair.count, place)
    inliers = tables.pop(pair.inliers)
    columns = {score: (score, f"{score}_p", 1.0) for score in SCORES} | {"all": ("p_value", "p_value", -1.0)}
    rows = []
    for score, (value, p, sign) in columns.items():
        areas = [auroc(*(torch.tensor(sign * t[value].to_numpy()) for t in (inliers, other))) for other in tables.values()]
        share = float((inliers[p] <= 0.05).mean())
        rows.append([score, *(f"{area:.3f} ± {error:.3f}" for area, error in areas), f"{share:.1%}"])
    counts = ", ".join(f"{len(other):,} {name}" for name, other in tables.items())
    steps = (training or pair.training)["steps"]
    return {
        "pair": name,
        "title": f"{pair.title}: AUROC ± standard error, `{pair.model}`",
        "header": ["score", *tables, f"{pair.inliers} with p ≤ 0.05"],
        "rows": rows,
        "notes": [
            f"{len(inliers):,} test images of {pair.data}, {counts}; as many validation images calibrate. {pair.note}"
            f" The background model has {count_parameters(background.parameters()):,} parameters and was trained for {steps}"
            f" steps on images of which {NOISE:.0%} of the entries were drawn anew."
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), choices=list(PAIRS), help="pairs of data sets")
    parser.add_argument("--save", action="store_true", help="keep what is measured, and write the page")
    given = parser.parse_args(arguments)
    facts = {"table": "outlier_pairs", "machine": page.machine(), "threads": torch.get_num_threads()}
    for name in given.pairs:  # each takes minutes: none is lost if a later one is stopped
        table = _table(name, page.OUT)
        if given.save:
            page.keep_among(facts, table, "pair", list(PAIRS))
            page.write(page.OUT)
        else:
            print(page.render({**facts, "tables": [table]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
