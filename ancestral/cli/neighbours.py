"""`ancestral neighbours`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import (
    add_data,
    add_subject,
    add_verb,
    arguments,
    check_output,
    make_parser,
    open_subject,
    parse,
    print_json,
)
from ancestral.verbs.latent_pictures import FILES
from ancestral.verbs.neighbours import neighbours, save_neighbours

DESCRIPTION = """Draw samples of a model, and beside each the training data that are nearest to it, by their entries and by
features, so that memorising is seen. Their distances are printed with those of held-out data.

MODEL is a run directory, a zoo name or a hub repository; DATA is what it was trained on where not given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("neighbours", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("-n", "--count", type=int, help="samples that are shown (8)")
    parser.add_argument("-o", "--output", type=str, default="neighbours.png", help=f"file to write: {', '.join(FILES)}")
    add_verb(parser, neighbours, skip={"model", "data", "n"})
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    output = check_output(config.get("output", "neighbours.png"), FILES)
    subject, data = open_subject(config)
    count = {"n": config.count} if config.get("count") is not None else {}
    found = neighbours(subject, data, **count, **arguments(config, neighbours, skip=("n",)))
    save_neighbours(found, data.event, output)
    if config.get("json"):
        print_json(found.to_json())
    else:
        print(found)
    print(f"wrote {len(found.x)} samples and their neighbours to {output}", file=sys.stderr)
    return 0
