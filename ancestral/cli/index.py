"""`ancestral index`."""

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
)
from ancestral.verbs.index import index

DESCRIPTION = """Put binary codes of data into a file, in which `ancestral search` finds those near a query.

MODEL is a run directory, a zoo name or a hub repository, of a model that has codes; DATA is what it was trained on where not
given."""
SUFFIX = ".codes"


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("index", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("-o", "--output", type=str, help=f"index to write, {SUFFIX} (data{SUFFIX} where not given)")
    add_verb(parser, index, skip={"model", "data", "output"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    output = check_output(config.get("output") or f"data{SUFFIX}", (SUFFIX,))
    subject, data = open_subject(config)
    made = index(subject, data, output, **arguments(config, index, skip=("output",)))
    print(f"wrote {len(made):,} codes of {made.bits} bits ({data.name}, {made.split} split) to {output}", file=sys.stderr)
    return 0
