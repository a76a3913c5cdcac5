"""Texts coded by a model that goes on learning: the same bytes back, also where floats differ, and never other ones."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from ancestral.coding import dynamic as dynamic_module
from ancestral.coding import learning as learning_module
from ancestral.coding.archive import ADAPTIVE, ARCHIVE, TEXT, Header, Writer, read
from ancestral.coding.coder import ModelCoder
from ancestral.coding.dynamic import DynamicCoder, text_coder, unpack_places
from ancestral.coding.frequencies import TOLERANCE
from ancestral.coding.learning import Dynamic, Learner
from ancestral.coding.text import open_code
from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create, store
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.verbs.compress import compress
from ancestral.verbs.decompress import decompress, restore
from tests.models.learning import learn

MATS = b"the cat sat on the mat, and the rat sat on the cat. "
HATS = b"that hat sat on a rat; a hen, that hat and the rat ran. "
OPTIONS = {
    "transformer": {"width": 16, "layers": 1, "heads": 1},
    "lstm-lm": {"width": 8, "layers": 1},
    "bytenet": {"width": 8, "sets": 1, "max_dilation": 2},
}
RATE = 3e-3


def model_of(level: str, name: str, length: int = 32) -> SequenceModel:
    encoding = TextEncoding.fit(level, [MATS + HATS], **({"minimum": 1} if level == "word" else {}))
    torch.manual_seed(0)
    model = create(name, Event.tokens(length, encoding), **OPTIONS[name])
    assert isinstance(model, SequenceModel)
    return model.eval()


@pytest.fixture(scope="module")
def learned() -> SequenceModel:
    """A model that knows a little of another text than those that are coded."""
    model = model_of("character", "transformer")
    assert model.event.encoding is not None
    tokens = torch.from_numpy(model.event.encoding.encode(MATS * 20).astype("int64"))
    starts = torch.arange(0, len(tokens) - 32, 5)
    learn(model, tokens[starts[:, None] + torch.arange(32)].to(torch.uint8), steps=30, rate=1e-2)
    return model.eval()


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_bytes(MATS + HATS * 4)
    return tmp_path / "a.txt"


@pytest.mark.parametrize(
    ("level", "name"), [("bit", "transformer"), ("byte", "lstm-lm"), ("word", "bytenet"), ("subword", "lstm-lm")]
)
def test_texts_come_back_to_the_byte(level: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = SimpleNamespace(compress=lambda content, _: bytes(9 * len(content) + 100))
    monkeypatch.setattr("ancestral.verbs.text_archive.zlib", long)  # so that nothing is deflated
    content = MATS + "Zoë, 猫 and 猫!\r\n\tthe end".encode()
    (tmp_path / "a.txt").write_bytes(content)
    compress(model_of(level, name), tmp_path / "a.txt", tmp_path / "a.anc", dynamic=RATE, segment=11, chunk_size=40)
    assert {chunk.kind for chunk in read(memoryview((tmp_path / "a.anc").read_bytes())).chunks} == {TEXT}
    assert decompress(tmp_path / "a.anc", model=model_of(level, name)).text == content


def test_what_was_learned_in_a_chunk_serves_the_next(learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    static, still, moved = (compress(learned, text, tmp_path / f"{i}.anc", **options) for i, options in enumerate(  # type: ignore[arg-type]
        ({"chunk_size": 64}, {"dynamic": 1e-9, "chunk_size": 64}, {"dynamic": RATE, "chunk_size": 64})))  # fmt: skip
    assert moved.nats < 0.8 * still.nats
    assert still.nats < static.nats  # the context goes on as well
    weights = [p.clone() for p in learned.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(weights, learned.parameters(), strict=True)), "the model itself stays"


def test_chunks_make_no_difference_to_the_nats(learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    nats = [
        compress(learned, text, tmp_path / "a.anc", dynamic=RATE, segment=16, chunk_size=n, verify=False).nats
        for n in (64, 160)
    ]
    assert nats[0] == pytest.approx(nats[1], abs=1e-8)


@pytest.mark.parametrize(("capability", "cache"), [("default", True), ("avx2", False)])
def test_another_process_decodes(capability: str, cache: bool, learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    store.save(learned, tmp_path / "run")
    compress(learned, text, tmp_path / "a.anc", dynamic=RATE, cache=cache, chunk_size=52, verify=False)
    code = "import sys; from ancestral import decompress; decompress(*sys.argv[1:3], model=sys.argv[3])"
    command = [sys.executable, "-c", code, *map(str, (tmp_path / "a.anc", tmp_path / "b.txt", tmp_path / "run"))]
    subprocess.run(command, check=True, env={"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "2"})
    assert (tmp_path / "b.txt").read_bytes() == text.read_bytes()


# Counts of n-grams


@pytest.mark.parametrize("name", ["transformer", "bytenet"])
def test_texts_come_back_with_counts_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(HATS + MATS)
    compress(model_of("byte", name), tmp_path / "a.txt", tmp_path / "a.anc", cache=True, chunk_size=40)
    assert decompress(tmp_path / "a.anc", model=model_of("byte", name)).text == HATS + MATS


def test_counts_make_a_text_that_repeats_itself_shorter(learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    alone, counted, both = (
        compress(learned, text, tmp_path / f"{i}.anc", verify=False, chunk_size=52, **options)  # type: ignore[arg-type]
        for i, options in enumerate(({}, {"cache": True}, {"cache": True, "dynamic": RATE}))
    )
    assert both.nats < counted.nats < 0.9 * alone.nats
    assert counted.bytes == (tmp_path / "1.anc").stat().st_size


def test_a_given_text_is_needed_to_decode(learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    (tmp_path / "known.txt").write_bytes(HATS * 3)
    (tmp_path / "other.txt").write_bytes(HATS * 2)
    archive = tmp_path / "a.anc"
    cold = compress(learned, text, archive, cache=True)
    warm = compress(learned, text, archive, cache=True, given=tmp_path / "known.txt", chunk_size=100)
    assert warm.nats < 0.8 * cold.nats
    assert decompress(archive, model=learned, given=tmp_path / "known.txt").text == text.read_bytes()
    for given, match in ((None, "got none: give it with given="), (tmp_path / "other.txt", "got one of")):
        with pytest.raises(InvalidInput, match=match):
            decompress(archive, model=learned, given=given)


def test_counting_goes_back_over_a_deflated_chunk(learned: SequenceModel, tmp_path: Path) -> None:
    content = HATS * 2 + b"a" * 112 + HATS * 2
    (tmp_path / "a.txt").write_bytes(content)
    compress(learned, tmp_path / "a.txt", tmp_path / "a.anc", cache=True, chunk_size=112)
    kinds = [chunk.kind == TEXT for chunk in read(memoryview((tmp_path / "a.anc").read_bytes())).chunks]
    assert kinds == [True, False, True]
    assert decompress(tmp_path / "a.anc", model=learned).text == content


def test_what_does_not_go_together_is_refused(learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.anc"
    with pytest.raises(InvalidInput, match="give cache=True"):
        compress(learned, text, archive, given=text)
    with pytest.raises(InvalidInput, match="cache counts words, characters or bytes"):
        compress(model_of("bit", "lstm-lm"), text, archive, cache=True)
    with pytest.raises(InvalidInput, match="expected one between 0 and 1"):
        compress(learned, text, archive, dynamic=0.0)
    with pytest.raises(InvalidInput, match="given is a text"):
        compress(create("fvsbn", Event.binary((4,))), torch.zeros(3, 4), archive, given=text)


# Floats that differ


def other_machine(monkeypatch: pytest.MonkeyPatch, error: float) -> None:
    """Let gradients and log-probabilities be off by as much as is allowed for."""
    noise = np.random.default_rng(0)
    gradient, table = Learner.gradient, ModelCoder.table

    def off(self: Learner, nats: Tensor) -> np.ndarray:
        found = gradient(self, nats)
        return found + error * noise.uniform(-0.99, 0.99, found.shape)

    def off_too(self: ModelCoder, raw: Tensor) -> np.ndarray:
        found = table(self, raw)
        return found + TOLERANCE * noise.uniform(-0.99, 0.99, found.shape)

    monkeypatch.setattr(Learner, "gradient", off)
    monkeypatch.setattr(ModelCoder, "table", off_too)


def exceptions_of(archive: Path) -> int:
    chunks = read(memoryview(archive.read_bytes())).chunks
    return sum(len(unpack_places(open_code(memoryview(chunk.payload))[1])[0]) for chunk in chunks if chunk.kind == TEXT)


def test_a_machine_whose_floats_differ_decodes(
    learned: SequenceModel, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tolerance so large that there are exceptions, and they are needed."""
    large = 2.0**-25
    monkeypatch.setattr(learning_module, "TOLERANCE", large)
    archive = tmp_path / "a.anc"
    compress(learned, text, archive, dynamic=RATE, segment=8, chunk_size=52, verify=False)
    assert exceptions_of(archive) > 5
    other_machine(monkeypatch, large)
    assert decompress(archive, model=learned).text == text.read_bytes()
    monkeypatch.setattr(dynamic_module, "_by_segment", lambda places, count, size: [[] for _ in range(count)])
    with pytest.raises(InvalidInput, match="does not decode"):
        decompress(archive, model=learned)


