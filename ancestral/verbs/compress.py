"""Lossless compression with exact conditionals or by bits-back, into files that decode on another machine."""

import functools
import hashlib
import math
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from ancestral.coding import Damage
from ancestral.coding.archive import BITS_BACK, NAMES, OTHER, PLAIN, SALT_BYTES, Chunk, Header, Writer, digest, read
from ancestral.coding.bits_back import make_coder
from ancestral.coding.coder import Coder
from ancestral.coding.decoding import data_chunks, decode_chunks, kept_chunks, places
from ancestral.coding.dynamic import DynamicCoder
from ancestral.coding.learning import Dynamic
from ancestral.coding.originals import Batch
from ancestral.coding.single import is_single, pack_single, unpack_single
from ancestral.coding.text import TextCoder
from ancestral.data import Data
from ancestral.data.text import TokenSplit
from ancestral.errors import InvalidInput
from ancestral.files import replacing
from ancestral.models.base import Model
from ancestral.verbs.decompress import open_archive, track_data, zoo_names
from ancestral.verbs.dynamic import given_tokens
from ancestral.verbs.image_files import ImageFolder, open_images, pack_file, pack_names
from ancestral.verbs.inputs import Named, Subject, batches, check_counts, open_data, open_model
from ancestral.verbs.text_archive import TextFile, text_parts, text_problems, write_text


@dataclass(frozen=True)
class Compressed:
    """What a compression came to.

    Args:
        path: the archive.
        count: data in it that the model coded.
        files: files in it that the model is not for, kept as they were.
        bytes: size of the archive on disk, everything included.
        nats: of the coded data under the model, in all; of a mixture that of the member that coded them, of a model of latent
            variables the bound with one sample.
        bits_per_dim: bits of the archive for each entry of the coded data; of sentences, for each token, ends counted.
        overhead: bytes of the archive beyond those nats.
        encode_seconds: that it took to read the data, batch by batch, to code and to write them; models and data sets were
            loaded before.
        verify_seconds: that it took to check that the archive decodes; 0 where it was not checked.
        bits_per_byte: of a text, of which `count` says the tokens and `bits_per_dim` the bits of each: bits of the archive for
            each byte; else None.
        unit: what `bits_per_dim` is called; see `Event.unit`.
        bound: whether the nats are of a bound: the data were coded by bits-back.
    """

    path: str
    count: int
    files: int
    bytes: int
    nats: float
    bits_per_dim: float
    overhead: float
    encode_seconds: float
    verify_seconds: float
    bits_per_byte: float | None = None
    unit: str = "bits/dim"
    bound: bool = False


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
    dynamic: bool | float = False,
    segment: int | None = None,
    cache: bool = False,
    given: str | Path | None = None,
    progress: bool = False,
) -> Compressed:
    """Compress data without loss, into a file that decodes on any machine that has the model.

    The file takes -log2 p(x) bits for each datum x and some bytes for each chunk of them; docs/format.md describes it. With a
    model of latent variables it takes the bits of the bound, and those of one code for each chunk. A
    folder of images comes back with the same names, sizes, modes and pixels; those that the model is not for (of another
    size or mode, or already compressed with loss) are kept as they are. Models of text code files of text, to the byte, what
    their encoding does not know included. Files and data sets are read, coded and checked chunk by chunk: of a folder, no
    more than a chunk and the names are held in memory.

    Args:
        model: the model, or its zoo name, run directory or hub repository: of whole numbers, autoregressive or of codes that
            bits-back can take.
        source: data, (n, *event.shape); a folder of images, or one; an .npy file; a file of text; or a data set or its name.
        path: the archive to write; it is whole or not changed at all.
        condition: of each datum, (n, *condition.shape), for a conditional model and a tensor or an .npy file; data sets have
            their own.
        split: of a data set.
        limit: data of a data set, the first ones; all where None.
        chunk_size: data of a chunk, or tokens of a text: what is lost at most to one damaged byte, and decoded at least to see
            one datum; a size that fits in memory where None.
        verify: decode the archive and compare before it takes its place.
        dynamic: text only: whether the model goes on learning from the text as it codes, and so does who decodes; or at which
            rate. It takes several times as long, and what follows damage is lost.
        segment: with dynamic, tokens that are coded before they are learned; 32 where None, or what the model can take.
        cache: text only: whether counts of the text's n-grams are mixed with the model's conditionals. What follows damage is
            lost as well.
        given: with cache, a file of text whose n-grams are counted before, or the name of a split of what the model was
            trained on, such as train; who decodes must give the same.
        progress: show a progress bar.

    Raises:
        Unsupported: if the model has neither exact conditionals nor codes for bits-back, or is not of whole numbers.
        InvalidInput: if the data do not fit the model, the model gives NaN, or the archive does not decode to the data.
    """
    check_counts(limit=limit, chunk_size=chunk_size)
    subject = open_model(model)
    known = given_tokens(subject, given)
    learning = Dynamic.of(subject.model, dynamic, segment, cache, known)
    text = None if isinstance(source, Tensor) else _open_text(subject, source, split, limit)
    if text is not None:
        made = TextCoder(subject.model) if learning is None else DynamicCoder(subject.model, learning, known)
        return _compress_text(subject, text, made, Path(path), chunk_size, verify, progress)
    if learning is not None:
        raise InvalidInput(f"dynamic is for text, and {subject.name} is a model of {subject.model.event}: leave it out")
    coder = make_coder(subject.model)
    size = min(chunk_size or coder.chunk_size, coder.chunk_size)
    data = _open_source(subject, source, condition, split, limit, size)
    if data.count == 0:
        raise InvalidInput(f"there is nothing to compress in {source}: give at least one datum")
    started = time.perf_counter()
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            single = data.count == 1 and data.images is None and coder.members == 1
            written = (_write_single if single else _write_archive)(file, subject, coder, data, progress)
        encoded = time.perf_counter()
        if verify:
            _verify(temporary, coder, written, progress)
        verify_seconds = time.perf_counter() - encoded if verify else 0.0
        size_on_disk = temporary.stat().st_size
    return Compressed(
        str(path),
        written.count,
        0 if data.images is None else len(data.images.files),
        size_on_disk,
        written.nats,
        8 * size_on_disk / written.units if written.units else float("nan"),
        size_on_disk - written.nats / math.log(256.0),
        encoded - started,
        verify_seconds,
        unit=coder.event.unit,
        bound=coder.kind == BITS_BACK,
    )


