"""Autoregressive models: what each conditional depends on, and that one step at a time gives what one pass gives."""

import itertools

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.state import State
from tests.contracts.cases import Case, all_states, contract, generator, repeat


def autoregressive(case: Case) -> bool:
    return case.autoregressive


def jacobian(model: AutoregressiveModel, x: Tensor, condition: Tensor | None) -> Tensor:
    """Return |d raw / d x| summed over the parameters of an entry, by step: (numel, numel), for one relaxed datum."""

    def raw(x: Tensor) -> Tensor:
        return model(x, condition).flatten(1, -2)[0]  # (numel, parameters)

    full = torch.autograd.functional.jacobian(raw, x)  # (numel, parameters, 1, *shape)
    order = model.order
    return full.flatten(2).abs().sum(1)[order][:, order]


def changes(model: AutoregressiveModel, x: Tensor, other: Tensor, condition: Tensor | None) -> Tensor:
    """Return whether the parameters at step i change when the value of step j does, (numel, numel)."""
    order, n = model.order, model.event.numel
    flat = x.flatten(1).expand(n, n).clone()
    steps = torch.arange(n)
    flat[steps, order] = other.flatten()[order]
    given = None if condition is None else condition.expand(n, *condition.shape[1:])
    before = model(x, condition).flatten(1, -2)[0]
    after = model(flat.view(n, *model.event.shape), given).flatten(1, -2)  # (j, numel, parameters)
    return ((after - before).abs().amax(-1) > 1e-12)[:, order].T


@contract(autoregressive)
def test_the_order_visits_every_entry_once(case: Case) -> None:
    assert sorted(case.build().order.tolist()) == list(range(case.event.numel))


@contract(autoregressive)
def test_a_conditional_depends_only_on_what_came_before(case: Case) -> None:
    """By changing one entry at a time, and by the Jacobian on relaxed data.

    What it does see is collected over several draws of data and weights: at these sizes a ReLU may be off for good.
    """
    n = case.event.numel
    seen = torch.zeros(n, n, dtype=torch.bool)
    later = torch.ones(n, n).triu().bool()  # an entry itself included
    for seed in range(8):
        model = case.build(seed, dtype=torch.float64)
        x = case.data(1, seed=seed).double()
        condition = case.conditions(1, seed=seed)
        other = case.data(1, seed=seed + 100).double()
        if case.event.levels is not None:
            other = (x + 1 + other % (case.event.levels - 1)) % case.event.levels  # never the same value
        with torch.no_grad():
            dependent = changes(model, x, other, condition)
        relaxed = x + 0.1 * torch.rand(x.shape, dtype=x.dtype, generator=generator(seed))
        for found in (dependent, jacobian(model, relaxed, condition) > 0.0):
            leaks = (found & later).nonzero().tolist()
            assert not leaks, f"(step, a step it must not see): {leaks}"
        seen |= dependent
    if not getattr(case.cls, "blind_spot", False):
        blind = (~seen & ~later).nonzero().tolist()
        assert not blind, f"(step, an earlier step it never sees): {blind}"


@contract(lambda case: case.autoregressive and case.condition is not None)
def test_conditionals_depend_on_the_condition(case: Case) -> None:
    x = case.data(1).repeat(8, *[1] * len(case.event.shape))
    if case.event.end:  # what comes after an end depends on nothing else
        marks = x if case.event.columns is None else x[..., -1]
        marks.clamp_(max=case.event.end_symbol - 1)
    dependent = torch.zeros(case.event.numel, dtype=torch.bool)
    for seed in range(4):
        with torch.no_grad():
            raw = case.build(seed, dtype=torch.float64)(x, case.conditions(8)).flatten(1, -2)
        dependent |= (raw - raw[:1]).abs().amax((0, 2)) > 0.0
    assert bool(dependent.all()), f"entries that ignore the condition: {(~dependent).nonzero()[:, 0].tolist()}"


def teacher_forced(model: AutoregressiveModel, x: Tensor, condition: Tensor | None, order: Tensor | None = None) -> Tensor:
    """Return the raw parameters, (batch, numel, parameters), of one step after another over given data."""
    state = model.init_state(len(x), condition, order)
    flat = x.flatten(1).to(model.dtype)
    order = model.order if order is None else order
    steps = [model.step(state)]
    for entry in order.tolist()[:-1]:
        steps.append(model.step(state, flat[:, entry]))
    raw = torch.stack(steps, dim=1)  # by step
    return torch.empty_like(raw).index_copy(1, order, raw)


