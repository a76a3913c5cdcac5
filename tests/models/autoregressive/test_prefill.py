"""One pass over given values: the state, the probabilities and the samples of one step after another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ancestral.data.text_files import Span
from ancestral.distributions import Sharpening
from ancestral.encoding import TextEncoding
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive import base
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.state import State
from ancestral.verbs.complete import complete
from ancestral.verbs.compress import compress
from ancestral.verbs.decompress import decompress
from ancestral.verbs.sample import sample
from ancestral.verbs.writing import stream_text
from tests.contracts.cases import random_data

TEXT = Event.sentences(7, 4)
FRAMES = Event.real((3, 2), axes=("time", "band"))
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "transformer": ("transformer", {"width": 8, "layers": 2, "heads": 2}),
    "windows": ("transformer", {"width": 8, "layers": 2, "heads": 1, "window": 4}),
    "learned": ("transformer", {"width": 8, "layers": 1, "heads": 2, "positions": "learned", "tied": True}),
    "strided": ("sparse-transformer", {"width": 8, "layers": 3, "heads": 2, "stride": 4}),
    "fixed": ("sparse-transformer", {"width": 8, "layers": 2, "heads": 1, "pattern": "fixed", "stride": 5, "summary": 2}),
    "factored": ("sparse-transformer", {"width": 8, "layers": 2, "heads": 1, "stride": 6, "positions": "factored"}),
    "lstm": ("lstm-lm", {"width": 4, "hidden": 6, "layers": 2}),
    "bytenet": ("bytenet", {"width": 6, "sets": 2, "max_dilation": 4}),
    "multiplicative": ("bytenet", {"width": 6, "sets": 1, "kernel": 2, "max_dilation": 8, "block": "multiplicative"}),
    "wavenet": ("wavenet", {"channels": 3, "skip": 4, "sets": 2, "max_dilation": 4}),
    "numbers": ("wavenet", {"channels": 3, "skip": 4, "sets": 1, "kernel": 3, "max_dilation": 8, "inputs": "numbers"}),
    "frames": ("wavenet", {"channels": 3, "skip": 4, "sets": 1, "max_dilation": 4, "local": 2}),
    "transformer-mt": ("transformer-mt", {"width": 8, "layers": 2, "heads": 2, "hidden": 6, "tied": "output"}),
    "conv-s2s": ("conv-s2s", {"width": 4, "channels": 6, "layers": 2, "kernel": 4, "tied": "output"}),
    "bytenet-mt": ("bytenet-mt", {"width": 6, "sets": 1, "max_dilation": 4, "tied": "output"}),
}
SOURCES = {"frames": FRAMES, "transformer-mt": TEXT, "conv-s2s": TEXT, "bytenet-mt": TEXT}
names = pytest.mark.parametrize("name", MODELS)
few = settings(max_examples=10)


def build(name: str, event: Event, condition: Event | None = None, dtype: torch.dtype = torch.float64) -> SequenceModel:
    """A model whose conditionals differ, and depend on what comes before."""
    torch.manual_seed(0)
    kind, options = MODELS[name]
    model = create(kind, event, SOURCES.get(name, condition), **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    assert isinstance(model, SequenceModel)
    return model.to(dtype).eval()


def conditions(model: SequenceModel, n: int) -> Tensor | None:
    return None if model.condition is None else random_data(model.condition, n)


@names
@few
@given(
    event=st.sampled_from([Event.integers((23,), 5, ("time",)), Event.sentences(17, 3), Event.integers((2, 3, 3), 4)]),
    labelled=st.booleans(),
    batch=st.integers(1, 3),
    sizes=st.lists(st.sampled_from([1, 2, 3, 7, 30]), max_size=5),
    single=st.booleans(),
)
@torch.no_grad()
def test_prefills_and_steps_take_turns(
    name: str, event: Event, labelled: bool, batch: int, sizes: list[int], single: bool
) -> None:
    """Prompts of any length, read in any pieces with steps between them, leave the state and the parameters of steps."""
    dtype, tolerance = (torch.float32, 1e-5) if single else (torch.float64, 1e-10)
    model = build(name, event, Event.label(3) if labelled else None, dtype)
    x = random_data(event, batch)
    given, values = conditions(model, batch), x.flatten(1).to(dtype)[:, model.order]
    whole = model(x, given).flatten(1, -2)[:, model.order]
    ours, theirs = (model.init_state(batch, given) for _ in range(2))
    raw, t = [], 0
    for i, size in enumerate(sizes):
        size = min(size, event.numel - t)
        if size:
            before = values[:, t - 1] if t else None
            raw += [model.prefill(ours, values[:, t : t + size], before)] if i % 2 == 0 else []
            raw += [model.step(ours, values[:, s - 1] if s else None)[:, None] for s in range(t, t + size)] if i % 2 else []
            t += size
    for s in range(t):
        model.step(theirs, values[:, s - 1] if s else None)
    if t:
        torch.testing.assert_close(torch.cat(raw, dim=1), whole[:, :t], rtol=tolerance, atol=tolerance)
        for state in (ours, theirs):
            state.x[:, state.entries[t - 1]] = values[:, t - 1]
    assert ours.t == theirs.t == t
    assert torch.equal(ours.x, theirs.x)
    assert (ours.ended is None) or torch.equal(ours.ended, theirs.ended)  # type: ignore[arg-type]
    for one, other in zip(ours.memory, theirs.memory, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


class Plain(SequenceModel):
    """The mean of the embeddings so far, without a `prefill_features` of its own."""

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__(event, condition, 4, False, "auto", 1, 0.0)

    def features(self, h: Tensor) -> Tensor:
        return h.cumsum(1) / torch.arange(1, h.shape[1] + 1)[:, None]

    def start_features(self, state: State) -> None:
        state.cache["sum"] = state.remember(state.x.new_zeros(len(state.x), 4))

    def step_features(self, state: State, h: Tensor) -> Tensor:
        total: Tensor = state.cache["sum"]
        return total.add_(h) / (state.t + 1)


@torch.no_grad()
def test_a_model_that_has_steps_alone_can_be_prefilled() -> None:
    model = Plain(Event.integers((9,), 4, ("time",))).double().eval()
    x = random_data(model.event, 3)
    state = model.init_state(3)
    raw = [model.prefill(state, x[:, :4]), model.prefill(state, x[:, 4:], x[:, 3])]
    torch.testing.assert_close(torch.cat(raw, dim=1), model(x))
    assert state.t == 9
    assert torch.equal(model.run(state, lambda entry, raw: x[:, entry]), x)


# Runs


def draws(model: SequenceModel, x: Tensor, observed: Tensor) -> Draws:
    noise = torch.rand(len(x), x.shape[1], 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return Draws(EntryValue(model.head, Sharpening()), noise, x, observed, scored=True)


@names
@few
@given(
    sentences=st.booleans(),
    batch=st.integers(1, 4),
    stops=st.lists(st.integers(0, 17), max_size=3),
    size=st.sampled_from([1, 5, 12, 2048]),
    seed=st.integers(0, 50),
    share=st.sampled_from([0.0, 0.6, 0.9, 1.0]),
)
@torch.no_grad()
def test_runs_give_the_same_data_and_probabilities(
    name: str, sentences: bool, batch: int, stops: list[int], size: int, seed: int, share: float
) -> None:
    """Whatever is given, wherever runs stop, and however many values make a pass."""
    event = Event.sentences(17, 3) if sentences else Event.integers((17,), 4, ("time",))
    model = build(name, event)
    x, condition = random_data(event, batch, seed), conditions(model, batch)
    observed = torch.rand(17, generator=torch.Generator().manual_seed(seed)) < share
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "PREFILLED", size)
        for model.fused in (True, False):
            chosen, state = draws(model, x, observed), model.init_state(batch, condition)
            for stop in sorted(stops):
                model.run(state, chosen, stop)
            found[model.fused] = model.run(state, chosen), chosen.log_p
    assert torch.equal(found[True][0], found[False][0])
    torch.testing.assert_close(found[True][1], found[False][1], rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_passes_are_as_large_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most `PREFILLED` entries of all data together; what makes no two steps of a pass is left to steps."""
    model, sizes = build("lstm", Event.integers((11,), 4, ("time",))), []
    prefill = model.prefill

    def counted(state: State, values: Tensor, previous: Tensor | None = None) -> Tensor:
        sizes.append(values.shape[1])
        return prefill(state, values, previous)

    model.prefill = counted  # type: ignore[method-assign]
    monkeypatch.setattr(base, "PREFILLED", 12)
    for batch, expected in ((1, [10]), (2, [6, 4]), (3, [4, 4, 2]), (5, [2] * 5), (7, [])):
        sizes.clear()
        x = random_data(model.event, batch)
        model.run(model.init_state(batch), draws(model, x, torch.arange(11) != 10))
        assert sizes == expected
    sizes.clear()
    state = model.init_state(1)
    for stop in (1, 2, 11):
        model.run(state, draws(model, random_data(model.event, 1), torch.ones(11).bool()), stop)
    assert sizes == [9], "a single step is a step"


