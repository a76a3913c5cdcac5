"""Many steps in one call: the values, states and probabilities of `step`, one after another."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.distributions import Sharpening
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.fused import FusedSteps
from ancestral.layers.kernels import HALVES
from ancestral.models import create
from ancestral.models.autoregressive import fused
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.state import State
from ancestral.models.autoregressive.transformer import AttentionModel
from ancestral.models.autoregressive.wavenet import WaveNet
from ancestral.pcm import PCM
from ancestral.verbs.complete import complete
from ancestral.verbs.inputs import rounded
from ancestral.verbs.sample import sample
from tests.models.autoregressive.half_given import half_given, take_in_both_ways

CONDITIONS = {
    "none": None,
    "label": Event.label(3),
    "vector": Event.real((2,)),
    "frames": Event.real((3, 2), axes=("time", "band")),
}


def build(event: Event, condition: Event | None = None, **options: object) -> WaveNet:
    torch.manual_seed(0)
    model = create("wavenet", event, condition, **{"channels": 4, "skip": 6, "sets": 1, "max_dilation": 4, **options})
    assert isinstance(model, WaveNet)
    return sharpen(model)


def sharpen(model: SequenceModel) -> Any:
    """Give biases values, and sharp distributions, so that draws depend on what came before them."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
            elif "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
        model.symbols.weight.normal_() if model.output is None else model.output.weight.mul_(20.0)
    return model.eval()


def condition_of(event: Event | None, n: int) -> Tensor | None:
    if event is None:
        return None
    return torch.randn(n, *event.shape) if event.levels is None else torch.arange(n) % event.levels


def eagerly(model: SequenceModel, state: State, chosen: Draws, stop: int) -> None:
    model.fused = False
    model.run(state, chosen, stop)


@given(
    channels=st.integers(1, 5),
    skip=st.integers(1, 5),
    sets=st.integers(1, 2),
    kernel=st.integers(2, 3),
    max_dilation=st.sampled_from([1, 2, 4]),
    shape=st.sampled_from([(1,), (7,), (1, 2, 3), (2, 2, 2)]),
    levels=st.sampled_from([2, 3, 20]),
    inputs=st.sampled_from(["symbols", "numbers"]),
    condition=st.sampled_from(sorted(CONDITIONS)),
    batch=st.integers(1, 33),
    temperature=st.sampled_from([1.0, 0.7]),
    half=st.booleans(),
    parts=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    seed=st.integers(0, 100),
)
@torch.no_grad()
def test_steps_in_one_call_are_those_one_by_one(
    channels: int,
    skip: int,
    sets: int,
    kernel: int,
    max_dilation: int,
    shape: tuple[int, ...],
    levels: int,
    inputs: str,
    condition: str,
    batch: int,
    temperature: float,
    half: bool,
    parts: tuple[int, int],
    seed: int,
) -> None:
    """Both ways read and leave one state, so that either goes on where the other ended; given values teach the model."""
    model = build(
        Event.integers(shape, levels),
        CONDITIONS[condition],
        channels=channels,
        skip=skip,
        sets=sets,
        kernel=kernel,
        max_dilation=max_dilation,
        inputs=inputs,
        head="softmax",
    )
    if half:
        model.half().float()
    compare(model, batch, temperature, parts, seed)


def compare(model: SequenceModel, batch: int, temperature: float, parts: tuple[int, int], seed: int) -> None:
    """Take some steps in one call, some one by one and the rest in one call; compare with all of them one by one."""
    given = condition_of(model.condition, batch)
    ours, theirs = model.init_state(batch, given), model.init_state(batch, given)
    mine, other = half_given(model, batch, seed, temperature), half_given(model, batch, seed, temperature)
    assert model.fusible(mine)
    numel = model.event.numel
    first, second = (min(part, numel) for part in sorted(parts))
    take_in_both_ways(model, ours, mine, first, second)
    eagerly(model, theirs, other, numel)
    assert ours.t == theirs.t == numel
    assert torch.equal(ours.x, theirs.x)
    torch.testing.assert_close(mine.log_p, other.log_p, rtol=1e-5, atol=1e-5)
    for one, another in zip(ours.memory, theirs.memory, strict=True):
        torch.testing.assert_close(one, another, rtol=1e-5, atol=1e-5)


