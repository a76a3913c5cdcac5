"""Lossless compression with any model whose conditionals are exact, into files that decode on another machine."""

import hashlib
import math
import mmap
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ancestral.coding import Damage, inflate
from ancestral.coding.archive import (
    CODED,
    MAGIC,
    NAMES,
    OTHER,
    PLAIN,
    SALT_BYTES,
    SINGLE,
    SINGLE_BYTES,
    TOTAL_DIGEST_BYTES,
    Chunk,
    Contents,
    Header,
    Writer,
    digest,
    read,
)
from ancestral.coding.coder import ModelCoder, model_key
from ancestral.coding.frequencies import SHIFTS
from ancestral.data import Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.files import replacing
from ancestral.models.base import Model
from ancestral.verbs.image_files import NamedImage, is_image_source, pack_names, read_lossless, unpack_names, write_images
from ancestral.verbs.inputs import Named, Subject, batches, check_counts, open_data, open_model, track
from ancestral.zoo import entries

DECODE_BATCH = 512
"""Data that are decoded at once, about."""
MAX_BYTES = 2**32
"""Bytes of decoded data that are accepted, where no other bound is given."""


@dataclass(frozen=True)
class Compressed:
    """What a compression came to.

    Args:
        path: the archive.
        count: data in it that the model coded.
        files: files in it that the model is not for, kept as they were.
        bytes: size of the archive on disk, everything included.
        nats: of the coded data under the model, in all; that of the member of a mixture that coded them.
        bits_per_dim: bits of the archive for each entry of the coded data.
        overhead: bytes of the archive beyond those nats.
        seconds: that it took, with the check that it decodes.
    """

    path: str
    count: int
    files: int
    bytes: int
    nats: float
    bits_per_dim: float
    overhead: float
    seconds: float


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
        total: digest over everything, where all of the archive was read.
    """

    x: Tensor
    index: Tensor
    condition: Tensor | None = None
    names: list[NamedImage] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    total: bytes = b""


# Compression


@dataclass
class _Source:
    """Data to compress, batch by batch, and what is kept with them."""

    count: int
    batches: Iterable[tuple[Tensor, Tensor | None]]
    names: list[NamedImage] = field(default_factory=list)
    files: list[tuple[str, Path]] = field(default_factory=list)


def compress(
    model: Named,
    source: Tensor | Data | str | Path,
    path: str | Path,
    *,
    condition: Tensor | None = None,
    split: str = "test",
    limit: int | None = None,
    chunk_size: int | None = None,
    verify: bool = True,
    progress: bool = False,
) -> Compressed:
    """Compress data without loss, into a file that decodes on any machine that has the model.

    The file takes -log2 p(x) bits for each datum x and some bytes for each chunk of them; docs/format.md describes it. A
    folder of images comes back with the same names, sizes, modes and pixels; those that the model is not for (of another
    size or mode, or already compressed with loss) are kept as they are.

    Args:
        model: the model, or its zoo name, run directory or hub repository: autoregressive, of whole numbers.
        source: data, (n, *event.shape); a folder of images, or one; an .npy file; or a data set or its name.
        path: the archive to write; it is whole or not changed at all.
        condition: of each datum, (n, *condition.shape), for a conditional model and a tensor.
        split: of a data set.
        limit: data of a data set, the first ones; all where None.
        chunk_size: data of a chunk, what is lost at most to one damaged byte, and decoded at least to see one datum; a size
            that fits in memory where None.
        verify: decode the archive and compare before it takes its place.
        progress: show a progress bar.

    Raises:
        Unsupported: if the model has no exact conditionals of whole numbers.
        InvalidInput: if the data do not fit the model, or the archive does not decode to them.
    """
    started = time.perf_counter()
    check_counts(limit=limit, chunk_size=chunk_size)
    subject = open_model(model)
    coder = ModelCoder(subject.model)
    size = min(chunk_size or coder.chunk_size, coder.chunk_size)
    data = _open_source(subject, source, condition, split, limit, size)
    if data.count == 0 and not data.files:
        raise InvalidInput(f"there is nothing to compress in {source}: give at least one datum")
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            single = data.count == 1 and not data.names and not data.files and coder.model.members == 1
            write = _write_single if single else _write_archive
            nats, total = write(file, subject, coder, data, size, progress)
        written = temporary.stat().st_size
        if verify:
            _verify(temporary, coder, total, progress)
    entries = data.count * coder.event.numel
    return Compressed(
        str(path),
        data.count,
        len(data.files),
        written,
        nats,
        8 * written / entries if entries else float("nan"),
        written - nats / math.log(256.0),
        time.perf_counter() - started,
    )


def _open_source(
    subject: Subject, source: Tensor | Data | str | Path, condition: Tensor | None, split: str, limit: int | None, size: int
) -> _Source:
    event = subject.model.event
    if isinstance(source, str | Path) and is_image_source(Path(source)):
        images = read_lossless(Path(source), event)
        return _Source(len(images.names), _batches(subject.model, images.x, None, size), images.names, images.files)
    if isinstance(source, str | Path) and Path(source).suffix == ".npy" and Path(source).is_file():
        from ancestral.data.files import read_npy

        source = torch.from_numpy(read_npy(Path(source)))
    if isinstance(source, Tensor):
        event.check(source, "the data")
        condition = subject.model.check_condition(condition, len(source))
        return _Source(len(source), _batches(subject.model, source, condition, size))
    data = open_data(source if isinstance(source, Data) else str(source), subject)
    part = data.split(split)
    drawn = batches(part, subject.model, batch_size=size, limit=limit)
    return _Source(min(limit or len(part), len(part)), ((x.to(event.dtype), condition) for _, x, condition in drawn))


def _batches(model: Model, x: Tensor, condition: Tensor | None, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        given = None if condition is None else condition[part].to(model.device)
        yield x[part].to(model.device, model.event.dtype), given


def _write_archive(
    file: BinaryIO, subject: Subject, coder: ModelCoder, data: _Source, size: int, progress: bool
) -> tuple[float, bytes]:
    """Write an archive and return the nats of the data, and the digest of everything in it."""
    writer, header, total, nats, first = None, None, hashlib.sha256(), 0.0, 0
    extra = [(NAMES, len(data.names), pack_names(data.names))] if data.names else []
    chunks = track(data.batches, "compressing", -(-data.count // size), progress=progress)
    for x, condition in chunks:
        original = _original(coder, x, condition)
        if writer is None or header is None:
            header = _header(subject, coder, original)
            writer = Writer(file, header)
        member, shift, code, of_chunk = coder.encode(x, condition)
        plain = zlib.compress(original, 9)
        kind, payload = (PLAIN, plain) if code is None or len(plain) < len(code) else (CODED, code)
        mark = digest(header, first, original)
        writer.add(Chunk(kind, first, len(x), mark, payload, member, shift))
        total.update(original)
        nats, first = nats + of_chunk, first + len(x)
    if writer is None or header is None:
        header = _header(subject, coder, b"")
        writer = Writer(file, header)
    for kind, count, content in [*extra, *((OTHER, 1, _pack_file(name, path)) for name, path in data.files)]:
        writer.add(Chunk(kind, 0, count, digest(header, 0, content), content))
        total.update(content)
    writer.end(first, total.digest())
    return nats, total.digest()[:TOTAL_DIGEST_BYTES]


def _header(subject: Subject, coder: ModelCoder, original: bytes) -> Header:
    event = coder.event
    salt = hashlib.sha256(original).digest()[:SALT_BYTES]
    name = subject.name if subject.name in _zoo() else coder.model.name  # a path would mean nothing elsewhere
    return Header(name, coder.key, event.shape, event.levels or 0, salt)


def _write_single(
    file: BinaryIO, subject: Subject, coder: ModelCoder, data: _Source, size: int, progress: bool
) -> tuple[float, bytes]:
    """Write one datum with next to nothing around it, where that is possible; an archive otherwise."""
    ((x, condition),) = data.batches
    _, shift, code, nats = coder.encode(x, condition)
    if code is None or shift != 0:
        data.batches = [(x, condition)]
        return _write_archive(file, subject, coder, data, size, progress)
    key, original = coder.key, _original(coder, x, condition)
    check = hashlib.sha256(key + original).digest()[:SINGLE_BYTES]
    file.write(MAGIC + bytes([SINGLE]) + key[:SINGLE_BYTES] + check + code)
    return nats, hashlib.sha256(original).digest()[:TOTAL_DIGEST_BYTES]


def _original(coder: ModelCoder, x: Tensor, condition: Tensor | None) -> bytes:
    """Return data, and their conditions, as bytes: what digests are of, and what is deflated where a model is no use."""
    given = [x] if condition is None else [x, condition]
    parts = zip(_events(coder), given, strict=True)
    return b"".join(t.cpu().numpy().astype(_storage(event)).tobytes() for event, t in parts)


def _events(coder: ModelCoder) -> list[Event]:
    """Return the event of the data and, where the model has one, that of their conditions."""
    return [coder.event] if coder.condition is None else [coder.event, coder.condition]


def _storage(event: Event) -> np.dtype[Any]:
    return np.dtype("u1" if (event.levels or 0) <= 256 else "<u2")


def _pack_file(name: str, path: Path) -> bytes:
    encoded = name.encode()
    return len(encoded).to_bytes(2, "big") + encoded + path.read_bytes()


def _unpack_file(content: bytes) -> tuple[str, bytes]:
    end = 2 + int.from_bytes(content[:2], "big")
    return content[2:end].decode(errors="replace"), content[end:]


def _verify(path: Path, coder: ModelCoder, total: bytes, progress: bool) -> None:
    """Raise unless an archive decodes to what it was made of."""
    buffer = _map(path)
    if _is_single(buffer):
        restored = _decode_single(buffer, coder)
    else:
        restored = _decode(read(buffer), coder, None, None, progress, "checking")
    if restored.problems or restored.total != total:
        problem = "; ".join(restored.problems) or "the digests differ"
        raise InvalidInput(
            f"the archive does not decode to the data ({problem}): nothing was written. Steps and passes of this model"
            " differ by more than the format allows for; please report it with the model"
        )


# Decompression


def decompress(
    path: str | Path,
    output: str | Path | None = None,
    *,
    model: Named | None = None,
    index: Sequence[int] | int | None = None,
    recover: bool = False,
    max_bytes: int = MAX_BYTES,
    progress: bool = False,
) -> Restored:
    """Return what was compressed, to the bit.

    Args:
        path: the archive.
        output: a folder to write images to, or an .npy file; None to write nothing.
        model: the model that compressed, where the archive does not name one of the zoo.
        index: place in the archive of the datum wanted, from 0, or places of several; only the chunks that hold them are
            decoded. All where None.
        recover: return what is intact where something is damaged, in place of raising; `Restored.problems` says what is lost.
        max_bytes: bytes of decoded data that are accepted.
        progress: show a progress bar.

    Raises:
        InvalidInput: if the file is no archive, is damaged or too large, names another model, or has no such datum.
    """
    path = Path(path)
    wanted = [index] if isinstance(index, int) else index
    try:
        restored = _restore(_map(path), model, wanted, max_bytes, progress)
    except OSError as error:
        raise InvalidInput(f"cannot read {path} ({error.strerror or error}): give the name of an archive") from error
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    if restored.problems and not recover:
        raise InvalidInput(
            f"{path} is damaged ({'; '.join(restored.problems[:3])}): {len(restored.x)} data are intact,"
            " recover them with recover=True or --recover"
        )
    if output is not None:
        _write(restored, Path(output))
    return restored


def _map(path: Path) -> memoryview:
    if path.stat().st_size == 0:
        return memoryview(b"")
    with path.open("rb") as file:
        # Unmapped with the last view of it, which chunks are.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _restore(buffer: memoryview, model: Named | None, index: Sequence[int] | None, max_bytes: int, progress: bool) -> Restored:
    if _is_single(buffer):
        if model is None:
            raise InvalidInput("a single datum does not name its model: give it with model= or --model")
        return _decode_single(buffer, ModelCoder(open_model(model).model))
    contents = read(buffer)
    header = contents.header
    if model is None and header.model not in _zoo():
        raise InvalidInput(f"made with {header.model!r}, which is not in the zoo: give the model with model= or --model")
    subject = open_model(header.model if model is None else model)
    key = model_key(subject.model)
    if key != header.key:
        raise InvalidInput(
            f"made with another model ({header.model!r} of key {header.key.hex()}) than {subject.name}"
            f" ({key.hex()}): give the one it was made with"
        )
    return _decode(contents, ModelCoder(subject.model), index, max_bytes, progress, "decompressing")


def _zoo() -> list[str]:
    return [entry.name for entry in entries() if entry.trained]


def _is_single(buffer: memoryview) -> bool:
    return bytes(buffer[:4]) == MAGIC + bytes([SINGLE])


def _decode_single(buffer: memoryview, coder: ModelCoder) -> Restored:
    at = len(MAGIC) + 1
    key, check = bytes(buffer[at : at + SINGLE_BYTES]), bytes(buffer[at + SINGLE_BYTES : at + 2 * SINGLE_BYTES])
    if key != coder.key[:SINGLE_BYTES]:
        raise InvalidInput(
            f"made with a model whose key begins with {key.hex()}, this one's is {coder.key.hex()}: give another"
        )
    code = bytes(buffer[at + 2 * SINGLE_BYTES :])
    try:
        ((x, condition),) = coder.decode(0, [(1, 0, code)])
    except Damage as damage:
        return Restored(coder.nothing(), torch.empty(0, dtype=torch.long), problems=[str(damage)])
    original = _original(coder, x, condition)
    restored = Restored(x, torch.zeros(1, dtype=torch.long), condition, total=_total([original]))
    if hashlib.sha256(coder.key + original).digest()[:SINGLE_BYTES] != check:
        return Restored(coder.nothing(), torch.empty(0, dtype=torch.long), problems=["its checksum is wrong"])
    return restored


def _decode(
    contents: Contents, coder: ModelCoder, index: Sequence[int] | None, max_bytes: int | None, progress: bool, what: str
) -> Restored:
    """Decode the chunks that hold the data wanted; what is damaged is left out and named."""
    problems = list(contents.problems)
    chunks = _in_order(contents, coder, problems)
    _check_size(contents, chunks, coder, max_bytes)
    if index is not None:
        chunks = _holding(chunks, index, contents)
    wanted = None if index is None else set(index)
    parts: list[tuple[Chunk, Tensor, Tensor | None]] = []
    for group in track(_groups(chunks), what, max(1, len(chunks)), progress=progress):
        for chunk, decoded in zip(group, _decode_group(coder, group), strict=True):
            if decoded is None or digest(contents.header, chunk.first, _original(coder, *decoded)) != chunk.digest:
                problems.append(f"data {chunk.first} to {chunk.first + chunk.count - 1} do not decode")
            else:
                parts.append((chunk, *decoded))
    parts.sort(key=lambda part: part[0].first)
    restored = Restored(
        torch.cat([coder.nothing(), *(x for _, x, _ in parts)]),
        torch.cat([torch.empty(0, dtype=torch.long), *(torch.arange(c.first, c.first + c.count) for c, _, _ in parts)]),
        torch.cat([condition for _, _, condition in parts if condition is not None]) if parts and coder.condition else None,
        problems=problems,
    )
    kept = _kept(contents, problems)
    if index is None:
        restored.total = _total([_original(coder, x, c) for _, x, c in parts] + [content for _, content in kept])
        if not problems and contents.total is not None and contents.total != (len(restored.x), restored.total):
            problems.append("the checksum over all data is wrong: parts are missing, or of another archive")
    _unpack(restored, kept)
    if wanted is not None:
        rows = torch.tensor([i for i, place in enumerate(restored.index.tolist()) if place in wanted], dtype=torch.long)
        restored.x, restored.index = restored.x[rows], restored.index[rows]
        restored.condition = None if restored.condition is None else restored.condition[rows]
        restored.names = [restored.names[i] for i in rows.tolist()] if restored.names else []
        restored.files = {}
    return restored


def _in_order(contents: Contents, coder: ModelCoder, problems: list[str]) -> list[Chunk]:
    """Return the chunks of data by place, without those that cannot be."""
    chunks: list[Chunk] = []
    end = 0
    for chunk in sorted((c for c in contents.chunks if c.kind in (CODED, PLAIN)), key=lambda c: c.first):
        fits = 1 <= chunk.count <= coder.chunk_size and chunk.member < coder.model.members and chunk.shift < SHIFTS
        if not fits or chunk.first < end:
            problems.append(f"a chunk says that it holds data {chunk.first} to {chunk.first + chunk.count - 1}")
            continue
        chunks.append(chunk)
        end = chunk.first + chunk.count
    return chunks


def _check_size(contents: Contents, chunks: list[Chunk], coder: ModelCoder, max_bytes: int | None) -> None:
    event, header = coder.event, contents.header
    if header.shape != event.shape or header.levels != event.levels:
        raise InvalidInput(f"it holds data of {header.shape} with {header.levels} levels, the model is of {event}")
    size = sum(chunk.count for chunk in chunks) * event.numel * _storage(event).itemsize
    if max_bytes is not None and size > max_bytes:
        raise InvalidInput(f"it decodes to {size} bytes, expected at most {max_bytes}: raise max_bytes where you trust it")


def _holding(chunks: list[Chunk], index: Sequence[int], contents: Contents) -> list[Chunk]:
    """Return the chunks that hold the data of `index`."""
    count = chunks[-1].first + chunks[-1].count if contents.total is None and chunks else (contents.total or (0, b""))[0]
    outside = [i for i in index if not 0 <= i < count]
    if outside:
        raise InvalidInput(f"there is no datum {outside[0]}, expected 0 to {count - 1}")
    return [chunk for chunk in chunks if any(chunk.first <= i < chunk.first + chunk.count for i in index)]


def _groups(chunks: list[Chunk]) -> Iterator[list[Chunk]]:
    """Yield chunks that are decoded together: of one kind and one member."""
    group: list[Chunk] = []
    for chunk in sorted(chunks, key=lambda c: (c.kind, c.member, c.first)):
        alike = not group or (group[0].kind, group[0].member) == (chunk.kind, chunk.member)
        if group and (not alike or sum(c.count for c in group) + chunk.count > DECODE_BATCH):
            yield group
            group = []
        group.append(chunk)
    if group:
        yield group


def _decode_group(coder: ModelCoder, group: list[Chunk]) -> list[tuple[Tensor, Tensor | None] | None]:
    """Decode chunks; None stands for one that cannot be."""
    try:
        if group[0].kind == PLAIN:
            size = _bytes_of(coder)
            return [_from_original(coder, c.count, inflate(c.payload, c.count * size)) for c in group]
        return list(coder.decode(group[0].member, [(c.count, c.shift, bytes(c.payload)) for c in group]))
    except Damage:
        if len(group) == 1:
            return [None]
        return [part for chunk in group for part in _decode_group(coder, [chunk])]


def _bytes_of(coder: ModelCoder) -> int:
    """Return how many bytes one datum and its condition are."""
    return sum(event.numel * _storage(event).itemsize for event in _events(coder))


def _from_original(coder: ModelCoder, count: int, original: bytes) -> tuple[Tensor, Tensor | None]:
    if len(original) != count * _bytes_of(coder):
        raise Damage(f"{len(original)} bytes in place of {count * _bytes_of(coder)}")
    kind = _storage(coder.event)
    end = count * coder.event.numel * kind.itemsize
    x = _values(original[:end], coder.event)
    return x, None if coder.condition is None else _values(original[end:], coder.condition)


def _values(content: bytes, event: Event) -> Tensor:
    values = np.frombuffer(content, _storage(event)).astype(np.int64)
    if values.max(initial=0) >= (event.levels or 0):
        raise Damage(f"a value of {values.max()}")
    return torch.from_numpy(values).to(event.dtype).view(-1, *event.shape)


def _kept(contents: Contents, problems: list[str]) -> list[tuple[int, bytes]]:
    """Return the names and other files of an archive, as (kind, content)."""
    kept = []
    for chunk in contents.chunks:
        if chunk.kind in (NAMES, OTHER):
            content = bytes(chunk.payload)
            if digest(contents.header, chunk.first, content) == chunk.digest:
                kept.append((chunk.kind, content))
            else:
                problems.append("names, or another file, belong to another archive")
    return kept


def _unpack(restored: Restored, kept: list[tuple[int, bytes]]) -> None:
    for kind, content in kept:
        try:
            if kind == NAMES:
                names = unpack_names(content)
                restored.names = [names[i] for i in restored.index.tolist() if i < len(names)]
            else:
                name, file = _unpack_file(content)
                restored.files[name] = file
        except Damage as damage:
            restored.problems.append(str(damage))


def _total(originals: list[bytes]) -> bytes:
    state = hashlib.sha256()
    for original in originals:
        state.update(original)
    return state.digest()[:TOTAL_DIGEST_BYTES]


def _write(restored: Restored, output: Path) -> None:
    if output.suffix == ".npy":
        with replacing(output) as temporary:
            np.save(temporary, restored.x.numpy(), allow_pickle=False)
    else:
        write_images(output, restored.x, restored.names, restored.files, restored.index)
