"""Decoded data on disk, so that 60,000 images are decoded once: `$XDG_CACHE_HOME/ancestral`, safe to delete."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ancestral.errors import InvalidInput

HASHED = 32 * 2**20
"""Content up to this many bytes is identified by its sha256 in the record."""
FORMAT = 1
"""Part of every key: raised when what is stored under a key changes."""


def folder() -> Path:
    """Return the cache's folder: `$XDG_CACHE_HOME/ancestral`, or `~/.cache/ancestral`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ancestral"


def stamp(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return path, size and time of change of each file: what says that a cached copy is still good."""
    stats = [(str(path.resolve()), path.stat()) for path in sorted(files)]
    return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def describe(files: Sequence[Path]) -> dict[str, Any]:
    """Return facts that identify files: name, size, and sha256 where they are small; of many, their number and size."""
    if len(files) > 16:
        return {"files": {"count": len(files), "bytes": sum(path.stat().st_size for path in files)}}
    facts = []
    for path in files:
        size = path.stat().st_size
        digest = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} if size <= HASHED else {}
        facts.append({"name": path.name, "bytes": size, **digest})
    return {"files": facts}


def entry(key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """Return the folder stored under `key`, built by `build` into a temporary folder where it is absent.

    Args:
        key: JSON-able: all that decides the content.
        build: writes the content into the folder that it is given.

    Raises:
        InvalidInput: if the cache cannot be written.
    """
    text = json.dumps({"format": FORMAT, **key}, sort_keys=True, default=str)
    target = folder() / "data" / hashlib.sha256(text.encode()).hexdigest()[:32]
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
    except OSError as error:
        raise InvalidInput(
            f"the cache {target.parent} cannot be written ({error.strerror}): set XDG_CACHE_HOME to a folder that can be"
        ) from error
    try:
        build(temporary)
        try:
            temporary.replace(target)
        except OSError:
            # Another process was first: its content is the same, since it has the same key.
            if not target.is_dir():
                raise
    except OSError as error:
        raise InvalidInput(
            f"the cache {target.parent} could not be written ({error.strerror or error}): free some space, or set"
            " XDG_CACHE_HOME to a larger disk"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def require_space(path: Path, size: int) -> None:
    """Raise unless the disk of `path` has `size` bytes free.

    Raises:
        InvalidInput: with both figures.
    """
    free = shutil.disk_usage(path).free
    if size > free:
        raise InvalidInput(
            f"the decoded data take {size / 2**30:.1f} GiB in the cache {path.parent}, which has {free / 2**30:.1f} GiB free:"
            " set XDG_CACHE_HOME to a larger disk, pass a smaller size=, or stream=True"
        )


def require_memory(size: int, what: str, instead: str) -> None:
    """Raise if `size` bytes are more than half of the machine's memory; `instead` says what is read without it.

    Raises:
        InvalidInput: with both figures.
    """
    if not hasattr(os, "sysconf"):  # Windows does not say
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory // 2:
        raise InvalidInput(
            f"{what} takes {size / 2**30:.1f} GiB in memory, expected at most half of the {memory / 2**30:.1f} GiB there are:"
            f" {instead}"
        )


class ArrayWriter:
    """Writes an .npy file in pieces, its number of rows unknown until the end.

    Args:
        path: the file.
        shape: shape of one row.
        dtype: type of the entries.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._file: BinaryIO = path.open("wb")
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._rows = 0
        self._write_header()

    def _write_header(self) -> None:
        # numpy leaves room in the header for the first axis to grow, so that it can be written again in place.
        described = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, described)

    def append(self, rows: NDArray[Any]) -> None:
        """Write `rows`, (n, *shape), after those already written."""
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).tobytes())
        self._rows += len(rows)

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._file.seek(0)
            self._write_header()
        self._file.close()