@given(
    name=st.sampled_from(["transformer", "windowed", "sparse-transformer"]),
    features=st.sampled_from([2, 4, 6]),
    heads=st.integers(1, 3),
    layers=st.integers(1, 3),
    hidden=st.sampled_from([None, 5]),
    positions=st.sampled_from(["rotary", "learned"]),
    tied=st.booleans(),
    shape=st.sampled_from([(1,), (9,), (1, 2, 3), (2, 2, 2)]),
    levels=st.sampled_from([2, 3, 20]),
    condition=st.sampled_from(["none", "label", "vector"]),
    batch=st.integers(1, 33),
    temperature=st.sampled_from([1.0, 0.7]),
    half=st.booleans(),
    parts=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 100),
)
@torch.no_grad()
def test_steps_of_attention_in_one_call_are_those_one_by_one(
    name: str,
    features: int,
    heads: int,
    layers: int,
    hidden: int | None,
    positions: str,
    tied: bool,
    shape: tuple[int, ...],
    levels: int,
    condition: str,
    batch: int,
    temperature: float,
    half: bool,
    parts: tuple[int, int],
    seed: int,
) -> None:
    """Keys in a ring, in all places, or in those that a sparse pattern keeps, and what one way leaves the other reads."""
    torch.manual_seed(seed)
    special = {"windowed": {"window": 3}, "sparse-transformer": {"stride": 2}}.get(name, {})
    options = {"width": features * heads, "heads": heads, "layers": layers, "hidden": hidden, "tied": tied, **special}
    if name != "sparse-transformer":
        options["positions"] = positions
    kind = "transformer" if name == "windowed" else name
    model = create(kind, Event.integers(shape, levels), CONDITIONS[condition], head="softmax", **options)
    assert isinstance(model, AttentionModel)
    sharpen(model)
    if half:
        model.half().float()
    compare(model, batch, temperature, parts, seed)


def test_weights_that_change_are_read_anew() -> None:
    model = build(Event.audio(12, PCM(8000, 16)))
    changes = (
        lambda: None,
        lambda: model.hidden.weight.mul_(2.0),
        lambda: model.half().float(),
        lambda: model.load_state_dict(build(Event.audio(12, PCM(8000, 16)), kernel=2).state_dict()),
    )
    for change in changes:
        with torch.no_grad():
            change()
            compare(model, 2, 1.0, (0, 0), seed=3)
    kept = model.fused_network()
    assert model.fused_network() is kept


