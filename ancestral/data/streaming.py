"""Rows of files, of object stores and of the hub as a stream."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ancestral.data.arrays import describe
from ancestral.data.assemble import check, fitted
from ancestral.data.base import ArraySplit, Data, Split
from ancestral.data.columnar import Rows
from ancestral.data.images import ImageDecoder, ImageFormat
from ancestral.data.material import IMAGE_OPTIONS, PATCH_OPTIONS, SPLIT_NAMES, Options, refuse_unused
from ancestral.data.stream import Row, StreamSplit
from ancestral.data.values import values_of
from ancestral.errors import InvalidInput
from ancestral.event import Event

HELD = 1000
"""Rows at the start of a stream that are held out as validation, and as test, where it has no such split."""


def stream_rows(name: str, rows: Rows, options: Options) -> Data:
    """Return a data set of which train is a stream; validation and test are held in memory.

    Where the source has no validation or test split, the first rows of train, in the order in which they are stored,
    become one: so shuffle files that are ordered by class before they are stored.

    Args:
        name: the data set's name.
        rows: where the rows come from.
        options: what was asked for.

    Raises:
        InvalidInput: if the stream is too short, or a condition's classes are not known beforehand.
    """
    if options.labelled is not None:
        raise InvalidInput(f"{rows.what} is streamed, and labelled= is for data that are held: leave one of them out")
    reader = _Reader(rows, options)
    refuse_unused(rows.what, options, rows.takes | (IMAGE_OPTIONS - PATCH_OPTIONS if reader.image else {"columns"}))
    sources = {SPLIT_NAMES.get(key.lower(), key): dataset for key, dataset in rows.splits.items()}
    if "train" not in sources:
        raise InvalidInput(f"{rows.what} has no split named train, but {', '.join(sources)}: name one so")
    train = reader.undecoded(sources["train"])
    held: dict[str, Any] = {}
    counts: dict[str, int] = {}
    passed = 0
    for split in ("validation", "test"):
        asked = getattr(options, split)
        if split in sources:
            if asked is not None:
                raise InvalidInput(f"{rows.what} has a split {split!r} of its own: leave {split}= out")
            held[split] = reader.undecoded(sources[split])
            continue
        counts[split] = HELD if asked is None else int(asked)
        if asked is not None and counts[split] != asked:
            raise InvalidInput(f"a stream's length is not known: give {split}= as a number of rows, got {asked:g}")
        if counts[split]:
            held[split] = train.skip(passed).take(counts[split])
            passed += counts[split]
    # An image tells what all are; the mean and the range of numbers take many.
    first = list(islice(train.skip(passed), 1 if reader.image else options.buffer))
    if not first:
        raise InvalidInput(
            f"{rows.what} has no rows left for train after the {passed} held out: hold out fewer with validation=, test="
        )
    sample = reader.values(first)
    most = int(options.memory * 2**30 // sample[0].nbytes)
    batches = {split: _held(dataset, split, most, options.limit, rows.what) for split, dataset in held.items()}

    _, event = describe({"train": sample}, options.event, reader.levels, (), rows.what)
    values = values_of(event, options, False, rows.what)
    condition, labels = reader.condition()

    def decode(batch: list[Row]) -> tuple[Tensor, Tensor | None]:
        stored, _ = describe({"train": reader.values(batch)}, event, event.levels, (), rows.what)
        tensor = torch.from_numpy(np.ascontiguousarray(stored["train"]))
        check(event, tensor, f"a batch of {rows.what}")
        return values.fixed(tensor), labels(batch) if labels else None

    splits: dict[str, Split] = {}
    frozen = torch.Generator().manual_seed(options.seed)
    for split, batch in batches.items():
        kept, y = decode(batch)
        splits[split] = ArraySplit(kept if values.draw is None else values.draw(kept, frozen), y)
    result = values.event
    if options.standardize and result.levels is None and result.loc is None and result.scale is None:
        result = fitted(result, ArraySplit(decode(first)[0]))

    def epoch_rows(seed: int, epoch: int) -> Iterable[Row]:
        rest = train.skip(passed) if options.limit is None else train.skip(passed).take(options.limit)
        shuffled = rest.shuffle(seed=seed, buffer_size=options.buffer)
        shuffled.set_epoch(epoch)
        return shuffled

    record = {
        **{key: value for key, value in rows.record.items() if value is not None},
        "splits": {"train": "streamed", **{split: len(part) for split, part in splits.items()}},
        "held_out": {split: {"from": "train", "first rows": count} for split, count in counts.items() if count},
        "preprocessing": list(values.steps),
        "options": options.given(),
    }
    stream = StreamSplit(epoch_rows, decode, values.draw, name=rows.what)
    sizes = ", ".join(f"{split} {len(part):,}" for split, part in splits.items())
    about = f"{rows.what}: {result} (train streamed, {sizes})"
    return Data(name, result, splits, condition, about, record, {"train": stream})


def _held(rows: Any, split: str, most: int, limit: int | None, what: str) -> list[Row]:
    """Return the rows of a split that is held in memory, at most `limit`.

    Raises:
        InvalidInput: if there is none, or if there are more than memory was given for.
    """
    found = list(islice(rows, most + 1 if limit is None else limit))
    if not found:
        raise InvalidInput(f"the split {split!r} of {what} is empty, expected at least one datum: leave it out")
    if len(found) > most:
        raise InvalidInput(
            f"the split {split!r} of {what} has more than the {most} data that fit in memory=: pass limit=, or more memory="
        )
    return found


class _Reader:
    """Rows to stored values: images or the numbers of a table."""

    def __init__(self, rows: Rows, options: Options) -> None:
        self._rows = rows
        self._options = options
        self.image = rows.image_column(options.image)
        self._decoder = ImageDecoder(ImageFormat(options.gray, options.image_size))
        self._columns: list[str] = []
        if self.image is None:
            self._columns = list(options.columns or (c for c in rows.features if c not in options.condition_columns))
        for column in [*self._columns, *options.condition_columns]:
            rows.require(column, "columns= or condition")

    @property
    def levels(self) -> int | None:
        return None if self.image is None else self._decoder.levels

    def undecoded(self, dataset: Any) -> Any:
        """Return the data set with the columns that count, its images as bytes."""
        from datasets import Image, IterableDataset

        columns = [self.image] if self.image else self._columns
        dataset = dataset if isinstance(dataset, IterableDataset) else dataset.to_iterable_dataset()
        dataset = dataset.select_columns([*columns, *self._options.condition_columns])
        return dataset.cast_column(self.image, Image(decode=False)) if self.image else dataset

    def values(self, batch: list[Row]) -> Any:
        """Return the stored values of rows, (n, ...)."""
        if self.image:
            names = [f"an image of {self._rows.what}"] * len(batch)
            return self._decoder([row[self.image] for row in batch], names)
        try:
            table = np.asarray([[row[column] for column in self._columns] for row in batch], dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"{self._rows.what} holds a cell that is no number ({error}): choose columns= without it"
            ) from error
        bad = ~np.isfinite(table)
        if bad.any():
            column = self._columns[int(bad.any(axis=0).argmax())]
            raise InvalidInput(
                f"column {column!r} of {self._rows.what} holds an empty or NaN cell: fill it or drop its row first"
            )
        return table

    def condition(self) -> tuple[Event | None, Callable[[list[Row]], Tensor] | None]:
        """Return the condition's event, and what reads it from rows."""
        columns = self._options.condition_columns
        if not columns:
            return None, None
        names = getattr(self._rows.features[columns[0]], "names", None)
        if len(columns) > 1 or names is None:
            raise InvalidInput(
                f"the classes of {', '.join(columns)} in {self._rows.what} are not known before all is read: condition a"
                " stream on one ClassLabel column"
            )
        event = Event.label(len(names))

        def labels(batch: list[Row]) -> Tensor:
            values = torch.tensor([-1 if row[columns[0]] is None else row[columns[0]] for row in batch])
            event.check(values, f"column {columns[0]!r} of {self._rows.what}")
            return values

        return event, labels
