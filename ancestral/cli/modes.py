"""`ancestral modes`."""

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
)
from ancestral.verbs.modes import modes

DESCRIPTION = """Count the modes that samples of a model find, of data whose modes are known: ring, grid or stacked-mnist.

Of points: modes with a sample within three standard deviations, and the share of such samples. Of stacked digits: modes of
1,000 by a classifier of digits, whose accuracy is shown. Both with the KL divergence of the shares to uniform.

MODEL is a run directory, a zoo name or a hub repository; DATA is what it was trained on where not given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("modes", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("-n", "--count", type=int, help="samples (2500 of points, 26000 of pictures)")
    add_verb(parser, modes, skip={"model", "data", "n"})
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    subject, data = open_subject(config)
    found = modes(subject, data, n=config.get("count"), **arguments(config, modes, skip=("n",)))
    if config.get("json"):
        print_json(found.to_json())
    else:
        print(found)
    return 0
