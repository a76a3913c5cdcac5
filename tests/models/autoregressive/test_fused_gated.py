"""Rows of the Gated PixelCNN in one call: the values, states and probabilities of `step`, one after another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from ancestral.verbs.inputs import rounded
from ancestral.verbs.sample import sample
from tests.models.autoregressive.half_given import half_given, take_in_both_ways


def build(event: Event, condition: Event | None = None, **options: object) -> GatedPixelCNN:
    """A model whose biases have values, and whose draws depend on what came before them."""
    torch.manual_seed(0)
    model = create("gated-pixelcnn", event, condition, **{"channels": 4, "layers": 2, **options})
    assert isinstance(model, GatedPixelCNN)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
        model.readout.output.weight.mul_(20.0)
    return model.eval()


def condition_of(event: Event | None, n: int) -> Tensor | None:
    if event is None:
        return None
    return torch.randn(n, *event.shape) if event.levels is None else torch.arange(n) % event.levels


@given(
    shape=st.sampled_from([(1, 1, 1), (1, 1, 5), (1, 4, 1), (1, 3, 4), (2, 2, 3), (3, 3, 2)]),
    levels=st.sampled_from([2, 3, 20]),
    condition=st.sampled_from(["none", "label", "map"]),
    channels=st.integers(3, 7),
    layers=st.integers(1, 3),
    kernel=st.sampled_from([3, 5]),
    horizontal_kernel=st.sampled_from([None, 3]),
    separable=st.booleans(),
    skip=st.booleans(),
    vertical_residual=st.booleans(),
    head_channels=st.sampled_from([None, 3, 5]),
    batch=st.integers(1, 9),
    temperature=st.sampled_from([1.0, 0.7]),
    parts=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    seed=st.integers(0, 100),
)
@torch.no_grad()
def test_rows_in_one_call_are_steps_one_by_one(
    shape: tuple[int, int, int],
    levels: int,
    condition: str,
    batch: int,
    temperature: float,
    parts: tuple[int, int],
    seed: int,
    **options: object,
) -> None:
    """Both ways read and leave one state, so that either goes on where the other ended, also within a row or a pixel."""
    given_by = {"none": None, "label": Event.label(3), "map": Event.real((2, *shape[1:]))}[condition]
    model = build(Event.integers(shape, levels), given_by, **options)
    context = condition_of(given_by, batch)
    one_by_one, in_calls = model.init_state(batch, context), model.init_state(batch, context)
    expected, chosen = half_given(model, batch, seed, temperature), half_given(model, batch, seed, temperature)
    model.fused = False
    x = model.run(one_by_one, expected)
    numel = model.event.numel
    take_in_both_ways(model, in_calls, chosen, min(parts[0], numel), min(sum(parts), numel))
    found = in_calls.x.view(-1, *model.event.shape)
    differs = (found != x).flatten(1).any(1)
    # A draw whose noise is within rounding of a border may fall on either side of it; nothing else may differ.
    assert differs.sum() <= 1
    assert torch.allclose(chosen.log_p[~differs], expected.log_p[~differs], atol=1e-4)
    assert torch.allclose(chosen.log_p[~differs], model.log_prob(x, context).double()[~differs], atol=1e-4)


@torch.no_grad()
def test_rows_of_bfloat16_are_computed_in_single_precision() -> None:
    model = build(Event.integers((1, 4, 5), 3), channels=8, skip=True)
    half = rounded(model, "bfloat16")
    assert isinstance(half, GatedPixelCNN)
    one_by_one, in_calls = (half_given(half, 6, 0) for _ in range(2))
    for chosen in (one_by_one, in_calls):
        chosen.given, chosen._observed = torch.ones(6, 20, dtype=torch.long), None
    half.run(half.init_state(6), one_by_one)
    half.run_fused(half.init_state(6), in_calls, 20)
    exact = model.log_prob(torch.ones(6, 1, 4, 5)).double()
    assert torch.allclose(in_calls.log_p, one_by_one.log_p, atol=0.5)
    assert (in_calls.log_p - exact).abs().max() <= (one_by_one.log_p - exact).abs().max() + 0.05


def test_large_samples_are_drawn_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same data as one by one, whatever the threads that share them."""
    model = build(Event.binary((1, 6, 6)))
    taken: list[slice] = []
    take = model.take_fused
    monkeypatch.setattr(model, "take_fused", lambda *given: (taken.append(given[-1]), take(*given)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    by_steps = sample(model, 40, seed=1)
    assert not taken
    monkeypatch.setattr(GatedPixelCNN, "fused_least", 1000)
    assert (sample(model, 40, seed=1) != by_steps).flatten(1).any(1).sum() <= 1
    assert {(part.start, part.stop) for part in taken} == {(0, 20), (20, 40)}


def test_nan_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatedPixelCNN, "fused_least", 0)
    for event in (Event.binary((1, 3, 3)), Event.integers((1, 3, 3), 4)):
        model = build(event)
        with torch.no_grad():
            model.first_horizontal.bias.fill_(torch.nan)
        with pytest.raises(InvalidInput, match="NaN"):
            sample(model, 4)