def test_a_machine_whose_floats_differ_too_much_is_told(
    learned: SequenceModel, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress(learned, text, tmp_path / "a.anc", dynamic=RATE, chunk_size=52, verify=False)
    other_machine(monkeypatch, 1e-4)
    with pytest.raises(InvalidInput, match="does not decode"):
        decompress(tmp_path / "a.anc", model=learned)


# Damage


def test_what_follows_damage_is_lost_and_what_comes_before_is_not(learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    compress(learned, text, tmp_path / "a.anc", dynamic=RATE, chunk_size=52, verify=False)
    whole = (tmp_path / "a.anc").read_bytes()
    content, chunks = text.read_bytes(), read(memoryview(whole)).chunks
    assert [chunk.kind for chunk in chunks] == [TEXT] * len(chunks)
    for k, chunk in enumerate(chunks):
        damaged = bytearray(whole)
        damaged[whole.index(bytes(chunk.payload)) + 3] ^= 0x10
        found = restore(memoryview(bytes(damaged)), learned)
        assert found.text == content[: chunk.first]
        lost = [problem for problem in found.problems if "lost with what is damaged before it" in problem]
        assert len(lost) == max(0, len(chunks) - k - 2)  # the next one is tried


def test_damage_that_checksums_miss_is_found(learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    """Chunks whose checksums are right and whose content is not."""
    compress(learned, text, tmp_path / "a.anc", dynamic=RATE, chunk_size=52, verify=False)
    contents = read(memoryview((tmp_path / "a.anc").read_bytes()))
    for replaced in (b"", b"\x00", b"\x00\x09" + b"\xff" * 9, b"\x00\x02\xff\x7f\x01", b"\x7f"):
        with (tmp_path / "b.anc").open("wb") as file:
            writer = Writer(file, contents.header)
            for k, chunk in enumerate(contents.chunks):
                writer.add(dataclasses.replace(chunk, payload=replaced) if k == 1 else chunk)
            writer.end(len(text.read_bytes()), bytes(16))
        found = restore(memoryview((tmp_path / "b.anc").read_bytes()), learned)
        assert found.text == text.read_bytes()[:52]
        assert "does not decode" in found.problems[0]


def test_a_deflated_chunk_teaches_nothing_and_costs_nothing_else(learned: SequenceModel, tmp_path: Path) -> None:
    content = HATS * 2 + b"a" * 112 + HATS * 2
    (tmp_path / "a.txt").write_bytes(content)
    compress(learned, tmp_path / "a.txt", tmp_path / "a.anc", dynamic=RATE, chunk_size=112)
    whole = (tmp_path / "a.anc").read_bytes()
    first, plain, last = read(memoryview(whole)).chunks
    assert (first.kind == TEXT, plain.kind == TEXT, last.kind == TEXT) == (True, False, True)
    damaged = bytearray(whole)
    damaged[whole.index(bytes(plain.payload)) + 2] ^= 1
    assert restore(memoryview(bytes(damaged)), learned).text == HATS * 4


# The file


def test_versions(learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    compress(learned, text, tmp_path / "a.anc", verify=False)
    assert (tmp_path / "a.anc").read_bytes()[3] == ARCHIVE == 1
    compress(learned, text, tmp_path / "b.anc", dynamic=RATE, verify=False)
    content = (tmp_path / "b.anc").read_bytes()
    assert content[3] == ADAPTIVE == 2
    assert json.loads(read(memoryview(content)).header.settings) == {
        "cache": False,
        "given": "",
        "rate": RATE,
        "segment": 16,
    }
    with pytest.raises(InvalidInput, match=r"of version b'\\x03', this program reads"):
        read(memoryview(content[:3] + b"\x03" + content[4:]))


KNOWN = Dynamic(RATE, 16).to_json()


@pytest.mark.parametrize(
    "settings",
    ["{}", "[1]", "nonsense", KNOWN[:-1] + ',"x":1}', KNOWN.replace("16", '"a"'), KNOWN.replace("16", "0"), KNOWN + " "],
)
def test_settings_that_are_not_known_are_refused(settings: str, learned: SequenceModel) -> None:
    with pytest.raises(InvalidInput, match="update it"):
        text_coder(learned, settings)


def test_forged_settings_are_refused(learned: SequenceModel, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="reads 32 tokens at once"):
        text_coder(learned, KNOWN.replace("16", "1000000000"))
    with (tmp_path / "a.anc").open("wb") as file:
        Writer(file, Header("transformer", bytes(16), (4,), 3, bytes(4), "x" * 2000)).end(0, b"")
    with pytest.raises(InvalidInput, match="settings of 2000 bytes"):
        read(memoryview((tmp_path / "a.anc").read_bytes()))


def test_a_rate_that_is_too_high_is_told_or_survived(learned: SequenceModel, text: Path, tmp_path: Path) -> None:
    compress(learned, text, tmp_path / "a.anc", dynamic=0.9)
    assert decompress(tmp_path / "a.anc", model=learned).text == text.read_bytes()


def test_only_texts_are_learned_from(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="dynamic is for text"):
        compress(create("fvsbn", Event.binary((4,))), torch.zeros(3, 4), tmp_path / "a.anc", dynamic=True)


def test_coders_are_of_what_the_archive_says(learned: SequenceModel) -> None:
    made = DynamicCoder(learned, Dynamic(RATE, 7))
    again = text_coder(learned, made.settings)
    assert isinstance(again, DynamicCoder)
    assert again.dynamic == made.dynamic
    assert text_coder(learned, "").settings == ""
