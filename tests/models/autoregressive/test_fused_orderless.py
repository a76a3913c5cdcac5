"""Steps of DeepNADE in one call: the values, states and probabilities of `step`, one after another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.distributions import Sharpening
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.deep_nade import NEAR, DeepNADE
from ancestral.models.autoregressive.draws import Draws, EntryValue
from tests.models.autoregressive.half_given import half_given, take_in_both_ways


def build(event: Event, **options: object) -> DeepNADE:
    """A model whose biases have values, and whose draws depend on what came before them."""
    torch.manual_seed(0)
    model = create("deep-nade", event, None, **options)
    assert isinstance(model, DeepNADE)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
        model.output.weight.mul_(10.0)
    return model.eval()


@given(
    shape=st.sampled_from([(1,), (7,), (1, 2, 3)]),
    levels=st.sampled_from([2, 3, 20]),
    hidden=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    batch=st.sampled_from([1, 2, 5, NEAR + 3]),
    temperature=st.sampled_from([1.0, 0.7]),
    parts=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    member=st.integers(0, 2),
    seed=st.integers(0, 100),
)
@torch.no_grad()
def test_steps_in_one_call_are_those_one_by_one(
    shape: tuple[int, ...],
    levels: int,
    hidden: list[int],
    batch: int,
    temperature: float,
    parts: tuple[int, int],
    member: int,
    seed: int,
) -> None:
    model = build(Event.integers(shape, levels), hidden=tuple(hidden), ensemble=3)
    one_by_one, in_calls = model.init_state(batch, member=member), model.init_state(batch, member=member)
    expected, chosen = (half_given(model, batch, seed, temperature) for _ in range(2))
    model.fused = False
    x = model.run(one_by_one, expected)
    numel = model.event.numel
    take_in_both_ways(model, in_calls, chosen, min(parts[0], numel), min(sum(parts), numel))
    # A draw whose noise is within rounding of a border may fall on either side of it; nothing else may differ.
    same = (in_calls.x.view(-1, *shape) == x).flatten(1).all(1)
    assert (~same).sum() <= 1
    assert torch.allclose(chosen.log_p[same], expected.log_p[same], atol=1e-4)
    assert torch.allclose(in_calls.cache["sum"][same], one_by_one.cache["sum"][same], atol=1e-5)


def test_likelihoods_in_one_call_are_those_of_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(Event.binary((3, 4)), hidden=(8, 6), ensemble=3)
    x = torch.randint(2, (9, 3, 4))
    calls = []
    run = model.run_fused
    monkeypatch.setattr(model, "run_fused", lambda *given: (calls.append(given), run(*given)))
    monkeypatch.setattr(DeepNADE, "fused_least", 0)
    exact = model.log_prob(x)  # with a gradient, which calls of the loop do not keep
    assert exact.requires_grad
    assert not calls
    with torch.no_grad():
        assert torch.allclose(model.log_prob(x), exact, atol=1e-5)
    assert len(calls) in (0, 3)  # none where numba is absent


@pytest.mark.parametrize(
    ("event", "options"),
    [
        (Event.binary((3,)), {"activation": "tanh"}),
        (Event.real((3,)), {"components": 2}),
        (Event.binary((3,)), {"condition": Event.label(2)}),
    ],
)
def test_other_networks_go_step_by_step(event: Event, options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeepNADE, "fused_least", 0)
    model = create("deep-nade", event, options.pop("condition", None), hidden=(4,), **options)
    assert isinstance(model, DeepNADE)
    condition = None if model.condition is None else torch.zeros(2, dtype=torch.long)
    assert not model.fuses(model.init_state(2, condition), Draws(EntryValue(model.head, Sharpening())))
