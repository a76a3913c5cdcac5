import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.autoregressive.nade import NADE


def small(event=None, condition=None, **options):
    torch.manual_seed(3)
    return NADE(event or Event.binary((1, 2, 3)), condition, **{"hidden": 9, **options})


def naive_log_prob(model, x):
    """Larochelle & Murray's algorithm as printed: one entry after another."""
    network = model.network
    a = network.bias.expand(len(x), -1)
    total = torch.zeros(len(x), dtype=torch.double)
    flat = x.flatten(1).double()[:, model.order]
    for d in range(flat.shape[1]):
        h = torch.sigmoid(a)
        p = torch.sigmoid(network.output_bias[d, 0] + h @ network.output_weight[d, 0])
        total = total + flat[:, d] * p.log() + (1 - flat[:, d]) * (1 - p).log()
        a = a + flat[:, d : d + 1] * network.weight[d]
    return total


@pytest.mark.parametrize("order_seed", [None, 4])
def test_equals_the_algorithm_of_the_paper(order_seed, spread):
    model = spread(small(Event.binary((50,)), order_seed=order_seed))
    x = (torch.rand(20, 50, generator=torch.Generator().manual_seed(0)) < 0.3).byte()
    torch.testing.assert_close(model.log_prob(x), naive_log_prob(model, x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"order_seed": 1}, {"activation": "tanh"}])
def test_sums_to_one_and_step_equals_forward(options, condition, spread, check_distribution):
    check_distribution(spread(small(condition=condition, **options)))


@pytest.mark.parametrize("head", ["softmax", "logistic-mixture"])
def test_integers_sum_to_one(head, all_states, stepped, spread):
    model = spread(small(Event.integers((4,), 3), head=head, components=2, order_seed=0))
    x = all_states(model.event)
    assert model.log_prob(x).exp().sum().item() == pytest.approx(1.0, abs=1e-9)
    torch.testing.assert_close(stepped(model, x), model(x).detach(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("order_seed", [None, 4])
def test_sees_exactly_what_comes_before(order_seed, dependence, spread):
    model = spread(small(order_seed=order_seed))
    place = model.order.argsort()
    seen = dependence(model, torch.rand(6, 1, 2, 3, dtype=torch.double))
    assert torch.equal(seen, place[:, None] > place)


def test_samples_follow_the_probabilities(all_states, spread, chi_square):
    model = spread(small(Event.binary((4,)), order_seed=2))
    x = model.sample(20_000, generator=torch.Generator().manual_seed(11))
    counts = torch.bincount((x.long() * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    assert chi_square(counts, model.log_prob(all_states(model.event)).exp().detach()) > 1e-3
    assert torch.equal(x, model.sample(20_000, generator=torch.Generator().manual_seed(11)))


def test_a_rebuilt_model_has_the_same_order():
    model = small(order_seed=4)
    assert torch.equal(NADE(model.event, **model.config).order, model.order)
    assert not torch.equal(model.order, torch.arange(6))
    assert "order_of_entries" not in model.state_dict()


def test_a_step_carries_the_sum_and_runs_no_pass(monkeypatch, spread):
    model = spread(small())
    state = model.init_state(4)
    monkeypatch.setattr(NADE, "forward", None)
    for t in range(3):
        before = state.cache["sum"].clone()
        model.step(state, None if t == 0 else torch.ones(4, dtype=torch.double))
    torch.testing.assert_close(state.cache["sum"], before + model.network.weight[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("options", "words"), [({"hidden": 0}, "hidden"), ({"activation": "rellu"}, "relu")])
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(InvalidInput, match=words):
        small(**options)


def test_real_data_are_refused():
    with pytest.raises(InvalidInput, match="binary or integer"):
        NADE(Event.real((3,)))
