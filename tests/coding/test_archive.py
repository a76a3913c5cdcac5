"""The archive file: what is written is read, and what is damaged is left out and named."""

import binascii
import io
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancestral.coding import archive as module
from ancestral.coding.archive import (
    CODED,
    MAX_NAME,
    NAMES,
    OTHER,
    PLAIN,
    Chunk,
    Contents,
    Header,
    Writer,
    digest,
    read,
    varint,
)
from ancestral.errors import InvalidInput

HEADER = Header("made", bytes(range(16)), (3, 5), 17, b"salt")


def chunks(n: int = 4) -> list[Chunk]:
    random = np.random.default_rng(0)
    kinds = (CODED, PLAIN, NAMES, OTHER)
    return [Chunk(kinds[i % 4], 10 * i, 10, random.bytes(4), random.bytes(20 + i), i, 255 - i) for i in range(n)]


def written(items: list[Chunk], header: Header = HEADER) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, header)
    for chunk in items:
        writer.add(chunk)
    writer.end(10 * len(items), b"d" * 16)
    return file.getvalue()


END_BYTES = 1 + 1 + 16 + 2
HEADER_BYTES = len(written([])) - END_BYTES


def reread(content: bytes) -> Contents:
    contents = read(memoryview(content))
    contents.chunks = [Chunk(c.kind, c.first, c.count, c.digest, bytes(c.payload), c.member, c.shift) for c in contents.chunks]
    return contents


def test_what_is_written_is_read() -> None:
    contents = reread(written(chunks()))
    assert contents == Contents(HEADER, chunks(), (40, b"d" * 16), [])


@given(value=st.integers(0, 2**62))
def test_numbers_of_any_size(value: int) -> None:
    chunk = Chunk(CODED, value, value, b"1234", b"payload")
    assert reread(written([chunk])).chunks == [chunk]
    assert len(varint(value)) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("size", [0, 1, 3, 20])
def test_what_is_no_archive_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match="not an archive"):
        read(memoryview(b"PNG file of another kind"[:size]))


def test_another_version_is_refused() -> None:
    content = bytearray(written([]))
    content[3] = 9
    with pytest.raises(InvalidInput, match="version"):
        read(memoryview(content))


@pytest.mark.parametrize("at", [5, 10, 25, 30])
def test_a_damaged_header_is_refused(at: int) -> None:
    content = bytearray(written(chunks()))
    content[at] ^= 1
    with pytest.raises(InvalidInput, match="header of the archive is damaged"):
        read(memoryview(content))


def test_a_damaged_byte_costs_at_most_one_chunk() -> None:
    """Every byte after the header, one after another."""
    items = chunks()
    content = written(items)
    for at in range(HEADER_BYTES, len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        found = reread(bytes(damaged))
        assert found.problems, at
        assert all(chunk in items for chunk in found.chunks)
        assert len(found.chunks) >= len(items) - 1


def test_bytes_that_are_missing_or_added_cost_at_most_one_chunk() -> None:
    items = chunks()
    content = written(items)
    for at in range(HEADER_BYTES, len(content) - END_BYTES, 3):
        for changed in (content[:at] + content[at + 2 :], content[:at] + b"\x01\x02\x03" + content[at:]):
            found = reread(changed)
            assert found.problems, at
            assert all(chunk in items for chunk in found.chunks)
            assert len(found.chunks) >= len(items) - 1


def test_every_truncation_is_noticed() -> None:
    items = chunks()
    content = written(items)
    for end in range(HEADER_BYTES, len(content)):
        found = reread(content[:end])
        assert found.problems
        assert found.chunks == items[: len(found.chunks)]


def test_what_follows_the_end_is_noticed() -> None:
    assert "follow the end" in reread(written(chunks()) + b"more").problems[0]


@pytest.mark.parametrize("between", [b"", written(chunks(1))[HEADER_BYTES:-END_BYTES]], ids=["headers", "and whole chunks"])
def test_a_file_made_to_be_slow_is_given_up(between: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers, right in themselves, at every few bytes, each of a length that nearly reaches the end of the file."""
    size = 20_000
    body = b"\x09"
    while len(body) < size:
        head = bytes([CODED, 0, 1, 0, 0]) + varint(max(0, size - len(body) - 256)) + b"1234"
        body += head + binascii.crc_hqx(head, 0xFFFF).to_bytes(2, "big") + between
    looked_at = 0

    def crc32(content: bytes) -> int:
        nonlocal looked_at
        looked_at += len(content)
        return zlib.crc32(content)

    monkeypatch.setattr(module, "zlib", SimpleNamespace(crc32=crc32))
    content = written([])[:HEADER_BYTES] + body
    assert "hold no chunk" in reread(content).problems[0]
    assert looked_at < 10 * len(content)


def test_a_search_is_long_enough_for_a_file_of_zeros() -> None:
    """Each of them could be the end: what damage leaves most often."""
    items = chunks()
    content = written(items)
    zeros = bytes(100 * len(content))
    found = reread(content[:HEADER_BYTES] + zeros + content[HEADER_BYTES:])
    assert found.chunks == items


def test_an_end_in_the_middle_hides_nothing() -> None:
    items = chunks()
    content = written(items)
    found = reread(content[:HEADER_BYTES] + content[-END_BYTES:] + content[HEADER_BYTES:])
    assert found.chunks == items
    assert "follow the end" in found.problems[0]


def test_long_names_are_cut() -> None:
    header = Header("n" * 400, bytes(16), (1,), 2, bytes(4))
    assert reread(written([], header)).header.model == "n" * MAX_NAME


def test_digests_depend_on_the_archive_and_on_the_place() -> None:
    other = Header("made", bytes(range(16)), (3, 5), 17, b"tlas")
    assert len({digest(HEADER, 0, b"x"), digest(HEADER, 1, b"x"), digest(other, 0, b"x"), digest(HEADER, 0, b"y")}) == 4
