"""Fitting by name: a model, data and settings, from keywords or from a recipe, become a run."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from ancestral.data import Data, load
from ancestral.errors import InvalidInput, near_matches
from ancestral.models import registry, store
from ancestral.models.base import Model
from ancestral.training import Run, TrainConfig, create_model
from ancestral.training import fit as train_model
from ancestral.training.run import check_free
from ancestral.zoo import find

LIMITS = ("epochs", "steps", "minutes")


def fit(
    model: str | Model,
    data: str | Data,
    *,
    output: Path | str | None = None,
    condition: str | None = None,
    model_options: dict[str, Any] | None = None,
    data_options: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train a model on data and leave a run directory.

    Everything that can be refused is refused before the training starts. With the setting `start` it goes on from the weights
    of another model.

    Args:
        model: a registered name (`ancestral models` lists them), or a model that was built for the data's event.
        data: a data name or path (`ancestral data`), or data that were loaded.
        output: the run directory; runs/<data>-<model>-<number> where None.
        condition: column of the data that the model is conditioned on, such as "label".
        model_options: the model's own options.
        data_options: how the data are loaded; see `ancestral.data.load`.
        train: training settings; see `TrainConfig`.
        overwrite: write into a folder that holds files.
        progress: show a progress bar.
        options: the model's options and training settings, by their names: hidden=(500, 500), epochs=20.

    Returns:
        The run: `run.model()` is the trained model, `run.path` its folder.

    Raises:
        InvalidInput: if a name or an option is unknown, model and data do not fit, or the folder cannot be used.
        TrainingInterrupted: if a signal stopped it; the run can be resumed.
    """
    cls = registry.get(model) if isinstance(model, str) else type(model)
    own, settings = _sort(cls, options)
    own.update(model_options or {})
    config = settings_for(cls, {**settings, **(train or {})})
    if isinstance(model, Model) and own:
        raise InvalidInput(
            f"{next(iter(own))} is an option of {cls.name}, which is built already: give its name, or build it so"
        )
    if output is not None:
        check_free(Path(output), overwrite=overwrite)
    started = None if config.start is None else _started(cls, config.start)
    if not isinstance(data, Data):
        given = {**(data_options or {}), **({"condition": condition} if condition else {})}
        data = load(data, **given)
    if isinstance(model, str):
        own = {**(started.config if started is not None else {}), **own}
        model = create_model(model, data.event, data.condition, seed=config.seed, **own)
    if started is not None:
        _start_from(model, started, str(config.start))
    if output is None:
        output = new_folder(data.name, cls.name or cls.__name__.lower())
        check_free(output)
    return train_model(model, data, output, config, progress=progress, overwrite=overwrite)


def _started(cls: type[Model], start: str) -> Model:
    """Return the model that training starts from."""
    started, _ = store.load(find(start))
    if type(started) is not cls:
        raise InvalidInput(f"start is {start}, a {started.name}: a {cls.name} can start from weights of a {cls.name} alone")
    return started


def _start_from(model: Model, started: Model, name: str) -> None:
    """Give `model` the weights of another one.

    Raises:
        InvalidInput: if they are of other shapes.
    """
    weights, own = started.state_dict(), model.state_dict()
    for key in sorted(weights.keys() | own.keys()):
        shapes = [tuple(state[key].shape) if key in state else None for state in (weights, own)]
        if shapes[0] != shapes[1]:
            raise InvalidInput(
                f"the weights of {name} do not fit: {key} is {shapes[0]} there and {shapes[1]} here; leave out options"
                f" that differ from its own, and take data of the same kind, {started.event}"
            )
    model.load_state_dict(weights)


def _sort(cls: type[Model], options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a model and the training settings among `options`."""
    known = [f.name for f in fields(TrainConfig)]
    for name in options:
        if name not in known and name not in cls.options():
            raise InvalidInput(
                f"{name!r} is neither an option of {cls.name} nor a training setting."
                f"{near_matches(name, [*cls.options(), *known])} The model's options: {', '.join(cls.options()) or 'none'}"
            )
    own = {name: value for name, value in options.items() if name in cls.options()}
    return own, {name: value for name, value in options.items() if name not in own}


def settings_for(cls: type[Model], given: dict[str, Any]) -> TrainConfig:
    """Return the settings that suit a model, with those that are given in their place.

    A limit that is given (epochs, steps or minutes) replaces all limits of the model's own settings.

    Raises:
        InvalidInput: if a setting is unknown or out of range.
    """
    defaults = dict(cls.training_defaults)
    if any(given.get(limit) is not None for limit in LIMITS):
        defaults = {name: value for name, value in defaults.items() if name not in LIMITS}
    return TrainConfig.from_json({**defaults, **given})


def new_folder(data: str, model: str) -> Path:
    """Return the first of runs/<data>-<model>-1, -2, ... that is not there."""
    stem = re.sub(r"[^\w.-]+", "-", Path(data).stem if Path(data).exists() else data).strip("-.") or "data"
    number = 1
    while (path := Path("runs") / f"{stem}-{model}-{number}").exists():
        number += 1
    return path
