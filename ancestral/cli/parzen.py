"""`ancestral parzen`."""

import sys
import warnings
from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_subject, add_verb, arguments, make_parser, open_subject, parse, print_json
from ancestral.verbs.parzen import ParzenWarning, parzen

DESCRIPTION = """Estimate the log-density of data under Gaussian windows around samples: for comparison with old published
figures alone, since it ranks models wrongly.

MODEL is a run directory, a zoo name or a hub repository, of a model without condition; DATA is what it was trained on where
not given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("parzen", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("-n", "--count", type=int, help="samples (10,000)")
    add_verb(parser, parzen, skip={"model", "data", "n"})
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    subject, data = open_subject(config)
    count = {"n": config.count} if config.get("count") is not None else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParzenWarning)  # it is printed below
        found = parzen(subject, data, **count, **arguments(config, parzen, skip=("n",)))
    if config.get("json"):
        print_json(found.to_json())
    else:
        print(found)
        print(f"warning: {found.warning}", file=sys.stderr)
    return 0
