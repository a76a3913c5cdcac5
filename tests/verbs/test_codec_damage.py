"""Damaged and forged archives: what is intact comes back, nothing wrong does, and neither takes long nor much memory."""

import io
import json
import resource
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ancestral.coding import archive
from ancestral.coding.archive import CODED, NAMES, OTHER, PLAIN, Chunk, Header, Writer, digest
from ancestral.coding.bits_back import make_coder
from ancestral.coding.coder import Coder, ModelCoder
from ancestral.coding.originals import Batch
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import Model, create
from ancestral.verbs.compress import compress
from ancestral.verbs.decompress import Restored, decompress, restore
from ancestral.verbs.image_files import NamedImage, unpack_file, unpack_names
from tests.contracts.cases import generator
from tests.verbs.test_codec import image_model, smooth

CHECKED, DECODED = 10, 2
"""Times the length of a damaged file: bytes that may be checked, and data that may be decoded."""
MEGABYTES = 64
"""Memory that such files may take, one after another."""


# Damage


def flip(content: bytes, random: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    damaged[random.integers(len(content))] ^= 1 << random.integers(8)
    return bytes(damaged)


def overwrite(content: bytes, random: np.random.Generator) -> bytes:
    (at, _), n = spans(content, random), int(random.integers(1, 40))
    return content[:at] + (random.bytes(n) if random.random() < 0.5 else bytes(n)) + content[at + n :]


def truncate(content: bytes, random: np.random.Generator) -> bytes:
    return content[: spans(content, random)[0]]


def remove(content: bytes, random: np.random.Generator) -> bytes:
    a, b = spans(content, random)
    return content[:a] + content[b:]


def duplicate(content: bytes, random: np.random.Generator) -> bytes:
    a, b = spans(content, random)
    return content[:b] + content[a:]


def splice(content: bytes, random: np.random.Generator) -> bytes:
    (a, b), (at, _) = spans(content, random), spans(content, random)
    return content[:at] + content[a:b] + content[at:]


def swap(content: bytes, random: np.random.Generator) -> bytes:
    a, b, c = sorted(int(at) for at in random.integers(len(content) + 1, size=3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def spans(content: bytes, random: np.random.Generator) -> tuple[int, int]:
    a, b = sorted(int(at) for at in random.integers(len(content) + 1, size=2))
    return a, b


def reorder(content: bytes, random: np.random.Generator) -> bytes:
    """Chunks, and the end, whole: moved, left out, or there more than once."""
    head, parts = cut(content)
    chosen = random.integers(len(parts), size=random.integers(len(parts) + 3)) if parts else []
    return head + b"".join(parts[i][1] for i in chosen)


DAMAGES = (flip, overwrite, truncate, remove, duplicate, splice, swap, reorder)


def cut(content: bytes) -> tuple[bytes, list[tuple[Chunk | None, bytes]]]:
    """Return an archive's header, and its parts with their bytes: chunks, and None for the end; of other files, nothing."""
    if not content.startswith(archive.MAGIC + bytes([archive.ARCHIVE])):
        return content, []
    reader = archive._Reader(memoryview(content), 4)
    try:
        archive._header(reader, adaptive=False)
        head, parts = content[: reader.at], []
        while reader.at < len(content):
            start, part = reader.at, archive._part(reader)
            parts.append((part if isinstance(part, Chunk) else None, content[start : reader.at]))
    except archive.Damage:
        return content, []
    return head, parts


def damaged_files(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield files with one, two or three damages each, of every kind in turn."""
    random = np.random.default_rng(seed)
    for i in range(count):
        damaged = content
        for k in range(1 + i // len(DAMAGES) % 3):
            kind = DAMAGES[i % len(DAMAGES)] if k == 0 else DAMAGES[random.integers(len(DAMAGES))]
            damaged = kind(damaged, random) if damaged else damaged
        if damaged != content:
            yield damaged


@dataclass
class Archived:
    """An archive, and what is in it."""

    model: Model
    x: Tensor
    content: bytes
    names: list[NamedImage] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.head, self.parts = cut(self.content)


def check_damage(whole: Archived, damaged: bytes) -> None:
    """Raise unless what is intact is recovered, what is recovered is right, and what is lost is told."""
    # A chunk whose bytes are all there, in one piece and after a whole header, is intact, wherever it is now.
    body = damaged[len(whole.head) :] if damaged.startswith(whole.head) else b""
    intact = [chunk for chunk, code in whole.parts if chunk is not None and code in body]
    found = attempt(damaged, whole.model)
    if isinstance(found, InvalidInput):
        assert not intact
        assert "\n" not in str(found)
        return
    index = found.index.tolist()
    assert index == sorted(set(index))
    assert torch.equal(found.x, whole.x[found.index])
    assert found.names in ([], [whole.names[i] for i in index] if whole.names else [])
    assert found.files.items() <= whole.files.items()
    for chunk in intact:
        if chunk.kind == NAMES:
            assert len(found.names) == len(index)
        elif chunk.kind == OTHER:
            assert unpack_file(bytes(chunk.payload))[0] in found.files
        else:
            assert set(range(chunk.first, chunk.first + chunk.count)) <= set(index)
    assert found.problems or (len(index), found.names, found.files) == (len(whole.x), whole.names, whole.files)


def attempt(content: bytes, model: Model) -> Restored | InvalidInput:
    try:
        return restore(memoryview(content), model)
    except InvalidInput as error:
        return error


@pytest.fixture(params=["archive", "bits-back", "single", "folder"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Archived:
    torch.manual_seed(0)
    event = Event.binary((1, 4, 3))
    name, options = ("vae", {"latent": 2, "hidden": (4,)}) if request.param == "bits-back" else ("fvsbn", {})
    model, path = create(name, event, **options).eval(), tmp_path / "a.anc"
    x = torch.randint(2, (1 if request.param == "single" else 40, *event.shape), generator=generator(0)).to(torch.uint8)
    if request.param != "folder":
        compress(model, x, path, chunk_size=8)
        return Archived(model, x, path.read_bytes())
    (tmp_path / "in").mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image[0].numpy().astype(bool)).save(tmp_path / "in" / f"{i:02d}.png")
    files = {"a.jpg": b"not an image", "large.bmp": bytes(300)}
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    compress(model, tmp_path / "in", path, chunk_size=8)
    return Archived(model, x, path.read_bytes(), [NamedImage(f"{i:02d}.png", "1") for i in range(len(x))], files)


def check_many(whole: Archived, count: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = decoded = 0
    owner = type(make_coder(whole.model))
    decode = owner.decode

    def crc32(content: bytes) -> int:
        nonlocal checked
        checked += len(content)
        return zlib.crc32(content)

    def counted(self: Coder, member: int, chunks: list[tuple[int, int, bytes]]) -> list[Batch]:
        nonlocal decoded
        decoded += sum(n for n, _, _ in chunks)
        return decode(self, member, chunks)

    monkeypatch.setattr(archive, "zlib", SimpleNamespace(crc32=crc32))
    monkeypatch.setattr(owner, "decode", counted)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for damaged in damaged_files(whole.content, count, seed):
        checked = decoded = 0
        check_damage(whole, damaged)
        assert checked <= CHECKED * len(damaged)
        assert decoded <= DECODED * len(damaged)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024


def test_damage_is_found_and_stays_where_it_is(whole: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    check_many(whole, 300, 0, monkeypatch)


@pytest.mark.slow
def test_damage_is_found_ten_thousand_times(whole: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    check_many(whole, 10_000, 1, monkeypatch)


def test_what_is_damaged_is_given_back_only_where_that_is_asked_for(tmp_path: Path) -> None:
    model, path, x = image_model(), tmp_path / "a.anc", smooth(12)
    compress(model, x, path, chunk_size=4)
    head, parts = cut(path.read_bytes())
    path.write_bytes(head + parts[0][1] + parts[2][1] + parts[3][1])
    with pytest.raises(InvalidInput, match=r"is damaged .*: 8 data are intact"):
        decompress(path, tmp_path / "x.npy", model=model)
    assert not (tmp_path / "x.npy").exists()
    assert decompress(path, tmp_path / "x.npy", model=model, recover=True).index.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]


def test_chunks_of_another_archive_before_ours_do_not_hide_them(tmp_path: Path) -> None:
    """Of the same model, at the same place, whole in themselves."""
    model = image_model()
    compress(model, smooth(8, 1), tmp_path / "a.anc", chunk_size=4)
    compress(model, smooth(8, 2), tmp_path / "b.anc", chunk_size=4)
    (head, ours), (_, theirs) = (cut((tmp_path / name).read_bytes()) for name in ("a.anc", "b.anc"))
    restored = restore(memoryview(head + b"".join(code for _, code in (*theirs, *ours))), model)
    assert torch.equal(restored.x, smooth(8, 1))
    assert "data 0 to 3 do not decode" in restored.problems


def test_chunks_of_another_archive_are_found_out(tmp_path: Path) -> None:
    model = image_model()
    compress(model, smooth(8, 1), tmp_path / "a.anc", chunk_size=4)
    compress(model, smooth(8, 2), tmp_path / "b.anc", chunk_size=4)
    a, b = (tmp_path / "a.anc").read_bytes(), (tmp_path / "b.anc").read_bytes()
    (tmp_path / "c.anc").write_bytes(a[: len(a) // 2 + 12] + b[len(b) // 2 + 12 :])
    with pytest.raises(InvalidInput, match="is damaged"):
        decompress(tmp_path / "c.anc", model=model)
    restored = decompress(tmp_path / "c.anc", model=model, recover=True)
    assert torch.equal(restored.x, smooth(8, 1)[restored.index])


def test_an_archive_that_decodes_to_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    model, path = image_model(), tmp_path / "a.anc"
    compress(model, smooth(20), path, chunk_size=5)
    with pytest.raises(InvalidInput, match=r"decodes to 760 bytes, expected at most 759: raise max_bytes"):
        decompress(path, model=model, max_bytes=759)
    assert decompress(path, model=model, max_bytes=190, index=7).index.tolist() == [7], "of one chunk alone"
    compress(model, smooth(1), path)
    with pytest.raises(InvalidInput, match=r"decodes to 38 bytes, expected at most 37"):
        decompress(path, model=model, max_bytes=37)


def test_whole_numbers_above_256_levels_count_with_the_bytes_that_they_take(tmp_path: Path) -> None:
    model, path = create("made", Event.integers((3,), 300), hidden=(4,)).eval(), tmp_path / "a.anc"
    compress(model, torch.tensor([[0, 255, 299]] * 2), path)
    with pytest.raises(InvalidInput, match=r"decodes to 64 bytes, expected at most 63"):
        decompress(path, model=model, max_bytes=63)


def test_a_datum_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Its chunk was cut out whole; the others, and the end, are as they were."""
    model, path = image_model(), tmp_path / "a.anc"
    compress(model, smooth(12), path, chunk_size=4)
    head, parts = cut(path.read_bytes())
    path.write_bytes(head + b"".join(code for _, code in (parts[0], *parts[2:])))
    with pytest.raises(InvalidInput, match=r"datum 5 is missing.*: 1 data are intact"):
        decompress(path, model=model, index=[2, 5])
    assert decompress(path, model=model, index=[2]).index.tolist() == [2]


# Forged archives: every checksum is right


def forge(model: Model, chunks: Callable[[Header], list[Chunk]]) -> bytes:
    """Return an archive of these chunks."""
    coder, file = ModelCoder(model), io.BytesIO()
    header = Header("m", coder.key, model.event.shape, coder.levels, b"salt")
    writer = Writer(file, header)
    for chunk in chunks(header):
        writer.add(chunk)
    writer.end(0, bytes(16))
    return file.getvalue()


def forged(model: Model, chunks: Callable[[Header], list[Chunk]]) -> Restored:
    """Return what is made of an archive of these chunks."""
    return restore(memoryview(forge(model, chunks)), model, max_bytes=2**20)


def names_chunk(header: Header, names: list[NamedImage]) -> Chunk:
    content = zlib.compress(json.dumps([[name for name, _ in names], [mode for _, mode in names]]).encode())
    return Chunk(NAMES, 0, len(names), digest(header, 0, content), content)


def plain(header: Header, x: Tensor, first: int = 0, **changes: int) -> Chunk:
    original = x.numpy().tobytes()
    given = {"count": len(x), "member": 0, "shift": 0, **changes}
    mark = digest(header, first, original)
    return Chunk(PLAIN, first, given["count"], mark, zlib.compress(original), given["member"], given["shift"])


@pytest.mark.parametrize(
    ("first", "changes"),
    [(2**63 - 1, {}), (2**63 - 4, {}), (0, {"count": 0}), (0, {"count": 2**40}), (0, {"member": 9}), (0, {"shift": 256})],
    ids=str,
)
def test_chunks_that_cannot_be_are_left_out(first: int, changes: dict[str, int]) -> None:
    x = smooth(4)
    restored = forged(image_model(), lambda header: [plain(header, x, first, **changes), plain(header, x, 8)])
    assert restored.index.tolist() == [8, 9, 10, 11]
    assert any("no chunk can hold data" in problem for problem in restored.problems)


def test_names_for_other_data_are_left_out() -> None:
    names = [NamedImage("a.png", "L")] * 3
    restored = forged(image_model(), lambda header: [plain(header, smooth(4)), names_chunk(header, names)])
    assert (len(restored.x), restored.names) == (4, [])
    assert "there are names for 3 data, not for datum 3" in restored.problems


def test_names_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small chunk can hold many megabytes of them."""
    read, unpack = [], unpack_names
    monkeypatch.setattr("ancestral.verbs.decompress.unpack_names", lambda *given: read.append(given) or unpack(*given))
    names = [[NamedImage(name, "L")] for name in ("a.png", "b.png", "c.png")]
    restored = forged(
        image_model(), lambda header: [plain(header, smooth(1)), *(names_chunk(header, given) for given in names)]
    )
    assert (restored.names, len(read)) == (names[0], 1)
    assert "the names of the images are there more than once" in restored.problems


@pytest.mark.parametrize("name", [".", "a/..", "\ud800.png", "a.jpg", "long" * 99 + ".png", "f/b.png"], ids=ascii)
def test_names_that_cannot_be_written_are_refused(name: str, tmp_path: Path) -> None:
    model, path = image_model(), tmp_path / "a.anc"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "f").touch()
    path.write_bytes(forge(model, lambda header: [plain(header, smooth(1)), names_chunk(header, [NamedImage(name, "L")])]))
    with pytest.raises(InvalidInput, match=r"leads out of its folder|expected one of|cannot write to"):
        decompress(path, tmp_path / "out", model=model, recover=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.anc", "f", "out"]


def test_what_inflates_to_much_takes_little_memory() -> None:
    """256 MiB of names, and of data, in 256 KiB each."""
    bomb = zlib.compress(bytes(2**28), 9)

    def chunks(header: Header) -> list[Chunk]:
        given = (PLAIN, 0, 1, b"mark", bomb), (NAMES, 0, 1, digest(header, 0, bomb), bomb)
        return [Chunk(*parts) for parts in given]

    tracemalloc.start()
    restored = forged(image_model(), chunks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(restored.x), len(restored.problems)) == (0, 2)
    assert peak < 2**26


def test_more_data_than_are_accepted_are_refused_before_they_are_decoded() -> None:
    chunk = Chunk(CODED, 0, 1024, b"mark", b"")
    with pytest.raises(InvalidInput, match=r"expected at most 1048576"):
        forged(image_model(), lambda header: [chunk] * 100)