@torch.no_grad()
def test_sentences_that_are_over_are_read_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "PREFILLED", 4)
    model = build("transformer", Event.sentences(16, 3))
    x = torch.full((1, 16), 3)
    x[0, :2] = 1
    state = model.init_state(1)
    chosen = Draws(EntryValue(model.head, Sharpening()), given=x, scored=True)
    assert torch.equal(model.run(state, chosen), x.to(model.event.dtype))
    assert state.t == 5
    torch.testing.assert_close(chosen.log_p, model.log_prob(x))


@torch.no_grad()
def test_half_precision_holds_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data in a state are of the model's type; what goes on in the next pass, or in a step, is as it was given."""
    monkeypatch.setattr(base, "PREFILLED", 3)
    model = build("transformer", Event.integers((8,), 1000, ("time",)), dtype=torch.bfloat16)
    seen: list[Tensor] = []
    model.symbols.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    x = torch.tensor([[301, 303, 305, 307, 309, 311, 313, 315]])
    chosen = draws(model, x, torch.arange(8) < 6)
    model.run(model.init_state(1), chosen, 7)
    assert torch.cat([symbols.flatten() for symbols in seen])[:7].tolist() == [1000, 301, 303, 305, 307, 309, 311]


# Verbs


@pytest.mark.parametrize("name", ["transformer", "windows", "strided", "lstm", "bytenet", "wavenet"])
def test_samples_and_completions_are_those_of_steps(name: str) -> None:
    """With a prompt for all and for each, beyond the model's length, and observed entries anywhere."""
    model = build(name, Event.integers((12,), 5, ("time",)))
    each = random_data(Event.integers((30,), 5), 3)
    x = each[:, :12]
    masks = torch.arange(12) < 7, torch.tensor([True] * 4 + [False, True] * 4)
    found = {}
    for model.fused in (True, False):
        found[model.fused] = [
            *(sample(model, 3, prompt=prompt, length=15, seed=4) for prompt in ([1], [1, 2], each[0], each)),
            *(complete(model, x, mask, n=2, particles=8, sweeps=1, seed=1).x for mask in masks),
        ]
    for one, other in zip(found[True], found[False], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["transformer-mt", "conv-s2s", "bytenet-mt"])
