"""`ancestral filters`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import add_verb, arguments, check_output, make_parser, parse
from ancestral.verbs.filters import FILES, draw_filters, filters
from ancestral.verbs.inputs import open_model

DESCRIPTION = """Draw what the units of a model's first layer weigh the entries of an image by, each on its own scale, zero as
mid-grey.

MODEL is a run directory, a zoo name or a hub repository."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("filters", "MODEL [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("-o", "--output", type=str, default="filters.png", help=f"file to write: {', '.join(FILES)}")
    add_verb(parser, filters, skip={"model"})
    config = parse(parser, argv)
    output = check_output(config.get("output", "filters.png"), FILES)
    subject = open_model(config.model, config.get("device", "auto"))
    found = filters(subject, **arguments(config, filters))
    draw_filters(found, subject.model.event, output)
    print(f"wrote {len(found)} filters to {output}", file=sys.stderr)
    return 0