@torch.no_grad()
def test_weights_of_eight_bits_are_multiplied_as_their_layers_do() -> None:
    """Rounded inputs that lie at an edge may fall to either side of it, so that a few numbers differ by one step of 127."""
    torch.manual_seed(0)
    whole = sharpen(create("transformer", Event.integers((20,), 5), width=32, heads=2, layers=2))
    model = rounded(whole, "int8")
    log_p = []
    for each, at_once in ((model, True), (model, False), (whole, False)):
        chosen = half_given(each, 40, 3)
        chosen.noise, chosen._observed = None, None  # all are given
        state = each.init_state(40)
        if at_once:
            each.run_fused(state, chosen, 20)
            assert each.fused_network().inputs.weight.dtype == np.int8
        else:
            eagerly(each, state, chosen, 20)
        log_p.append(chosen.log_p)
    apart, rounding = (log_p[0] - log_p[1]).abs().mean(), (log_p[2] - log_p[1]).abs().mean()
    assert apart < 0.05 * rounding


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("condition", sorted(CONDITIONS))
@torch.no_grad()
def test_raw_parameters_are_those_of_forward(condition: str, half: bool) -> None:
    """Teacher-forced over a longer sequence than memory reaches: what each call leaves is what the next one needs."""
    model = build(Event.audio(40, PCM(8000, 16)), CONDITIONS[condition])
    if half:
        model.half().float()
    given = condition_of(model.condition, 2)
    x = torch.randint(16, (2, 40))
    state = model.init_state(2, given)
    previous, found = np.full(2, 16), []
    for t in range(0, 40, 7):
        values = x[:, t : t + 7].contiguous().numpy()
        steps = values.shape[1]
        raw = np.empty((2, steps, 16), np.float32)
        prepared = model.prepare_fused(state, t, t + steps)
        assert prepared[0].skip.dtype == (np.uint16 if HALVES and half else np.float32)
        given_steps = FusedSteps(t, previous, values, np.ones(steps, np.bool_), np.zeros((2, steps)), 1.0, raw)
        model.take_fused(state, prepared, given_steps, slice(0, 2))
        np.testing.assert_array_equal(previous, values[:, -1])
        found.append(torch.from_numpy(raw))
    torch.testing.assert_close(torch.cat(found, dim=1), model(x, given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_data_of_a_batch(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a multiple of four, but for the last, and what is drawn is the same."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    model = build(Event.audio(12, PCM(8000, 16)), Event.label(3))
    taken, take_fused = [], WaveNet.take_fused

    def noted(self: WaveNet, state: State, prepared: Any, steps: FusedSteps, rows: slice) -> None:
        taken.append((rows.start, rows.stop))
        take_fused(self, state, prepared, steps, rows)

    monkeypatch.setattr(WaveNet, "take_fused", noted)
    compare(model, 14, 1.0, (0, 0), seed=3)
    assert sorted(taken) == {1: [(0, 14)], 2: [(0, 8), (8, 14)], 3: [(0, 8), (8, 12), (12, 14)]}[threads]


def test_verbs_take_the_fused_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples with a prompt, of any batch, and completions are those of the steps one by one."""
    monkeypatch.setattr(WaveNet, "fused_least", 0)
    monkeypatch.setattr(fused, "COMPILED", True)
    monkeypatch.setattr(fused, "FUSED_STEPS", 3)
    model = build(Event.audio(12, PCM(8000, 16)), Event.label(3))
    calls, run_fused = [], WaveNet.run_fused

    def counted(self: WaveNet, state: State, chosen: Draws, stop: int) -> None:
        calls.append(stop - state.t)
        run_fused(self, state, chosen, stop)

    monkeypatch.setattr(WaveNet, "run_fused", counted)
    observed = torch.arange(12) < 5
    x = sample(model, 2, 1)
    found = {}
    for at_once in (True, False):
        model.fused = at_once
        found[at_once] = (
            sample(model, 3, "all", seed=3, batch_size=2),
            sample(model, 3, 1, prompt=[1, 2, 3], length=20, temperature=0.8),
            complete(model, x, observed, n=2, condition=1).x,
            model.sample(3, torch.tensor([0, 1, 2]), generator=torch.Generator().manual_seed(5)),
        )
        if at_once:
            assert sum(calls) == 12 + 2 * 12 + 20 + 7 + 12  # what is given is read by prefills
            calls.clear()
    assert calls == []
    for one, another in zip(found[True], found[False], strict=True):
        assert torch.equal(one, another)


@pytest.mark.parametrize(
    ("options", "sharpening", "double"),
    [
        ({"head": "logistic-mixture"}, {}, False),
        ({}, {"top_k": 2}, False),
        ({}, {"top_p": 0.5}, False),
        ({}, {}, True),
    ],
)
def test_what_has_no_fused_loop_takes_steps(
    options: dict[str, str], sharpening: dict[str, float], double: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WaveNet, "fused_least", 0)
    monkeypatch.setattr(fused, "COMPILED", True)
    model = build(Event.audio(6, PCM(8000, 16)), **options)
    state, plain = model.init_state(1), Draws(EntryValue(model.head, Sharpening()))
    assert model.fuses(state, plain) is (options == {})
    model = model.double() if double else model
    assert not model.fuses(state, Draws(EntryValue(model.head, Sharpening(**sharpening))))  # type: ignore[arg-type]
    assert sample(model, 2, **sharpening).shape == (2, 6)  # type: ignore[arg-type]


def test_short_sounds_are_not_worth_compiling() -> None:
    model = build(Event.audio(6, PCM(8000, 16)))
    assert not model.fuses(model.init_state(1), Draws(EntryValue(model.head, Sharpening())))


def test_nan_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WaveNet, "fused_least", 0)
    monkeypatch.setattr(fused, "COMPILED", True)
    model = build(Event.audio(6, PCM(8000, 16)))
    with torch.no_grad():
        model.stack.skip_bias[0] = float("nan")
    with pytest.raises(InvalidInput, match="gives NaN"):
        sample(model, 1)
