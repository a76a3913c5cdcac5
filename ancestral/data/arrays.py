"""Arrays, from memory or from .npy and .npz files, to material; and what kind of datum an array holds."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ancestral.data import cache
from ancestral.data.material import SPLIT_NAMES, Columns, Material, canonical_splits
from ancestral.errors import InvalidInput, near_matches
from ancestral.event import Event

_DATA_KEYS = ("", "x", "data", "images", "arr_0")
_SCAN = 2**24


def to_numpy(array: Any, what: str) -> NDArray[Any]:
    """Return an array, a tensor or nested lists as a numpy array of at least one axis.

    Raises:
        InvalidInput: if it holds no numbers.
    """
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        array = (array.float() if array.dtype in (torch.bfloat16, torch.float16) else array).numpy()
    try:
        array = np.asanyarray(array)
    except ValueError as error:
        raise InvalidInput(f"{what} is ragged, expected rows of one shape: pad or cut them to one length") from error
    if array.dtype.kind not in "biuf":
        raise InvalidInput(f"{what} holds {array.dtype}, expected numbers: convert it, or take the columns that are numbers")
    if array.ndim == 0:
        raise InvalidInput(f"{what} is a single number, expected an array whose first axis counts the data")
    return array


def from_arrays(arrays: Mapping[str, Any], what: str) -> Material:
    """Make sense of named arrays.

    Splits are found by name: `train`, `valid`, `test`, or `x_train`, `x_test`; an array `y_train` or `train_y` is
    column y. Without splits, `x` (or `data`, or the only array) holds the data and arrays of its length are columns.
    Packed bits are unpacked: `n_cols` or `shape` says how many of each row count.

    Args:
        arrays: by name.
        what: what to call them in errors.

    Raises:
        InvalidInput: if no array is found to be the data.
    """
    arrays = dict(arrays)
    packed = arrays.pop("n_cols", None) if "n_cols" in arrays else arrays.pop("shape", None)
    by_column: dict[str, dict[str, Any]] = {}
    for key, value in arrays.items():
        split, name = _parse(key)
        by_column.setdefault(name, {})[split] = value
    with_splits = {name: {s: v for s, v in found.items() if s} for name, found in by_column.items()}
    data = next((name for name, found in with_splits.items() if found and name.lower() in _DATA_KEYS), None)
    if data is not None:
        x = with_splits[data]
        columns = {name: found for name, found in with_splits.items() if found and name != data}
    else:
        alone = next(iter(by_column)) if len(by_column) == 1 else None
        data = next((name for name in by_column if name.lower() in _DATA_KEYS), alone)
        if data is None or "" not in by_column[data]:
            raise InvalidInput(
                f"{what} holds the arrays {', '.join(arrays) or '(none)'}, expected train, valid and test, or x: name them so"
            )
        x = {"train": by_column[data][""]}
        columns = {name: {"train": found[""]} for name, found in by_column.items() if name != data and "" in found}
    values = {key: to_numpy(value, f"{key} of {what}") for key, value in x.items()}
    axes: tuple[str, ...] = ()
    levels = None
    if packed is not None:
        shape = tuple(int(n) for n in np.atleast_1d(packed))
        values = {key: _unpack(value, shape, f"{key} of {what}") for key, value in values.items()}
        levels = 2
        axes = ("depth", "height", "width") if len(shape) == 3 and shape[0] not in (1, 3) else ()

    def column(asked: str) -> Columns:
        if asked not in columns or set(columns[asked]) != set(x):
            raise InvalidInput(
                f"{what} has no column {asked!r} for condition= in every split.{near_matches(asked, columns)} It has:"
                f" {', '.join(columns) or 'none'}"
            )
        return canonical_splits({key: np.asarray(value) for key, value in columns[asked].items()}), None

    record = {"sha256": _sha256(list(values.values()))}
    return Material(what, canonical_splits(values), column=column, levels=levels, axes=axes, record=record)


def _parse(key: str) -> tuple[str, str]:
    """Return the split and the column that the name of an array speaks of; empty strings where it does not.

    >>> _parse("X_train"), _parse("valid"), _parse("label")
    (('train', 'X'), ('valid', ''), ('', 'label'))
    """
    words = re.split(r"[_\-.]", key)
    for i in (0, -1):
        if words[i].lower() in SPLIT_NAMES:
            return words[i], "_".join(words[1:] if i == 0 else words[:-1])
    return "", key


def _unpack(bits: NDArray[Any], shape: tuple[int, ...], what: str) -> NDArray[np.uint8]:
    count = int(np.prod(shape))
    if bits.dtype != np.uint8 or bits.ndim != 2 or bits.shape[1] != (count + 7) // 8:
        raise InvalidInput(
            f"{what} is {bits.dtype} of shape {bits.shape}, expected packed bits: uint8 rows of {(count + 7) // 8} bytes for"
            f" {count} bits"
        )
    return np.unpackbits(bits, axis=1, count=count).reshape(-1, *shape)


def _sha256(arrays: list[NDArray[Any]]) -> str | None:
    if sum(a.nbytes for a in arrays) > cache.HASHED:
        return None
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# What kind of datum


def chunks(x: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield `x` in pieces along its first axis, so that a memory-mapped one is never in memory whole."""
    rows = max(1, _SCAN // max(1, x[:1].size))
    for start in range(0, len(x), rows):
        yield x[start : start + rows]


def describe(
    x: dict[str, NDArray[Any]], asked: Any, levels: int | None, axes: tuple[str, ...], what: str
) -> tuple[dict[str, NDArray[Any]], Event]:
    """Return the arrays laid out as data of one event, and the event.

    Where nothing is asked for: values 0 and 1 only are binary; other uint8 have 256 levels; other integers from 0 to
    255 have the largest + 1; floats are real. Discrete (n, height, width) and (n, height, width, 1 or 3) are images.

    Args:
        x: by split, (n, ...).
        asked: what a person says it is: an Event, its JSON, "binary", "real", or a number of levels; None for nothing.
        levels: number of levels, where the source knows it.
        axes: names of the axes, where the source knows them.
        what: what to call the arrays in errors.

    Raises:
        InvalidInput: if the splits differ in shape, if integers lie outside 0 to 255, or if `asked` does not fit.
    """
    x = {split: value[:, None] if value.ndim == 1 else value for split, value in x.items()}
    shapes = {value.shape[1:] for value in x.values()}
    if len(shapes) > 1:
        raise InvalidInput(f"the splits of {what} differ in shape: {', '.join(map(str, shapes))}; expected one shape")
    if isinstance(asked, Event):
        if shapes != {asked.shape}:
            x = {split: _channels_first(value) for split, value in x.items()}
        shape = next(iter(x.values())).shape[1:]
        if shape != asked.shape:
            raise InvalidInput(f"event= is of shape {asked.shape}, but {what} is of shape {shape}: give one of that shape")
        return x, asked
    if asked is not None:
        levels = _asked_levels(asked)
    elif levels is None:
        levels = _levels(list(x.values()), what)
    if levels is not None and not axes:
        x = {split: _channels_first(value) for split, value in x.items()}
    shape = next(iter(x.values())).shape[1:]
    return x, Event(shape, levels, axes or _axes(shape))


def _asked_levels(asked: Any) -> int | None:
    if asked == "real":
        return None
    if asked == "binary":
        return 2
    if isinstance(asked, int | str) and not isinstance(asked, bool) and str(asked).isdigit() and int(asked) >= 2:
        return int(asked)
    raise InvalidInput(
        f"event= takes 'binary', 'real', a number of levels from 2, or an Event, or 'drawing' for one; got {asked!r}"
    )


def _axes(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return axis names; three axes are an image only where the first can be one of channels."""
    if len(shape) != 3 or shape[0] in (1, 3):
        return ()
    return ("depth", "height", "width")


def _levels(arrays: list[NDArray[Any]], what: str) -> int | None:
    kinds = {array.dtype.kind for array in arrays}
    if kinds == {"b"} or all(_binary(array) for array in arrays):
        return 2
    if "f" in kinds:
        return None
    if all(array.dtype == np.uint8 for array in arrays):
        return 256
    low = min(int(array.min()) for array in arrays if len(array))
    high = max(int(array.max()) for array in arrays if len(array))
    if low < 0 or high > 255:
        raise InvalidInput(
            f"{what} holds integers in [{low}, {high}], expected 0 to 255: pass event='real' for a density over them, or"
            " event=K for K levels from 0"
        )
    return high + 1


def _binary(array: NDArray[Any]) -> bool:
    return all(bool(((part == 0) | (part == 1)).all()) for part in chunks(array))


def _channels_first(x: NDArray[Any]) -> NDArray[Any]:
    """Return images as (n, channels, height, width); other arrays as they are."""
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        return x.transpose(0, 3, 1, 2)
    return x
