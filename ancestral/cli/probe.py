"""`ancestral probe`."""

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
from ancestral.verbs.pictures import save_figure
from ancestral.verbs.probe import open_for_probe, probe, probe_plot

DESCRIPTION = """Say how often logistic regression on the codes of few labelled data is right, beside the same on the data
themselves and on their principal components.

MODEL is a run directory, a zoo name or a hub repository, of a model without a condition; --beside names more of them."""
PICTURES = (".png", ".pdf", ".svg")


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = labelled_parser("probe", DESCRIPTION, probe, PICTURES)
    config = parse(parser, argv)
    if config.get("output"):
        check_output(config.output, PICTURES)
    subject, data, beside = open_labelled(config, open_for_probe)
    found = probe(subject, data, beside=beside, **arguments(config, probe, skip=("beside",)))
    if config.get("output"):
        save_figure(probe_plot(found), config.output)
    if config.get("json"):
        print_json(found.to_json())
    else:
        print(f"{found.count} data ({found.data}, {found.split} split); means of {found.repeats} draws of the labels\n")
        rows = [
            (str(r["features"]), str(r["labels"]), _percent(r["accuracy"], r["standard_error"]))
            for r in found.to_json()["probe"]
        ]
        print_table(("features", "labels", "accuracy"), rows, ("labels", "accuracy"))
    if config.get("output"):
        print(f"wrote the plot to {config.output}", file=sys.stderr)
    return 0


def _percent(value: float, error: float | None) -> str:
    return f"{value:.1%}" + ("" if error is None else f" ± {error:.1%}")
