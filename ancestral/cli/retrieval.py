"""`ancestral retrieval`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import (
    arguments,
    check_output,
    labelled_parser,
    open_labelled,
    parse,
    print_json,
    print_table,
)
from ancestral.verbs.inputs import open_data
from ancestral.verbs.pictures import save_figure
from ancestral.verbs.retrieval import RADIUS, retrieval, retrieval_plot

DESCRIPTION = """Search the training data for each datum of a split by their binary codes, and say how many of those found
share its label, beside TF-IDF and LSA of documents, or principal components of other data.

MODEL is a run directory, a zoo name or a hub repository, of a model without a condition; --beside names more of them."""
PICTURES = (".png", ".pdf", ".svg")


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = labelled_parser("retrieval", DESCRIPTION, retrieval, PICTURES)
    config = parse(parser, argv)
    if config.get("output"):
        check_output(config.output, PICTURES)
    subject, data, beside = open_labelled(config, open_data)
    found = retrieval(subject, data, beside=beside, **arguments(config, retrieval, skip=("beside",)))
    if config.get("output"):
        save_figure(retrieval_plot(found), config.output)
    if config.get("json"):
        print_json(found.to_json())
    else:
        about = f"{found.queries:,} queries ({found.data}, {found.split} split) to {found.size:,} data of {found.database}"
        print(f"{about}; precision is the share of what is found that shares the label\n")
        header = ("codes", "bits", "average precision", "of the first 100", f"within {RADIUS} bits", "nothing there")
        print_table(header, [_row(row) for row in found.to_json()["summary"]], header[1:])
    if config.get("output"):
        print(f"wrote the plot to {config.output}", file=sys.stderr)
    return 0


def _row(row: dict[str, float | None]) -> tuple[str, ...]:
    error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.1%}"
    ball = ["" if row[name] is None else f"{row[name]:.1%}" for name in ("ball_precision", "ball_empty")]
    return (
        str(row["codes"]),
        f"{row['bits']:,}",
        f"{row['average_precision']:.1%}{error}",
        f"{row['precision_100']:.1%}",
        *ball,
    )