@contract(autoregressive)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["f64", "f32"])
@torch.no_grad()
def test_step_equals_forward(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    model = case.build(dtype=dtype)
    for batch in (1, 2, 5):
        x, condition = case.data(batch, seed=batch), case.conditions(batch, seed=batch)
        stepped = teacher_forced(model, x, condition)
        whole = model(x, condition).flatten(1, -2)
        torch.testing.assert_close(stepped, whole, rtol=tolerance, atol=tolerance)


def assert_alike(ours: State, theirs: State, tolerance: float) -> None:
    """Hold two states equal: steps and data to the bit, memory of all kinds but for rounding."""
    assert ours.t == theirs.t
    assert torch.equal(ours.x, theirs.x)
    for one, other in zip(ours.memory, theirs.memory, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@contract(autoregressive)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["f64", "f32"])
@torch.no_grad()
def test_a_prefill_leads_where_steps_lead(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    """From each step to the next, to one between and to the last: raw parameters, the state, and what follows from it."""
    model = case.build(dtype=dtype)
    order, n = model.order.tolist(), case.event.numel
    x, condition = case.data(3).flatten(1).to(dtype)[:, order], case.conditions(3)
    stepped = model.init_state(3, condition)
    for begin in range(n):
        for stop in sorted({begin + 1, (begin + 1 + n) // 2, n}):
            ours, theirs = (model.fork(stepped, torch.arange(3)) for _ in range(2))
            raw = model.prefill(ours, x[:, begin:stop], x[:, begin - 1] if begin else None)
            expected = [model.step(theirs, x[:, t - 1] if t else None) for t in range(begin, stop)]
            torch.testing.assert_close(raw, torch.stack(expected, dim=1), rtol=tolerance, atol=tolerance)
            theirs.x[:, order[stop - 1]] = x[:, stop - 1]
            assert_alike(ours, theirs, tolerance)
            if stop < n:
                after = [model.step(state, x[:, stop - 1]) for state in (ours, theirs)]
                torch.testing.assert_close(*after, rtol=tolerance, atol=tolerance)
        model.step(stepped, x[:, begin - 1] if begin else None)


@contract(autoregressive)
def test_prefills_out_of_turn_are_refused(case: Case) -> None:
    model, n = case.build(), case.event.numel
    state, values = model.init_state(2, case.conditions(2)), torch.zeros(2, n + 1)
    for count, previous in ((0, None), (n + 1, None), (1, values[:, 0])):
        with pytest.raises(InvalidInput, match=f"step 0 of {n} got {count} values"):
            model.prefill(state, values[:, :count], previous)
    assert state.t == 0


@contract(autoregressive)
@torch.no_grad()
def test_a_state_goes_on_from_another(case: Case) -> None:
    """At every step, data can be dropped, doubled and exchanged: in place, and in a state of another size."""
    model = case.build(dtype=torch.float64)
    x = case.data(3).double()
    condition = repeat(case.conditions(1), 3)
    expected = teacher_forced(model, x, condition)
    order = model.order.tolist()
    for index in (torch.tensor([2, 0, 2]), torch.tensor([1]), torch.tensor([2, 1, 0, 1, 2])):
        for cut in range(1, len(order)):
            state = model.init_state(3, condition)
            model.step(state)
            for entry in order[: cut - 1]:
                model.step(state, x.flatten(1)[:, entry])
            if len(index) == 3:
                state.select(index)
            else:
                state = model.fork(state, index)
            for entry, following in itertools.pairwise(order[cut - 1 :]):
                raw = model.step(state, x[index].flatten(1)[:, entry])
                torch.testing.assert_close(raw, expected[index, following], rtol=1e-10, atol=1e-10)


@contract(autoregressive)
@torch.no_grad()
def test_another_order_is_another_factorization(case: Case) -> None:
    """A model that serves any order has, under each, probabilities that sum to 1; the others refuse."""
    model = case.build(dtype=torch.float64)
    numel = case.event.numel
    order = torch.randperm(numel, generator=generator(3))
    if not model.any_order:
        with pytest.raises(Unsupported):
            model.init_state(1, case.conditions(1), order)
        return
    with pytest.raises(InvalidInput):
        model.init_state(1, case.conditions(1), torch.zeros(numel, dtype=torch.long))
    if not case.enumerable:
        pytest.skip("its data cannot be enumerated")
    x = all_states(case.event)
    for condition in case.each_condition(len(x)):
        raw = teacher_forced(model, x, condition, order)
        entries = model.entry_log_prob(raw.view(len(x), *case.event.shape, -1), x)
        assert float(entries.flatten(1).sum(1).exp().sum()) == pytest.approx(1.0, abs=1e-10)


@contract(autoregressive)
def test_steps_out_of_turn_are_refused(case: Case) -> None:
    model = case.build()
    condition = case.conditions(2)
    value = torch.zeros(2)
    state = model.init_state(2, condition)
    with pytest.raises(InvalidInput):
        model.step(state, value)
    model.step(state)
    if case.event.numel > 1:
        with pytest.raises(InvalidInput):
            model.step(state)
    for _ in range(case.event.numel - 1):
        model.step(state, value)
    with pytest.raises(InvalidInput):
        model.step(state, value)


@contract(lambda case: case.autoregressive and case.condition is not None)
def test_a_state_needs_its_conditions(case: Case) -> None:
    with pytest.raises(InvalidInput):
        case.build().init_state(2, None)
    with pytest.raises(InvalidInput):
        case.build().init_state(2, case.conditions(3))
