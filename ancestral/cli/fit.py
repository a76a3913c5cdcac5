"""`ancestral fit`: by names, by a recipe, or on from where a run stopped."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from ancestral.cli.parsing import add_data, given, make_parser, needs_help, parse, parse_object
from ancestral.errors import InvalidInput
from ancestral.models import registry
from ancestral.models.base import Model
from ancestral.recipe import read_recipe
from ancestral.training import Run, TrainConfig, resume
from ancestral.training.report import use
from ancestral.verbs.fit import fit

USAGE = """MODEL DATA [options]
--config RECIPE.yaml [options]
--resume RUN [--train.epochs N ...]"""
DESCRIPTION = """Train MODEL on DATA and leave a run directory with the model, its metrics, pictures and checkpoints.

A recipe is YAML with the sections model, data and train; the first two have a name beside their options. Flags go
before what it says. `ancestral models` and `ancestral data` list the names."""


def build_parser(model: type[Model] | None) -> ArgumentParser:
    """Return the parser; with the options and the settings of a model where it is known."""
    parser = make_parser("fit", USAGE, DESCRIPTION)
    parser.add_argument("names", nargs="*", metavar="MODEL DATA", help="a model, and a data name or path")
    parser.add_argument("-o", "--output", type=str, help="the run directory; runs/DATA-MODEL-NUMBER where not given")
    parser.add_argument("--config", type=str, metavar="RECIPE", help="a recipe: YAML with the sections model, data and train")
    parser.add_argument(
        "--resume", type=str, metavar="RUN", help="go on with the run in this folder, exactly as if never stopped"
    )
    parser.add_argument("--checkpoint", type=str, help="with --resume: the checkpoint to go on from, in place of the newest")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that holds files")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    if model is not None:
        about = f"{model.name}, {model.summary} ({model.reference})"
        options = parser.add_argument_group(f"model {about}" if model.options() else f"model {about}; it has no options")
        options.add_class_arguments(model, "model", skip={"event", "condition"}, as_group=False)
    else:
        parser.add_argument_group("model", "`ancestral fit MODEL --help` shows the model's own options: --model.NAME VALUE")
    add_data(parser, "a data name or path; the same as DATA, or in place of a recipe's data")
    train = parser.add_argument_group("training")
    train.add_class_arguments(TrainConfig, "train", as_group=False)
    if model is not None:
        parser.set_defaults({f"train.{name}": value for name, value in model.training_defaults.items()})
    return parser


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    # The model decides which options there are, so it is found first, with what all models share.
    shared = parse(build_parser(None), [token for token in _without_model_options(argv) if not needs_help([token])])
    recipe = read_recipe(shared.config) if shared.get("config") else {}
    names = list(shared.get("names") or [])
    if len(names) > 2:
        raise InvalidInput(f"got the arguments {' '.join(names)}, expected a model and its data: MODEL DATA")
    name = names[0] if names else recipe.get("model", {}).get("name")
    parser = build_parser(registry.get(str(name)) if name else None)
    if needs_help(argv):
        parser.print_help()
        return 0
    config = parse(parser, argv)
    done = _resume(config, names) if config.get("resume") else _fit(parser, config, names, recipe)
    if not config.get("quiet"):
        _say_next(done)
    return 0


def _without_model_options(argv: Sequence[str]) -> Iterator[str]:
    tokens = iter(argv)
    for token in tokens:
        if not token.startswith("--model."):
            yield token
        elif "=" not in token:
            next(tokens, None)


def _resume(config: Namespace, names: list[str]) -> Run:
    if names or config.get("config") or config.get("output") or config.get("model") or config.get("data"):
        raise InvalidInput(
            "--resume goes on with a run as it is: only training settings (--train.epochs 40) can be given with it"
        )
    return resume(
        config.resume,
        checkpoint=config.get("checkpoint"),
        progress=not config.get("quiet"),
        **given(config.get("train")),
    )


def _fit(parser: ArgumentParser, config: Namespace, names: list[str], recipe: dict[str, dict[str, Any]]) -> Run:
    flags = {section: given(config.get(section)) for section in ("model", "data", "train")}
    if len(names) == 2:
        if "name" in flags["data"]:
            raise InvalidInput(f"got the data {names[1]} and --data {flags['data']['name']}: give one of them")
        flags["data"]["name"] = names[1]
    chosen = {section: dict(recipe.get(section, {})) for section in flags}
    model = names[0] if names else chosen["model"].get("name")
    chosen["model"].pop("name", None)
    if recipe:
        chosen = parse_object(parser, chosen, config.config)
    if flags["data"].get("name") and flags["data"]["name"] != chosen["data"].get("name"):
        # Options of other data (their columns, say) mean nothing here; the condition does.
        chosen["data"] = {k: v for k, v in chosen["data"].items() if k == "condition"}
    merged = {section: {**chosen[section], **flags[section]} for section in flags}
    data = merged["data"].pop("name", None)
    if not model or not data:
        raise InvalidInput(f"got no {'model' if not model else 'data'}: ancestral fit MODEL DATA, or --config RECIPE.yaml")
    return fit(
        str(model),
        str(data),
        output=config.get("output"),
        model_options=merged["model"],
        data_options=merged["data"],
        train=merged["train"],
        overwrite=bool(config.get("overwrite")),
        progress=not config.get("quiet"),
    )


def _say_next(done: Run) -> None:
    print(f"run directory: {done.path}", file=sys.stderr)
    commands = use(registry.get(done.config["model"]["name"]), done.path)
    print("next: " + "\n      ".join(commands), file=sys.stderr)
