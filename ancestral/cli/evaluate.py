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
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    with distributed():
        subject, data = open_subject(config)
        result = evaluate(subject, data, **arguments(config, evaluate))
        if processes()[0] > 0:
            return 0
    if config.get("json"):
        print_json(result.to_json())
    else:
        print(result)
    return 0
