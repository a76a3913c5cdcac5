"""Parsers: the flags of a command are the arguments of the verb that it calls."""

import dataclasses
import inspect
import json
import os
import re
import sys
from argparse import SUPPRESS, Action, ArgumentError, RawDescriptionHelpFormatter
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace
from rich.console import Console
from rich.table import Table

from ancestral.errors import InvalidInput, near_matches

if TYPE_CHECKING:
    from torch import Tensor

    from ancestral.data import Data
    from ancestral.verbs.inputs import Subject

_SWITCHED: dict[Any, re.Pattern[str]] = {
    bool: re.compile(r"true|false", re.IGNORECASE),
    bool | float: re.compile(r"true|false|[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE),
}
"""Types of options that are switched on by their name alone, and what can follow the name and belongs to it."""


def make_parser(command: str, usage: str, description: str) -> ArgumentParser:
    """Return a parser that raises in place of exiting."""
    usage = "\n       ".join(f"ancestral {command} {line}".rstrip() for line in usage.splitlines())
    return ArgumentParser(
        prog=f"ancestral {command}",
        usage=usage,
        description=description,
        formatter_class=_Formatter,
        exit_on_error=False,
        allow_abbrev=False,
    )


class _Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the paragraphs of a description, and says nothing of defaults that are nothing."""

    def _get_help_string(self, action: Action) -> str:
        text = super()._get_help_string(action) or ""
        for nothing in (", default: %(default)s)", " (default: %(default)s)", " (required)"):
            if any(action.default is none for none in (None, False, SUPPRESS)) and text.endswith(nothing):
                text = text.removesuffix(nothing) + (")" if nothing.startswith(",") else "")
        return text


def add_data(parser: ArgumentParser, about: str) -> None:
    """Add --data.name, for which `parse` takes --data too, and the options with which data are loaded."""
    from ancestral.data import load

    group = parser.add_argument_group("data")
    group.add_argument("--data.name", type=str, metavar="NAME", help=f"{about}; --data NAME is the same")
    group.add_function_arguments(load, "data", skip={"source"}, as_group=False)


def add_subject(parser: ArgumentParser) -> None:
    """Add MODEL and, where the command reads data, DATA and its options."""
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument("source", nargs="?", type=str, metavar="DATA", help="what the model was trained on where not given")


def open_subject(config: Namespace) -> tuple["Subject", "Data"]:
    """Return the model and the data that were asked for."""
    from ancestral.verbs.inputs import open_data, open_model

    subject = open_model(config.model, config.get("device", "auto"), config.get("weights"))
    name, options = named_data(config)
    return subject, open_data(name, subject, options)


def labelled_parser(command: str, description: str, verb: Callable[..., Any], plots: Sequence[str]) -> ArgumentParser:
    """Return the parser of a command that measures the codes of several models on labelled data, see `open_labelled`."""
    parser = make_parser(command, "MODEL [DATA] [options]", description)
    add_subject(parser)
    parser.add_argument("-o", "--output", type=str, help=f"plot to write: {', '.join(plots)}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--beside", type=Sequence[str], metavar="MODELS", help="further models, such as runs/a,runs/b")
    add_verb(parser, verb, skip={"model", "data", "beside"})
    add_data(parser, "the same as DATA")
    return parser


def open_labelled(
    config: Namespace, opener: "Callable[[str | None, Subject, dict[str, Any]], Data]"
) -> "tuple[Subject, Data, list[Subject]]":
    """Return the model and the data with their labels that were asked for, and the models beside it.

    Args:
        config: what was parsed.
        opener: loads data by name, for a model, with options: `verbs.inputs.open_data`, or one that takes more.
    """
    from ancestral.verbs.inputs import open_model

    device = config.get("device", "auto")
    subject = open_model(config.model, device)
    name, options = named_data(config)
    if subject.model.condition is None:
        options.setdefault("condition", config.get("by", "label"))
    data = opener(name, subject, options)
    return subject, data, [open_model(other, device) for other in config.get("beside") or ()]


def named_data(config: Namespace) -> tuple[str | None, dict[str, Any]]:
    """Return the name of the data that were asked for, as DATA or by --data, and the options with which they are loaded."""
    options = given(config.get("data"))
    name = options.pop("name", None)
    first, *_ = config.get("sources") or (config.get("source"),)
    return first or name, options


def open_some(config: Namespace, subject: "Subject", limit: int) -> "tuple[Tensor, Tensor | None, list[str], bool]":
    """Return the data that a command's `sources` name: images of files and folders, or the first data of a split.

    Args:
        config: what was parsed: sources, split, limit, seed and the options of data.
        subject: the model.
        limit: data of a split that are read where no number is given.

    Returns:
        The data, their conditions, a name for each, and whether they are images of files.
    """
    from ancestral.verbs.inputs import batches, check_counts, find_image_files, open_data, read_images

    images = find_image_files(config.get("sources") or [])
    if images:
        return read_images(images, subject.model.event), None, [str(path) for path in images], True
    name, options = named_data(config)
    split = open_data(name, subject, options).split(config.get("split", "test"))
    limit = config.get("limit", limit)
    check_counts(limit=limit)
    _, x, condition = next(batches(split, subject.model, batch_size=limit, limit=limit, seed=config.get("seed", 0)))
    return x, condition, [str(i) for i in range(len(x))], False


def add_verb(parser: ArgumentParser, verb: Callable[..., Any], skip: set[str]) -> None:
    """Add the arguments of a verb, and those that every command over a model has."""
    parser.add_function_arguments(verb, skip={*skip, "progress"}, as_group=False)
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def add_weights(parser: ArgumentParser) -> None:
    """Add the kind of weights."""
    parser.add_argument(
        "--weights",
        type=str,
        help='"half": weights rounded to half precision; "int8": those of linear layers to eight bits, for attention on a CPU;'
        ' "bfloat16": all computed in it, for many data at once on a CPU or GPU that has it',
    )


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Return what `argv` gives, without defaults, which the verbs have; a list can be written 500,500 or [500,500].

    Raises:
        InvalidInput: for an unknown flag or a value of another type, in one line.
    """
    actions = {option: action for action in parser._actions for option in action.option_strings}
    positionals: list[str] = []
    options: list[str] = []
    tokens = deque(argv)
    while tokens:
        token = tokens.popleft()
        name, equals, value = token.partition("=")
        if not token.startswith("-"):
            positionals.append(token)
            continue
        name = "--data.name" if name == "--data" else name
        action = actions.get(name)
        switched = _SWITCHED.get(getattr(action, "_typehint", None))
        if not equals and switched and not (tokens and switched.fullmatch(tokens[0])):
            equals, value = "=", "true"
        options.append(f"{name}={_bracket(value, action)}" if equals else name)
        if not equals and action is not None and action.nargs != 0 and tokens:
            options.append(_bracket(tokens.popleft(), action))
    try:
        # Arguments go first: argparse takes none after an option where one may be left out.
        return parser.parse_args([*positionals, *options], defaults=False)
    except ArgumentError as error:
        raise InvalidInput(explain(parser, error)) from error


def parse_object(parser: ArgumentParser, sections: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """Return the sections of a recipe with their types checked as flags are.

    Raises:
        InvalidInput: for an unknown name or a value of another type; `where` is the file.
    """
    try:
        parsed = parser.parse_object({**sections, "names": []}, defaults=False)
    except ArgumentError as error:
        raise InvalidInput(f"{where}: {explain(parser, error)}") from error
    return {name: given(parsed.get(name)) for name in sections}


def _bracket(value: str, action: Any) -> str:
    hint = str(getattr(action, "_typehint", ""))
    if not any(kind in hint for kind in ("tuple[", "list[", "Sequence[")):
        return value
    # An option that takes a list or something else (one column or several) takes a list where there is a comma.
    only_list = not hint.startswith(("typing.Union", "typing.Optional")) and "|" not in hint
    return f"[{value}]" if (only_list or "," in value) and value[:1] not in ("[", "(", "-") else value


def explain(parser: ArgumentParser, error: ArgumentError) -> str:
    """Return the parser's error as one line: the flag, what was got, what was expected, what to do."""
    message = " ".join(str(error).split())
    help_hint = f"see `{parser.prog} --help`"
    unknown = re.search(r"unrecognized arguments: (\S+)|Option '(\S+)' is not accepted", message)
    if unknown:
        flag = unknown[1] or f"--{unknown[2]}"
        if not flag.startswith("-"):
            return f"{parser.prog} does not take the argument {flag!r} here: {help_hint}"
        known = [o for action in parser._actions for o in action.option_strings if not o.endswith("+")]
        return f"{parser.prog} has no option {flag}.{near_matches(flag, known)} All are in `{parser.prog} --help`"
    wrong = re.match(r'Parser key "([\w.]+)":', message)
    if wrong:
        expected = re.findall(r"Expected an? (?:<class '([\w.]+)'>|(.+?)\. Got)", message)
        names = [_type_name(a or b) for a, b in expected if a != "NoneType"]
        got = re.search(r"(?:Got|Given) value: (.*)$", message)
        return (
            f"--{wrong[1]} is {got[1] if got else 'of another type'},"
            f" expected {' or '.join(dict.fromkeys(names)) or 'another type'}: {help_hint}"
        )
    missing = re.match(r"argument (\S+): expected one argument", message)
    if missing:
        return f"{missing[1]} needs a value: {help_hint}"
    return f"{message}: {help_hint}"


def _type_name(name: str) -> str:
    known = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "text",
        "tuple": "a list such as [500,500]",
        "list": "a list such as [500,500]",
        "collections.abc.Sequence": "a list such as [500,500]",
    }
    if name.startswith("typing.Literal"):
        return "one of " + ", ".join(re.findall(r"'([^']*)'", name))
    return known.get(name, name)


@contextmanager
def distributed() -> Iterator[None]:
    """Join the processes that torchrun started, where it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    import torch

    torch.distributed.init_process_group("gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def given(section: Namespace | None) -> dict[str, Any]:
    """Return a section of what was parsed as a dictionary."""
    return {} if section is None else {k: v for k, v in section.as_dict().items() if v is not None}


def arguments(config: Namespace, verb: Callable[..., Any], skip: Collection[str] = ()) -> dict[str, Any]:
    """Return those of a verb's keyword arguments that were given, without `skip`, and whether it shows progress if it can."""
    names = inspect.signature(verb).parameters.keys() - {"model", "models", "data", *skip}
    chosen = {name: value for name, value in given(config).items() if name in names}
    return {**chosen, "progress": not config.get("quiet")} if "progress" in names else chosen


def check_output(path: str, suffixes: tuple[str, ...]) -> str:
    """Return a file that is to be written, or raise unless its suffix is known and it can be; before anything is computed."""
    from ancestral.files import check_writable
    from ancestral.verbs.score import check_suffix

    check_suffix(path, suffixes)
    check_writable(path)
    return path


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    print(json.dumps(value, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = (), title: str = "") -> None:
    """Print a table on stdout: drawn on a terminal, plain columns in a pipe.

    Args:
        columns: headings.
        rows: cells.
        numbers: headings of the columns that are aligned right.
        title: line above the table.
    """
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    table = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def needs_help(argv: Sequence[str]) -> bool:
    """Return whether `argv` asks for help."""
    return any(token in ("-h", "--help") for token in argv)
