"""Scores of a text: each token once, given what its windows hold, or all that comes before."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.data import load
from ancestral.data.base import Data
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.windows import cover, token_nats

TEXT = b"the cat sat on the mat, and the rat sat on the cat. " * 12


@pytest.fixture
def data(tmp_path: Path) -> Data:
    (tmp_path / "novel.txt").write_bytes(TEXT)
    return load(str(tmp_path / "novel.txt"), level="character", length=16, validation=100, test=150)


def model_of(event: Event, name: str = "lstm-lm", **options: object) -> SequenceModel:
    torch.manual_seed(0)
    model = create(name, event, width=8, **options)
    assert isinstance(model, SequenceModel)
    return model.double()


def by_steps(model: SequenceModel, tokens: Tensor) -> Tensor:
    """Return -log p of each token given all before it, by the steps of a model of the whole text, (tokens,)."""
    nats: list[Tensor] = []

    def given(entry: int, raw: Tensor) -> Tensor:
        value = tokens[entry : entry + 1].to(raw.dtype)
        nats.append(-model.head(raw).log_prob(value))
        return value

    whole = model.resized(len(tokens))
    whole.run(whole.init_state(1), given)
    return torch.cat(nats)


@given(count=st.integers(1, 60), length=st.integers(1, 12), context=st.integers(0, 11))
def test_windows_cover_each_token_once_given_as_many_as_asked_for(count: int, length: int, context: int) -> None:
    if count < length or context >= length:
        with pytest.raises(InvalidInput):
            cover(count, length, context)
        return
    starts, skip = cover(count, length, context)
    scored = [start + i for start, first in zip(starts.tolist(), skip.tolist(), strict=True) for i in range(first, length)]
    assert scored == list(range(count))
    assert skip[0] == 0
    assert bool((skip[1:] >= context).all())


def test_carried_state_gives_each_token_all_before_it() -> None:
    model = model_of(Event.integers((7,), 5, axes=("time",)), layers=2).eval()
    tokens = torch.randint(5, (31,), generator=torch.Generator().manual_seed(0))
    parts = list(token_nats(model, tokens))
    nats = torch.cat([value[scored] for value, scored in parts])
    torch.testing.assert_close(nats, by_steps(model, tokens), rtol=1e-10, atol=1e-10)
    assert model.carried is None


def test_windows_give_each_token_those_of_its_window() -> None:
    model = model_of(Event.integers((7,), 5, axes=("time",)), name="bytenet", sets=1, max_dilation=2)
    tokens = torch.randint(5, (31,), generator=torch.Generator().manual_seed(0))
    nats = torch.cat([value[scored] for value, scored in token_nats(model, tokens, context=0)])
    expected = torch.cat([by_steps(model, window) for window in tokens[:28].split(7)])
    torch.testing.assert_close(nats[:28], expected, rtol=1e-10, atol=1e-10)
    last = by_steps(model, tokens[-7:])
    torch.testing.assert_close(nats[28:], last[-3:], rtol=1e-10, atol=1e-10)


def test_bits_per_byte_count_all_tokens_and_all_bytes(data: Data) -> None:
    model = model_of(data.event)
    part = data.split("test")
    result = evaluate(model, data, "test")
    total = float(by_steps(model.eval(), part.tokens.long()).sum())
    assert result.bits_per_byte == pytest.approx(total / math.log(2.0) / part.bytes, rel=1e-9)
    assert result.perplexity == pytest.approx(math.exp(total / len(part.tokens)), rel=1e-9)
    assert result.nats == pytest.approx(16 * total / len(part.tokens), rel=1e-9)
    assert "bits/byte" in str(result)


def test_unknown_tokens_are_spelled_at_a_cost(tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_bytes(TEXT + b"Zoe! " * 10)
    data = load(str(tmp_path / "novel.txt"), level="character", length=10, validation=60, test=50)
    model = model_of(data.event)
    part = data.split("test")
    assert part.unknown_nats == pytest.approx(20 * math.log(1_112_064))  # Z and !, ten times each
    without = float(by_steps(model.eval(), part.tokens.long()).sum()) / math.log(2.0) / part.bytes
    result = evaluate(model, data, "test")
    assert result.bits_per_byte == pytest.approx(without + part.unknown_nats / math.log(2.0) / part.bytes, rel=1e-9)


def test_a_part_of_a_text_has_no_bits_per_byte(data: Data) -> None:
    result = evaluate(model_of(data.event), data, "test", limit=3)
    assert result.bits_per_byte is None
    assert result.count == 3


def test_context_is_for_text(tmp_path: Path) -> None:
    digits = load("digits", limit=20)
    with pytest.raises(InvalidInput, match="is for text"):
        evaluate(create("made", digits.event, hidden=(4,)), digits, context=3)


def test_models_that_score_a_text_whole_are_refused() -> None:
    with pytest.raises(Unsupported, match="windows need"):
        list(token_nats(create("vae", Event.binary((4,)), hidden=(3,), latent=2), torch.zeros(8)))
