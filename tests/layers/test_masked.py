import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.event import Event
from ancestral.layers.masked import MaskedLinear, MaskedMLP, mask_by_degree

DEGREES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@given(DEGREES, DEGREES, st.booleans())
def test_mask_follows_the_rule_of_degrees(outputs, inputs, strict):
    mask = mask_by_degree(torch.tensor(outputs), torch.tensor(inputs), strict)
    expected = [[float(o > i if strict else o >= i) for i in inputs] for o in outputs]
    assert mask.tolist() == expected


def test_masked_connections_neither_act_nor_learn():
    torch.manual_seed(0)
    layer = MaskedLinear(3, 2, values=4)
    mask = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    x = torch.randn(5, 3, requires_grad=True)
    y = layer(x, mask).view(5, 2, 4)
    expected = layer.bias + torch.einsum("bj,ij,ivj->biv", x, mask, layer.weight)
    torch.testing.assert_close(y, expected)
    y.sum().backward()
    assert bool((layer.weight.grad.permute(0, 2, 1)[mask == 0] == 0).all())
    assert bool((layer.weight.grad.permute(0, 2, 1)[mask == 1] != 0).all())
    assert bool((x.grad[:, 2] == 0).all())


def test_units_start_as_large_whatever_they_see():
    torch.manual_seed(0)
    layer = MaskedLinear(400, 400)
    mask = torch.ones(400, 400).tril()
    layer.start(mask)
    y = layer(torch.randn(2000, 400), mask).detach()
    few, many = y[:, 10:100].std(), y[:, 300:].std()
    assert float(few) == pytest.approx(float(many), rel=0.1)
    assert float(many) == pytest.approx(3**-0.5, rel=0.1)
    assert layer.bias.unique().numel() == 400


def test_forward_leaves_the_stored_weights_alone():
    layer = MaskedLinear(3, 2)
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 3), torch.zeros(2, 3))
    assert torch.equal(layer.weight, before)


def test_double_precision_is_kept():
    layer = MaskedLinear(3, 2).double()
    assert layer(torch.ones(1, 3, dtype=torch.double), torch.ones(2, 3)).dtype == torch.double


@pytest.mark.parametrize("condition", [None, Event.label(3)], ids=["", "conditional"])
def test_bands_of_wide_layers_leave_out_nothing(condition):
    torch.manual_seed(0)
    network = MaskedMLP(5, (300, 270), 2, "tanh", condition).double()
    assert [len(bands) for bands in network.bands] == [1, 3]
    assert network.bands[1][0].seen < 300
    given = None if condition is None else torch.arange(4) % 3
    x = torch.randn(4, 5, dtype=torch.double, requires_grad=True)
    first, second, output = *network.layers, network.output
    added = 0.0 if condition is None else network.embedding(given)
    h = torch.tanh(second(torch.tanh(first(x, network.mask_0) + added), network.mask_1))
    expected = output(h, network.readout).view(4, 5, 2)
    torch.testing.assert_close(network(x, given), expected, rtol=1e-12, atol=1e-12)
    parameters = [x, *network.parameters()]
    ours = torch.autograd.grad(network(x, given).square().sum(), parameters)
    plain = torch.autograd.grad(expected.square().sum(), parameters)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden", [(), (1,), (7,), (16, 9, 12)])
@pytest.mark.parametrize("condition", [None, Event.label(3)], ids=["", "conditional"])
def test_outputs_depend_on_the_entries_before_them_and_on_no_others(hidden, condition):
    torch.manual_seed(0)
    network = MaskedMLP(5, hidden, 2, "tanh", condition).double()
    given = None if condition is None else torch.tensor([1])
    x = torch.randn(1, 5, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, given)[0], x)[:, :, 0]  # (entries, values, entries)
    seen = (jacobian != 0).any(1)
    before = torch.ones(5, 5).tril(-1).bool()
    assert not bool((seen & ~before).any())
    if hidden != (1,):  # a single unit sees the first entry alone
        assert torch.equal(seen, before)
    if condition is not None:
        others = network(x, torch.tensor([2]))
        assert bool((others[0, 0] != network(x, given)[0, 0]).all())


@given(st.integers(1, 8), st.lists(st.integers(1, 20), max_size=3), st.booleans(), st.booleans())
def test_steps_agree_with_one_pass(entries, hidden, conditional, differentiable):
    torch.manual_seed(0)
    network = MaskedMLP(entries, hidden, 3, "elu", Event.label(2) if conditional else None).double()
    x = torch.randn(4, entries, dtype=torch.double)
    condition = torch.tensor([0, 1, 1, 0]) if conditional else None
    expected = network(x, condition)
    steps = network.steps(4, condition, differentiable)
    for t in range(entries):
        torch.testing.assert_close(steps.advance(x.T[:t], t, t).T, expected[:, t], rtol=1e-12, atol=1e-12)


def test_steps_may_be_given_entries_that_are_not_known_yet():
    torch.manual_seed(0)
    network = MaskedMLP(3, (8, 8), 2).double()
    x = torch.randn(4, 3, dtype=torch.double)
    steps = network.steps(4)
    for t in range(3):
        v = torch.cat((x.T[:t], torch.full((3 - t, 4), 1e6, dtype=torch.double)))
        torch.testing.assert_close(steps.advance(v, t, t).T, network(x)[:, t], rtol=1e-12, atol=1e-12)


def test_gradients_of_differentiable_steps_are_those_of_one_pass():
    torch.manual_seed(0)
    network = MaskedMLP(4, (9, 7), 2, "tanh", Event.label(2)).double()
    x, condition = torch.randn(3, 4, dtype=torch.double), torch.tensor([0, 1, 1])
    weights = torch.randn(3, 4, 2, dtype=torch.double)
    steps = network.steps(3, condition, differentiable=True)
    raw = torch.stack([steps.advance(x.T[:t], t, t).T for t in range(4)], dim=1)
    found = torch.autograd.grad((raw * weights).sum(), list(network.parameters()))
    expected = torch.autograd.grad((network(x, condition) * weights).sum(), list(network.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
