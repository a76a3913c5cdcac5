"""`ancestral traverse`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_verb, arguments, check_output, make_parser, named_data, parse, print_table
from ancestral.verbs.codes import open_coder
from ancestral.verbs.inputs import open_data, open_model
from ancestral.verbs.latent_pictures import FILES, save_grid
from ancestral.verbs.latents import traverse
from ancestral.verbs.moments import TRAITS, correlations

DESCRIPTION = """Draw data decoded as one latent goes from three standard deviations below its mean to three above: a row
for each datum, or, without --latent, for the first datum a row for each of the latents that vary most.

With --moments it is told how each latent goes with the slant and the width of what is drawn in images.

MODEL is a run directory, a zoo name or a hub repository."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("traverse", "MODEL [--latent K] [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("-o", "--output", type=str, default="traverse.png", help=f"file to write: {', '.join(FILES)}")
    parser.add_argument("--moments", action="store_true", help="print the correlation of each latent with slant and width")
    add_verb(parser, traverse, skip={"model", "data"})
    add_data(parser, "what the codes are looked at of")
    config = parse(parser, argv)
    output = check_output(config.get("output", "traverse.png"), FILES)
    subject = open_coder(open_model(config.model, config.get("device", "auto")))
    name, options = named_data(config)
    found = traverse(subject, data=open_data(name, subject, options), **arguments(config, traverse))
    told = correlations(found, subject.model.event) if config.get("moments") else {}
    save_grid(found.x, subject.model.event, output)
    latents = ", ".join(map(str, dict.fromkeys(found.latents)))
    print(f"wrote {len(found.x)} rows of latent {latents} to {output}", file=sys.stderr)
    if told:
        print_table(("latent", *TRAITS), [(str(k), *(f"{r[t]:+.2f}" for t in TRAITS)) for k, r in told.items()], TRAITS)
    return 0
