"""Text files, and columns of text, to stretches of plain files: one for each split."""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ancestral.data import cache
from ancestral.data.columnar import TEXT_TYPES, Rows
from ancestral.data.material import STREAM_OPTIONS, Options, canonical_splits
from ancestral.encoding import safe_cut
from ancestral.errors import InvalidInput

CHUNK = 2**20
"""Bytes that are read at a time."""
HELD = 0.05
"""Share of a text held out as validation, and as test, where the source has no such split and none is asked for."""
_TAIL = 4096


@dataclass(frozen=True)
class Span:
    """A stretch of a plain file.

    Args:
        path: the file.
        start: its first byte.
        stop: the byte after its last one.
    """

    path: Path
    start: int
    stop: int

    @classmethod
    def whole(cls, path: Path) -> "Span":
        """Return the stretch that is all of a file."""
        return cls(path, 0, path.stat().st_size)

    def __len__(self) -> int:
        return self.stop - self.start

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """Yield the bytes, `size` at a time."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            left = len(self)
            while left and (chunk := file.read(min(size, left))):
                left -= len(chunk)
                yield chunk

    def cut(self, position: int) -> tuple["Span", "Span"]:
        """Return what comes before and from `position` on, which is counted in the file."""
        return Span(self.path, self.start, position), Span(self.path, position, self.stop)

    def boundary(self, position: int) -> int:
        """Return the last place up to `position`, in the file, where the text may be cut at every level."""
        position = max(self.start, min(self.stop, position))
        start = max(self.start, position - _TAIL)
        return start + safe_cut(b"".join(Span(self.path, start, position).chunks()))


@dataclass
class Text:
    """A text by splits, before it is held out from and encoded.

    Args:
        what: what to call the source in errors.
        splits: by split, where the text is.
        takes: options that the source takes besides those that every text takes.
        level: the level at which it is usually modelled.
        words: what its words are, at the level "word"; None for what words are in most texts.
        about: one line: what it is.
        record: JSON-able facts: where it came from.
    """

    what: str
    splits: dict[str, Span]
    takes: set[str] = field(default_factory=set)
    level: str = "byte"
    words: str | None = None
    about: str = ""
    record: dict[str, Any] = field(default_factory=dict)


def read_text(files: Mapping[str, Sequence[Path]], what: str) -> Text:
    """Return text files by split, those of one split joined; files with the suffix .gz are unpacked into the cache.

    Raises:
        InvalidInput: if a file cannot be unpacked.
    """
    splits = {}
    for split, paths in files.items():
        if len(paths) == 1 and paths[0].suffix != ".gz":
            splits[split] = Span.whole(paths[0])
        else:
            splits[split] = _stored({"text": cache.stamp(paths)}, (chunk for path in paths for chunk in _chunks(path)))
    return Text(what, canonical_splits(splits), record=cache.describe([path for paths in files.values() for path in paths]))


def _chunks(path: Path) -> Iterator[bytes]:
    if path.suffix != ".gz":
        yield from Span.whole(path).chunks()
        return
    try:
        with gzip.open(path) as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{path} is damaged, or no gzip file ({error}): write it again") from error


def text_of_rows(rows: Rows, column: str, before: str = "", after: str = "\n") -> Text:
    """Return a column of text as one text for each split.

    Args:
        rows: the rows.
        column: the column.
        before: what is put before each cell.
        after: what is put after each cell.

    Raises:
        InvalidInput: if there is no such column, it holds something else, or a cell is empty.
    """
    rows.require(column, "text")
    kind = getattr(rows.features[column], "dtype", "something else")
    if kind not in TEXT_TYPES:
        raise InvalidInput(f"column {column!r} of {rows.what} holds {kind}, expected text: name another with text=")

    def chunks(split: str) -> Iterator[bytes]:
        row = 0
        for table in rows.read(split, [column]):
            cells = table.column(column).to_pylist()
            if None in cells:
                raise InvalidInput(
                    f"column {column!r} of {rows.what} is empty in row {row + cells.index(None)} of {split}: fill it or drop"
                    " the row"
                )
            row += len(cells)
            yield "".join(f"{before}{cell}{after}" for cell in cells).encode()

    key = {"text of rows": rows.stamp, "column": column, "before": before, "after": after}
    splits = {split: _stored({**key, "split": split}, chunks(split)) for split in rows.splits}
    takes = {"text"} | (rows.takes - STREAM_OPTIONS)
    return Text(rows.what, canonical_splits(splits), takes, record=rows.record)


def _stored(key: Mapping[str, Any], chunks: Iterable[bytes]) -> Span:
    """Return a text as a file of the cache, into which it is written where it is not there yet."""

    def build(into: Path) -> None:
        with (into / "text").open("wb") as file:
            file.writelines(chunks)

    return Span.whole(cache.entry(key, build) / "text")


def lines_of(data: bytes, what: str) -> list[str]:
    r"""Return the lines of a text, without their ends, which are \n or \r\n alone, and without a mark of byte order before it.

    Other characters that may end a line, such as U+2028, stand within sentences, whose translations would lose their place.

    Args:
        data: the text.
        what: what to call it in errors; nothing where there is only one.

    Raises:
        InvalidInput: if it is not UTF-8, naming the line.

    >>> lines_of("one\u2028two\r\nthree\n".encode(), "it")
    ['one\u2028two', 'three']
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Where the mark was taken off, places are counted from after it.
        start = data[: len(data) - len(error.object) + error.start]
        line, of = start.count(b"\n") + 1, what and f" of {what}"
        raise InvalidInput(f"line {line}{of} is not UTF-8 (byte 0x{data[len(start)]:02x}): repair it") from error
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def hold_out(text: Text, options: Options) -> tuple[dict[str, Span], dict[str, Any]]:
    """Return where each split is, and a record of what was held out of train: its end, in one piece.

    The last bytes of train become test, those before validation. Cuts are moved back to the nearest place that is good
    at every level, so that the splits are the same ones at all levels.

    Raises:
        InvalidInput: if there is no train, nothing is left for it, or a split is asked for that is there.
    """
    what, splits = text.what, dict(text.splits)
    if "train" not in splits:
        raise InvalidInput(f"{what} has no split named train, but {', '.join(splits)}: name one so")
    size = len(splits["train"])
    record: dict[str, Any] = {}
    for split in ("test", "validation"):
        asked = getattr(options, split)
        if split in text.splits:
            if asked is not None:
                raise InvalidInput(f"{what} has a split {split!r} of its own: leave {split}= out")
            continue
        share = HELD if asked is None else asked
        count = int(share) if share >= 1 else round(share * size)
        if not count:
            continue
        train = splits["train"]
        splits["train"], splits[split] = train.cut(train.boundary(train.stop - count))
        record[split] = {"from": "the end of train", "bytes": len(splits[split])}
        if not len(splits["train"]):
            raise InvalidInput(
                f"{what} has {size} bytes, and holding out {count} for {split} leaves none for train: hold out fewer"
            )
    return canonical_splits(splits), canonical_splits(record)
