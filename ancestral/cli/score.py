"""`ancestral score`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_subject, add_verb, arguments, make_parser, open_subject, parse
from ancestral.files import check_writable
from ancestral.verbs.score import TABLES, check_suffix, save_table, score

DESCRIPTION = """Print or write the log-likelihood of each datum of a split: columns index, log_prob (nats) and bits_per_dim.

MODEL is a run directory, a zoo name or a hub repository; DATA is what it was trained on where not given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("score", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("-o", "--output", type=str, help=f"file to write, {', '.join(TABLES)}; CSV on stdout where not given")
    add_verb(parser, score, skip={"model", "data"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    if config.get("output"):
        check_suffix(config.output, TABLES)
        check_writable(config.output)
    subject, data = open_subject(config)
    table = score(subject, data, **arguments(config, score))
    if config.get("output"):
        save_table(table, config.output)
        print(f"wrote {len(table)} scores ({table.attrs['kind']}) to {config.output}", file=sys.stderr)
    else:
        table.to_csv(sys.stdout, index=False)
    return 0
