"""`ancestral sample`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import add_verb, arguments, make_parser, parse
from ancestral.files import check_writable
from ancestral.verbs.inputs import open_model
from ancestral.verbs.sample import FILES, sample, save
from ancestral.verbs.score import check_suffix

DESCRIPTION = """Draw data from a model and write them: a picture, an array (.npy), or a table (.csv, .parquet).

MODEL is a run directory, a zoo name or a hub repository."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("sample", "MODEL [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("-n", "--count", type=int, default=64, help="number of data")
    parser.add_argument("-o", "--output", type=str, default="samples.png", help=f"file to write: {', '.join(FILES)}")
    parser.add_argument(
        "--condition",
        type=str,
        metavar="C",
        help="for conditional models: a class for all data, numbers with commas for a vector, or all for each class in turn",
    )
    add_verb(parser, sample, skip={"model", "n", "condition"})
    config = parse(parser, argv)
    output = config.get("output", "samples.png")
    check_suffix(output, FILES)
    check_writable(output)
    model = open_model(config.model, config.get("device", "auto")).model
    x = sample(
        model,
        config.get("count", 64),
        **{**arguments(config, sample), "condition": config.get("condition")},
    )
    save(x, model.event, output)
    print(f"wrote {len(x)} samples ({model.event}) to {output}", file=sys.stderr)
    return 0
