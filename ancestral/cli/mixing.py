"""`ancestral mixing`."""

from collections.abc import Sequence

from ancestral.cli.parsing import add_verb, arguments, make_parser, parse, print_json
from ancestral.verbs.inputs import open_model
from ancestral.verbs.mixing import mixing

DESCRIPTION = """Run the Markov chains of a model, and print how many steps they remember, by the autocorrelation of their
energy.

MODEL is a run directory, a zoo name or a hub repository."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("mixing", "MODEL [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    add_verb(parser, mixing, skip={"model"})
    parser.add_argument("--json", action="store_true", help="print JSON")
    config = parse(parser, argv)
    subject = open_model(config.model, config.get("device", "auto"))
    found = mixing(subject, **arguments(config, mixing))
    if config.get("json"):
        print_json(found.to_json())
    else:
        print(found)
    return 0
