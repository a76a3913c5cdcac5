"""`fit` and `resume`: from a model, data and settings to a run directory."""

from pathlib import Path
from typing import Any

import torch

from ancestral.data.base import Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import registry, store
from ancestral.models.base import Model
from ancestral.training import checkpoint as checkpoints
from ancestral.training.config import TrainConfig
from ancestral.training.loop import Training
from ancestral.training.run import Run, claim
from ancestral.training.setup import make_fabric


def create_model(name: str, event: Event, condition: Event | None = None, *, seed: int = 0, **options: Any) -> Model:
    """Build a model whose initial weights depend on `seed` alone.

    Args:
        name: registered name.
        event: what a datum is.
        condition: what the model is conditioned on.
        seed: seed of the initial weights.
        options: the model's own options.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return registry.create(name, event, condition, **options)


def fit(
    model: Model,
    data: Data,
    output: Path | str,
    config: TrainConfig | None = None,
    *,
    progress: bool = True,
    overwrite: bool = False,
) -> Run:
    """Train a model and leave a run directory.

    Args:
        model: the model, for the event of `data`.
        data: a data set with a split "train"; with "validation" the best model is kept.
        output: folder of the run.
        config: settings; those that suit the model where None.
        progress: show a progress bar.
        overwrite: write into a folder that holds files.

    Returns:
        The run.

    Raises:
        InvalidInput: if the folder cannot be used, or model and data do not fit.
        TrainingInterrupted: if a signal stopped it; the run can be resumed.
    """
    config = config or TrainConfig.for_model(type(model))
    output = Path(output)
    if model.event != data.event or model.condition != data.condition:
        raise InvalidInput(
            f"the model is for {model.event} given {model.condition}, the data {data.name} are {data.event} given"
            f" {data.condition}: create it for this data's event and condition"
        )
    if "train" not in data.streams:
        data.split("train")
    fabric = make_fabric(config)
    if fabric.is_global_zero:
        claim(output, overwrite=overwrite)
    fabric.barrier()
    return Training(fabric, model, data, output, config, progress).run()


def resume(
    path: Path | str,
    *,
    data: Data | None = None,
    checkpoint: Path | str | None = None,
    progress: bool = True,
    **changes: Any,
) -> Run:
    """Go on with a run that was stopped, exactly as if it had not been.

    Args:
        path: the run directory.
        data: its data; loaded by the recorded name where None.
        checkpoint: the checkpoint to start from; the newest where None.
        progress: show a progress bar.
        changes: training settings to change, such as epochs=40.

    Raises:
        InvalidInput: if it is no run directory, its checkpoint is damaged, or the data are others.
    """
    run = Run(path)
    config = TrainConfig.from_json({**run.config.get("training", {}), **changes})
    if data is None:
        from ancestral.data import load

        recorded = run.config["data"]
        data = load(recorded["name"], **recorded.get("record", {}).get("options", {}))
    model = store.build(run.config)
    if model.event != data.event or model.condition != data.condition:
        raise InvalidInput(
            f"{path} was trained on {model.event} given {model.condition}, {data.name} now has {data.event} given"
            f" {data.condition}: give the data that it was trained on"
        )
    saved = checkpoints.load(run.checkpoints, Path(checkpoint) if checkpoint else None)
    return Training(make_fabric(config), model, data, run.path, config, progress).run(saved)
