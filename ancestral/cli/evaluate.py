"""`ancestral evaluate`."""

from collections.abc import Sequence

from ancestral.cli.parsing import (
    add_data,
    add_subject,
    add_verb,
    add_weights,
    arguments,
    distributed,
    make_parser,
    open_subject,
    parse,
    print_json,
)
from ancestral.verbs.baselines import baselines
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.inputs import processes

DESCRIPTION = """Print the mean negative log-likelihood of a split, with its standard error, unit and kind.

MODEL is a run directory, a zoo name or a hub repository; DATA is what it was trained on where not given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("evaluate", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    add_verb(parser, evaluate, skip={"model", "data"})
    add_weights(parser)
    parser.add_argument("--baselines", action="store_true", help="also what the split costs without a model, as with a codec")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    with distributed():
        subject, data = open_subject(config)
        result = evaluate(subject, data, **arguments(config, evaluate))
        if processes()[0] > 0:
            return 0
    compared = baselines(data, result.split) if config.get("baselines") else []
    text = data.event.encoding is not None
    if config.get("json"):
        key = "bits_per_byte" if text else "bits_per_dim"
        found = [{"name": b.name, key: b.bits_per_dim, "standard_error": b.standard_error} for b in compared]
        print_json({**result.to_json(), **({"baselines": found} if found else {})})
    else:
        print(result)
        for b in compared:
            error = "" if b.standard_error is None else f" ± {b.standard_error:.4f}"
            print(f"{b.name}: {b.bits_per_dim:.4f}{error} {'bits/byte' if text else result.unit}")
    return 0
