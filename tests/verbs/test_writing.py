"""Text as it is drawn: streams equal samples, and files hold what was drawn."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.base import Model
from ancestral.verbs.prompts import PromptWarning
from ancestral.verbs.sample import sample, save
from ancestral.verbs.writing import joined, stream_text, texts

TEXT = "naïve café – to be or not to be, 東京\n".encode() * 3
LEVELS = ("character", "byte", "bit", "subword", "word")


def model_of(level: str, length: int = 16, name: str = "lstm-lm") -> Model:
    options = {"width": 8, "layers": 1, **({"heads": 2} if name == "transformer" else {})}
    return create(name, Event.tokens(length, TextEncoding.fit(level, [TEXT])), **options)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["lstm-lm", "transformer"])
def test_a_stream_is_the_sampled_text(level: str, name: str) -> None:
    model = model_of(level, name=name)
    encoding = model.event.encoding
    assert encoding is not None
    for prompt in (None, "naïve café"):
        x = sample(model, 1, prompt=prompt, length=48, seed=4, temperature=0.9)
        pieces = list(stream_text(model, prompt, length=48, seed=4, temperature=0.9))
        assert "".join(pieces) == encoding.decode_text(x[0])
        assert all(pieces)
        assert len(pieces) > 3
    assert model.training


@given(st.binary(max_size=40))
def test_pieces_end_where_characters_do(data: bytes) -> None:
    model = model_of("byte", 4)
    for prompt in (data, list(data)):
        pieces = list(stream_text(model, prompt, length=2))
        assert "".join(pieces) == bytes(sample(model, 1, prompt=data, length=2)[0].tolist()).decode(errors="replace")


def test_a_character_comes_when_its_last_byte_does() -> None:
    model = model_of("byte", 4)
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias[0x80] = 100.0  # always the same byte
    assert list(stream_text(model, b"a\xe2\x82", length=2)) == ["a", "\u2080", "�"]
    assert list(stream_text(model, b"a\xe2", length=1)) == ["a", "�"], "what is left of a character at the end"


def test_the_model_and_gradients_are_the_callers_between_pieces() -> None:
    model = model_of("byte").train()
    pieces = stream_text(model, length=8)
    next(pieces)
    assert model.training
    assert torch.is_grad_enabled()


def test_a_stream_refuses_at_once() -> None:
    with pytest.raises(InvalidInput, match="does not know: 'z'"):
        stream_text(model_of("character"), "z")
    with pytest.raises(InvalidInput, match="a stream of text is for models of text, this one is of 6 binary data"):
        stream_text(create("fvsbn", Event.binary((6,))))
    with pytest.raises(InvalidInput, match="temperature is 0"):
        stream_text(model_of("byte"), temperature=0.0)
    with pytest.raises(Unsupported, match="another order"):
        stream_text(create("nade", Event.tokens(8, TextEncoding.fit("bit")), order_seed=2))


def test_a_model_that_gives_nan_is_refused() -> None:
    model = model_of("byte")
    with torch.no_grad():
        model.output.bias.fill_(float("nan"))
    with pytest.raises(InvalidInput, match="lstm-lm gives NaN"):
        list(stream_text(model))


def test_unknown_words_of_a_prompt_are_printed_as_they_are() -> None:
    model = model_of("word")
    encoding = model.event.encoding
    assert encoding is not None
    with pytest.warns(PromptWarning):
        x = sample(model, 2, prompt="naïve seek", length=4)
    with pytest.warns(PromptWarning):
        streamed = "".join(stream_text(model, "naïve seek", length=4))
    passages = texts(model.event, x, "naïve seek")
    assert streamed == passages[0].decode(errors="replace")
    assert all(passage.startswith("naïve seek".encode()) for passage in passages)
    assert texts(model.event, x)[0].decode().startswith("naïve�")


@given(st.lists(st.text("=1 of\n", max_size=30).map(str.encode), min_size=2, max_size=4))
def test_passages_can_be_told_apart_whatever_they_hold(passages: list[bytes]) -> None:
    whole = joined(passages)
    rule, left = whole.split(b" ")[0], whole
    for i in range(1, len(passages) + 1):
        left = left.removeprefix(b"%s %d of %d %s\n" % (rule, i, len(passages), rule))
        found, _, left = left.partition(rule) if i < len(passages) else (left, b"", b"")
        left = rule + left
        assert found == passages[i - 1] + b"\n"


def test_a_text_file_holds_the_bytes_that_were_drawn(tmp_path: Path) -> None:
    event = Event.tokens(3, TextEncoding.fit("byte"))
    x = torch.tensor([[97, 255, 10], [98, 98, 98]], dtype=torch.uint8)
    save(x[:1], event, tmp_path / "one.txt")
    assert (tmp_path / "one.txt").read_bytes() == b"a\xff\n"
    save(x, event, tmp_path / "two.txt")
    assert (tmp_path / "two.txt").read_bytes() == b"======== 1 of 2 ========\na\xff\n\n======== 2 of 2 ========\nbbb\n"
    with pytest.raises(InvalidInput, match=r"the suffix \.txt is for models of text"):
        save(torch.zeros(1, 6), Event.binary((6,)), tmp_path / "bits.txt")
    assert len(list(tmp_path.iterdir())) == 2