# Text


def _open_text(subject: Subject, source: Data | str | Path, split: str, limit: int | None) -> TextFile | TokenSplit | None:
    """Return the text that a source is for a model of text; None for other data."""
    if subject.model.event.encoding is None:
        return None
    if isinstance(source, str | Path) and Path(source).is_file() and Path(source).suffix != ".npy":
        text: TextFile | TokenSplit = TextFile(Path(source))
    else:
        part = open_data(source if isinstance(source, Data) else str(source), subject).split(split)
        if not isinstance(part, TokenSplit):
            return None
        text = part
    if limit is not None:
        raise InvalidInput("limit is for data that are counted, a text is compressed whole: leave it out")
    return text


def _compress_text(
    subject: Subject,
    text: TextFile | TokenSplit,
    coder: TextCoder,
    path: Path,
    chunk_size: int | None,
    verify: bool,
    progress: bool,
) -> Compressed:
    started = time.perf_counter()
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            parts = text_parts(text, coder, progress=progress)
            header = functools.partial(_header, subject, coder.coder, settings=coder.settings)
            written = write_text(file, header, coder, parts, chunk_size)
        encoded = time.perf_counter()
        if verify:
            problems = text_problems(open_archive(temporary), coder, written, progress=progress)
            _refuse(problems)
        verify_seconds = time.perf_counter() - encoded if verify else 0.0
        size = temporary.stat().st_size
    return Compressed(
        str(path),
        written.tokens,
        0,
        size,
        written.nats,
        8 * size / written.tokens,
        size - written.nats / math.log(256.0),
        encoded - started,
        verify_seconds,
        8 * size / written.size,
        coder.coder.event.unit,
    )


# What else is compressed


@dataclass
class _Source:
    """Data to compress, batch by batch.

    Args:
        count: data, or image files, of which some may not be for the model.
        batches: the data; each becomes a chunk.
        images: the folder that they are read from, which knows their names; None where they have none.
    """

    count: int
    batches: Iterable[Batch]
    images: ImageFolder | None = None


def _open_source(
    subject: Subject, source: Tensor | Data | str | Path, condition: Tensor | None, split: str, limit: int | None, size: int
) -> _Source:
    model = subject.model
    if isinstance(source, str | Path):
        images = open_images(Path(source), model.event)
        if images is not None:
            if model.condition is not None or condition is not None:
                raise InvalidInput(
                    f"image files come without conditions, and {subject.name} is conditioned on"
                    f" {model.condition or 'nothing'}: give an array with its conditions, or a data set"
                )
            return _Source(len(images.paths), ((x.to(model.device), None) for x in images.batches(size)), images)
        if Path(source).suffix == ".npy" and Path(source).is_file():
            from ancestral.data.files import read_numbers

            source = read_numbers(Path(source))
    if isinstance(source, Tensor):
        model.event.check(source, "the data")
        condition = model.check_condition(condition, len(source))
        return _Source(len(source), _batches(model, source, condition, size))
    if condition is not None:
        raise InvalidInput("a data set has conditions of its own: give `condition` with a tensor or an .npy file alone")
    data = open_data(source if isinstance(source, Data) else str(source), subject)
    part = data.split(split)
    drawn = batches(part, model, batch_size=size, limit=limit)
    return _Source(min(limit or len(part), len(part)), ((x.to(model.event.dtype), condition) for _, x, condition in drawn))


