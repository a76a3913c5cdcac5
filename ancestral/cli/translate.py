"""`ancestral translate`."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from ancestral.cli.parsing import add_data, add_verb, arguments, make_parser, named_data, parse, print_json
from ancestral.cli.warning_lines import warnings_as_lines
from ancestral.data.text_files import lines_of
from ancestral.errors import InvalidInput
from ancestral.files import check_writable, write_text
from ancestral.verbs.inputs import Subject, open_data, open_model
from ancestral.verbs.score import check_suffix
from ancestral.verbs.translate import Translation, bleu, draw_attention, translate

DESCRIPTION = """Translate sentences: those named, or those of a file or of standard input, one a line. With --data, translate
a split of a data set, and print BLEU by sacrebleu, its signature and the seconds taken.

MODEL is a run directory, a zoo name or a hub repository."""
PICTURES = (".png", ".pdf", ".svg")


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser(
        "translate", "MODEL [SENTENCE ...] [options]\nMODEL --data NAME [--split test] [options]", DESCRIPTION
    )
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("text", nargs="*", type=str, metavar="SENTENCE", help="what to translate")
    parser.add_argument("--file", type=str, metavar="FILE", help="sentences, one a line; - for standard input")
    parser.add_argument("-o", "--output", type=str, metavar="FILE", help="write the translations to a file, one a line")
    parser.add_argument("--json", action="store_true", help="print JSON, with log-probabilities")
    parser.add_argument(
        "--attention", type=str, metavar="PNG", help="draw what each word of the first translation gathers from"
    )
    parser.add_argument("--sample", action="store_true", help="draw translations, in place of searching for likely ones")
    parser.add_argument("--crop", action="store_true", help="cut sentences that are longer than the model's bound")
    add_verb(parser, translate, skip={"model", "sentences", "sample", "crop"})
    parser.add_argument("--split", type=str, help="with --data: the split (test)")
    parser.add_argument("--limit", type=int, help="with --data: translate the first so many sentences")
    add_data(parser, "translate a split of these data")
    config = parse(parser, [re.sub(r"^--(length|batch)-(?=penalty|size)", r"--\1_", token) for token in argv])
    for name in ("output", "attention"):
        if config.get(name):
            check_writable(config[name])
    if config.get("attention"):
        check_suffix(config.attention, PICTURES)
    subject = open_model(config.model, config.get("device", "auto"))
    found = _of_data(subject, config) if config.get("data") else _of_sentences(subject, config)
    if config.get("output"):
        write_text(Path(config.output), "".join(f"{one.text}\n" for one in found))
        print(f"wrote {len(found)} translations to {config.output}", file=sys.stderr)
    if config.get("attention"):
        draw_attention(subject, found[0], config.attention)
        print(f"drew the attention of the first translation to {config.attention}", file=sys.stderr)
    return 0


def _of_data(subject: Subject, config: Namespace) -> list[Translation]:
    """Translate a split, print BLEU, and return the translations."""
    if config.get("text") or config.get("file"):
        raise InvalidInput("got both --data and sentences: give one of them")
    name, options = named_data(config)
    found = bleu(subject, open_data(name, subject, options), **arguments(config, bleu))
    if config.get("json"):
        print_json(found.to_json())
    else:
        print(found)
    return found.translations


def _of_sentences(subject: Subject, config: Namespace) -> list[Translation]:
    """Translate sentences, print the translations where no file is named, and return them."""
    for name in ("split", "limit"):
        if config.get(name) is not None:
            raise InvalidInput(f"--{name} is for --data: leave it out, or name data")
    with warnings_as_lines():
        found = translate(subject, _sentences(config), **arguments(config, translate))
    if config.get("json"):
        print_json([one.to_json() for one in found])
    elif not config.get("output"):
        print("\n".join(one.text for one in found))
    return found


def _sentences(config: Namespace) -> list[str]:
    named, file = list(config.get("text") or ()), config.get("file")
    if named and file is not None:
        raise InvalidInput("got both sentences and --file: give one of them")
    if named:
        return named
    if file is None and sys.stdin.isatty():
        raise InvalidInput("there is nothing to translate: give sentences, --file FILE, or --data NAME")
    data = sys.stdin.buffer.read() if file in (None, "-") else Path(file).read_bytes()
    return lines_of(data, "" if file in (None, "-") else str(file))
