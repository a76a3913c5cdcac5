"""`ancestral arithmetic`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_verb, arguments, check_output, make_parser, named_data, parse
from ancestral.errors import InvalidInput
from ancestral.verbs.codes import open_coder
from ancestral.verbs.inputs import open_data, open_model
from ancestral.verbs.latent_pictures import FILES, save_sum
from ancestral.verbs.latents import arithmetic

DESCRIPTION = """Draw what the mean codes of classes of data are decoded to, added and taken away: a - b + c.

MODEL is a run directory, a zoo name or a hub repository."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("arithmetic", "MODEL --plus CLASS[,CLASS] [--minus CLASS[,CLASS]] [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("-o", "--output", type=str, default="arithmetic.png", help=f"file to write: {', '.join(FILES)}")
    parser.add_argument("--plus", type=str, metavar="CLASS", help="classes that are added, by number or name, with commas")
    parser.add_argument("--minus", type=str, metavar="CLASS", help="classes that are taken away")
    add_verb(parser, arithmetic, skip={"model", "data", "plus", "minus"})
    add_data(parser, "labelled data")
    config = parse(parser, argv)
    output = check_output(config.get("output", "arithmetic.png"), FILES)
    subject = open_coder(open_model(config.model, config.get("device", "auto")))
    name, options = named_data(config)
    if subject.model.condition is None:
        options.setdefault("condition", config.get("by", "label"))
    data = open_data(name, subject, options)
    plus, minus = ([part.strip() for part in (config.get(key) or "").split(",") if part.strip()] for key in ("plus", "minus"))
    if not plus:
        raise InvalidInput("--plus is missing: give one class or more, such as --plus 3,8")
    found = arithmetic(subject, plus, minus, data=data, **arguments(config, arithmetic, skip={"plus", "minus"}))
    save_sum(found, subject.model.event, output)
    terms = " ".join(f"{'+' if group.sign > 0 else '-'} {group.name} ({group.count} data)" for group in found.groups)
    print(f"wrote {terms} to {output}", file=sys.stderr)
    return 0
