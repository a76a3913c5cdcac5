"""`ancestral compress`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import add_verb, arguments, make_parser, parse, print_json
from ancestral.errors import InvalidInput
from ancestral.files import check_writable
from ancestral.verbs.compress import Compressed, compress
from ancestral.verbs.inputs import open_model

DESCRIPTION = """Compress data without loss with a trained model; `ancestral decompress` gives them back to the bit.

MODEL is a run directory, a zoo name or a hub repository; SOURCE is a folder of images, an image, an .npy array, a file of
text where the model is of text, or the name of a data set, of which --split is compressed."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("compress", "MODEL SOURCE -o FILE.anc [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("source", type=str, metavar="SOURCE", help="folder of images, image, .npy array, text or data set")
    parser.add_argument("-o", "--output", type=str, help="archive to write")
    parser.add_argument("--json", action="store_true", help="print what it came to as JSON")
    add_verb(parser, compress, skip={"model", "source", "path", "condition"})
    config = parse(parser, argv)
    if not config.get("output"):
        raise InvalidInput("there is no archive to write: name it with -o, such as -o images.anc")
    check_writable(config.output)
    subject = open_model(config.model, config.get("device", "auto"))
    result = compress(subject, config.source, config.output, **arguments(config, compress, skip={"source"}))
    if config.get("json"):
        print_json(result)
        return 0
    if result.bits_per_byte is not None:
        print(f"wrote {result.count} tokens to {result.path}: {result.bytes} bytes", file=sys.stderr)
        more = f"{result.overhead:.0f} bytes more than the tokens' {result.nats:.1f} nats"
        print(f"{result.bits_per_byte:.4f} bits/byte on disk, {more}", file=sys.stderr)
        _print_times(result, "tokens")
        return 0
    kept = f" and {result.files} files kept as they were" if result.files else ""
    print(f"wrote {result.count} data{kept} to {result.path}: {result.bytes} bytes", file=sys.stderr)
    if result.count:
        print(
            f"{result.bits_per_dim:.4f} {result.unit} on disk, {result.overhead:.0f} bytes more than the"
            f" {'bound' if result.bound else 'model'}'s {result.nats / result.count:.2f} nats each",
            file=sys.stderr,
        )
        _print_times(result, "data")
    return 0


def _print_times(result: Compressed, unit: str) -> None:
    checked = timing("checked", result.count, result.verify_seconds, unit) if result.verify_seconds else "not checked"
    print(f"{timing('encoded', result.count, result.encode_seconds, unit)}, {checked}", file=sys.stderr)


def timing(what: str, count: int, seconds: float, unit: str = "data") -> str:
    """Return how long data took, and how many of them a second that makes, in words.

    >>> timing("encoded", 30, 0.5)
    'encoded in 0.50 s (60.0 data a second)'
    """
    return f"{what} in {seconds:.2f} s ({count / seconds:.1f} {unit} a second)"
