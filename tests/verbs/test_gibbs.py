"""A sweep leaves the conditional what it is, and leads to it from wherever completions start."""

import math

import pytest
import torch
from torch import Tensor

from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.verbs import gibbs
from ancestral.verbs.complete import CollapseWarning, complete
from ancestral.verbs.gibbs import gibbs_sweeps
from ancestral.verbs.particles import FILTER, make_plan
from tests.contracts.cases import Case, all_states, contract, generator, repeat
from tests.models.autoregressive.test_base import Walk
from tests.verbs.test_complete import agrees

ROWS = 3000


# Sweeps take the steps that the contracts hold every model to: these few have all kinds of memory and orders.
SWEPT = {"fvsbn", "nade", "neural-conditionals", "made", "lstm-lm"}


def own_order(case: Case) -> bool:
    return case.name in SWEPT and case.enumerable and not case.build().any_order


def swept(model: AutoregressiveModel, x: Tensor, condition: Tensor | None, observed: Tensor, sweeps: int) -> Tensor:
    plan = make_plan(model, observed.flatten())
    return gibbs_sweeps(
        model,
        plan,
        0,
        x.flatten(1).to(model.dtype),
        repeat(condition, len(x)),
        sweeps,
        seed=1,
        datum=2,
        streams=range(len(x)),
    ).view_as(x)


@contract(own_order)
@pytest.mark.parametrize("candidates", [2, 8])
@torch.no_grad()
def test_sweeps_keep_the_conditional_and_lead_to_it(case: Case, candidates: int, monkeypatch) -> None:
    monkeypatch.setattr(gibbs, "CANDIDATES", candidates)
    model = case.build(spread=0.5)
    event, condition = case.event, case.conditions(1)
    assert isinstance(model, AutoregressiveModel)
    observed = torch.zeros(event.numel, dtype=torch.bool)
    observed[model.member_order(0)[event.numel // 2 : -1 : 2]] = True
    observed = observed.view(event.shape)
    assert make_plan(model, observed.flatten()).method == FILTER
    last = make_plan(model, observed.flatten()).stops(0)[1]

    states, given = all_states(event), case.data(1)
    states = states[(states == given)[:, observed].all(1)]
    raw = model.member_forward(0, states, repeat(condition, len(states)))
    log_prob = model.entry_log_prob(raw, states).flatten(1).double()
    p = torch.softmax(log_prob.sum(1), 0)
    # What comes after the last observed entry does not count: sum over it.
    base = (event.levels or 0) ** torch.arange(event.numel)
    base[model.member_order(0)[last:]] = 0
    number = (states.flatten(1).long() * base).sum(1)
    expected = torch.zeros(int(base.sum()) * ((event.levels or 0) - 1) + 1, dtype=torch.float64).index_add_(0, number, p)

    at_home = states[torch.multinomial(p, ROWS, replacement=True, generator=generator())]
    for start, sweeps in ((at_home, 1), (states[:1].expand(ROWS, *event.shape), 30)):
        found = swept(model, start, condition, observed, sweeps)
        assert bool((found == given)[:, observed].all())
        assert agrees((found.flatten(1).long() * base).sum(1), expected)


@torch.no_grad()
def test_real_completions_come_to_have_the_moments_of_the_conditional():
    """A walk z_2 = s e, z_1 = z_2 + s e, z_0 = z_1 + s e: given z_0 = v, the mean of z_2 is v / 3 and of z_1 2 v / 3."""
    event, s = Event.real((3,), loc=(5.0, 1.0, -2.0), scale=(2.0, 0.5, 3.0)), math.exp(-4.0)
    model, v = Walk(event), 0.05
    x = torch.tensor([5.0 + 2.0 * v, 1.0, -2.0]).expand(4000, 3)
    z = event.to_network(swept(model, x, None, torch.tensor([True, False, False]), 30))
    assert z[:, 0].tolist() == pytest.approx([v] * 4000)
    assert z.mean(0)[1:].tolist() == pytest.approx([2 * v / 3, v / 3], abs=1.5e-3)
    assert z.std(0)[1:].tolist() == pytest.approx([s * (2 / 3) ** 0.5] * 2, rel=0.05)


def test_sweeps_draw_collapsed_completions_apart():
    """Sixteen pairs of likely equal bits, of which the second ones are given: few particles find all first ones."""
    event = Event.binary((32,))
    model = create("fvsbn", event)
    with torch.no_grad():
        model.bias.zero_()
        weight = model.weight.zero_().view(32, 32)
        weight[torch.arange(16, 32), torch.arange(16)] = 2.0
        model.bias.view(-1)[16:] = -1.0
    observed = torch.arange(32) >= 16
    x = torch.ones(32)
    with pytest.warns(CollapseWarning):
        alone = complete(model, x, observed, 200, particles=400)
    moved = complete(model, x, observed, 200, particles=400, sweeps=5)
    assert moved.method == ("sequential Monte Carlo, 5 Gibbs sweeps",)
    torch.testing.assert_close(moved.effective_sample_size, alone.effective_sample_size)
    assert len(moved.x[0].unique(dim=0)) > 1.5 * len(alone.x[0].unique(dim=0))
    # Given its second bit, 1, each first bit is 1 with probability sigmoid(1) / (sigmoid(1) + sigmoid(-1)) = 0.731.
    assert float(moved.x[0, :, :16].double().mean()) == pytest.approx(0.731, abs=0.03)
    torch.testing.assert_close((moved.log_prob + moved.log_evidence[:, None]).float()[0], model.log_prob(moved.x[0]))
