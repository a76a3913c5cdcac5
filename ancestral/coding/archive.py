"""The archive file: a header, chunks that stand for themselves, and an end; docs/format.md describes every byte.

Archives are untrusted input. Reading one takes memory in proportion to the file's size at most: what it says of sizes is
checked against the file before it is believed. Damage is found by checksums, and stays with the chunk that it hit.
"""

import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from ancestral.coding import Damage
from ancestral.errors import InvalidInput

MAGIC = b"ANC"
ARCHIVE, ADAPTIVE = 0x01, 0x02
"""Fourth byte of the file: its version, the second where the model adapts as it codes; that of a file of a single datum is
another, see `coding.single`."""
END, CODED, PLAIN, NAMES, OTHER, TEXT, PLAIN_TEXT, BITS_BACK = range(8)
"""Kinds of chunks: the end; data coded by the model; data deflated as they are; names of the data; another file; text, coded
and deflated; data coded by bits-back."""
KINDS = (CODED, PLAIN, NAMES, OTHER, TEXT, PLAIN_TEXT, BITS_BACK)
"""Kinds that have a payload."""
DATA = (CODED, PLAIN, BITS_BACK)
"""Kinds that hold data."""
KEY_BYTES, SALT_BYTES, DIGEST_BYTES, TOTAL_DIGEST_BYTES = 16, 4, 4, 16
MAX_NAME, MAX_AXES, MAX_SETTINGS = 255, 8, 1023
_MAX_VARINT_BYTES = 9
_CRC_START = 0xFFFF
_SEARCH = 8
"""Times the length of a file that payloads are looked through, at most, to find the whole chunks after damaged ones."""
_VARINT = rb"[\x80-\xff]{0,%d}[\x00-\x7f]" % (_MAX_VARINT_BYTES - 1)
_HEAD = re.compile(
    rb"(?=([%b](?:%b){5}.{%d}|%b%b.{%d}))"
    % (bytes(KINDS), _VARINT, DIGEST_BYTES + 2, bytes([END]), _VARINT, TOTAL_DIGEST_BYTES + 2),
    re.DOTALL,
)
"""What has the form of the head of a chunk, or of the end, with its checksum; at any byte."""


@dataclass(frozen=True)
class Header:
    """What an archive says of itself.

    Args:
        model: name of the model that the data were coded by.
        key: digest of the model, see `coding.coder.model_key`.
        shape: of a datum.
        levels: values of an entry.
        salt: what ties chunks to this archive.
        settings: how the model adapts as it codes, as JSON; empty where it does not.
    """

    model: str
    key: bytes
    shape: tuple[int, ...]
    levels: int
    salt: bytes
    settings: str = ""


@dataclass(frozen=True)
class Chunk:
    """A run of data, or what belongs to it.

    Args:
        kind: one of `KINDS`.
        first: index of the first datum.
        count: number of data.
        member: of a mixture, that they are coded by.
        shift: offset of the grid, see `coding.frequencies`.
        digest: of the originals, see `digest`.
        payload: the code.
    """

    kind: int
    first: int
    count: int
    digest: bytes
    payload: bytes | memoryview
    member: int = 0
    shift: int = 0


@dataclass
class Contents:
    """What was found in an archive.

    Args:
        header: the header.
        chunks: those with their checksums right, in the order of the file.
        total: number of data, and the digest over all of them; None where the end of the file is missing.
        problems: what is damaged, in words.
    """

    header: Header
    chunks: list[Chunk] = field(default_factory=list)
    total: tuple[int, bytes] | None = None
    problems: list[str] = field(default_factory=list)


def digest(header: Header, first: int, original: bytes) -> bytes:
    """Return the digest of the originals of a chunk, which also depends on the archive and on where they stand in it."""
    text = header.key + header.salt + first.to_bytes(8, "big") + original
    return hashlib.sha256(text).digest()[:DIGEST_BYTES]


# Writing


