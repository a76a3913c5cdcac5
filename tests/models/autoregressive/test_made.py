import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.autoregressive.made import MADE, draw_degrees

OPTIONS = (
    {},
    {"direct": True, "hidden": (9, 7)},
    {"residual": True, "hidden": (8, 8, 8), "activation": "silu"},
    {"masks": 3},
    {"orders": "random"},
    {"masks": 3, "orders": "agnostic", "direct": True},
    {"hidden": ()},
)


def small(event=None, condition=None, **options):
    torch.manual_seed(3)
    return MADE(event or Event.binary((1, 2, 3)), condition, **{"hidden": (12, 10), **options})


@given(
    numel=st.integers(1, 12),
    hidden=st.lists(st.integers(1, 20), max_size=3),
    masks=st.integers(1, 3),
    orders=st.sampled_from(["natural", "random", "agnostic"]),
    seed=st.integers(0, 1000),
    lowest=st.integers(0, 1),
    tied=st.booleans(),
)
@settings(deadline=None)
def test_degrees_follow_the_rules(numel, hidden, masks, orders, seed, lowest, tied):
    hidden = [hidden[0]] * len(hidden) if tied and hidden else hidden
    places, *layers = draw_degrees(numel, hidden, masks, orders, seed, lowest, tied)
    for k in range(masks):
        assert sorted(places[k]) == list(range(1, numel + 1))
        least = lowest
        for layer in layers:
            assert layer[k].min() >= least
            assert layer[k].max() <= max(numel - 1, lowest)
            least = layers[0][k].min() if tied else layer[k].min()
    if orders == "natural":
        assert (places == np.arange(1, numel + 1)).all()
    if orders == "random":
        assert (places == places[0]).all()


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5])
def test_degrees_of_a_unit_spread_over_a_share_of_the_range(spread: float) -> None:
    _, m = draw_degrees(201, (400,), 32, "natural", seed=3, spread=spread)
    assert np.ptp(m, axis=0).max() <= spread * 200 + 1
    assert (np.ptp(m, axis=0).min() > 0) == (spread > 0)
    assert m[0].min() < 10 + 100 * spread
    assert m[0].max() > 190 - 100 * spread


def test_degrees_cover_the_range_evenly():
    _, m = draw_degrees(101, (1000,), 1, "natural", seed=5)
    counts = np.bincount(m[0], minlength=101)
    assert counts[0] == 0
    assert counts[1:].min() == counts[1:].max() == 10


@pytest.mark.parametrize("options", OPTIONS)
def test_each_member_sees_exactly_what_comes_before_in_its_order(options, dependence, spread):
    model = spread(small(**{"activation": "tanh", **options, "hidden": tuple(3 * n for n in options.get("hidden", (12, 10)))}))
    x = torch.rand(8, 1, 2, 3, dtype=torch.double)
    for k in range(model.members):
        seen = dependence(lambda x, k=k: model.member_forward(k, x), x)
        place = model.member_order(k).argsort()
        assert torch.equal(seen, place[:, None] > place)


@pytest.mark.parametrize("options", OPTIONS)
def test_sums_to_one_and_step_equals_forward(options, condition, spread, check_distribution):
    check_distribution(spread(small(condition=condition, **options)))


@pytest.mark.parametrize(
    ("event", "options"),
    [
        (Event.integers((4,), 3), {}),
        (Event.integers((4,), 3), {"head": "logistic-mixture", "components": 2, "masks": 2, "orders": "agnostic"}),
    ],
)
def test_integers_sum_to_one(event, options, all_states, stepped, spread):
    model = spread(small(event, **options))
    x = all_states(event)
    assert model.log_prob(x).exp().sum().item() == pytest.approx(1.0, abs=1e-9)
    torch.testing.assert_close(stepped(model, x), model(x).detach(), rtol=0, atol=1e-10)


def test_real_density_integrates_to_one_and_steps(stepped):
    event = Event.real((2,), loc=(1.0, -1.0), scale=(2.0, 0.5))
    model = small(event, components=3, activation="tanh").double().eval()
    torch.nn.init.normal_(model.output.weight, std=0.3)
    grid = torch.linspace(-25, 25, 1501, dtype=torch.double)
    x = torch.cartesian_prod(grid * 2.0 + 1.0, grid * 0.5 - 1.0)
    cell = (grid[1] - grid[0]) ** 2 * 2.0 * 0.5
    with torch.no_grad():
        assert float(model.log_prob(x).exp().sum() * cell) == pytest.approx(1.0, abs=1e-3)
    torch.testing.assert_close(stepped(model, x[:9]), model(x[:9]).detach(), rtol=0, atol=1e-10)


def test_ensemble_is_the_mean_of_its_members(all_states, spread):
    model = spread(small(masks=4, orders="agnostic"))
    x = all_states(model.event)
    members = torch.stack([model.member_log_prob(k, x) for k in range(4)])
    torch.testing.assert_close(model.log_prob(x).exp(), members.exp().mean(0))
    assert not torch.allclose(members[0], members[1])
    assert str(model.likelihood) == "exact (mixture of 4 orders)"
    assert str(small().likelihood) == "exact"


