"""`ancestral reconstruct`."""

import sys
from collections.abc import Sequence

import torch

from ancestral.cli.parsing import add_data, add_verb, check_output, make_parser, open_some, parse
from ancestral.verbs.codes import open_coder
from ancestral.verbs.inputs import open_model
from ancestral.verbs.latent_pictures import FILES, save_grid
from ancestral.verbs.latents import reconstruct

DESCRIPTION = """Encode and decode data, and draw them: a row of data, and below it what is left of them. An array (.npy) holds
both, (2, n, ...).

MODEL is a run directory, a zoo name or a hub repository. DATA is a data set, of which a split is read (what the model was
trained on where not given), or image files and folders of them."""
LIMIT = 10
"""Data of a split that are reconstructed where no number is given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("reconstruct", "MODEL [DATA] [options]\nMODEL IMAGE... [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument(
        "sources", nargs="*", type=str, default=None, metavar="DATA", help="a data set, or images and folders of them"
    )
    parser.add_argument("-o", "--output", type=str, default="reconstructions.png", help=f"file to write: {', '.join(FILES)}")
    parser.add_argument("--split", type=str, default="test", help="split of DATA")
    parser.add_argument("--limit", type=int, default=LIMIT, help="data of the split, the first ones")
    parser.add_argument("--condition", type=str, metavar="C", help="for conditional models, in place of what DATA say")
    add_verb(parser, reconstruct, skip={"model", "x", "condition"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    output = check_output(config.get("output", "reconstructions.png"), FILES)
    subject = open_coder(open_model(config.model, config.get("device", "auto")))
    x, condition, names, _ = open_some(config, subject, LIMIT)
    back = reconstruct(subject, x, config.get("condition", condition))
    save_grid(torch.stack((x.cpu(), back)), subject.model.event, output)
    print(f"wrote {len(names)} data and their reconstructions to {output}", file=sys.stderr)
    return 0
