"""What data a model is given: of its own event, and text in its own tokens."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ancestral.data import load
from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.inputs import Subject, check_fit, open_data, same_space
from ancestral.verbs.score import score


def subject(text: bytes, level: str = "character", length: int = 8) -> Subject:
    event = Event.tokens(length, TextEncoding.fit(level, [text]))
    return Subject(create("lstm-lm", event, width=4), "mine", "train.txt")


def test_an_encoding_is_part_of_what_a_datum_is() -> None:
    ab, cd = (Event.tokens(4, TextEncoding.fit("character", [text])) for text in (b"ab", b"cd"))
    assert same_space(ab, Event.tokens(4, TextEncoding.fit("character", [b"abba"])))
    assert not same_space(ab, cd)
    assert not same_space(ab, Event.integers((4,), 3, ("time",)))
    assert not same_space(ab, ab.resized(5))
    assert same_space(Event.integers((4,), 3, ("time",)), Event.integers((4,), 3))


def test_data_of_another_encoding_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("cd" * 150)
    data = load(str(tmp_path / "other.txt"), level="character", length=8)
    with pytest.raises(InvalidInput, match="its tokens are another vocabulary's"):
        check_fit(subject(b"ab"), data)
    with pytest.raises(InvalidInput, match=r"mine is a model of 8 byte tokens of 256 levels data, .* is 8 character tokens"):
        evaluate(subject(b"", "byte"), data)


def test_a_text_is_read_in_the_models_own_tokens(tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("banana split\n" * 50)
    mine = subject(b"banana")
    data = open_data(str(path), mine)
    assert data.event == mine.model.event
    assert data.event.encoding is not None
    assert data.event.encoding.decode_text(data.split("train").batch(torch.tensor([0]))[0][0]) == "banana��"
    assert np.isfinite(score(mine, str(path))["log_prob"]).all()
    found = evaluate(mine, str(path))
    assert found.bits_per_byte is not None
    assert found.perplexity is not None
    assert found.bits_per_byte > found.nats / 8 / np.log(2), "unknown characters are spelled besides"  # type: ignore[operator]


def test_another_level_can_be_asked_for_and_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("banana\n" * 90)
    with pytest.raises(InvalidInput, match=r"mine is a model of 8 character tokens of 4 levels data, .* is 8 byte tokens"):
        open_data(str(path), subject(b"ban"), {"level": "byte", "length": 8})


def test_what_is_wrong_with_other_data_is_said_of_them(tmp_path: Path) -> None:
    mine = subject(b"ban")
    with pytest.raises(
        InvalidInput, match="mine is a model of 8 character tokens of 4 levels data, digits is 1x8x8 17 levels"
    ):
        open_data("digits", mine)
    with pytest.raises(InvalidInput, match=r"there is no file or folder \./nowhere"):
        open_data("./nowhere", mine)
    (tmp_path / "bad.txt").write_bytes(b"ban\xff" * 90)
    with pytest.raises(InvalidInput, match="byte 3 of the text is 0xff"):
        open_data(str(tmp_path / "bad.txt"), mine)


def test_tokens_in_an_array_are_the_models(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((30, 8), np.uint8))
    mine = subject(b"ban")
    assert open_data(str(tmp_path / "x.npy"), mine).event == mine.model.event
