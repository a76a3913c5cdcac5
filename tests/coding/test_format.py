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
