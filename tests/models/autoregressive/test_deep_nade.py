import itertools
import math

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.autoregressive.deep_nade import DeepNADE


def small(event=None, condition=None, **options):
    torch.manual_seed(3)
    return DeepNADE(event or Event.binary((1, 2, 3)), condition, **{"hidden": (10, 8), "activation": "tanh", **options})


def order_log_prob(model, x, order):
    """log p(x) under any order, by the stepping interface."""
    state = model.init_state(len(x), order=torch.tensor(order))
    total, previous, flat = 0.0, None, x.flatten(1)
    for entry in order:
        raw = model.step(state, previous)
        total = total + model.head(raw).log_prob(flat[:, entry])
        previous = flat[:, entry]
    return total


@pytest.mark.parametrize("options", [{}, {"hidden": (12,)}, {"ensemble": 3}])
def test_sums_to_one_and_step_equals_forward(options, condition, spread, check_distribution):
    check_distribution(spread(small(condition=condition, **options)))


@pytest.mark.parametrize("head", ["softmax", "logistic-mixture"])
def test_integers_sum_to_one(head, all_states, spread):
    model = spread(small(Event.integers((3,), 4), head=head, components=2))
    assert model.log_prob(all_states(model.event)).exp().sum().item() == pytest.approx(1.0, abs=1e-9)


def test_the_incremental_pass_equals_the_network_on_masked_inputs(all_states, spread):
    model = spread(small())
    x = all_states(model.event)
    raw = model(x).flatten(1, -2)
    known = torch.zeros(len(x), 6)
    for entry in model.order.tolist():
        direct = model.conditionals(x, known.view(-1, 1, 2, 3)).flatten(1, -2)
        torch.testing.assert_close(raw[:, entry], direct[:, entry], rtol=0, atol=1e-10)
        known[:, entry] = 1.0


def test_unknown_values_have_no_effect(spread):
    model = spread(small())
    known = torch.tensor([1.0, 0, 1, 0, 0, 1]).view(1, 1, 2, 3)
    x = torch.tensor([1.0, 0, 1, 0, 0, 1]).view(1, 1, 2, 3).double()
    other = torch.tensor([1.0, 1, 1, 1, 1, 1]).view(1, 1, 2, 3).double()
    assert torch.equal(model.conditionals(x, known), model.conditionals(other, known))


@pytest.mark.parametrize("ensemble", [1, 3])
def test_each_member_sees_exactly_what_comes_before_in_its_order(ensemble, dependence, spread):
    model = spread(small(ensemble=ensemble))
    x = torch.rand(4, 1, 2, 3, dtype=torch.double)
    for k in range(ensemble):
        place = model.member_order(k).argsort()
        seen = dependence(lambda x, k=k: model.member_forward(k, x), x)
        assert torch.equal(seen, place[:, None] > place)


def test_serves_any_order_and_each_sums_to_one(all_states, spread):
    model = spread(small(Event.binary((4,))))
    x = all_states(model.event)
    for order in itertools.permutations(range(4)):
        assert order_log_prob(model, x, order).exp().sum().item() == pytest.approx(1.0, abs=1e-10)
    own = order_log_prob(model, x, model.order.tolist())
    torch.testing.assert_close(own, model.log_prob(x), rtol=0, atol=1e-10)
    with pytest.raises(InvalidInput, match="once"):
        model.init_state(1, order=torch.tensor([0, 0, 1, 2]))


def test_ensemble_is_the_mean_over_its_orders(all_states, spread):
    model = spread(small(ensemble=3))
    x = all_states(model.event)
    members = torch.stack([order_log_prob(model, x, model.member_order(k).tolist()) for k in range(3)])
    torch.testing.assert_close(model.log_prob(x), torch.logsumexp(members, 0) - math.log(3), rtol=0, atol=1e-10)
    assert str(model.likelihood) == "exact (mixture of 3 orders)"


def test_known_entries_are_the_first_steps_of_a_random_order(chi_square):
    model = small(Event.binary((4,)))
    n = 40_000
    known = model._draw_known((torch.arange(n) + 0.5) / n, torch.Generator().manual_seed(0))
    code = torch.bincount((known.long() * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    sizes = [bin(i).count("1") for i in range(16)]
    expected = torch.tensor([0.0 if s == 4 else 1 / 4 / math.comb(4, s) for s in sizes])
    assert chi_square(code, expected) > 1e-3
    assert int(code[15]) == 0


def test_loss_and_measures_estimate_the_mean_over_all_orders(spread):
    model = spread(small(Event.binary((4,))))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 0.6
        x = torch.tensor([[1, 0, 0, 1]], dtype=torch.uint8)
        exact = -torch.stack([order_log_prob(model, x, order) for order in itertools.permutations(range(4))]).mean().item()
        many = x.expand(40_000, 4)
        estimate = model.measures(many, generator=torch.Generator().manual_seed(0))["nats_estimate"]
        error = estimate.std().item() / 200
        assert estimate.mean().item() == pytest.approx(exact, abs=4 * error)
        assert model.loss(many, generator=torch.Generator().manual_seed(1))["loss"].item() == pytest.approx(
            exact, abs=8 * error
        )
        assert error < 0.01


def test_measures_and_loss_are_seeded(spread):
    model = spread(small())
    x = torch.randint(0, 2, (7, 1, 2, 3), dtype=torch.uint8)
    for call in (lambda s: model.loss(x, generator=s)["loss"], lambda s: model.measures(x, generator=s)["nats_estimate"]):
        assert torch.equal(call(torch.Generator().manual_seed(5)), call(torch.Generator().manual_seed(5)))
        assert not torch.equal(call(torch.Generator().manual_seed(5)), call(torch.Generator().manual_seed(6)))


@pytest.mark.parametrize("ensemble", [1, 3])
def test_samples_follow_the_probabilities(ensemble, all_states, spread, chi_square):
    model = spread(small(Event.binary((4,)), ensemble=ensemble))
    x = model.sample(20_000, generator=torch.Generator().manual_seed(11))
    counts = torch.bincount((x.long() * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    assert chi_square(counts, model.log_prob(all_states(model.event)).exp().detach()) > 1e-3
    assert torch.equal(x, model.sample(20_000, generator=torch.Generator().manual_seed(11)))


def test_a_rebuilt_model_has_the_same_orders():
    model = small(ensemble=3, order_seed=8)
    again = DeepNADE(model.event, **model.config)
    assert all(torch.equal(model.member_order(k), again.member_order(k)) for k in range(3))
    assert "orders" not in model.state_dict()
    # The weights serve any number of orders, and more orders begin with the same ones.
    more = DeepNADE(model.event, **{**model.config, "ensemble": 5})
    more.load_state_dict(model.state_dict())
    assert torch.equal(more.member_order(2), model.member_order(2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": ()}, "hidden"),
        ({"ensemble": 0}, "ensemble"),
        ({"hidden": (0,)}, "hidden"),
        ({"activation": "x"}, "activation"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(InvalidInput, match=words):
        small(**options)
