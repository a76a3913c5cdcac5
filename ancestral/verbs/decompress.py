"""Decompression: what was compressed, to the bit, and what is intact where an archive is damaged."""

import hashlib
import itertools
import mmap
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ancestral.coding import Damage
from ancestral.coding.archive import NAMES, TOTAL_DIGEST_BYTES, Chunk, Contents, read
from ancestral.coding.bits_back import make_coder
from ancestral.coding.coder import Coder, model_key
from ancestral.coding.decoding import data_chunks, decode_chunks, kept_chunks, places
from ancestral.coding.dynamic import text_coder
from ancestral.coding.originals import Batch
from ancestral.coding.single import is_single, unpack_single
from ancestral.coding.text import TextCoder
from ancestral.errors import InvalidInput
from ancestral.files import replacing
from ancestral.verbs.dynamic import given_tokens
from ancestral.verbs.image_files import NamedImage, unpack_file, unpack_names, write_images
from ancestral.verbs.inputs import Named, open_model, track
from ancestral.verbs.text_archive import is_text, read_text
from ancestral.zoo import entries

MAX_BYTES = 2**32
"""Bytes of decoded data that are accepted, where no other bound is given."""
PLACE_BYTES = 8
"""Bytes of the place of a datum in its archive, which are counted in."""
T = TypeVar("T")


@dataclass
class Restored:
    """What came out of an archive.

    Args:
        x: data, (n, *event.shape).
        index: place of each in the archive, (n,).
        condition: of each, (n, *condition.shape), where the model has a condition.
        names: file name and mode of each, where images were compressed; else empty.
        files: content of the other files, by name.
        problems: what was damaged, in words, where that was asked for.
        levels: values of an entry of the data.
        text: what is intact of a text, where one was compressed; there are then no data.
        seconds: that decoding took, without loading the model and without writing files.
    """

    x: Tensor
    index: Tensor
    condition: Tensor | None = None
    names: list[NamedImage] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    levels: int = 256
    seconds: float = 0.0
    text: bytes | None = None


def decompress(
    path: str | Path,
    output: str | Path | None = None,
    *,
    model: Named | None = None,
    index: Sequence[int] | int | None = None,
    recover: bool = False,
    max_bytes: int = MAX_BYTES,
    given: str | Path | None = None,
    progress: bool = False,
) -> Restored:
    """Return what was compressed, to the bit.

    All data that are asked for are held in memory; docs/format.md says what that takes, and what a forged archive can.

    Args:
        path: the archive.
        output: a folder to write images to, or an .npy file, without conditions; of a text, its file; None to write nothing.
        model: the model that compressed, where the archive does not name one of the zoo.
        index: place in the archive of the datum wanted, from 0, or places of several; only the chunks that hold them are
            decoded. All where None.
        recover: return what is intact where something is damaged, in place of raising; `Restored.problems` says what is lost.
        max_bytes: bytes of decoded data that are accepted, of those that are asked for, each with 8 bytes for its place.
        given: the text that was given to `compress`: a file, or the name of a split of what the model was trained on.
        progress: show a progress bar.

    Raises:
        InvalidInput: if the file is no archive, is damaged or too large, names another model, or has no such datum; or if
            nothing can be written to `output`.
    """
    path = Path(path)
    wanted = None if index is None else {index} if isinstance(index, int) else set(index)
    try:
        restored = restore(open_archive(path), model, wanted, max_bytes, progress, given)
    except OSError as error:
        raise InvalidInput(f"cannot read {path} ({error.strerror or error}): give the name of an archive") from error
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    if restored.problems and not recover:
        raise InvalidInput(
            f"{path} is damaged ({'; '.join(restored.problems[:3])}): {_intact(restored)} are intact,"
            " recover them with recover=True or --recover"
        )
    if output is not None:
        try:
            _write(restored, Path(output))
        except OSError as error:
            raise InvalidInput(f"cannot write to {output} ({error}): choose another place") from error
    return restored


def _intact(restored: Restored) -> str:
    return f"{len(restored.x)} data" if restored.text is None else f"{len(restored.text)} bytes of text"


