"""Values to condition on: classes become labels, numbers stay numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data.material import Columns, Material
from ancestral.errors import InvalidInput
from ancestral.event import Event

Classes = list[str] | list[list[str]]
"""Names of the classes of a label, or of each of several."""


def condition_of(material: Material, columns: Sequence[str]) -> tuple[dict[str, Tensor], Event, Classes | None]:
    """Return the condition that `columns` make, by split; its event; and the names of its classes, if it has some.

    One column of text, integers or truth values is a label; several columns, each of text or of classes with names, are
    several labels; other columns are a real vector, which is standardized once the training split is known. One column of
    frames, (n, frames, bands), stays what it is, with axes time and band; so does one of sentences, (n, tokens).

    Raises:
        InvalidInput: if a column is missing, or if it is neither.
    """
    if material.condition is not None:
        return _vector(material.condition, material.what)
    if material.column is None:
        raise InvalidInput(f"{material.what} has no columns to condition on, got condition={', '.join(columns)}: leave it out")
    spoken = [name for name in columns if name in material.sentences]
    if spoken and len(columns) > 1:
        raise InvalidInput(f"{spoken[0]} of {material.what} is a condition by itself, got condition={', '.join(columns)}")
    found = [material.column(name) for name in columns]
    if spoken:
        event = material.sentences[spoken[0]]
        return {split: torch.from_numpy(values).to(event.dtype) for split, values in found[0][0].items()}, event, None
    if len(found) == 1 and next(iter(found[0][0].values())).dtype.kind in "OUSbiu":
        return _label(found[0], f"column {columns[0]!r} of {material.what}")
    if all(names is not None or next(iter(values.values())).dtype.kind in "OU" for values, names in found):
        labels = [_label(column, f"column {name!r} of {material.what}") for name, column in zip(columns, found, strict=True)]
        together = {split: torch.stack([values[split] for values, _, _ in labels], dim=1) for split in labels[0][0]}
        return together, Event.labels([event.levels or 0 for _, event, _ in labels]), [names for _, _, names in labels]
    if len(found) == 1 and next(iter(found[0][0].values())).ndim == 3:
        return _vector(found[0][0], material.what, ("time", "band"))
    if any(values.ndim > 2 for column, _ in found for values in column.values()):
        raise InvalidInput(f"frames of {material.what} are a condition by themselves, got condition={', '.join(columns)}")
    stacked = {
        split: np.stack([np.asarray(values[split], dtype=np.float64) for values, _ in found], axis=1) for split in found[0][0]
    }
    return _vector(stacked, material.what)


def _label(column: Columns, what: str) -> tuple[dict[str, Tensor], Event, list[str]]:
    values, names = column
    if any(array.ndim != 1 for array in values.values()):
        raise InvalidInput(f"{what} holds lists, expected one class for each datum")
    if any(array.dtype.kind == "O" and not all(isinstance(v, str | bool | int) for v in array) for array in values.values()):
        raise InvalidInput(
            f"{what} holds neither classes nor numbers, expected text, integers or floats: choose another column"
        )
    if names is not None:
        low, high = min(int(a.min()) for a in values.values()), max(int(a.max()) for a in values.values())
        if low < 0 or high >= len(names):
            raise InvalidInput(
                f"{what} has values in [{low}, {high}], expected classes 0 to {len(names) - 1}: drop rows without one"
            )
        return {split: torch.as_tensor(array.astype(np.int64)) for split, array in values.items()}, _event(names, what), names
    # Classes over all splits, so that a class has one number wherever it occurs.
    classes, numbers = np.unique(np.concatenate(list(values.values())), return_inverse=True)
    names = [str(name) for name in classes]
    ends = np.cumsum([len(array) for array in values.values()])
    parts = np.split(numbers.reshape(-1), ends[:-1])
    return (
        {split: torch.as_tensor(part.astype(np.int64)) for split, part in zip(values, parts, strict=True)},
        _event(names, what),
        names,
    )


def _event(names: list[str], what: str) -> Event:
    if len(names) < 2:
        raise InvalidInput(f"{what} has the one class {', '.join(names)}, expected two or more: leave condition= out")
    return Event.label(len(names))


def _vector(values: dict[str, NDArray[Any]], what: str, axes: tuple[str, ...] = ()) -> tuple[dict[str, Tensor], Event, None]:
    tensors = {split: torch.from_numpy(array.astype(np.float32)) for split, array in values.items()}
    event = Event.real(next(iter(tensors.values())).shape[1:], axes=axes)
    for tensor in tensors.values():
        event.check(tensor, f"the condition of {what}")
    return tensors, event, None
