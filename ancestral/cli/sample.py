"""`ancestral sample`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ancestral.cli.parsing import add_verb, arguments, make_parser, parse
from ancestral.files import check_writable
from ancestral.verbs.animate import ANIMATIONS, Recorder, check_animation
from ancestral.verbs.drawing import Drawn
from ancestral.verbs.inputs import open_model
from ancestral.verbs.sample import FILES, draw, sample, save
from ancestral.verbs.score import check_suffix

DESCRIPTION = """Draw data from a model and write them: a picture, an animation of images being drawn (.gif, .mp4), an array
(.npy), or a table (.csv, .parquet).

MODEL is a run directory, a zoo name or a hub repository."""
OUTPUTS = (*FILES, *ANIMATIONS)


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("sample", "MODEL [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("-n", "--count", type=int, default=64, help="number of data")
    parser.add_argument("-o", "--output", type=str, default="samples.png", help=f"file to write: {', '.join(OUTPUTS)}")
    parser.add_argument(
        "--condition",
        type=str,
        metavar="C",
        help="for conditional models: a class for all data, numbers with commas for a vector, or all for each class in turn",
    )
    add_verb(parser, sample, skip={"model", "n", "condition", "watch"})
    config = parse(parser, argv)
    output = config.get("output", "samples.png")
    check_suffix(output, OUTPUTS)
    check_writable(output)
    animated = Path(output).suffix.lower() in ANIMATIONS
    if animated:
        check_animation(output)
    model = open_model(config.model, config.get("device", "auto")).model
    recorder = Recorder(model.event) if animated else None
    drawn = draw(
        model,
        config.get("count", 64),
        **{**arguments(config, sample), "condition": config.get("condition")},
        watch=recorder,
    )
    if recorder is not None:
        recorder.save(output)
    else:
        save(drawn.x, model.event, output)
    print(f"wrote {len(drawn.x)} samples ({model.event}) to {output}", file=sys.stderr)
    for line in remarks(drawn, config.get("method", "sequential")):
        print(line, file=sys.stderr)
    return 0


def remarks(drawn: Drawn, method: str) -> list[str]:
    """Return what is to be said of samples: that they are not exact, and how often the network was called."""
    lines = []
    if drawn.changed:
        lines.append(f"not exact draws from the model: {drawn.changed}")
    if method == "parallel":
        lines.append(f"{drawn.calls:,} network calls in place of {drawn.steps:,}")
    return lines
