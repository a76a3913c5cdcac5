"""`ancestral quality`."""

from collections.abc import Sequence

from ancestral.cli.parsing import (
    add_data,
    add_subject,
    add_verb,
    arguments,
    make_parser,
    open_subject,
    parse,
    print_json,
    print_table,
)
from ancestral.verbs.quality import COUNT, quality

DESCRIPTION = """Compare samples of a model with held-out data: FID, KID, inception score, precision and recall, on features of
a small classifier of the data's own labels, trained where it is asked for. Beside each figure stands that of training data in
place of samples, so that its scale is known.

MODEL is a run directory, a zoo name or a hub repository; DATA is what it was trained on where not given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("quality", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument(
        "-n", "--count", type=int, help=f"samples, and data of each split ({COUNT:,}, or as many as there are)"
    )
    add_verb(parser, quality, skip={"model", "data", "n"})
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    subject, data = open_subject(config)
    count = {"n": config.count} if config.get("count") is not None else {}
    found = quality(subject, data, **count, **arguments(config, quality, skip=("n",)))
    if config.get("json"):
        print_json(found.to_json())
        return 0
    print(f"{found.about()}\n")
    rows = [
        (f.name, f.better, _number(f.value, f.standard_error), _number(f.baseline, f.baseline_error)) for f in found.figures
    ]
    print_table(("figure", "better", "samples", "baseline"), rows, ("samples", "baseline"))
    return 0


def _number(value: float, error: float | None) -> str:
    return f"{value:.4g}" + ("" if error is None else f" ± {error:.2g}")
