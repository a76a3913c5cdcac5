"""Texts as archives: the same bytes back, whatever the level, and never other ones."""

import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ancestral.coding.archive import TEXT, read
from ancestral.coding.text import TextCoder
from ancestral.data import load
from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.verbs.compress import compress
from ancestral.verbs.decompress import decompress, open_archive, restore
from tests.models.learning import learn

TEXT_OF_MATS = b"the cat sat on the mat, and the rat sat on the cat. "
OPTIONS = {
    "transformer": {"width": 8, "layers": 1, "heads": 1},
    "lstm-lm": {"width": 6, "layers": 1},
    "bytenet": {"width": 8, "sets": 1, "max_dilation": 2},
}


def model_of(level: str = "character", name: str = "transformer", length: int = 16, **options: object) -> SequenceModel:
    encoding = TextEncoding.fit(level, [TEXT_OF_MATS * 3], **({"minimum": 1} if level == "word" else {}))
    torch.manual_seed(0)
    model = create(name, Event.tokens(length, encoding), **{**OPTIONS[name], **options})
    assert isinstance(model, SequenceModel)
    return model.eval()


@pytest.fixture(scope="module")
def learned() -> SequenceModel:
    """A model that knows the text by heart, so that it is coded and not deflated."""
    model = model_of(length=26, width=16)
    assert model.event.encoding is not None
    tokens = torch.from_numpy(model.event.encoding.encode(TEXT_OF_MATS * 20).astype("int64"))
    starts = torch.arange(0, len(tokens) - 26, 5)
    learn(model, tokens[starts[:, None] + torch.arange(26)].to(torch.uint8), steps=200, rate=1e-2)
    return model.eval()


def round_trip(model: SequenceModel, text: bytes, folder: Path, **options: object) -> bytes:
    (folder / "a.txt").write_bytes(text)
    compress(model, folder / "a.txt", folder / "a.anc", **options)  # type: ignore[arg-type]
    restored = decompress(folder / "a.anc", folder / "b.txt", model=model)
    assert restored.text == (folder / "b.txt").read_bytes()
    return (folder / "b.txt").read_bytes()


@pytest.mark.parametrize("level", ["bit", "byte", "subword", "character", "word"])
@pytest.mark.parametrize("name", OPTIONS)
def test_texts_come_back_to_the_byte(level: str, name: str, tmp_path: Path) -> None:
    text = TEXT_OF_MATS[5:] + "Zoë, 猫 and 猫!\r\n\tthe end".encode()
    assert round_trip(model_of(level, name), text, tmp_path, chunk_size=40) == text


