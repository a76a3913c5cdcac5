"""`ancestral gabor`."""

from collections.abc import Sequence

from ancestral.cli.parsing import add_verb, arguments, make_parser, parse, print_json
from ancestral.verbs.gabor import gabors
from ancestral.verbs.inputs import open_model

DESCRIPTION = """Fit a Gabor function to each filter of a model of gray images, and say how many fit.

MODEL is a run directory, a zoo name or a hub repository; its first layer sees the data."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("gabor", "MODEL [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("--json", action="store_true", help="print JSON, with the parameters of each fit")
    add_verb(parser, gabors, skip={"model"})
    config = parse(parser, argv)
    subject = open_model(config.model, config.get("device", "auto"))
    found = gabors(subject, **arguments(config, gabors))
    if config.get("json"):
        print_json(found.to_json())
        return 0
    r_squared = found.table["r_squared"]
    print(
        f"{found.count} of {len(r_squared)} filters of {subject.name} are Gabor functions with R^2 >= {found.bound:g};"
        f" R^2 is {r_squared.median():.2f} in the middle, {r_squared.min():.2f} at least"
    )
    return 0
