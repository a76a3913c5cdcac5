import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.autoregressive.fvsbn import FVSBN


@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_equals_a_logistic_regression_for_each_entry(bits):
    torch.manual_seed(0)
    model = FVSBN(Event.binary((5,))).double().eval()
    with torch.no_grad():
        model.weight.normal_()
        model.bias.normal_()
    x = torch.tensor(bits).double()
    expected = 0.0
    for d in range(5):
        p = torch.sigmoid(model.bias[d] + sum(model.weight[d, k] * x[k] for k in range(d)))
        expected = expected + torch.log(p if bits[d] else 1 - p)
    torch.testing.assert_close(model.log_prob(x[None])[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("condition", [None, Event.label(3)])
def test_sums_to_one_and_step_equals_forward(condition, all_states, stepped, spread):
    model = spread(FVSBN(Event.binary((1, 2, 3)), condition))
    x = all_states(model.event)
    c = None if condition is None else torch.full((len(x),), 1)
    assert model.log_prob(x, c).exp().sum().item() == pytest.approx(1.0, abs=1e-10)
    torch.testing.assert_close(stepped(model, x, c), model(x, c).detach().flatten(1, -2), rtol=0, atol=1e-10)


def test_sees_exactly_what_comes_before(dependence, spread):
    seen = dependence(spread(FVSBN(Event.binary((5,)))), torch.rand(3, 5, dtype=torch.double))
    assert torch.equal(seen, torch.ones(5, 5).tril(-1).bool())


def test_entries_that_must_not_be_seen_get_no_gradient():
    model = FVSBN(Event.binary((5,))).train()
    model.loss(torch.ones(4, 5, dtype=torch.uint8))["loss"].backward()
    assert torch.equal(model.weight.grad != 0, torch.ones(5, 5).tril(-1).bool())


def test_samples_follow_the_probabilities(all_states, spread, chi_square):
    model = spread(FVSBN(Event.binary((4,))))
    x = model.sample(20_000, generator=torch.Generator().manual_seed(11))
    counts = torch.bincount((x.long() * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    assert chi_square(counts, model.log_prob(all_states(model.event)).exp().detach()) > 1e-3
    assert torch.equal(x, model.sample(20_000, generator=torch.Generator().manual_seed(11)))


def test_finds_the_maximum_likelihood_of_a_logistic_rule():
    """Two entries: the optimum is the table of frequencies, whose likelihood is known in closed form."""
    x = torch.tensor([[0, 0]] * 30 + [[0, 1]] * 10 + [[1, 0]] * 15 + [[1, 1]] * 45, dtype=torch.uint8)
    model = FVSBN(Event.binary((2,))).double().train()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = model.loss(x)["loss"]
        loss.backward()
        return loss

    optimizer.step(closure)
    frequencies = torch.tensor([0.30, 0.10, 0.15, 0.45], dtype=torch.double)
    entropy = -(frequencies * frequencies.log()).sum()
    torch.testing.assert_close(-model.eval().log_prob(x).mean(), entropy, rtol=0, atol=1e-6)


@pytest.mark.parametrize("event", [Event.integers((3,), 4), Event.real((3,))])
def test_only_binary_data_are_taken(event):
    with pytest.raises(InvalidInput, match="binary"):
        FVSBN(event)


def test_a_penalty_is_in_the_loss_alone():
    torch.manual_seed(0)
    model = FVSBN(Event.binary((3,)), l1=0.5).double()
    x = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]).double()
    with torch.no_grad():
        model.weight.normal_()
    values = model.loss(x)
    w = model.weight
    torch.testing.assert_close(values["nats"], -model.log_prob(x).mean())
    torch.testing.assert_close(values["loss"], values["nats"] + 0.5 * (w[1, 0].abs() + w[2, 0].abs() + w[2, 1].abs()))
    with pytest.raises(InvalidInput, match="l1 must be at least 0, got -1"):
        FVSBN(Event.binary((3,)), l1=-1.0)


def test_a_penalty_drops_entries_that_tell_nothing():
    """Of three entries the last is the first; what the second would add is chance, and gets no weight."""
    torch.manual_seed(0)
    x = torch.rand(200, 3).round()
    x[:, 2] = x[:, 0]
    weights = {}
    for l1 in (0.0, 0.02):
        model = FVSBN(Event.binary((3,)), l1=l1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for step in range(600):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 600)
            optimizer.zero_grad()
            model.loss(x)["loss"].backward()
            optimizer.step()
        weights[l1] = model.weight.detach()
    assert weights[0.02][2, 1].abs() < 1e-3 < 0.05 < weights[0.0][2, 1].abs()
    assert weights[0.02][2, 0] > 2.0
