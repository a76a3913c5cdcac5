"""`ancestral recognise`."""

from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_subject, add_verb, arguments, make_parser, open_subject, parse
from ancestral.verbs.recognise import recognise

DESCRIPTION = """Train a classifier on recordings, and print how many it recognises of those held out and of what MODEL draws.

MODEL is a run directory, a zoo name or a hub repository, of sounds given labels; DATA is what it was trained on where not
given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("recognise", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("-n", "--count", type=int, help="sounds that are drawn, of each class in turn (100)")
    add_verb(parser, recognise, skip={"model", "data", "n"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    subject, data = open_subject(config)
    count = {"n": config.count} if config.get("count") is not None else {}
    for accuracy in recognise(subject, data, **count, **arguments(config, recognise)):
        print(accuracy)
    return 0