def open_archive(path: Path) -> memoryview:
    """Return the bytes of a file, which are read as they are looked at."""
    if path.stat().st_size == 0:
        return memoryview(b"")
    with path.open("rb") as file:
        # Unmapped with the last view of it, which chunks are.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def restore(
    buffer: memoryview,
    model: Named | None,
    index: set[int] | None = None,
    max_bytes: int = MAX_BYTES,
    progress: bool = False,
    given: str | Path | None = None,
) -> Restored:
    """Return what is intact of an archive's bytes; `Restored.problems` says what is not. See `decompress`.

    Raises:
        InvalidInput: if they are no archive, too large, name another model, or hold no such datum.
    """
    if is_single(buffer):
        if model is None:
            raise InvalidInput("a single datum does not name its model: give it with model= or --model")
        return _restore_single(buffer, make_coder(open_model(model).model), index, max_bytes)
    contents = read(buffer)
    header = contents.header
    if model is None and header.model not in zoo_names():
        raise InvalidInput(f"made with {header.model!r}, which is not in the zoo: give the model with model= or --model")
    subject = open_model(header.model if model is None else model)
    key = model_key(subject.model)
    if key != header.key:
        raise InvalidInput(
            f"made with another model ({header.model!r} of key {header.key.hex()}) than {subject.name}"
            f" ({key.hex()}): give the one it was made with"
        )
    if is_text(contents):
        if index is not None:
            raise InvalidInput("it holds a text, which has no data at places: leave index out")
        coder = text_coder(subject.model, header.settings, given_tokens(subject, given))
        return _restore_text(contents, coder, max_bytes, progress)
    return _restore(contents, make_coder(subject.model), index, max_bytes, progress)


def _restore_text(contents: Contents, coder: TextCoder, max_bytes: int, progress: bool) -> Restored:
    started = time.perf_counter()
    found = read_text(contents, coder, max_bytes, progress=progress)
    restored = Restored(coder.coder.nothing(), torch.empty(0, dtype=torch.long), problems=found.problems, text=found.text)
    restored.seconds = time.perf_counter() - started
    return restored


def zoo_names() -> list[str]:
    """Return the names by which archives find their models."""
    return [entry.name for entry in entries() if entry.trained]


def track_data(items: Iterable[T], what: str, total: int, size: Callable[[T], int], *, progress: bool) -> Iterator[T]:
    """Yield `items`, with a progress bar that counts the data in them, `size(item)` of each and `total` in all."""

    def ticks() -> Iterator[T | None]:
        for item in items:
            yield item
            yield from itertools.repeat(None, size(item) - 1)

    for item in track(ticks(), what, total, progress=progress):
        if item is not None:
            yield item


def _restore_single(buffer: memoryview, coder: Coder, index: set[int] | None, max_bytes: int) -> Restored:
    _check_index(index, 1)
    _check_size(coder, 1, max_bytes)
    started = time.perf_counter()
    try:
        x, condition = unpack_single(coder, buffer)
    except Damage as damage:
        return Restored(coder.nothing(), torch.empty(0, dtype=torch.long), problems=[str(damage)])
    seconds = time.perf_counter() - started
    return Restored(x, torch.zeros(1, dtype=torch.long), condition, levels=coder.levels, seconds=seconds)


def _restore(contents: Contents, coder: Coder, index: set[int] | None, max_bytes: int, progress: bool) -> Restored:
    """Decode the chunks that hold the data wanted; what is damaged is left out and named."""
    started = time.perf_counter()
    problems = list(contents.problems)
    chunks = data_chunks(contents, coder, problems)
    if index is not None:
        _check_index(index, _count(contents, chunks))
        wanted = sorted(index)
        chunks = [c for c in chunks if bisect_left(wanted, c.first) < bisect_left(wanted, c.first + c.count)]
    count = sum(chunk.count for chunk in chunks)
    _check_size(coder, count, max_bytes)
    found: list[tuple[Chunk, Batch]] = []
    decoded = decode_chunks(coder, contents.header, chunks)
    for chunk, data in track_data(decoded, "decompressing", count, lambda item: item[0].count, progress=progress):
        if data is None:
            problems.append(f"{places(chunk)} do not decode")
        else:
            found.append((chunk, data))
    found = _in_place(found, problems)
    kept = kept_chunks(contents, problems)
    if index is None and not problems:
        _check_total(contents, coder, found, kept, problems)
    restored = _joined(found, coder, problems)
    _unpack(restored, kept)
    if index is not None:
        _select(restored, index)
    restored.seconds = time.perf_counter() - started
    return restored


