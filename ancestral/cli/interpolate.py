"""`ancestral interpolate`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from ancestral.cli.parsing import add_data, add_verb, arguments, check_output, make_parser, named_data, parse
from ancestral.errors import InvalidInput
from ancestral.verbs.codes import open_coder
from ancestral.verbs.inputs import Subject, find_image_files, open_data, open_model, read_images
from ancestral.verbs.latent_pictures import FILES, save_grid, save_ways
from ancestral.verbs.latents import interpolate

if TYPE_CHECKING:
    from torch import Tensor

DESCRIPTION = """Draw what is decoded on the way from the code of one datum to that of another: a row, an animation of images
(.gif), or an array (.npy).

MODEL is a run directory, a zoo name or a hub repository. A and B are image files, or numbers of data in a split, from 0."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("interpolate", "MODEL A B [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("ends", nargs="*", type=str, default=None, metavar="A B", help="two images, or numbers of data")
    parser.add_argument("-o", "--output", type=str, default="interpolation.png", help=f"file: {', '.join(FILES)}, .gif")
    parser.add_argument("--split", type=str, default="test", help="split that numbers are of")
    parser.add_argument("--condition", type=str, metavar="C", help="for conditional models; where not given that of A")
    add_verb(parser, interpolate, skip={"model", "a", "b", "condition"})
    add_data(parser, "what numbers are of")
    config = parse(parser, argv)
    output = check_output(config.get("output", "interpolation.png"), (*FILES, ".gif"))
    subject = open_coder(open_model(config.model, config.get("device", "auto")))
    ends, condition = _ends(config, subject)
    chosen = arguments(config, interpolate, skip={"condition"})
    ways = interpolate(subject, ends[0], ends[1], **chosen, condition=config.get("condition", condition))
    (save_ways if Path(output).suffix.lower() == ".gif" else save_grid)(ways, subject.model.event, output)
    print(f"wrote {ways.shape[1]} data on the way to {output}", file=sys.stderr)
    return 0


def _ends(config: Namespace, subject: Subject) -> "tuple[Tensor, Tensor | None]":
    """Return the two data, (2, *event.shape), and the condition of the first, (1, *shape), where the model has one."""
    import torch

    ends = config.get("ends") or []
    if len(ends) != 2:
        raise InvalidInput(f"got {len(ends)} data to go between, expected two: image files, or numbers such as 0 1")
    if not all(end.isdecimal() for end in ends):
        return read_images(find_image_files(ends), subject.model.event), None
    name, options = named_data(config)
    part = open_data(name, subject, options).split(config.get("split", "test"))
    rows = torch.tensor([int(end) for end in ends])
    if int(rows.max()) >= len(part):
        raise InvalidInput(f"there is no datum {int(rows.max())}, the split has {len(part)}: give 0 to {len(part) - 1}")
    x, condition = part.batch(rows, torch.Generator().manual_seed(0))
    return x, None if condition is None or subject.model.condition is None else condition[:1]
