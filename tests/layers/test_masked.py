import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.layers.masked import MaskedLinear, mask_by_degree

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


def test_forward_leaves_the_stored_weights_alone():
    layer = MaskedLinear(3, 2)
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 3), torch.zeros(2, 3))
    assert torch.equal(layer.weight, before)


def test_double_precision_is_kept():
    layer = MaskedLinear(3, 2).double()
    assert layer(torch.ones(1, 3, dtype=torch.double), torch.ones(2, 3)).dtype == torch.double
