"""Sampling: any number of data, in batches, and the files they are written to."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.files import replacing
from ancestral.models.base import Model
from ancestral.verbs import pictures
from ancestral.verbs.inputs import Named, auto_batch_size, check_counts, evaluating, open_model, track

FILES = (".png", ".pdf", ".svg", ".npy", ".csv", ".parquet")
"""Suffixes of the files that samples are written to."""
Condition = Tensor | Sequence[float] | int | float | str | None


def sample(
    model: Named,
    n: int,
    condition: Condition = None,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
) -> Tensor:
    """Draw data from a model.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        n: number of data.
        condition: for conditional models: one for all (3), one for each ((n, *shape)), or "all" for each class in turn.
        seed: seed of the draws; the same seed and batch size give the same data on the same kind of device.
        batch_size: data drawn at once; a size that fits in memory where None.
        progress: show a progress bar.

    Returns:
        (n, *event.shape), of type `event.dtype`, on the CPU.

    Raises:
        Unsupported: if the model cannot be sampled.
        InvalidInput: if the condition is missing, superfluous or out of range.
    """
    check_counts(n=n, batch_size=batch_size)
    model = open_model(model).model
    conditions = conditions_for(model, n, condition)
    size = batch_size or auto_batch_size(model.event)
    generator = torch.Generator(device=model.device).manual_seed(seed)

    def draws() -> Iterator[Tensor]:
        for start in range(0, n, size):
            given = None if conditions is None else conditions[start : start + size].to(model.device)
            yield model.sample(min(size, n - start), given, generator=generator).cpu()

    with evaluating(model):
        return torch.cat(list(track(draws(), "sampling", -(-n // size), progress=progress)))


def conditions_for(model: Model, n: int, condition: Condition) -> Tensor | None:
    """Return a condition for each of `n` data.

    Args:
        model: the model.
        n: number of data.
        condition: as in `sample`; text is "all", or numbers with commas between them.

    Raises:
        InvalidInput: if it is missing, superfluous, of another shape or out of range.
    """
    event = model.condition
    if event is None or condition is None:
        if event is not None and event.shape == () and condition is None:
            raise InvalidInput(
                f"this {model.name} needs a condition, got none: give a class from 0 to {(event.levels or 1) - 1}, or all"
            )
        return model.check_condition(None if condition is None else torch.zeros(n), n)
    if condition == "all":
        return pictures.example_conditions(event, n)
    if isinstance(condition, str):
        try:
            numbers = [float(part) for part in condition.split(",")]
        except ValueError:
            raise InvalidInput(f"the condition {condition!r} is not a number, numbers with commas, or all") from None
        condition = numbers[0] if event.shape == () and len(numbers) == 1 else numbers
    value = condition if isinstance(condition, Tensor) else torch.tensor(condition)
    if value.dim() == len(event.shape):
        if tuple(value.shape) != event.shape and value.numel() == event.numel:
            value = value.view(event.shape)
        value = value.expand(n, *value.shape)
    event.check(value, "condition")
    return model.check_condition(value.to(event.dtype), n)


def save(x: Tensor, event: Event, path: Path | str, names: tuple[str, ...] = ()) -> None:
    """Write data to a file by its suffix: a picture, .npy, or a table .csv or .parquet with one row for each datum.

    Args:
        x: data, (n, *event.shape).
        event: what a datum is.
        path: the file; it is whole or not changed at all.
        names: of the columns of a table; by axis and number where not given.

    Raises:
        InvalidInput: for another suffix.
    """
    import pandas

    from ancestral.verbs.score import check_suffix, save_table

    check_suffix(path, FILES)
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        with replacing(path) as temporary:
            np.save(temporary, x.numpy(), allow_pickle=False)
    elif suffix in (".csv", ".parquet"):
        columns = list(names) or column_names(event)
        save_table(pandas.DataFrame(x.flatten(1).numpy(), columns=columns), path)
    else:
        pictures.samples(event, x, path, names)


def column_names(event: Event) -> list[str]:
    """Return a name for each entry of an event.

    >>> column_names(Event.binary((1, 2, 2)))
    ['c0_h0_w0', 'c0_h0_w1', 'c0_h1_w0', 'c0_h1_w1']
    """
    short = [axis if len(event.shape) == 1 else axis[0] for axis in event.axes]
    if len(set(short)) < len(short):
        short = [f"{axis}_" for axis in event.axes]
    return ["_".join(f"{axis}{i}" for axis, i in zip(short, index, strict=True)) for index in np.ndindex(event.shape)]
