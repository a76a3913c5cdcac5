"""From the chunks of an archive to data, chunks of one kind together; what is not as it was written is told apart."""

from collections.abc import Iterator

from ancestral.coding import Damage, inflate
from ancestral.coding.archive import NAMES, OTHER, PLAIN, Chunk, Contents, Header, digest
from ancestral.coding.coder import Coder
from ancestral.coding.frequencies import SHIFTS
from ancestral.coding.originals import Batch
from ancestral.errors import InvalidInput

DECODE_BATCH = 512
"""Data that are decoded at once, at most, where chunks are smaller."""
DECODE_BYTES = 2**29
"""Bytes that the model remembers of them, at most, where chunks are smaller."""
_PLACES = 2**63
"""Places of data are whole numbers below this, so that they are int64."""


def data_chunks(contents: Contents, coder: Coder, problems: list[str]) -> list[Chunk]:
    """Return the chunks of an archive that can hold data of a model, by place; those that cannot are added to `problems`.

    Args:
        contents: of the archive.
        coder: of the model.
        problems: what is wrong, in words.

    Raises:
        InvalidInput: if the archive is of another event.
    """
    event, header = coder.event, contents.header
    if header.shape != event.shape or header.levels != event.levels:
        raise InvalidInput(
            f"it holds data of {header.shape} with {header.levels} levels, the model is of {event}: give the model it names"
        )
    chunks = []
    for chunk in sorted((c for c in contents.chunks if c.kind in (coder.kind, PLAIN)), key=lambda c: c.first):
        fits = 1 <= chunk.count <= coder.chunk_size and chunk.member < coder.members and chunk.shift < SHIFTS
        if fits and chunk.first + chunk.count < _PLACES:
            chunks.append(chunk)
        else:
            problems.append(f"no chunk can hold {places(chunk)} as one says")
    return chunks


def places(chunk: Chunk) -> str:
    """Return which data a chunk says that it holds, in words."""
    return f"data {chunk.first} to {chunk.first + chunk.count - 1}"


def decode_chunks(coder: Coder, header: Header, chunks: list[Chunk]) -> Iterator[tuple[Chunk, Batch | None]]:
    """Yield chunks with their data, on the CPU; None stands for data that are not those that were written.

    Args:
        coder: of the model.
        header: of the archive.
        chunks: from `data_chunks`; those of one kind and member come first, and in an order of their own.
    """
    size = max(1, min(DECODE_BATCH, DECODE_BYTES // coder.step_bytes))
    for group in _groups(chunks, size):
        for chunk, data in zip(group, _decode_group(coder, group), strict=True):
            whole = data is not None and digest(header, chunk.first, coder.originals.pack(*data)) == chunk.digest
            yield chunk, data if whole else None


def kept_chunks(contents: Contents, problems: list[str]) -> list[tuple[int, bytes]]:
    """Return the names and other files of an archive, as (kind, content); what is of another is added to `problems`."""
    kept = []
    for chunk in contents.chunks:
        if chunk.kind in (NAMES, OTHER):
            content = bytes(chunk.payload)
            if digest(contents.header, chunk.first, content) == chunk.digest:
                kept.append((chunk.kind, content))
            else:
                problems.append("names, or another file, belong to another archive")
    return kept


def _groups(chunks: list[Chunk], size: int) -> Iterator[list[Chunk]]:
    """Yield chunks that are decoded together, of one kind and one member: `size` data at most, or one chunk."""
    group: list[Chunk] = []
    held = 0
    for chunk in sorted(chunks, key=lambda c: (c.kind, c.member, c.first)):
        alike = not group or (group[0].kind, group[0].member) == (chunk.kind, chunk.member)
        if group and (not alike or held + chunk.count > size):
            yield group
            group, held = [], 0
        group.append(chunk)
        held += chunk.count
    if group:
        yield group


def _decode_group(coder: Coder, group: list[Chunk]) -> list[Batch | None]:
    """Decode chunks; None stands for one that cannot be."""
    try:
        if group[0].kind == PLAIN:
            originals = coder.originals
            return [originals.unpack(c.count, inflate(c.payload, c.count * originals.size)) for c in group]
        return list(coder.decode(group[0].member, [(c.count, c.shift, bytes(c.payload)) for c in group]))
    except Damage:
        half = len(group) // 2
        return [None] if half == 0 else [*_decode_group(coder, group[:half]), *_decode_group(coder, group[half:])]
