"""`ancestral compare`."""

from collections.abc import Sequence
from typing import Any

from ancestral.cli.parsing import add_data, add_verb, arguments, make_parser, named_data, parse, print_json, print_table
from ancestral.verbs.compare import compare
from ancestral.verbs.inputs import open_data, open_model
from ancestral.verbs.score import column_of

DESCRIPTION = """Compare the likelihoods of models on the same examples, best first.

The difference to the best model is paired example by example, so that its standard error is far below those of the
figures themselves. Each MODEL is a run directory, a zoo name or a hub repository."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("compare", "MODEL MODEL ... [options]", DESCRIPTION)
    parser.add_argument("models", nargs="+", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    add_verb(parser, compare, skip={"models", "data"})
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "data name or path; what the first model was trained on where not given")
    config = parse(parser, argv)
    subjects = [open_model(name, config.get("device", "auto")) for name in config.models]
    name, options = named_data(config)
    chooser = next((s for s in subjects if s.model.condition is not None), subjects[0])
    data = open_data(name or subjects[0].data, chooser, options)
    result = compare(
        subjects,
        data,
        **arguments(config, compare),
    )
    if config.get("json"):
        print_json(result.to_json())
        return 0
    rows = [
        (
            row["model"],
            _with_error(row["nats"], row["standard_error"]),
            f"{row[column_of(result.unit)]:.4f}",
            "best" if i == 0 else "+" + _with_error(row["difference"], row["difference_standard_error"]),
            row["kind"],
            row["note"],
        )
        for i, row in enumerate(result.to_json()["models"])
    ]
    columns = ("model", "nats", result.unit, "difference (paired)", "kind", "note")
    title = f"{result.data}, {result.split} split, {result.count} examples"
    print_table(columns, rows, ("nats", result.unit, "difference (paired)"), title)
    return 0


def _with_error(value: float, error: Any) -> str:
    return f"{value:.4f}" + ("" if error is None else f" ± {error:.4f}")
