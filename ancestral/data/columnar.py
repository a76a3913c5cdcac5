"""Rows with named columns, read through Hugging Face `datasets`: parquet files, image folders, the hub."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral.data import cache
from ancestral.data.images import ImageDecoder, ImageFormat
from ancestral.data.material import (
    HUB_OPTIONS,
    IMAGE_OPTIONS,
    STREAM_OPTIONS,
    Columns,
    Material,
    Options,
    canonical_splits,
    refuse_unused,
)
from ancestral.errors import InvalidInput, near_matches

CHUNK = 256
"""Rows that are read at a time."""
TEXT_TYPES = ("string", "large_string")
"""Types of columns of text."""


class Rows:
    """Rows of named columns, by split.

    Args:
        what: what to call the source in errors.
        opener: gives the splits, each a `datasets.Dataset` or `IterableDataset`; called when first needed.
        stamp: JSON-able: what says that a decoded copy is still good.
        holds_images: whether it is known, without looking, that there is a column of images.
        files: the files, where they are here.
        revision: the commit, where they come from the hub.
    """

    def __init__(
        self,
        what: str,
        opener: Callable[[], Mapping[str, Any]],
        stamp: Any,
        *,
        holds_images: bool = False,
        files: Sequence[Path] = (),
        revision: str | None = None,
    ) -> None:
        self.what = what
        self.stamp = stamp
        self.holds_images = holds_images
        self.files = files
        self.revision = revision
        self._opener = opener

    @cached_property
    def splits(self) -> dict[str, Any]:
        """The data sets of `datasets`, by split, undecoded."""
        return dict(self._opener())

    @property
    def takes(self) -> set[str]:
        """Options that such a source takes, whatever its columns hold."""
        return STREAM_OPTIONS if self.files else STREAM_OPTIONS | HUB_OPTIONS

    @property
    def record(self) -> dict[str, Any]:
        """Facts that identify the rows."""
        return {"source": self.what, "revision": self.revision, **(cache.describe(self.files) if self.files else {})}

    @cached_property
    def features(self) -> dict[str, Any]:
        """The columns' types, by name."""
        first = next(iter(self.splits.values()))
        return dict(first.features or first.take(1)._resolve_features().features)

    def read(self, split: str, columns: Sequence[str]) -> Iterator[Any]:
        """Yield the rows of `split` in order, undecoded, as Arrow tables of `columns`."""
        yield from self.splits[split].select_columns(list(columns)).with_format("arrow").iter(batch_size=CHUNK)

    def cells(self, split: str, column: str) -> Iterator[Any]:
        """Yield the cells of one column of `split`, in order, undecoded."""
        for table in self.read(split, [column]):
            yield from table.column(column).to_pylist()

    # Columns by what they hold

    def image_column(self, asked: str | None) -> str | None:
        """Return the column of images: the one asked for, the only one, or None if there is none.

        Raises:
            InvalidInput: if the one asked for holds no images, or if there are several.
        """
        return self._column_of("Image", "images", "image", asked)

    def audio_column(self, asked: str | None) -> str | None:
        """Return the column of sounds, as `image_column` does that of images.

        Raises:
            InvalidInput: if the one asked for holds no sounds, or if there are several.
        """
        return self._column_of("Audio", "sounds", "audio", asked)

    def _column_of(self, kind: str, things: str, option: str, asked: str | None) -> str | None:
        found = [name for name, feature in self.features.items() if type(feature).__name__ == kind]
        if asked is not None:
            self.require(asked, option)
            if asked not in found:
                there = ", ".join(found) or "none holds any"
                raise InvalidInput(f"column {asked!r} of {self.what} holds no {things}, expected one of: {there}")
            return asked
        if len(found) > 1:
            raise InvalidInput(
                f"{self.what} has several columns of {things}: choose one with {option}=, of {', '.join(found)}"
            )
        return found[0] if found else None

    def require(self, column: str, option: str) -> None:
        """Raise unless there is a column of that name.

        Raises:
            InvalidInput: naming the columns there are.
        """
        if column not in self.features:
            raise InvalidInput(
                f"{self.what} has no column {column!r} for {option}=.{near_matches(column, self.features)} It has:"
                f" {', '.join(self.features)}"
            )

    # Reading

    def column(self, column: str) -> tuple[dict[str, NDArray[Any]], list[str] | None]:
        """Return the values of a column by split, and the names of its classes where it is a column of classes.

        Raises:
            InvalidInput: if the column is missing or has empty cells.
        """
        self.require(column, "condition")
        names = getattr(self.features[column], "names", None)
        values = {}
        for split in self.splits:
            cells = list(self.cells(split, column))
            if None in cells:
                raise InvalidInput(
                    f"column {column!r} of {self.what} is empty in row {cells.index(None)} of {split}: fill it or drop the row"
                )
            values[split] = np.asarray(cells)
        return values, names

    def images(self, asked: str | None, form: ImageFormat) -> tuple[dict[str, NDArray[np.uint8]], int]:
        """Return the images by split, (n, channels, height, width), memory-mapped from the cache, and their levels.

        Raises:
            InvalidInput: naming the image that cannot be read or that differs from the others.
        """
        key = {"source": self.stamp, "image": asked, "gray": form.gray, "size": form.size}
        folder = cache.entry(key, lambda into: self._decode(into, asked, form))
        facts = json.loads((folder / "facts.json").read_text())
        arrays = {split: np.load(folder / f"{i}.npy", mmap_mode="c") for i, split in enumerate(facts["splits"])}
        return arrays, facts["levels"]

    def _decode(self, into: Path, asked: str | None, form: ImageFormat) -> None:
        column = self.image_column(asked)
        if column is None:
            raise InvalidInput(f"{self.what} has no column of images. It has: {', '.join(self.features)}")
        decoder = ImageDecoder(form)
        for i, split in enumerate(self.splits):
            with ExitStack() as stack:
                writer: cache.ArrayWriter | None = None
                for row, cell in enumerate(self.cells(split, column)):
                    pixels = decoder([cell], [f"image {row} of {split}"])
                    if writer is None:
                        cache.require_space(into, pixels.nbytes * self._count())
                        writer = stack.enter_context(cache.ArrayWriter(into / f"{i}.npy", pixels.shape[1:], np.uint8))
                    writer.append(pixels)
                if writer is None:
                    raise InvalidInput(f"the split {split!r} of {self.what} is empty: leave it out")
        facts = {"splits": list(self.splits), "levels": decoder.levels}
        (into / "facts.json").write_text(json.dumps(facts))

    def _count(self) -> int:
        """Return the number of rows of all splits, or 0 where only reading them tells."""
        import pyarrow.parquet as pq

        if self.files:
            return sum(pq.read_metadata(path).num_rows if path.suffix == ".parquet" else 1 for path in self.files)
        return sum(len(dataset) if hasattr(dataset, "__len__") else 0 for dataset in self.splits.values())


