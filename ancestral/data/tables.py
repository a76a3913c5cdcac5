"""Tables of numbers: CSV files, data frames, parquet without images."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ancestral.data.material import Columns, Material, Options, canonical_splits
from ancestral.errors import InvalidInput, near_matches

FEWEST_VALUES, LARGEST_SHARE, LARGEST_CORRELATION = 10, 0.25, 0.98
"""A column that has fewer values, or one value in a larger share of the rows, or more correlation with one before it, has no
density of its own that is of use."""
CONTINUOUS = (
    f"columns dropped that have fewer than {FEWEST_VALUES} values, or one value in more than {LARGEST_SHARE:.0%} of the rows,"
    f" or a correlation above {LARGEST_CORRELATION} with one before them; to columns whose values recur noise is added once,"
    " uniform over the least distance between two values"
)


def read_csv(paths: Sequence[Path]) -> pd.DataFrame:
    """Read tables of values separated by commas, semicolons or tabs, one below the other; a first row of numbers is data.

    Raises:
        InvalidInput: if a file is not such a table.
    """
    return pd.concat([_read_csv(path) for path in paths], ignore_index=True)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with path.open(newline="") as file:
            first = file.readline()
        separator = max(",;\t", key=first.count)
        head = next(csv.reader([first], delimiter=separator), [])
        headless = bool(head) and all(_is_number(cell) for cell in head)
        return pd.read_csv(path, sep=separator, header=None if headless else 0, low_memory=False).rename(columns=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, csv.Error) as error:
        reason = str(error).strip().splitlines()[0]
        raise InvalidInput(f"{path} is not a table of separated values ({reason}): repair it") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def from_frames(frames: dict[str, pd.DataFrame], what: str, options: Options) -> Material:
    """Return the numbers of a table: all columns but those conditioned on, or those that `columns` names.

    Args:
        frames: by split.
        what: what to call the table in errors.
        options: what was asked for.

    Raises:
        InvalidInput: naming the column that is missing, that holds no numbers, or that has an empty cell, and its row.
    """
    frames = {split: frame.rename(columns=str) for split, frame in frames.items()}
    known = list(next(iter(frames.values())).columns)
    if len(set(known)) < len(known):
        twice = next(name for name in known if known.count(name) > 1)
        raise InvalidInput(f"{what} has two columns called {twice!r}: give each a name of its own")
    for split, frame in frames.items():
        if list(frame.columns) != known:
            raise InvalidInput(
                f"the splits of {what} differ in columns: {split} has {', '.join(frame.columns)}; expected one set"
            )
    for name in [*(options.columns or ()), *options.condition_columns]:
        if name not in known:
            raise InvalidInput(f"{what} has no column {name!r}.{near_matches(name, known)} It has: {', '.join(known)}")
    chosen = list(options.columns or (name for name in known if name not in options.condition_columns))
    if not chosen:
        raise InvalidInput(f"{what} has no column left to model: condition on fewer")
    x = {split: _numbers(frame, chosen, split, what) for split, frame in frames.items()}

    def column(name: str) -> Columns:
        values = {}
        for split, frame in frames.items():
            empty = frame[name].isna().to_numpy()
            if empty.any():
                raise InvalidInput(_at(what, name, split, empty, "is empty or NaN"))
            values[split] = frame[name].to_numpy()
        return canonical_splits(values), None

    record: dict[str, Any] = {"columns": chosen}
    steps = []
    if options.continuous:
        x, record["columns"], record["dropped"] = _continuous(x, chosen, what, options.seed)
        steps.append(CONTINUOUS)
    return Material(what, canonical_splits(x), takes={"columns", "continuous"}, column=column, record=record, steps=steps)


def _continuous(
    x: dict[str, NDArray[Any]], names: Sequence[str], what: str, seed: int
) -> tuple[dict[str, NDArray[Any]], list[str], dict[str, str]]:
    """Return the columns that have a density, with noise, their names, and why each of the others was dropped."""
    seen = np.concatenate([array for split, array in x.items() if split != "test"]).astype(np.float64)
    kept: list[int] = []
    widths: list[float] = []
    dropped: dict[str, str] = {}
    for i, name in enumerate(names):
        values, counts = np.unique(seen[:, i], return_counts=True)
        share = counts.max() / len(seen)
        if len(values) < FEWEST_VALUES:
            dropped[name] = f"{len(values)} values"
        elif share > LARGEST_SHARE:
            dropped[name] = f"{100 * share:.0f}% of the rows hold one value"
        else:
            twin = next((k for k in kept if abs(np.corrcoef(seen[:, k], seen[:, i])[0, 1]) > LARGEST_CORRELATION), None)
            if twin is None:
                kept.append(i)
                # Values that recur were rounded; the noise undoes that.
                widths.append(float(np.diff(values).min()) if counts.max() > 1 else 0.0)
            else:
                dropped[name] = f"correlated with {names[twin]}"
    if not kept:
        raise InvalidInput(f"no column of {what} is continuous, got {', '.join(dropped.values())}: leave continuous= out")
    source = np.random.default_rng(seed)
    noisy = {
        split: (array[:, kept] + source.uniform(size=(len(array), len(kept))) * widths).astype(np.float32)
        for split, array in x.items()
    }
    return noisy, [names[i] for i in kept], dropped


def from_regression(arrays: dict[str, NDArray[Any]], what: str, options: Options) -> Material:
    """Return a UCI regression table: columns x0, x1 ... (features) and y0 ... (targets), and its first standard test split.

    Raises:
        InvalidInput: as `from_frames` does.
    """
    data = arrays["data"]
    names = {int(i): f"x{k}" for k, i in enumerate(arrays["feature_columns"])}
    names |= {int(i): f"y{k}" for k, i in enumerate(arrays["target_columns"])}
    frame = pd.DataFrame(data, columns=[names.get(i, f"other{i}") for i in range(data.shape[1])])
    test = np.zeros(len(frame), dtype=bool)
    test[arrays["test_index_split0"]] = True
    if options.condition != "features":
        return from_frames({"train": frame[~test], "test": frame[test]}, what, options)
    features = [name for name in frame.columns if name.startswith("x")]
    targets = [name for name in frame.columns if name.startswith("y")]
    asked = replace(options, condition=features, columns=options.columns or targets)
    material = from_frames({"train": frame[~test], "test": frame[test]}, what, asked)
    material.condition = {"train": frame.loc[~test, features].to_numpy(), "test": frame.loc[test, features].to_numpy()}
    return material


def _numbers(frame: pd.DataFrame, columns: list[str], split: str, what: str) -> NDArray[Any]:
    """Return columns of a table as one array, (n, columns)."""
    for name in columns:
        values = frame[name]
        if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
            row, cell = next(((i, v) for i, v in enumerate(values) if not isinstance(v, Number)), (0, values.dtype))
            raise InvalidInput(
                f"column {name!r} of {what} holds {repr(cell)[:40]} in row {row} of {split}, expected numbers: choose columns="
                f" without it, or condition={name}"
            )
        bad = ~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
        if bad.any():
            raise InvalidInput(_at(what, name, split, bad, "is empty, NaN or infinite"))
    # Truth values among integers would make an array of objects.
    chosen = frame[columns]
    array = chosen.astype({name: np.uint8 for name in columns if pd.api.types.is_bool_dtype(chosen[name])}).to_numpy()
    return array.astype(np.float64) if array.dtype == object else array


def _at(what: str, column: str, split: str, bad: NDArray[np.bool_], problem: str) -> str:
    return (
        f"column {column!r} of {what} {problem} in row {int(bad.argmax())} of {split} (rows from 0; {int(bad.sum())} such"
        " rows): fill those cells or drop those rows first"
    )
