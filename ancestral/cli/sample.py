"""`ancestral sample`."""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from jsonargparse import Namespace
from torch import Tensor

from ancestral.cli.parsing import add_verb, add_weights, arguments, check_output, make_parser, parse
from ancestral.cli.warning_lines import warnings_as_lines
from ancestral.data.files import read_numbers
from ancestral.errors import InvalidInput
from ancestral.files import check_writable
from ancestral.models.base import Model
from ancestral.verbs.animate import ANIMATIONS, Recorder, check_animation
from ancestral.verbs.audio_files import AUDIO_FILES, sound_of
from ancestral.verbs.drawing import DrawOptions
from ancestral.verbs.inputs import open_model
from ancestral.verbs.prompts import text_encoding
from ancestral.verbs.sample import FILES, draw, sample, save
from ancestral.verbs.writing import joined, save_texts, stream_text, texts

DESCRIPTION = """Draw data from a model and write them: a picture, an animation of images being drawn (.gif, .mp4), an array
(.npy), a table (.csv, .parquet), text (.txt) or sound (.wav, .flac). Text is printed where no file is named.

MODEL is a run directory, a zoo name or a hub repository."""
OUTPUTS = (*FILES, *ANIMATIONS)
PICTURE, COUNT = "samples.png", 64
"""What is written where nothing is named, and how many data, of anything but text."""
UNSEEN = dict.fromkeys([*range(9), *range(11, 13), *range(14, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")
"""What would give a terminal commands; line breaks and tabs are not among them."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("sample", "MODEL [options]", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("-n", "--count", type=int, help=f"number of data ({COUNT}; of text 1)")
    parser.add_argument("-o", "--output", type=str, help=f"file to write ({PICTURE}; text is printed): {', '.join(OUTPUTS)}")
    parser.add_argument("--prompt", type=str, metavar="TEXT", help="what text begins with, for models of text")
    parser.add_argument(
        "--prompt-file",
        type=str,
        metavar="FILE",
        help="the same from a file, as it is; - for standard input; of drawings an .npy file of points",
    )
    parser.add_argument("--stream", action="store_true", help="print text piece by piece as it is drawn")
    parser.add_argument(
        "--condition",
        type=str,
        metavar="C",
        help="for conditional models: a class for all data, numbers with commas for a vector, or all for each class in turn",
    )
    add_verb(parser, sample, skip={"model", "n", "condition", "prompt", "watch"})
    add_weights(parser)
    config = parse(parser, [re.sub(r"^--top-([kp])(?=$|=)", r"--top_\1", token) for token in argv])  # as other tools spell it
    output = config.get("output")
    if output is not None:
        check_output(output, OUTPUTS)
        if Path(output).suffix.lower() in ANIMATIONS:
            check_animation(output)
    if config.get("stream"):
        _check_stream(config)
    prompt = _prompt(config)
    model = open_model(config.model, config.get("device", "auto"), config.get("weights")).model
    with warnings_as_lines():
        lines = (_stream if config.get("stream") else _draw)(model, config, prompt)
    for line in lines:
        print(line, file=sys.stderr)
    return 0


def _prompt(config: Namespace) -> str | bytes | Tensor | None:
    """Return the prompt, where there is one: text, or the numbers of an .npy file.

    Raises:
        InvalidInput: if it is given twice.
    """
    text, file = config.get("prompt"), config.get("prompt_file")
    if file is None:
        return None if text is None else str(text)
    if text is not None:
        raise InvalidInput("got both --prompt and --prompt-file: give one of them")
    if Path(file).suffix == ".npy":
        return read_numbers(Path(file)).clone()
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def _check_stream(config: Namespace) -> None:
    if config.get("count", 1) != 1:
        raise InvalidInput(f"--stream prints one text, got -n {config.count}: leave -n out, or write several to a .txt file")
    if config.get("output") is not None:
        raise InvalidInput(f"--stream prints, got -o {config.output}: leave one of them out")
    if config.get("method", "sequential") != "sequential":
        raise InvalidInput(f"--stream draws entry by entry, got --method {config.method}: leave one of them out")


def _stream(model: Model, config: Namespace, prompt: str | bytes | Tensor | None) -> list[str]:
    """Print a text as it is drawn, and return what is to be said of it."""
    chosen = arguments(config, stream_text, skip={"prompt"})
    _print(stream_text(model, prompt, **chosen))
    return _inexact(str(DrawOptions(**arguments(config, DrawOptions)).sharpening))


def _draw(model: Model, config: Namespace, prompt: str | bytes | Tensor | None) -> list[str]:
    """Draw data, write or print them, and return what is to be said of them."""
    encoding = model.event.encoding
    output = config.get("output")
    if output is None and encoding is None:
        output = PICTURE
        check_writable(output)
    suffix = "" if output is None else Path(output).suffix.lower()
    if suffix == ".txt":
        text_encoding(model.event, "the suffix .txt", "choose another")
    if suffix in AUDIO_FILES:
        sound_of(model.event, str(output))
    recorder = Recorder(model.event) if suffix in ANIMATIONS else None
    options = DrawOptions(**arguments(config, DrawOptions), watch=recorder)
    count = config.get("count", COUNT if encoding is None else 1)
    drawn = draw(model, count, config.get("condition"), options, prompt=prompt, length=config.get("length"))
    lines = _inexact(drawn.changed)
    if options.method == "parallel":
        lines.append(f"{drawn.calls:,} network calls in place of {drawn.steps:,}")
    passages = [] if encoding is None else texts(drawn.event, drawn.x, prompt)
    if output is None:
        _print([joined(passages).decode(errors="replace")])
        return lines
    if recorder is not None:
        recorder.save(output)
    elif suffix == ".txt":
        save_texts(passages, output)
    else:
        save(drawn.x, drawn.event, output)
    return [f"wrote {count} samples ({drawn.event}) to {output}", *lines]


def _inexact(changed: str) -> list[str]:
    return [f"not exact draws from the model: {changed}"] if changed else []


def _print(pieces: Iterable[str]) -> None:
    """Print a text piece by piece, each at once, and a line break where it ends without."""
    out = sys.stdout
    known = out.encoding or "utf-8"
    last = "\n"
    for piece in pieces:
        shown = piece.translate(UNSEEN) if out.isatty() else piece
        out.write(shown.encode(known, "replace").decode(known))
        out.flush()
        last = piece
    if not last.endswith("\n"):
        print(flush=True)