def from_rows(rows: Rows, options: Options) -> Material:
    """Return the images of `rows`, or their numbers where they have no images.

    Raises:
        InvalidInput: if there are neither.
    """
    if not rows.holds_images and rows.image_column(options.image) is None:
        return _table(rows, options)
    refuse_unused(rows.what, options, IMAGE_OPTIONS | rows.takes)
    x, levels = rows.images(options.image, ImageFormat(options.gray, options.image_size))
    steps = []
    if options.gray:
        steps.append("gray: 0.299 R + 0.587 G + 0.114 B")
    if options.image_size:
        height, width = options.image_size
        steps.append(f"scaled to cover {height} x {width} (Lanczos), cropped about the centre")

    def column(name: str) -> Columns:
        values, names = rows.column(name)
        return canonical_splits(values), names

    return Material(
        rows.what,
        canonical_splits(x),
        takes=IMAGE_OPTIONS | rows.takes,
        column=column,
        levels=levels,
        record=rows.record,
        steps=steps,
    )


def _table(rows: Rows, options: Options) -> Material:
    """Return the columns that are modelled or conditioned on as a table of numbers."""
    import pandas as pd  # takes half a second to import

    from ancestral.data.tables import from_frames

    modelled = [name for name in options.columns or rows.features if name not in options.condition_columns]
    if modelled and all(getattr(rows.features.get(name), "dtype", None) in TEXT_TYPES for name in modelled):
        raise InvalidInput(f"{rows.what} holds text alone: model it as such with text=, of {', '.join(modelled)}")
    refuse_unused(rows.what, options, {"columns"} | rows.takes)
    if rows.files:
        cache.require_memory(_unpacked(rows.files), rows.what, "choose columns=, or read it with stream=True")
    wanted = [*(options.columns or ()), *options.condition_columns]
    for name in wanted:
        rows.require(name, "columns= or condition")
    columns = list(dict.fromkeys(wanted)) if options.columns else list(rows.features)
    frames = {
        split: pd.concat([table.to_pandas() for table in rows.read(split, columns)], ignore_index=True)
        for split in rows.splits
    }
    material = from_frames(frames, rows.what, options)
    material.takes |= rows.takes
    material.record |= rows.record
    classes = {name: getattr(rows.features[name], "names", None) for name in options.condition_columns}
    plain = material.column

    def column(name: str) -> Columns:
        values, _ = plain(name) if plain else ({}, None)
        return values, classes.get(name)

    material.column = column
    return material


def _unpacked(files: Sequence[Path]) -> int:
    """Return the bytes that the tables of parquet files claim to take."""
    import pyarrow.parquet as pq

    # Repeated values are stored once: the number of cells says more than the bytes.
    return sum(8 * found.num_rows * found.num_columns for found in map(pq.read_metadata, files))
