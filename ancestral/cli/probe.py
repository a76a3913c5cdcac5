"""`ancestral probe`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import (
    add_data,
    add_subject,
    add_verb,
    arguments,
    check_output,
    make_parser,
    named_data,
    parse,
    print_json,
    print_table,
)
from ancestral.verbs.inputs import open_model
from ancestral.verbs.pictures import save_figure
from ancestral.verbs.probe import open_labelled, probe, probe_plot

DESCRIPTION = """Say how often logistic regression on the codes of few labelled data is right, beside the same on the data
themselves and on their principal components.

MODEL is a run directory, a zoo name or a hub repository, of a model without a condition; --beside names more of them."""
PICTURES = (".png", ".pdf", ".svg")


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("probe", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("-o", "--output", type=str, help=f"plot to write: {', '.join(PICTURES)}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--beside", type=Sequence[str], metavar="MODELS", help="further models, such as runs/a,runs/b")
    add_verb(parser, probe, skip={"model", "data", "beside"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    if config.get("output"):
        check_output(config.output, PICTURES)
    subject = open_model(config.model, config.get("device", "auto"))
    name, options = named_data(config)
    if subject.model.condition is None:
        options.setdefault("condition", config.get("by", "label"))
    data = open_labelled(name, subject, options)
    beside = [open_model(name, config.get("device", "auto")) for name in config.get("beside") or ()]
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
