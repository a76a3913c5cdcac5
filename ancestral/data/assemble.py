"""Material to data: hold out what has no split yet, put values on their event, standardize, record."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data.arrays import chunks, describe
from ancestral.data.base import ArraySplit, Data, Split, Subset, Transform
from ancestral.data.conditions import condition_of
from ancestral.data.labels import SomeLabelled
from ancestral.data.material import Material, Options, refuse_unused
from ancestral.data.patches import in_patches
from ancestral.data.strokes import fitted_drawings, undo_rounding
from ancestral.data.values import values_of
from ancestral.errors import InvalidInput
from ancestral.event import Event

ROUNDED = (
    "offsets are whole numbers: noise uniform on [-1/2, 1/2) added, to train anew at each reading, to others once, so that"
    " the mean of log p over noise bounds the log-probability of the whole numbers from below"
)
HELD = 0.1
"""Share of the data held out as validation, and as test, where the source has no such split and none is asked for."""


def assemble(name: str, material: Material, options: Options) -> Data:
    """Return the data set that `options` ask for, out of what a source holds.

    Raises:
        InvalidInput: if a split is empty, if an option does not fit the data, or if a value is outside the support.
    """
    what = material.what
    if (options.patches or options.patch_values) and not material.cut:
        material = _cut(material, options)
    refuse_unused(what, options, material.takes)
    for split, array in material.x.items():
        if len(array) == 0:
            raise InvalidInput(f"the split {split!r} of {what} is empty, expected at least one datum: leave it out")
    labels, condition, classes = (None, None, None)
    if options.labelled is not None and (options.condition is None or material.condition is not None):
        raise InvalidInput(f"labelled= of {what} needs a column of classes: name it with condition=, such as condition=label")
    if options.condition is not None or material.condition is not None:
        labels, condition, classes = condition_of(material, options.condition_columns, options.labelled is not None)
    if material.event is not None and options.event not in (None, "drawing", material.event):
        raise InvalidInput(f"event= is {options.event}, but {what} is {material.event}: leave it out")
    x, event = describe(material.x, material.event or options.event, material.levels, material.axes, what)
    for split, found in (labels or {}).items():
        if len(found) != len(x[split]):
            raise InvalidInput(f"{what} has {len(x[split])} data and {len(found)} conditions in {split}: give one for each")
    values = values_of(event, options, material.invert, what)
    if material.rounded:
        values = replace(values, draw=undo_rounding(event), steps=(*values.steps, ROUNDED))

    rows, carved = split_rows(x, material, options)
    if options.limit is not None:
        rows = {split: _some(index, options.limit, options.seed) for split, index in rows.items()}
    size = sum(array.nbytes for array in x.values())
    in_memory = size <= options.memory * 2**30
    splits: dict[str, Split] = {}
    frozen = torch.Generator().manual_seed(options.seed)
    for split, (base, index) in rows.items():
        stored = torch.from_numpy(_native(x[base]))
        y = None if labels is None else labels[base]
        y = y if y is None else y.index_select(0, index)
        draw = values.draw
        if in_memory or (draw is not None and split != "train"):
            kept = stored.index_select(0, index)
            check(event, kept, f"the split {split!r} of {what}")
            kept = values.fixed(kept).contiguous()
            if draw is not None and split != "train":
                kept, draw = draw(kept, frozen), None  # so that figures on it can be compared
            names = None if material.names is None else [material.names[base][i] for i in index.tolist()]
            splits[split] = ArraySplit(kept, y, draw, names)
        else:
            whole = ArraySplit(stored, None, _then(values.fixed, draw))
            splits[split] = _Conditioned(whole, index, y)
    if not in_memory:
        for split, array in x.items():
            for part in chunks(array):
                check(event, torch.from_numpy(_native(part)), f"the split {split!r} of {what}")

    event, steps = values.event, [*material.steps, *values.steps]
    if options.standardize and event.levels is None and event.loc is None and event.scale is None:
        event = (fitted_drawings if event.is_drawing else fitted)(event, splits["train"])
        steps.append("loc and scale of the event: mean and standard deviation of each entry over train (data are unchanged)")
    if condition is not None and condition.levels is None and labels is not None:
        base, index = rows["train"]
        condition = fitted(condition, ArraySplit(labels[base].index_select(0, index)))
    sizes = {} if material.sizes is None else material.sizes
    record = {
        **{key: value for key, value in material.record.items() if value is not None},
        "splits": {split: len(part) for split, part in splits.items()},
        **({"recorded": {split: int(sizes[b][i.numpy()].sum()) for split, (b, i) in rows.items()}} if sizes else {}),
        "held_out": carved,
        "preprocessing": steps,
        "memory_mapped": not in_memory,
        **({"classes": classes} if classes is not None else {}),
        "options": options.given(),
    }
    if options.labelled is not None:
        splits["train"] = SomeLabelled(splits["train"], options.labelled, options.label_seed, what)
    return Data(name, event, splits, condition, _about(material, event, record), record)


def _cut(material: Material, options: Options) -> Material:
    """Return patches of images, or raise if the material is none."""
    for x in material.x.values():
        if x.ndim != 4 or material.event is not None or x.shape[1] not in (1, 3):
            raise InvalidInput(
                f"patches are cut from images (channel, height, width), {material.what} has data of shape {x.shape[1:]}: leave"
                " patches= and patch_values= out"
            )
    return in_patches(material, {split: list(x) for split, x in material.x.items()}, options)


class _Conditioned(Subset):
    """Rows of a memory-mapped split, with conditions that are in memory."""

    def __init__(self, split: Split, rows: Tensor, condition: Tensor | None) -> None:
        super().__init__(split, rows)
        self.condition = condition

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor | None]:
        x, _ = super().batch(indices, generator)
        return x, None if self.condition is None else self.condition.index_select(0, indices)


def split_rows(
    x: dict[str, NDArray[Any]], material: Material, options: Options
) -> tuple[dict[str, tuple[str, Tensor]], dict[str, Any]]:
    """Return for each split the array and the rows it takes, and a record of what was held out of train.

    The rows of train are put in a random order decided by the seed; the last of them become test, those before
    validation.
    """
    what = material.what
    rows = {split: (split, torch.arange(len(array))) for split, array in x.items()}
    if "train" not in x:
        raise InvalidInput(f"{what} has no split named train, but {', '.join(x)}: name one so")
    n = len(x["train"])
    counts = {}
    for split in ("validation", "test"):
        asked = getattr(options, split)
        if split in x:
            if asked is not None:
                raise InvalidInput(f"{what} has a split {split!r} of its own ({len(x[split])} data): leave {split}= out")
            continue
        share = asked if asked is not None else material.held.get(split, HELD)
        count = int(share) if share >= 1 or share == 0 else max(1, round(share * n))
        if count:
            counts[split] = count
    if not counts:
        return rows, {}
    left = n - sum(counts.values())
    if left < 1:
        asked_for = " and ".join(f"{count} for {split}" for split, count in counts.items())
        raise InvalidInput(
            f"{what} has {n} data, and holding out {asked_for} leaves none for train: hold out fewer,"
            " with validation= and test="
        )
    order = torch.randperm(n, generator=torch.Generator().manual_seed(options.seed))
    if material.groups is not None:
        group = torch.tensor(material.groups["train"])
        order = order[group].argsort(stable=True)
    rows["train"] = ("train", order[:left])
    for split, count in counts.items():
        rows[split] = ("train", order[left : left + count])
        left += count
    ordered = [split for split in ("train", "validation", "test") if split in rows]
    carved = {split: {"from": "train", "count": count, "seed": options.seed} for split, count in counts.items()}
    return {split: rows[split] for split in [*ordered, *(s for s in rows if s not in ordered)]}, carved


def _some(rows: tuple[str, Tensor], limit: int, seed: int) -> tuple[str, Tensor]:
    base, index = rows
    if len(index) <= limit:
        return rows
    chosen = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))[:limit]
    return base, index[chosen.sort().values]


def _native(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` in a type that torch has; without a copy where it has one already."""
    x = x.view(np.uint8) if x.dtype == np.bool_ else x
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    if x.dtype.kind == "u" and x.dtype.itemsize > 1:
        x = x.astype(np.int64)
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        x = x.astype(np.float64)
    return x if x.flags.writeable and all(step >= 0 for step in x.strides) else x.copy()