def test_loss_trains_one_member_at_a_time_and_is_seeded(spread):
    model = spread(small(masks=3)).train()
    x = torch.randint(0, 2, (5, 1, 2, 3), dtype=torch.uint8)
    members = [-model.member_log_prob(k, x).mean().item() for k in range(3)]
    losses = [model.loss(x, generator=torch.Generator().manual_seed(s))["loss"].item() for s in range(30)]
    assert {min(range(3), key=lambda k, value=value: abs(members[k] - value)) for value in losses} == {0, 1, 2}
    assert all(min(abs(value - m) for m in members) < 1e-9 for value in losses)
    again = [model.loss(x, generator=torch.Generator().manual_seed(s))["loss"].item() for s in range(30)]
    assert losses == again


@pytest.mark.parametrize("options", [{}, {"masks": 3, "orders": "agnostic"}])
def test_samples_follow_the_probabilities(options, all_states, spread, chi_square):
    event = Event.binary((4,))
    model = spread(small(event, **options))
    x = model.sample(20_000, generator=torch.Generator().manual_seed(11))
    assert x.dtype == torch.uint8
    states = all_states(event)
    counts = torch.bincount((x.long() * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    assert chi_square(counts, model.log_prob(states).exp().detach()) > 1e-3
    assert torch.equal(x, model.sample(20_000, generator=torch.Generator().manual_seed(11)))


def test_conditional_ensemble_samples_keep_their_conditions(spread):
    model = spread(small(Event.binary((3,)), Event.label(2), masks=3))
    with torch.no_grad():
        model.embeddings[-1].map.weight[0] = -50.0
        model.embeddings[-1].map.weight[1] = 50.0
    c = torch.arange(20) % 2
    assert torch.equal(model.sample(20, c, generator=torch.Generator().manual_seed(0)), c[:, None].expand(20, 3).byte())


def test_first_entry_depends_on_the_condition_through_hidden_units():
    model = small(Event.binary((4,)), Event.label(2), hidden=(40,))
    assert int(model.get_buffer("degrees_1").min()) == 0


def test_a_rebuilt_model_has_the_same_masks_without_saving_them():
    options = {"masks": 3, "orders": "agnostic", "mask_seed": 9}
    model = small(**options)
    again = MADE(model.event, **model.config)
    again.load_state_dict(model.state_dict())
    x = torch.randint(0, 2, (6, 1, 2, 3), dtype=torch.uint8)
    assert torch.equal(model.eval().log_prob(x), again.eval().log_prob(x))
    assert not any(name.startswith("degrees") for name in model.state_dict())
    other = small(**{**options, "mask_seed": 10})
    assert not torch.equal(other.get_buffer("degrees_0"), model.get_buffer("degrees_0"))


def test_masks_are_the_same_under_any_release():
    places, first, second = draw_degrees(5, (4, 3), 2, "agnostic", seed=1)
    assert places.tolist() == [[3, 2, 5, 1, 4], [4, 2, 1, 3, 5]]
    assert first.tolist() == [[1, 3, 4, 2], [2, 1, 4, 3]]
    assert second.tolist() == [[4, 1, 3], [2, 4, 3]]


def test_dropout_acts_in_training_alone():
    model = small(dropout=0.5)
    x = torch.randint(0, 2, (50, 1, 2, 3), dtype=torch.uint8)
    model.eval()
    assert torch.equal(model.log_prob(x), model.log_prob(x))
    model.train()
    assert model.loss(x)["loss"] != model.loss(x)["loss"]


def test_learns_a_deterministic_rule():
    torch.manual_seed(0)
    model = small(Event.binary((5,)), hidden=(64,), masks=2)
    bits = torch.randint(0, 2, (256, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    x = torch.cat((bits, bits.sum(1, keepdim=True, dtype=torch.uint8) % 2), dim=1)  # the last is the others' parity
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(2)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(x, generator=generator)["loss"].backward()
        optimizer.step()
    # Four free bits and a sure one; without the rule it would be five bits.
    assert -model.eval().log_prob(x).mean().item() == pytest.approx(4 * math.log(2), abs=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": (0,)}, "hidden"),
        ({"masks": 0}, "masks"),
        ({"orders": "agnostik"}, "agnostic"),
        ({"activation": "rellu"}, "relu"),
        ({"dropout": 1.0}, "dropout"),
        ({"spread": 1.5}, "share of the range"),
        ({"residual": True, "hidden": (4, 5)}, "one width"),
        ({"head": "gaussian-mixture"}, "auto"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(InvalidInput, match=words):
        small(**options)


def test_an_order_of_anothers_is_refused():
    with pytest.raises(Unsupported, match="order"):
        small().init_state(1, order=torch.arange(6).flip(0))
