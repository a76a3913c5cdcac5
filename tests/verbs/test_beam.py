"""Beam search, beside an enumeration of all there is."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.verbs.beam import beam_search

LENGTH, SYMBOLS = 4, 3
SENTENCES = Event.sentences(LENGTH, SYMBOLS)


def moved(name: str, seed: int = 0, event: Event = SENTENCES, condition: Event | None = SENTENCES) -> AutoregressiveModel:
    """Return a small model whose distributions are far from even."""
    torch.manual_seed(seed)
    model = create(
        name, event, condition, width=4, **({"layers": 1, "heads": 1, "hidden": 4} if name == "transformer-mt" else {})
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.7 * torch.randn_like(parameter)
    assert isinstance(model, AutoregressiveModel)
    return model.double().eval()


def all_sentences() -> tuple[Tensor, Tensor]:
    """Return every sentence, and its length with the end."""
    words = [w for n in range(LENGTH + 1) for w in itertools.product(range(SYMBOLS), repeat=n)]
    x = torch.tensor([[*w, *[SYMBOLS] * (LENGTH - len(w))] for w in words])
    return x, torch.tensor([min(len(w) + 1, LENGTH) for w in words]).double()


def sources(n: int, seed: int) -> Tensor:
    x, _ = all_sentences()
    return x[torch.randint(len(x), (n,), generator=torch.Generator().manual_seed(seed))]


@settings(max_examples=12)
@given(st.integers(0, 100), st.sampled_from([0.0, 0.6, 1.0, 2.0]))
@torch.no_grad()
def test_a_beam_of_all_beginnings_finds_the_best(seed: int, penalty: float) -> None:
    model = moved("transformer-mt", seed)
    x, counts = all_sentences()
    conditions = sources(3, seed)
    found = beam_search(model, conditions, beam=len(x), length_penalty=penalty)
    SENTENCES.check(found.x)
    for i, condition in enumerate(conditions):
        log_prob = model.log_prob(x, condition.expand(len(x), -1))
        score = log_prob / counts**penalty
        assert float(found.score[i]) == pytest.approx(float(score.max()), abs=1e-10)
        assert found.x[i].tolist() == x[score.argmax()].tolist()
        assert float(found.log_prob[i]) == pytest.approx(float(log_prob[score.argmax()]), abs=1e-10)


@pytest.mark.parametrize("beam", [1, 2, 5])
@torch.no_grad()
def test_what_is_found_has_the_log_prob_that_is_said(beam: int) -> None:
    """Whatever else is in the batch: some searches end before others."""
    model, conditions = moved("transformer-mt", 3), sources(9, 5)
    found = beam_search(model, conditions, beam=beam)
    torch.testing.assert_close(found.log_prob, model.log_prob(found.x, conditions))
    torch.testing.assert_close(found.score, found.log_prob / SENTENCES.counted(found.x))
    for i in range(9):
        alone = beam_search(model, conditions[i : i + 1], beam=beam)
        assert alone.x.tolist() == found.x[i : i + 1].tolist()


@torch.no_grad()
def test_a_beam_of_one_takes_the_likeliest_symbol() -> None:
    model, conditions = moved("transformer-mt", 1), sources(5, 2)

    def choose(entry: int, raw: Tensor) -> Tensor:
        return raw.argmax(1).to(raw.dtype)

    greedy = model.run(model.init_state(5, conditions), choose)
    assert beam_search(model, conditions, beam=1, length_penalty=0.0).x.tolist() == greedy.tolist()


class Long(AutoregressiveModel):
    """Nine times symbol 0, nearly for sure; next to it the end is likeliest."""

    sentences = True

    def __init__(self, event: Event) -> None:
        super().__init__(event)
        self.head = make_head(event)
        raw = torch.tensor([[10.0, 0.0, 2.0]]).repeat(event.numel, 1)
        raw[9] = torch.tensor([0.0, 0.0, 10.0])
        self.raw = torch.nn.Parameter(raw)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.raw.expand(len(x), -1, -1)


@pytest.mark.parametrize("beam", [1, 2, 3])
def test_bad_data_that_end_early_do_not_end_the_search(beam: int) -> None:
    found = beam_search(Long(Event.sentences(12, 2)).eval(), beam=beam)
    assert found.x[0].tolist() == [0] * 9 + [2] * 3
    assert found.steps == 10


@torch.no_grad()
def test_data_of_one_length_and_without_a_condition_are_found_too() -> None:
    event = Event.integers((3,), 4)
    for name in ("lstm-lm", "made"):
        torch.manual_seed(0)
        model = create(name, event).double().eval()
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
        states = torch.tensor(list(itertools.product(range(4), repeat=3)))
        found = beam_search(model, beam=64)
        assert found.x[0].tolist() == states[model.log_prob(states).argmax()].tolist()
    model = moved("lstm-lm", 0, condition=None)
    x, counts = all_sentences()
    assert beam_search(model, beam=99).x[0].tolist() == x[(model.log_prob(x) / counts).argmax()].tolist()


def test_wrong_options_are_refused() -> None:
    model = moved("lstm-lm", condition=None)
    with pytest.raises(InvalidInput, match="beam is 0"):
        beam_search(model, beam=0)
    with pytest.raises(InvalidInput, match="length_penalty is -1"):
        beam_search(model, length_penalty=-1.0)
    with pytest.raises(Unsupported, match="whole numbers"):
        beam_search(create("rnade", Event.real((3,))))
    with pytest.raises(InvalidInput, match="needs a condition"):
        beam_search(moved("transformer-mt"), None)
    with torch.no_grad():
        model.output.bias.fill_(float("nan"))
    with pytest.raises(InvalidInput, match="gives NaN"):
        beam_search(model)
