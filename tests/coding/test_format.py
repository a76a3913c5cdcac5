"""What docs/format.md says of files, read by a reader of its own."""

import binascii
import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ancestral.coding.entropy import Decoder
from ancestral.coding.frequencies import frequencies
from ancestral.event import Event
from ancestral.models import Model, create
from ancestral.verbs.compress import compress

EVENT, CONDITION = Event.binary((1, 4, 3)), Event.label(5)


class Fields:
    """Fields of a file, one after another."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def bytes(self, n: int) -> bytes:
        self.at += n
        assert self.at <= len(self.content)
        return self.content[self.at - n : self.at]

    def number(self) -> int:
        parts = [self.bytes(1)[0]]
        while parts[-1] & 0x80:
            parts.append(self.bytes(1)[0])
        return sum((part & 0x7F) << 7 * i for i, part in enumerate(parts))

    def crc16(self, start: int) -> None:
        value = binascii.crc_hqx(self.content[start : self.at], 0xFFFF)
        assert int.from_bytes(self.bytes(2)) == value


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def key_of(model: Model) -> bytes:
    condition = None if model.condition is None else model.condition.to_json()
    text = json.dumps([model.name, model.config, model.event.to_json(), condition], sort_keys=True).encode()
    for name, tensor in sorted(model.state_dict().items()):
        text += f"{name} {tuple(tensor.shape)}".encode() + tensor.numpy().astype("<f8").tobytes()
    return sha256(text)[:16]


def decoded(model: Model, code: bytes, offset: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the entries of data, (count, numel), and their conditions, (count,), from the whole pass over the network."""
    decoder = Decoder(code)
    condition = decoder.decode(frequencies(np.zeros((count, 5)), 0))
    x, model = torch.zeros(count, *EVENT.shape, dtype=torch.float64), model.double()
    for entry in model.order.tolist():
        with torch.no_grad():
            raw = model(x, torch.from_numpy(condition).long()).flatten(1, -2)[:, entry]
            table = frequencies(model.head(raw).log_pmf().numpy(), offset)
        x.view(count, -1)[:, entry] = torch.from_numpy(decoder.decode(table)).double()
    return x.view(count, -1).numpy().astype(np.uint8), condition.astype(np.uint8)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return create("fvsbn", EVENT, CONDITION).eval()


def test_an_archive(model: Model, tmp_path: Path) -> None:
    x = torch.randint(2, (25, *EVENT.shape), dtype=torch.uint8)
    x[20:] = 0  # so unlike what the model expects that they are deflated
    with torch.no_grad():
        model.bias += 8.0
    condition = torch.arange(25, dtype=torch.uint8) % 5
    compress(model, x, tmp_path / "a.anc", condition=condition, chunk_size=20)
    fields = Fields((tmp_path / "a.anc").read_bytes())
    assert fields.bytes(4) == b"ANC\x01"
    assert fields.bytes(fields.number()) == b"fvsbn"
    key, salt = fields.bytes(16), fields.bytes(4)
    assert key == key_of(model)
    assert [fields.number() for _ in range(5)] == [3, 1, 4, 3, 2]
    crc = zlib.crc32(fields.content[: fields.at])
    assert int.from_bytes(fields.bytes(4)) == crc

    originals = [x[i : i + 20].numpy().tobytes() + condition[i : i + 20].numpy().tobytes() for i in (0, 20)]
    assert salt == sha256(originals[0])[:4]
    kinds = []
    for first, count, original in zip((0, 20), (20, 5), originals, strict=True):
        start = fields.at
        kinds.append(fields.bytes(1)[0])
        assert [fields.number() for _ in range(3)] == [first, count, 0]
        offset, length = fields.number(), fields.number()
        assert fields.bytes(4) == sha256(key, salt, first.to_bytes(8), original)[:4]
        fields.crc16(start)
        payload = fields.bytes(length)
        assert int.from_bytes(fields.bytes(4)) == zlib.crc32(payload)
        if kinds[-1] == 1:
            entries, given = decoded(model, payload, offset, count)
            assert entries.tobytes() + given.tobytes() == original
        else:
            assert zlib.decompress(payload) == original
    assert set(kinds) <= {1, 2}
    assert 2 in kinds
    start = fields.at
    assert (fields.bytes(1), fields.number(), fields.bytes(16)) == (b"\0", 25, sha256(*originals)[:16])
    fields.crc16(start)
    assert fields.at == len(fields.content)


def test_names_and_other_files(tmp_path: Path) -> None:
    model, x = create("fvsbn", EVENT), torch.randint(2, (2, *EVENT.shape), dtype=torch.uint8)
    (tmp_path / "in" / "b").mkdir(parents=True)
    for name, image in zip(("a.png", "b/é.png"), x, strict=True):
        Image.fromarray(image[0].numpy().astype(bool)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "c.jpg").write_bytes(b"not an image")
    compress(model, tmp_path / "in", tmp_path / "a.anc")
    content = (tmp_path / "a.anc").read_bytes()
    fields = Fields(content)
    fields.at = 4 + 1 + 5
    key, salt = fields.bytes(16), fields.bytes(4)
    fields.at += 5 + 4
    payloads = []
    for kind, count in ((None, 2), (3, 2), (4, 1)):
        start = fields.at
        assert fields.bytes(1)[0] == (kind or content[start])
        assert [fields.number() for _ in range(3)] == [0, count, 0]
        offset, length = fields.number(), fields.number()
        digest = fields.bytes(4)
        fields.crc16(start)
        payloads.append(fields.bytes(length))
        fields.at += 4
        assert kind is None or (offset, digest) == (0, sha256(key, salt, bytes(8), payloads[-1])[:4])
    assert zlib.decompress(payloads[1]) == '[["a.png", "b/é.png"], ["1", "1"]]'.encode()
    assert payloads[2] == b"\x00\x05c.jpgnot an image"
    total = sha256(x.numpy().tobytes(), *payloads[1:])
    assert fields.bytes(18) == bytes([0, 2]) + total[:16]


