import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.autoregressive.neural import NeuralConditionals

OPTIONS = ({}, {"shared": False}, {"direct": True}, {"shared": False, "direct": True})


def small(event=None, condition=None, **options):
    torch.manual_seed(3)
    return NeuralConditionals(event or Event.binary((1, 2, 3)), condition, **{"hidden": 3, **options})


def naive(model, v):
    """The definition: one network for each entry, over the entries before it."""
    out, groups = [], []
    for d in range(v.shape[1]):
        groups.append(torch.tanh(model.groups.bias[d] + v[:, :d] @ model.groups.weight[d, :, :d].T))
        seen = torch.cat(groups, dim=1) if model.shared else groups[-1]
        raw = model.output.bias[d] + seen @ model.output.weight[d, :, : seen.shape[1]].T
        if model.direct is not None:
            raw = raw + model.direct.bias[d] + v[:, :d] @ model.direct.weight[d, :, :d].T
        out.append(raw)
    return torch.stack(out, dim=1)


@pytest.mark.parametrize("options", OPTIONS)
def test_equals_the_definition(options, spread):
    model = spread(small(Event.integers((5,), 4), **options))
    x = torch.randint(0, 4, (9, 5), dtype=torch.uint8)
    v = x.double() * (2 / 3) - 1
    torch.testing.assert_close(model(x), naive(model, v), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS)
def test_sums_to_one_and_step_equals_forward(options, condition, spread, check_distribution):
    check_distribution(spread(small(condition=condition, **options)))


@pytest.mark.parametrize("options", OPTIONS)
def test_sees_exactly_what_comes_before(options, dependence, spread):
    model = spread(small(**options))
    seen = dependence(model, torch.rand(6, 1, 2, 3, dtype=torch.double))
    assert torch.equal(seen, torch.ones(6, 6).tril(-1).bool())


def test_groups_are_shared_or_not(spread):
    """Whether the second group's bias moves the last conditional."""
    for shared in (True, False):
        model = spread(small(Event.binary((4,)), shared=shared))
        x = torch.tensor([[1, 0, 1, 1]], dtype=torch.uint8)
        before = model(x).detach()
        with torch.no_grad():
            model.groups.bias[1] += 1.0
        moved = (model(x).detach() - before).abs().flatten() > 1e-12
        assert moved.tolist() == [False, True, shared, shared]


def test_samples_follow_the_probabilities(all_states, spread, chi_square):
    model = spread(small(Event.binary((4,))))
    x = model.sample(20_000, generator=torch.Generator().manual_seed(11))
    counts = torch.bincount((x.long() * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    assert chi_square(counts, model.log_prob(all_states(model.event)).exp().detach()) > 1e-3
    assert torch.equal(x, model.sample(20_000, generator=torch.Generator().manual_seed(11)))


@pytest.mark.parametrize(("options", "words"), [({"hidden": 0}, "hidden"), ({"activation": "rellu"}, "relu")])
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(InvalidInput, match=words):
        small(**options)