class Writer:
    """Writes an archive chunk by chunk.

    Args:
        file: where to.
        header: what the archive says of itself.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        name = header.model.encode()[:MAX_NAME]
        body = varint(len(name)) + name + header.key + header.salt
        body += varint(len(header.shape)) + b"".join(map(varint, header.shape)) + varint(header.levels)
        if header.settings:
            body += varint(len(header.settings.encode())) + header.settings.encode()
        start = MAGIC + bytes([ADAPTIVE if header.settings else ARCHIVE])
        file.write(start + body + zlib.crc32(start + body).to_bytes(4, "big"))

    def add(self, chunk: Chunk) -> None:
        """Write a chunk."""
        numbers = (chunk.first, chunk.count, chunk.member, chunk.shift, len(chunk.payload))
        head = bytes([chunk.kind]) + b"".join(map(varint, numbers)) + chunk.digest
        self._file.write(head + _check(head) + chunk.payload + zlib.crc32(chunk.payload).to_bytes(4, "big"))

    def end(self, count: int, digest: bytes) -> None:
        """Write the end: how many data there are, and the digest over all of them."""
        head = bytes([END]) + varint(count) + digest[:TOTAL_DIGEST_BYTES]
        self._file.write(head + _check(head))


def varint(value: int) -> bytes:
    """Return a whole number in as few bytes as it takes, seven bits each, the lowest first; the last has its high bit 0.

    >>> list(varint(5)), list(varint(300))
    ([5], [172, 2])
    """
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def take_varint(content: memoryview) -> tuple[int, memoryview]:
    """Return the whole number that `varint` wrote at the beginning of some bytes, and those after it.

    Raises:
        Damage: if there is none.
    """
    reader = _Reader(content)
    value = reader.varint()
    return value, content[reader.at :]


def _check(head: bytes | memoryview) -> bytes:
    # Of a head with these two bytes after it, the checksum is 0: `_find` relies on it.
    return binascii.crc_hqx(head, _CRC_START).to_bytes(2, "big")


# Reading


class _Reader:
    """Takes bytes from a buffer one field after another, and never beyond its end."""

    def __init__(self, buffer: memoryview, at: int = 0) -> None:
        self.buffer, self.at = buffer, at
        # A file made to be slow can hold a header, of a long payload, at every few bytes: what is searched has an end.
        self.searchable = _SEARCH * len(buffer)

    def take(self, n: int) -> memoryview:
        if n > len(self.buffer) - self.at:
            raise Damage(f"the file ends within {n} bytes that begin at byte {self.at}")
        self.at += n
        return self.buffer[self.at - n : self.at]

    def varint(self) -> int:
        value = 0
        for i in range(_MAX_VARINT_BYTES):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return value
        raise Damage(f"byte {self.at} belongs to no number")


def read(buffer: memoryview) -> Contents:
    """Return what an archive holds, damaged parts left out and named.

    Args:
        buffer: the file.

    Raises:
        InvalidInput: if it is no archive, or its header is damaged.
    """
    if bytes(buffer[:3]) != MAGIC:
        raise InvalidInput(f"not an archive of ancestral: it begins with {bytes(buffer[:4])!r}, expected {MAGIC!r}")
    version = bytes(buffer[3:4])
    if version not in (bytes([ARCHIVE]), bytes([ADAPTIVE])):
        raise InvalidInput(
            f"this archive is of version {version!r}, this program reads {bytes([ARCHIVE])!r} and {bytes([ADAPTIVE])!r}:"
            " update it"
        )
    reader = _Reader(buffer, 4)
    try:
        contents = Contents(_header(reader, adaptive=version == bytes([ADAPTIVE])))
    except Damage as damage:
        raise InvalidInput(f"the header of the archive is damaged ({damage}): nothing can be read without it") from damage
    for item in _chunks(reader):
        if isinstance(item, Chunk):
            contents.chunks.append(item)
        elif isinstance(item, str):
            contents.problems.append(item)
        else:
            contents.total = item
    if contents.total is None:
        contents.problems.append("the end of the file is missing")
    return contents


def _header(reader: _Reader, *, adaptive: bool) -> Header:
    length = reader.varint()
    if length > MAX_NAME:
        raise Damage(f"a name of {length} bytes")
    name = bytes(reader.take(length))
    key, salt = bytes(reader.take(KEY_BYTES)), bytes(reader.take(SALT_BYTES))
    axes = reader.varint()
    if axes > MAX_AXES:
        raise Damage(f"{axes} axes")
    shape, levels = tuple(reader.varint() for _ in range(axes)), reader.varint()
    size = reader.varint() if adaptive else 0
    if size > MAX_SETTINGS:
        raise Damage(f"settings of {size} bytes")
    settings = bytes(reader.take(size)).decode(errors="replace")
    end = reader.at
    if bytes(reader.take(4)) != zlib.crc32(reader.buffer[:end]).to_bytes(4, "big"):
        raise Damage("its checksum is wrong")
    return Header(name.decode(errors="replace"), key, shape, levels, salt, settings)


def _chunks(reader: _Reader) -> Iterator[Chunk | str | tuple[int, bytes]]:
    """Yield chunks, problems, and the end, (count, digest); parts that were added or moved do not hide those after them."""
    while reader.at < len(reader.buffer):
        start = reader.at
        try:
            found = _part(reader)
        except Damage as damage:
            # Nothing in a damaged chunk can be relied on, its length neither: the next one may begin anywhere.
            following = _find(reader, start + 1)
            reader.at = len(reader.buffer) if following is None else following
            yield f"bytes {start} to {reader.at} hold no chunk ({damage})"
            continue
        yield found
        if not isinstance(found, Chunk) and reader.at < len(reader.buffer):
            yield f"{len(reader.buffer) - reader.at} bytes follow the end"


def _part(reader: _Reader) -> Chunk | tuple[int, bytes]:
    """Return the chunk, or the end, that begins here."""
    start = reader.at
    kind = reader.take(1)[0]
    if kind == END:
        count, total = reader.varint(), bytes(reader.take(TOTAL_DIGEST_BYTES))
        _verify_head(reader, start)
        return count, total
    if kind not in KINDS:
        raise Damage(f"no kind of chunk {kind}")
    first, count, member, shift, length = (reader.varint() for _ in range(5))
    digest = bytes(reader.take(DIGEST_BYTES))
    _verify_head(reader, start)
    payload = reader.take(length)
    if bytes(reader.take(4)) != zlib.crc32(payload).to_bytes(4, "big"):
        reader.searchable -= length
        what = f"data {first} to {first + count - 1}" if kind in DATA else "names, or another file"
        raise Damage(f"{what}: the checksum is wrong")
    return Chunk(kind, first, count, digest, payload, member, shift)


def _verify_head(reader: _Reader, start: int) -> None:
    head = reader.buffer[start : reader.at]
    if bytes(reader.take(2)) != _check(head):
        raise Damage(f"the checksum of the chunk at byte {start} is wrong")


def _find(reader: _Reader, at: int) -> int | None:
    """Return where the next whole chunk, or the end, begins, from byte `at` on; None where there is none."""
    for head in _HEAD.finditer(reader.buffer, at):
        if reader.searchable < 0:
            return None
        if binascii.crc_hqx(head[1], _CRC_START) != 0:
            continue
        reader.at = head.start()
        try:
            _part(reader)
        except Damage:
            continue
        return head.start()
    return None
