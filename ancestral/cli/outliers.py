"""`ancestral outliers`."""

import sys
from collections.abc import Sequence
from typing import Any

from jsonargparse import Namespace

from ancestral.cli.parsing import (
    add_data,
    add_verb,
    arguments,
    check_output,
    make_parser,
    named_data,
    parse,
    print_json,
    print_table,
)
from ancestral.data import Data
from ancestral.verbs.inputs import Subject, find_image_files, open_model, read_images
from ancestral.verbs.outliers import Inputs, Outliers, draw_outliers, open_part, outliers
from ancestral.verbs.score import TABLES, save_table

DESCRIPTION = """Say which data are unusual under a model, the most unusual first, each with a p-value: the share of held-out
inliers that are as unusual. Data with a p-value of at most --contamination are called outliers.

MODEL is a run directory, a zoo name or a hub repository. DATA is a data set (a split of it, or all of a file or folder without
splits), or image files and folders of them; what the model was trained on where not given."""
PICTURES = (".png", ".jpg", ".bmp", ".gif", ".tif", ".webp")
ROWS = 20
"""Rows of the table that are printed."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("outliers", "MODEL [DATA] [options]\nMODEL IMAGE... [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument(
        "sources", nargs="*", type=str, default=None, metavar="DATA", help="a data set, or images and folders of them"
    )
    parser.add_argument("-o", "--output", type=str, help=f"file to write with a row for each datum: {', '.join(TABLES)}")
    parser.add_argument("--picture", type=str, metavar="PNG", help="picture to draw of the most and the least unusual images")
    parser.add_argument("--background", type=str, metavar="MODEL", help="for the score ratio: a model, or noise to train one")
    parser.add_argument("--against", type=str, metavar="DATA", help="known outliers, to tell the AUROC of the scores")
    parser.add_argument("--calibration", type=str, metavar="DATA", help="inliers; what the model was trained on")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_verb(parser, outliers, skip={"model", "data", "background", "against", "calibration", "names"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    for name, known in (("output", TABLES), ("picture", PICTURES)):
        if config.get(name):
            check_output(config[name], known)
    subject = open_model(config.model, config.get("device", "auto"))
    data, split, names = _open(config, subject)
    chosen = {**arguments(config, outliers), "split": split, "names": names}
    for name in ("against", "calibration"):
        if config.get(name):
            chosen[name] = _images(subject, [config[name]]) or config[name]
    found = outliers(subject, data, **chosen)
    if config.get("picture"):
        draw_outliers(found, data, config.picture)
    if config.get("output"):
        save_table(found.table, config.output)
    print_json(found.to_json()) if config.get("json") else _print(found)
    for name in ("output", "picture"):
        if config.get(name):
            print(f"wrote {len(found.table)} data to {config[name]}", file=sys.stderr)
    if config.get("background") == "noise" and found.background is not None:
        print(f"trained a background model: give it with --background {found.background}", file=sys.stderr)
    return 0


def _open(config: Namespace, subject: Subject) -> tuple[Data, str, list[str] | None]:
    """Return the data, the name of the split that is meant, and the names of image files."""
    files = find_image_files(config.get("sources") or [])
    if files:
        data, split = open_part(read_images(files, subject.model.event), subject)
        return data, split, [str(path) for path in files]
    name, options = named_data(config)
    data, split = open_part(name, subject, config.get("split"), options)
    return data, split, None


def _images(subject: Subject, sources: list[str]) -> Inputs | None:
    """Return the images that are named; None where it is something else that is."""
    files = find_image_files(sources)
    return read_images(files, subject.model.event) if files else None


def _print(found: Outliers) -> None:
    """Print the most unusual data, and the AUROC of each score."""
    count = int(found.table["outlier"].sum())
    print(
        f"{count} of {len(found.table)} data ({found.data}, {found.split} split) are outliers at p = {found.contamination:g}"
    )
    print(f"{found.inliers} inliers ({found.calibration}); likelihood {found.kind}\n")
    shown = found.table.head(ROWS)
    columns = [str(name) for name in shown if name != "outlier"]
    rows = [[_cell(value) for value in row] + ["outlier" * bool(is_one)] for *row, is_one in shown.itertuples(index=False)]
    print_table([*columns, ""], rows, [name for name in columns if name != "file"])
    if len(found.table) > ROWS:
        print(f"... and {len(found.table) - ROWS} more, less unusual: -o writes all")
    if found.auroc:
        areas = [(name, f"{area:.4f} ± {error:.4f}") for name, (area, error) in found.auroc.items()]
        print_table(("score", f"AUROC against {found.against}"), areas, (f"AUROC against {found.against}",))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
