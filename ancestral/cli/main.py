"""`ancestral COMMAND ...`: finds the command, and turns what a person can act on into one line and an exit status."""

import contextlib
import importlib
import inspect
import os
import re
import sys
from argparse import ArgumentError
from collections.abc import Sequence

import ancestral
from ancestral.errors import InvalidInput, Unsupported, near_matches

COMMANDS = {
    "fit": ("ancestral.cli.fit", "train a model on data; also runs a recipe, and resumes a run"),
    "evaluate": ("ancestral.cli.evaluate", "mean likelihood of a split, with standard error, unit and kind"),
    "sample": ("ancestral.cli.sample", "draw data from a model, as a picture, an array or a table"),
    "translate": ("ancestral.cli.translate", "translate sentences, or a split of translations with BLEU"),
    "complete": ("ancestral.cli.complete", "draw the part of each datum that was not observed, given the part that was"),
    "compress": ("ancestral.cli.compress", "put data into a file without loss, in the bits that a model expects of them"),
    "decompress": ("ancestral.cli.decompress", "get them back, to the bit"),
    "score": ("ancestral.cli.score", "log-likelihood of each datum, to a table or a file"),
    "outliers": ("ancestral.cli.outliers", "which data are unusual, with p-values calibrated on held-out inliers"),
    "reconstruct": ("ancestral.cli.reconstruct", "what is left of data once they are codes"),
    "interpolate": ("ancestral.cli.interpolate", "the way from one datum to another, by their codes"),
    "manifold": ("ancestral.cli.manifold", "the decoded plane of two latents"),
    "arithmetic": ("ancestral.cli.arithmetic", "what sums of the mean codes of classes are decoded to"),
    "traverse": ("ancestral.cli.traverse", "data decoded as one latent at a time is changed"),
    "disentangle": ("ancestral.cli.disentangle", "whether each latent stands for one factor of the data"),
    "probe": ("ancestral.cli.probe", "how well a linear classifier on codes does with few labels"),
    "modes": ("ancestral.cli.modes", "how many of the modes that data are known to have samples find"),
    "quality": ("ancestral.cli.quality", "FID, KID, precision and recall of samples, on features that are named"),
    "compare": ("ancestral.cli.compare", "several models on one split, paired example by example"),
    "vocode": ("ancestral.cli.vocode", "draw sounds from the log-mel spectra of recordings, and compare their spectra"),
    "recognise": ("ancestral.cli.recognise", "whether a classifier of recordings tells what drawn sounds were drawn for"),
    "models": ("ancestral.cli.models", "the models that there are"),
    "data": ("ancestral.cli.data", "the data that have a name"),
    "zoo": ("ancestral.cli.zoo", "the trained models that there are"),
    "demo": ("ancestral.cli.demo", "train a small model in minutes, and show what to do with it"),
}
"""Command to the module that has it, and what it does; a module is imported when its command is run."""

OVERVIEW = """usage: ancestral COMMAND ...

{summary}

commands:
{commands}

options:
  --version    show the version and exit
  --debug      with any command: show where an error comes from
  -h, --help   show this, or with a command: what it takes

`ancestral COMMAND --help` says what a command takes, `ancestral fit MODEL --help` a model's own options too.
Start with `ancestral demo`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for a defect, 2 for bad input, 130 where it was interrupted.

    Args:
        argv: the arguments; those of the process where None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        return dispatch(arguments)
    except SystemExit as done:  # --help
        return done.code if isinstance(done.code, int) else 0
    except BrokenPipeError:  # the reader of a pipe left, as `head` does
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        if debug:
            raise
        print(f"\nancestral: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130
    except (InvalidInput, Unsupported, ArgumentError, OSError) as error:
        if debug:
            raise
        print(f"ancestral: error: {one_line(error)}", file=sys.stderr)
        return 2


def dispatch(arguments: list[str]) -> int:
    """Run the command that `arguments` start with.

    Raises:
        InvalidInput: if there is no such command.
    """
    command, *rest = arguments or ["--help"]
    if command == "--version":
        print(f"ancestral {ancestral.__version__}")
        return 0
    if command == "help" and rest:
        # `help made` is a model's options; a command comes first where both have a name.
        command, rest = (rest[0], ["--help"]) if rest[0] in COMMANDS else ("fit", [rest[0], "--help"])
    if command in ("-h", "--help", "help"):
        width = max(len(name) for name in COMMANDS)
        commands = "\n".join(f"  {name:<{width}}   {about}" for name, (_, about) in COMMANDS.items())
        print(OVERVIEW.format(summary=(ancestral.__doc__ or "").splitlines()[0], commands=commands), end="")
        return 0
    if command not in COMMANDS:
        raise InvalidInput(f"there is no command {command!r}.{near_matches(command, COMMANDS)} `ancestral --help` lists them")
    module = importlib.import_module(COMMANDS[command][0])
    return int(module.run(rest) or 0)


def one_line(error: BaseException) -> str:
    """Return an error's message as one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return _as_flags(" ".join(str(error).split())) or type(error).__name__


def _as_flags(message: str) -> str:
    """Return a message of `ancestral.data` with its options spelled as flags: size= becomes --data.size."""
    data = sys.modules.get("ancestral.data")
    if data is None:
        return message
    names = "|".join(inspect.signature(data.load).parameters)
    # An option that is given a value keeps its sign: "pass stream=True", but "pass size= to bring ...".
    return re.sub(rf"(?<![-.\w])({names})=(['\w]?)", lambda m: f"--data.{m[1]}" + (f"={m[2]}" if m[2] else ""), message)