def _then(fixed: Callable[[Tensor], Tensor], draw: Transform | None) -> Transform:
    def transform(x: Tensor, generator: torch.Generator | None) -> Tensor:
        x = fixed(x)
        return x if draw is None else draw(x, generator)

    return transform


def check(event: Event, x: Tensor, what: str) -> None:
    """Raise unless `x`, of any number type, holds data of `event`; in pieces, to spare memory."""
    for part in x.split(2**16):
        # Numbers are checked as they will be stored: what overflows float32 is not finite there.
        event.check(part if event.discrete else part.to(event.dtype), what)


def fitted(event: Event, split: Split) -> Event:
    """Return a real event with the mean and the standard deviation of each entry; constant entries have scale 1.

    Entries of one band share them over time, so that a sound that begins later is told by the same numbers.
    """
    n, total, squares = (
        len(split),
        torch.zeros(event.numel, dtype=torch.float64),
        torch.zeros(event.numel, dtype=torch.float64),
    )
    pieces = torch.arange(n).split(2**16)
    for piece in pieces:
        total += split.batch(piece)[0].double().flatten(1).sum(0)
    loc = _over_time(event, total / n)
    for piece in pieces:
        squares += (split.batch(piece)[0].double().flatten(1) - loc).square().sum(0)
    scale = _over_time(event, squares / n).sqrt()
    # A constant column's deviation is rounding error, not a scale.
    scale = torch.where(scale > 1e-6 * loc.abs().clamp(min=1e-30), scale, torch.ones_like(scale))
    # Seven digits: sums that differ in their last bits, on another machine, give the same event.
    rounded = [[float(f"{value:.7g}") for value in values.tolist()] for values in (loc, scale)]
    return Event.real(event.shape, rounded[0], rounded[1], event.axes)


def _over_time(event: Event, values: Tensor) -> Tensor:
    """Return values of entries, (numel,), or their means over time where entries are frames."""
    if len(event.shape) != 2 or event.axes[0] != "time":
        return values
    return values.view(event.shape).mean(0).repeat(event.shape[0])


def _about(material: Material, event: Event, record: dict[str, Any]) -> str:
    sizes = ", ".join(f"{split} {count:,}" for split, count in record["splits"].items())
    held = record["held_out"]
    drawn = f"; {' and '.join(held)} drawn from train with seed {next(iter(held.values()))['seed']}" if held else ""
    return f"{material.about or f'{material.what}: {event}'} ({sizes}{drawn})"