@given(text=st.binary(min_size=1, max_size=90), chunk=st.integers(1, 50))
@settings(max_examples=15, deadline=None)
def test_any_bytes_come_back(text: bytes, chunk: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert round_trip(model_of("byte", "lstm-lm"), text, tmp_path_factory.mktemp("a"), chunk_size=chunk) == text


def test_the_file_has_the_size_of_the_nats(learned: SequenceModel, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT_OF_MATS * 4)
    done = compress(learned, tmp_path / "a.txt", tmp_path / "a.anc")
    bits = done.nats / math.log(2.0)
    assert done.bytes == (tmp_path / "a.anc").stat().st_size
    assert done.bits_per_byte == 8 * done.bytes / len(TEXT_OF_MATS * 4)
    assert bits / 8 < done.bytes < bits / 8 + 110  # a header, one chunk, the end
    assert read(open_archive(tmp_path / "a.anc")).chunks[0].kind == TEXT


def test_a_token_is_given_half_a_window_at_least(learned: SequenceModel) -> None:
    coder = TextCoder(learned)
    tokens = torch.from_numpy(coder.encoding.encode(TEXT_OF_MATS * 2).astype("int64"))
    found = torch.from_numpy(coder.log_pmf(tokens))
    model = coder.model  # in float64
    for begin, first, stop in ((0, 0, 26), (13, 26, 39), (26, 39, 52)):
        x = tokens[None, begin : begin + 26]
        with torch.no_grad():
            expected = model.head(model(x)).log_pmf()[0]
        torch.testing.assert_close(found[first:stop], expected[first - begin : stop - begin], rtol=1e-10, atol=1e-10)


def test_chunks_decode_alike_together_and_alone(learned: SequenceModel) -> None:
    coder = TextCoder(learned)
    stretches = list(coder.stretches([TEXT_OF_MATS * 3], 60))
    coded = [coder.encode(stretch) for stretch in stretches]
    chunks = [(len(s.tokens), shift, code or b"") for s, (shift, code, _) in zip(stretches, coded, strict=True)]
    together = coder.decode(chunks)
    assert together == [text for chunk in chunks for text in coder.decode([chunk])]
    assert b"".join(together) == TEXT_OF_MATS * 3


def test_damage_is_found_and_leaves_the_rest(learned: SequenceModel, tmp_path: Path) -> None:
    text = TEXT_OF_MATS * 3
    (tmp_path / "a.txt").write_bytes(text)
    compress(learned, tmp_path / "a.txt", tmp_path / "a.anc", chunk_size=52)
    whole = (tmp_path / "a.anc").read_bytes()
    start = read(memoryview(whole)).chunks[0].payload
    header = whole.index(bytes(start))
    for at in range(header - 10, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        found = restore(memoryview(bytes(damaged)), learned)
        assert found.problems
        assert found.text is not None
        assert len(found.text) % 52 == 0
        assert found.text in (text, text[:104], text[:52], b"")  # of a text that repeats itself, any two chunks are alike


def test_recovered_text_is_written_where_asked_for(learned: SequenceModel, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT_OF_MATS * 3)
    compress(learned, tmp_path / "a.txt", tmp_path / "a.anc", chunk_size=52)
    content = bytearray((tmp_path / "a.anc").read_bytes())
    content[-40] ^= 1
    (tmp_path / "a.anc").write_bytes(content)
    with pytest.raises(InvalidInput, match=re.escape("--recover")):
        decompress(tmp_path / "a.anc", tmp_path / "b.txt", model=learned)
    assert not (tmp_path / "b.txt").exists()
    decompress(tmp_path / "a.anc", tmp_path / "b.txt", model=learned, recover=True)
    assert (tmp_path / "b.txt").read_bytes() == TEXT_OF_MATS * 2


def test_what_a_model_is_not_for_is_deflated(tmp_path: Path) -> None:
    text = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 30
    (tmp_path / "a.txt").write_bytes(text)
    done = compress(model_of("byte"), tmp_path / "a.txt", tmp_path / "a.anc")
    assert done.bytes < 120
    assert decompress(tmp_path / "a.anc", model=model_of("byte")).text == text


def test_a_split_is_compressed_as_its_text(tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_bytes(TEXT_OF_MATS * 30)
    data = load(str(tmp_path / "novel.txt"), level="character", length=16)
    model = create("lstm-lm", data.event, width=4, layers=1)
    compress(model, data, tmp_path / "a.anc", split="test")
    assert decompress(tmp_path / "a.anc", model=model).text == data.event.encoding.decode(data.split("test").tokens)  # type: ignore[union-attr,attr-defined]


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"", "empty"), (b"abc\xff", "byte 3 of the text is 0xff")],
)
def test_what_is_no_text_is_refused_and_nothing_written(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InvalidInput, match=match):
        compress(model_of(), tmp_path / "a.txt", tmp_path / "a.anc")
    assert not (tmp_path / "a.anc").exists()


def test_only_models_of_text_code_texts() -> None:
    with pytest.raises(Unsupported, match="expected one of windows of text"):
        TextCoder(create("lstm-lm", Event.integers((8,), 5, ("time",)), width=4, layers=1))


def test_a_longer_text_than_allowed_is_refused(learned: SequenceModel, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT_OF_MATS * 3)
    compress(learned, tmp_path / "a.txt", tmp_path / "a.anc")
    with pytest.raises(InvalidInput, match="more than 100 bytes"):
        decompress(tmp_path / "a.anc", model=learned, max_bytes=100)
