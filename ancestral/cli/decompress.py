"""`ancestral decompress`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ancestral.cli.compress import timing
from ancestral.cli.parsing import add_verb, arguments, make_parser, parse
from ancestral.errors import InvalidInput
from ancestral.files import check_writable
from ancestral.verbs.decompress import decompress
from ancestral.verbs.inputs import open_model

DESCRIPTION = """Decompress an archive of `ancestral compress` to a folder of images, to an .npy array, or to the
text that it was made of.

The model is found by the name in the archive where it is one of the zoo; otherwise give it with --model."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("decompress", "FILE.anc -o FOLDER [options]", DESCRIPTION)
    parser.add_argument("archive", type=str, metavar="FILE.anc", help="archive")
    parser.add_argument("-o", "--output", type=str, help="folder for images, an .npy file, or a file for a text")
    parser.add_argument("--model", type=str, help="run directory, zoo name or hub repository")
    parser.add_argument("--recover", action="store_true", help="write what is intact where something is damaged")
    add_verb(parser, decompress, skip={"path", "output", "model", "recover"})
    config = parse(parser, argv)
    output = config.get("output")
    if not output:
        raise InvalidInput("there is no place to write to: name a folder, or a file, with -o")
    folder = Path(output).is_dir() or not Path(output).suffix
    check_writable(Path(output) / "image" if folder else output)
    model = config.get("model")
    subject = None if model is None else open_model(model, config.get("device", "auto"))
    restored = decompress(config.archive, output, model=subject, **arguments(config, decompress, skip={"output"}))
    for problem in restored.problems:
        print(f"ancestral: {problem}", file=sys.stderr)
    if restored.text is not None:
        print(f"wrote {len(restored.text)} bytes of text to {output}", file=sys.stderr)
        print(timing("decoded", len(restored.text), restored.seconds, "bytes"), file=sys.stderr)
        return 0
    kept = f" and {len(restored.files)} other files" if restored.files else ""
    print(f"wrote {len(restored.x)} data{kept} to {output}", file=sys.stderr)
    if len(restored.x):
        print(timing("decoded", len(restored.x), restored.seconds), file=sys.stderr)
    return 0
