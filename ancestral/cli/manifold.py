"""`ancestral manifold`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_verb, arguments, check_output, make_parser, named_data, parse
from ancestral.verbs.codes import open_coder
from ancestral.verbs.inputs import open_data, open_model
from ancestral.verbs.latent_pictures import FILES, save_grid
from ancestral.verbs.latents import manifold

DESCRIPTION = """Draw the decoded plane of two latents, at equal steps of probability. Codes of two entries under a Gaussian
prior are taken as they are; of other codes the plane is that of their first two principal axes over data, and the command
says so.

MODEL is a run directory, a zoo name or a hub repository."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("manifold", "MODEL [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("-o", "--output", type=str, default="manifold.png", help=f"file to write: {', '.join(FILES)}")
    parser.add_argument("--condition", type=str, metavar="C", help="for conditional models: what all is decoded for")
    add_verb(parser, manifold, skip={"model", "data", "condition"})
    add_data(parser, "what the codes are looked at of")
    config = parse(parser, argv)
    output = check_output(config.get("output", "manifold.png"), FILES)
    subject = open_coder(open_model(config.model, config.get("device", "auto")))
    name, options = named_data(config)
    data = open_data(name, subject, options) if name or options else None
    plane = manifold(subject, data=data, **arguments(config, manifold))
    save_grid(plane.x, subject.model.event, output)
    print(f"wrote the plane of {plane.axes} to {output}", file=sys.stderr)
    return 0