def _count(contents: Contents, chunks: list[Chunk]) -> int:
    """Return how many data an archive holds; of a damaged one, as far as its chunks tell."""
    if contents.total is not None and not contents.problems:
        return contents.total[0]
    return max((chunk.first + chunk.count for chunk in chunks), default=0)


def _check_index(index: set[int] | None, count: int) -> None:
    outside = [i for i in sorted(index or ()) if not 0 <= i < count]
    if outside:
        raise InvalidInput(f"there is no datum {outside[0]}, expected 0 to {count - 1}")


def _check_size(coder: Coder, count: int, max_bytes: int) -> None:
    size = count * (coder.originals.held + PLACE_BYTES)
    if size > max_bytes:
        raise InvalidInput(f"it decodes to {size} bytes, expected at most {max_bytes}: raise max_bytes where you trust it")


def _in_place(found: list[tuple[Chunk, Batch]], problems: list[str]) -> list[tuple[Chunk, Batch]]:
    """Return chunks by place, each place once: what is told twice can only be true once, and both are what was written."""
    apart: list[tuple[Chunk, Batch]] = []
    end = 0
    for chunk, data in sorted(found, key=lambda item: item[0].first):
        if chunk.first < end:
            problems.append(f"{places(chunk)} are there twice")
        else:
            apart.append((chunk, data))
            end = chunk.first + chunk.count
    return apart


def _check_total(
    contents: Contents, coder: Coder, found: list[tuple[Chunk, Batch]], kept: list[tuple[int, bytes]], problems: list[str]
) -> None:
    total = hashlib.sha256()
    for _, data in found:
        total.update(coder.originals.pack(*data))
    for _, content in kept:
        total.update(content)
    if contents.total != (sum(chunk.count for chunk, _ in found), total.digest()[:TOTAL_DIGEST_BYTES]):
        problems.append("the checksum over all data is wrong: parts are missing, or of another archive")


def _joined(found: list[tuple[Chunk, Batch]], coder: Coder, problems: list[str]) -> Restored:
    conditions = [condition for _, (_, condition) in found if condition is not None]
    return Restored(
        torch.cat([coder.nothing(), *(x for _, (x, _) in found)]),
        torch.cat([torch.empty(0, dtype=torch.long), *(torch.arange(c.first, c.first + c.count) for c, _ in found)]),
        torch.cat(conditions) if conditions else None,
        problems=problems,
        levels=coder.levels,
    )


def _unpack(restored: Restored, kept: list[tuple[int, bytes]]) -> None:
    """Add the names and other files to what was restored."""
    names = [content for kind, content in kept if kind == NAMES]
    if len(names) > 1:
        restored.problems.append("the names of the images are there more than once")
    try:
        if names:
            restored.names = _named(restored.index.tolist(), unpack_names(names[0], len(restored.x)))
    except Damage as damage:
        restored.problems.append(str(damage))
    restored.files = dict(unpack_file(content) for kind, content in kept if kind != NAMES)


def _named(index: list[int], names: list[NamedImage]) -> list[NamedImage]:
    if index and index[-1] >= len(names):
        raise Damage(f"there are names for {len(names)} data, not for datum {index[-1]}")
    return [names[i] for i in index]


def _select(restored: Restored, index: set[int]) -> None:
    """Leave the data at some places, and name one that is not there; the other files have no place."""
    rows = [row for row, place in enumerate(restored.index.tolist()) if place in index]
    restored.x, restored.index = restored.x[rows], restored.index[rows]
    restored.condition = None if restored.condition is None else restored.condition[rows]
    restored.names = [restored.names[row] for row in rows] if restored.names else []
    restored.files = {}
    missing = index.difference(restored.index.tolist())
    if missing and not restored.problems:  # the end says that there is such a datum
        restored.problems.append(f"datum {min(missing)} is missing")


def _write(restored: Restored, output: Path) -> None:
    if restored.text is not None:
        with replacing(output) as temporary:
            temporary.write_bytes(restored.text)
    elif output.suffix == ".npy":
        with replacing(output) as temporary:
            np.save(temporary, restored.x.numpy(), allow_pickle=False)
    else:
        write_images(output, restored.x, restored.names, restored.files, restored.index, restored.levels)
