"""Texts in archives: what `compress` and `decompress` do where a model is of text."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ancestral.coding import Damage, inflate
from ancestral.coding.archive import PLAIN_TEXT, TEXT, TOTAL_DIGEST_BYTES, Chunk, Contents, Header, Writer, digest, read
from ancestral.coding.frequencies import SHIFTS
from ancestral.coding.text import TextCoder
from ancestral.data.text import TokenSplit
from ancestral.data.text_files import Span
from ancestral.errors import InvalidInput
from ancestral.verbs.inputs import track

READ = 2**16
"""Bytes of a file, or tokens of a split, that are read at a time."""
DECODE_BATCH = 64
"""Chunks that are decoded at once."""
LOST = b""
"""Stands for the text of a chunk that can no longer be decoded; no chunk is empty."""
PLAIN_BYTES = 2**24
"""Bytes of a chunk that is deflated as it is, at most."""


@dataclass
class WrittenText:
    """What was written.

    Args:
        nats: of the tokens.
        tokens: number of them.
        size: bytes of the text.
        sha256: of the text.
    """

    nats: float = 0.0
    tokens: int = 0
    size: int = 0
    sha256: bytes = b""


@dataclass(frozen=True)
class TextFile:
    """A file of text, whatever its suffix."""

    path: Path


def text_parts(source: TextFile | TokenSplit, coder: TextCoder, *, progress: bool = False) -> Iterator[bytes]:
    """Yield a text in parts.

    Args:
        source: a file; or a split, whose tokens are of the model's encoding.
        coder: of the model.
        progress: show a progress bar.

    Raises:
        InvalidInput: if it is a split whose text is not known to the byte.
    """
    if isinstance(source, TextFile):
        span = Span.whole(source.path)
        parts = -(-len(span) // READ)
        yield from track(span.chunks(READ), "compressing", parts, progress=progress)
        return
    if source.unknown_nats:
        raise InvalidInput(
            "the split has pieces that the encoding does not know, and no longer says which: give the file of the text"
        )
    for tokens in source.tokens.split(READ):  # whole bytes at every level
        yield coder.encoding.decode(tokens)


def write_text(
    file: BinaryIO, header: Callable[[bytes], Header], coder: TextCoder, text: Iterable[bytes], size: int | None = None
) -> WrittenText:
    """Write the archive of a text.

    Args:
        file: where to.
        header: returns the header, given the first chunk's text.
        coder: of the model.
        text: the text in parts, cut anywhere.
        size: tokens of a chunk; the most there may be where None.

    Raises:
        InvalidInput: if the text is empty, or not UTF-8 where it must be.
    """
    written, total, writer = WrittenText(), hashlib.sha256(), None
    coder.begin()
    for stretch in coder.stretches(text, size):
        if writer is None:
            made = header(stretch.original)
            writer = Writer(file, made)
        plain = zlib.compress(stretch.original, 9)
        shift, code, nats = coder.encode(stretch, len(plain))
        mark, first = digest(made, written.size, stretch.original), written.size
        if code is None:
            writer.add(Chunk(PLAIN_TEXT, first, len(stretch.original), mark, plain))
        else:
            writer.add(Chunk(TEXT, first, len(stretch.tokens), mark, code, shift=shift))
        total.update(stretch.original)
        written.nats += nats
        written.tokens += len(stretch.tokens)
        written.size += len(stretch.original)
    if writer is None:
        raise InvalidInput("there is nothing to compress: the text is empty")
    written.sha256 = total.digest()
    writer.end(written.size, written.sha256)
    return written


@dataclass
class RestoredText:
    """What came out of the archive of a text.

    Args:
        parts: what is intact, in order; nothing where it was only to be checked.
        problems: what is damaged, in words.
        size: bytes of all parts.
        sha256: of all parts together.
    """

    parts: list[bytes] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    size: int = 0
    sha256: bytes = b""

    @property
    def text(self) -> bytes:
        """All that is intact."""
        return b"".join(self.parts)


def text_problems(buffer: memoryview, coder: TextCoder, written: WrittenText, *, progress: bool = False) -> list[str]:
    """Return in what the text of an archive differs from what was written, in words."""
    found = read_text(read(buffer), coder, None, keep=False, what="checking", progress=progress)
    same = (found.size, found.sha256) == (written.size, written.sha256)
    return found.problems if found.problems or same else ["the text differs"]


def is_text(contents: Contents) -> bool:
    """Return whether an archive holds a text."""
    return any(chunk.kind in (TEXT, PLAIN_TEXT) for chunk in contents.chunks)


def read_text(
    contents: Contents,
    coder: TextCoder,
    max_bytes: int | None,
    *,
    keep: bool = True,
    what: str = "decompressing",
    progress: bool = False,
) -> RestoredText:
    """Return what is intact of the text of an archive.

    Args:
        contents: of the archive.
        coder: of the model that made it.
        max_bytes: bytes of text that are accepted; any number where None.
        keep: hold the text in memory; else it is only checked.
        what: what to call it on the progress bar.
        progress: show a progress bar.

    Raises:
        InvalidInput: if the text is longer.
    """
    restored = RestoredText(problems=list(contents.problems))
    chunks = sorted((c for c in contents.chunks if c.kind in (TEXT, PLAIN_TEXT)), key=lambda c: c.first)
    end, total = 0, hashlib.sha256()
    decoded = (_decoded_in_order if coder.in_order else _decoded)(chunks, coder, contents.header)
    for chunk, text in track(decoded, what, len(chunks), progress=progress):
        where = f"the text from byte {chunk.first} on"
        if text is None:
            restored.problems.append(f"{where} does not decode")
        elif text == LOST:
            restored.problems.append(f"{where} is lost with what is damaged before it: the model would have learned from that")
        elif chunk.first < end:
            restored.problems.append(f"{where} is there twice")
        else:
            end, restored.size = chunk.first + len(text), restored.size + len(text)
            if max_bytes is not None and restored.size > max_bytes:
                raise InvalidInput(f"it decodes to more than {max_bytes} bytes: raise max_bytes where you trust it")
            if keep:
                restored.parts.append(text)
            total.update(text)
    restored.sha256 = total.digest()
    if not restored.problems and contents.total != (restored.size, restored.sha256[:TOTAL_DIGEST_BYTES]):
        restored.problems.append("the checksum over the whole text is wrong: parts are missing, or of another archive")
    return restored


def _decoded(chunks: list[Chunk], coder: TextCoder, header: Header) -> Iterator[tuple[Chunk, bytes | None]]:
    """Yield chunks, in order, with their texts, which are decoded some at a time; None for one that cannot be."""
    for start in range(0, len(chunks), DECODE_BATCH):
        group = chunks[start : start + DECODE_BATCH]
        coded = [chunk for chunk in group if chunk.kind == TEXT and _fits(chunk, coder)]
        texts = dict(zip(map(id, coded), _texts(coded, coder), strict=True))
        for chunk in group:
            yield chunk, _whole(header, chunk, _inflated(chunk) if chunk.kind == PLAIN_TEXT else texts.get(id(chunk)))


def _decoded_in_order(chunks: list[Chunk], coder: TextCoder, header: Header) -> Iterator[tuple[Chunk, bytes | None]]:
    """Do as `_decoded`, where a coded chunk needs those before it: after one that is not whole, the others are `LOST`."""
    coder.begin()
    lost = False
    for chunk in chunks:
        if chunk.kind == PLAIN_TEXT:
            yield chunk, _whole(header, chunk, _inflated(chunk))
        elif lost:
            yield chunk, LOST
        else:
            text = _whole(header, chunk, _texts([chunk], coder)[0] if _fits(chunk, coder) else None)
            lost = text is None
            yield chunk, text


def _whole(header: Header, chunk: Chunk, text: bytes | None) -> bytes | None:
    """Return the text of a chunk if it is the one that was written, else None."""
    return text if text is not None and digest(header, chunk.first, text) == chunk.digest else None


def _fits(chunk: Chunk, coder: TextCoder) -> bool:
    return 1 <= chunk.count <= coder.chunk_size and chunk.shift < SHIFTS and chunk.member == 0


def _texts(chunks: list[Chunk], coder: TextCoder) -> list[bytes | None]:
    if not chunks:
        return []
    try:
        return list(coder.decode([(chunk.count, chunk.shift, bytes(chunk.payload)) for chunk in chunks]))
    except Damage:
        if len(chunks) == 1:
            return [None]
        return [text for chunk in chunks for text in _texts([chunk], coder)]


def _inflated(chunk: Chunk) -> bytes | None:
    try:
        return inflate(chunk.payload, chunk.count) if chunk.count <= PLAIN_BYTES else None
    except Damage:
        return None
