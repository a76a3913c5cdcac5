"""`ancestral score`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_subject, add_verb, arguments, check_output, make_parser, open_subject, parse
from ancestral.verbs.maps import SHOWN, draw_score_maps
from ancestral.verbs.score import TABLES, save_table, score

DESCRIPTION = """Print or write the log-likelihood of each datum of a split: columns index, log_prob (nats) and the same in the
unit of such data, such as bits_per_dim, bits_per_sample or nats_per_point.
With --map, draw instead where in each datum the bits are; with -o, write the table too.

MODEL is a run directory, a zoo name or a hub repository; DATA is what it was trained on where not given."""
PICTURES = (".png", ".pdf", ".svg")


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("score", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("-o", "--output", type=str, help=f"file to write, {', '.join(TABLES)}; CSV on stdout where not given")
    parser.add_argument(
        "--map",
        type=str,
        metavar="PNG",
        help=f"picture to draw of the bits of each entry, for the first data ({SHOWN}, or --limit); autoregressive models",
    )
    add_verb(parser, score, skip={"model", "data"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    for name, known in (("output", TABLES), ("map", PICTURES)):
        if config.get(name):
            check_output(config[name], known)
    subject, data = open_subject(config)
    if config.get("map"):
        chosen = arguments(config, draw_score_maps)
        bits = draw_score_maps(subject, config.map, data, **chosen).flatten(1)
        entry = float(bits.mean())
        print(f"drew the bits of {len(bits)} data (mean {entry:.3g} an entry) to {config.map}", file=sys.stderr)
        if not config.get("output"):
            return 0
    table = score(subject, data, **arguments(config, score))
    if config.get("output"):
        save_table(table, config.output)
        print(f"wrote {len(table)} scores ({table.attrs['kind']}) to {config.output}", file=sys.stderr)
    else:
        table.to_csv(sys.stdout, index=False)
    return 0