def test_translations_go_on_as_by_steps(name: str) -> None:
    model = build(name, Event.sentences(9, 4))
    source, prompt = random_data(TEXT, 3), torch.tensor([0, 3, 1, 2])
    found = {}
    for model.fused in (True, False):
        found[model.fused] = (
            sample(model, 3, source, prompt=prompt, seed=2),
            sample(model, 3, source[0], prompt=prompt, seed=2),
        )
    for one, other in zip(found[True], found[False], strict=True):
        assert torch.equal(one, other)


def test_streams_are_those_of_steps() -> None:
    model = build("transformer", Event.tokens(16, TextEncoding.fit("byte")))
    found = {}
    for model.fused in (True, False):
        found[model.fused] = list(stream_text(model, "to be, or not to be", length=20, seed=1))
    assert found[True] == found[False]
    assert found[True][0] == "to be, or not to be"


def test_archives_are_decoded_by_steps_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No value is known before it is decoded, and the format is held to what steps compute."""

    def refused(*arguments: object) -> Tensor:
        raise AssertionError("a prefill in a codec")

    monkeypatch.setattr(AutoregressiveModel, "prefill", refused)
    text = tmp_path / "a.txt"
    text.write_bytes(b"to be, or not to be, that is the question " * 4)
    encoding = TextEncoding.fit("byte", Span.whole(text).chunks())
    for name in ("transformer", "lstm"):
        model = build(name, Event.tokens(16, encoding), dtype=torch.float32)
        compress(model, text, tmp_path / "a.anc")
        decompress(tmp_path / "a.anc", tmp_path / "b.txt", model=model)
        assert (tmp_path / "b.txt").read_bytes() == text.read_bytes()