def _batches(model: Model, x: Tensor, condition: Tensor | None, size: int) -> Iterator[Batch]:
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        given = None if condition is None else condition[part].to(model.device)
        yield x[part].to(model.device, model.event.dtype), given


# Writing


@dataclass
class _Written:
    """What was written.

    Args:
        nats: of the data.
        count: data.
        units: of all data together; see `Event.units`.
        digests: SHA-256 of the originals of each chunk, by the place of its first datum.
    """

    nats: float = 0.0
    count: int = 0
    units: int = 0
    digests: dict[int, bytes] = field(default_factory=dict)

    def add(self, original: bytes, count: int, units: Tensor, nats: float) -> None:
        self.digests[self.count] = hashlib.sha256(original).digest()
        self.count, self.units, self.nats = self.count + count, self.units + int(units.sum()), self.nats + nats


def _write_archive(file: BinaryIO, subject: Subject, coder: Coder, data: _Source, progress: bool) -> _Written:
    writer, header, total, written = None, None, hashlib.sha256(), _Written()
    for x, condition in track_data(data.batches, "compressing", data.count, lambda batch: len(batch[0]), progress=progress):
        original = coder.originals.pack(x, condition)
        if writer is None or header is None:
            header = _header(subject, coder, original)
            writer = Writer(file, header)
        member, shift, code, nats = coder.encode(x, condition)
        plain = zlib.compress(original, 9)
        kind, payload = (PLAIN, plain) if code is None or len(plain) < len(code) else (coder.kind, code)
        mark = digest(header, written.count, original)
        writer.add(Chunk(kind, written.count, len(x), mark, payload, member, shift))
        total.update(original)
        written.add(original, len(x), coder.event.units(x), nats)
    if writer is None or header is None:
        header = _header(subject, coder, b"")
        writer = Writer(file, header)
    for kind, count, content in _kept(data.images):
        writer.add(Chunk(kind, 0, count, digest(header, 0, content), content))
        total.update(content)
    writer.end(written.count, total.digest())
    return written


def _header(subject: Subject, coder: Coder, original: bytes, settings: str = "") -> Header:
    salt = hashlib.sha256(original).digest()[:SALT_BYTES]
    name = subject.name if subject.name in zoo_names() else coder.model.name  # a path would mean nothing elsewhere
    return Header(name, coder.key, coder.event.shape, coder.levels, salt, settings)


def _kept(images: ImageFolder | None) -> Iterator[tuple[int, int, bytes]]:
    """Yield what is kept of a folder beside the data, as (kind of chunk, count, content)."""
    if images is None:
        return
    if images.names:
        yield NAMES, len(images.names), pack_names(images.names)
    for name, path in images.files:
        yield OTHER, 1, pack_file(name, path)


def _write_single(file: BinaryIO, subject: Subject, coder: Coder, data: _Source, progress: bool) -> _Written:
    """Write one datum with next to nothing around it, where that is possible; an archive otherwise."""
    ((x, condition),) = data.batches
    _, shift, code, nats = coder.encode(x, condition)
    if code is None or shift != 0:
        return _write_archive(file, subject, coder, _Source(1, [(x, condition)]), progress)
    original = coder.originals.pack(x, condition)
    file.write(pack_single(coder, original, code))
    written = _Written()
    written.add(original, 1, coder.event.units(x), nats)
    return written


# Checking


def _verify(path: Path, coder: Coder, written: _Written, progress: bool) -> None:
    """Raise unless an archive decodes to what it was made of."""
    problems: list[str] = []
    left = dict(written.digests)
    for first, data in _decoded(open_archive(path), coder, written.count, problems, progress):
        if left.pop(first, b"") != hashlib.sha256(coder.originals.pack(*data)).digest():
            problems.append(f"the data from {first} on differ")
    if left and not problems:
        problems.append(f"the data from {min(left)} on are missing")
    _refuse(problems)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise InvalidInput(
            f"the archive does not decode to the data ({'; '.join(problems[:3])}): nothing was written. Steps and passes of"
            " this model differ by more than the format allows for; please report it with the model"
        )


def _decoded(buffer: memoryview, coder: Coder, count: int, problems: list[str], progress: bool) -> Iterator[tuple[int, Batch]]:
    """Yield the data of an archive, chunk by chunk, with the place of the first; what is wrong is added to `problems`."""
    if is_single(buffer):
        try:
            yield 0, unpack_single(coder, buffer)
        except Damage as damage:
            problems.append(str(damage))
        return
    contents = read(buffer)
    problems += contents.problems
    chunks = data_chunks(contents, coder, problems)
    decoded = decode_chunks(coder, contents.header, chunks)
    for chunk, data in track_data(decoded, "checking", count, lambda item: item[0].count, progress=progress):
        if data is None:
            problems.append(f"{places(chunk)} do not decode")
        else:
            yield chunk.first, data
    kept_chunks(contents, problems)