def test_one_datum(model: Model, tmp_path: Path) -> None:
    x, condition = model.sample(1, torch.tensor([3])), torch.tensor([3], dtype=torch.uint8)
    compress(model, x, tmp_path / "a.anc", condition=condition)
    content, original = (tmp_path / "a.anc").read_bytes(), x.numpy().tobytes() + b"\x03"
    key = key_of(model)
    assert content[:10] == b"ANC\x81" + key[:3] + sha256(key, original)[:3]
    entries, given = decoded(model, content[10:], 0, 1)
    assert entries.tobytes() + given.tobytes() == original


# Bits-back


class Numbers:
    """A stack, read symbol by symbol."""

    def __init__(self, payload: bytes) -> None:
        content = payload.rjust(-(-len(payload) // 4) * 4, b"\0")
        words = [int.from_bytes(content[i : i + 4]) for i in range(0, len(content), 4)][::-1]
        self.words, self.state = words, 0
        while self.words and self.state < 2**32:
            self.state = self.state << 32 | self.words.pop()

    def push(self, symbol: int, frequencies: list[int]) -> None:
        f, c = frequencies[symbol], sum(frequencies[:symbol])
        if self.state >= f << 40:
            self.words.append(self.state & 0xFFFFFFFF)
            self.state >>= 32
        self.state = (self.state // f << 24) + self.state % f + c

    def pop(self, frequencies: list[int]) -> int:
        at, c = self.state % 2**24, 0
        for symbol, f in enumerate(frequencies):
            if at < c + f:
                self.state = f * (self.state >> 24) + at - c
                if self.state < 2**32 and self.words:
                    self.state = self.state << 32 | self.words.pop()
                return symbol
            c += f
        raise AssertionError("frequencies add up to 2^24")

    def offset(self) -> int:
        return self.pop([2**24 - 255 * 64] + [64] * 255)


def windows(mean: float, log_scale: float, s: int) -> tuple[list[int], int, int]:
    """Return the frequencies of runs, the first point and the points of a run."""
    a, b = (int(np.floor(256 * value + (s + 0.5) / 256)) for value in (mean, log_scale))
    r = 1 if b < -354 else 2 if b < -177 else 4 if b < 0 else 8
    first = min(max((a + 2048) // 4 - 64 * r, 0), 1024 - 128 * r)
    t = round(2.0**13 * np.exp(-(2 * b + 1) / 256))
    u = [4 * (2 * (first + k * r) + r - 1024) - (2 * a + 1) for k in range(128)]
    distance = [one * one * t // 2**24 for one in u]
    weight = [round(2.0**28 * np.exp(-(d - min(distance)) / 256)) for d in distance]
    found = [1 + w * (2**24 - 128) // sum(weight) for w in weight]
    found[distance.index(min(distance))] += 2**24 - sum(found)
    return found, first, r


@torch.no_grad()
def test_a_chunk_of_bits_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, count, latent = create("vae", EVENT, CONDITION, latent=3, hidden=(8,)).eval(), 30, 3
    given = torch.arange(count) % 5
    x = model.sample(count, given)
    compress(model, x, tmp_path / "a.anc", condition=given.to(torch.uint8))
    fields = Fields((tmp_path / "a.anc").read_bytes())
    fields.at = 4 + 1 + 3 + 16 + 4 + 5 + 4
    kind, first, many, member, offset, length = (fields.number() for _ in range(6))
    assert (kind, first, many, member, offset) == (7, 0, count, 0, 0)
    fields.at += 6
    stack, model = Numbers(fields.bytes(length)), model.double()
    assert [stack.pop(frequencies(np.zeros((1, 5)), 0)[0].tolist()) for _ in range(count)] == given.tolist()
    left = count
    while left:
        n = stack.pop([2**18] * 64) + 1
        left -= n
        label = given[left : left + n]
        table, begin, r = windows(0.0, 0.0, stack.offset())
        runs = [stack.pop(table) for _ in range(n * latent)]
        j = [begin + k * r + stack.pop([2**24 // r] * r) for k in runs]
        z = ((2.0 * torch.tensor(j).double() - 1023) / 128).view(n, latent)
        s = stack.offset()
        log_pmf = model.head(model.raw(z, label)).log_pmf().flatten(0, -2).numpy()
        part = torch.tensor([stack.pop(row) for row in frequencies(log_pmf, s).tolist()]).view(n, *EVENT.shape)
        assert torch.equal(part, x[left : left + n].long())
        if left:
            s, (mean, log_scale) = stack.offset(), (each.flatten().tolist() for each in model.posterior(part, label))
            rows = [windows(a, b, s) for a, b in zip(mean, log_scale, strict=True)]
            for size in (2, 4, 8):
                for (_, begin, r), point in list(zip(rows, j, strict=True))[::-1]:
                    if r == size:
                        stack.push((point - begin) % r, [2**24 // r] * r)
            for (table, begin, r), point in list(zip(rows, j, strict=True))[::-1]:
                stack.push((point - begin) // r, table)
    assert (stack.state, stack.words) == (0, [])
