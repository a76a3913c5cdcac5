"""`ancestral ais`."""

from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_subject, add_verb, arguments, make_parser, open_subject, parse, print_json
from ancestral.verbs.ais import ais

DESCRIPTION = """Bound the log-likelihood of a decoder from below by annealed importance sampling, for VAEs and for generators
such as GANs, and on data that the model drew itself from both sides.

MODEL is a run directory, a zoo name or a hub repository; DATA is what it was trained on where not given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("ais", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    add_verb(parser, ais, skip={"model", "data"})
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    subject, data = open_subject(config)
    found = ais(subject, data, **arguments(config, ais))
    if config.get("json"):
        print_json(found.to_json())
    else:
        print(found)
    return 0
