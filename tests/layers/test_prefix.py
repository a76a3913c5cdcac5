import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.layers.prefix import PrefixNetwork


def naive(network, x, shift=None):
    """The definition, entry by entry."""
    out = []
    for d in range(x.shape[1]):
        a = network.bias + x[:, :d] @ network.weight[:d] + (0.0 if shift is None else shift)
        h = network.activation(a if network.scale is None else a * network.scale[d])
        out.append(h @ network.output_weight[d].T + network.output_bias[d])
    return torch.stack(out, dim=1)


def build(inputs, values=1, activation="sigmoid", scaled=False):
    torch.manual_seed(1)
    network = PrefixNetwork(inputs, 6, values, activation, scaled).double()
    torch.nn.init.normal_(network.bias)
    torch.nn.init.normal_(network.output_bias)
    if scaled:
        torch.nn.init.uniform_(network.scale, 0.5, 1.5)
    return network


# Around the sizes of both kinds of block, where a block is whole, short or missing.
@pytest.mark.parametrize("inputs", [1, 2, 7, 8, 9, 31, 32, 33, 70])
@pytest.mark.parametrize("kind", ["zeros", "ones", "sparse", "dense", "real"])
@pytest.mark.parametrize(("values", "scaled"), [(1, False), (1, True), (3, False)])
def test_equals_the_definition_with_its_gradients(inputs, kind, values, scaled):
    network = build(inputs, values, scaled=scaled)
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(5, inputs, generator=generator, dtype=torch.double)
    x = {
        "zeros": torch.zeros_like(uniform),
        "ones": torch.ones_like(uniform),
        "sparse": (uniform < 0.15).double(),
        "dense": (uniform < 0.6).double(),
        "real": uniform - 0.5,
    }[kind]
    shift = torch.randn(5, 6, generator=generator, dtype=torch.double, requires_grad=True)
    inputs_of = (*network.parameters(), shift)
    weights = torch.randn(5, inputs, values, generator=generator, dtype=torch.double)
    y, expected = network(x, shift), naive(network, x, shift)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    gradients = torch.autograd.grad((y * weights).sum(), inputs_of)
    reference = torch.autograd.grad((expected * weights).sum(), inputs_of, allow_unused=True)
    for got, want in zip(gradients, reference, strict=True):
        torch.testing.assert_close(got, torch.zeros_like(got) if want is None else want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scaled", [False, True])
def test_gradcheck(scaled):
    network = build(10, 1, scaled=scaled)
    x = (torch.rand(3, 10, generator=torch.Generator().manual_seed(2)) < 0.4).double()

    def function(*parameters):
        names = [name for name, _ in network.named_parameters()]
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, tuple(p.detach().clone().requires_grad_() for p in network.parameters()))


def test_gradient_with_respect_to_x_is_that_of_the_definition():
    network = build(40)
    x = (torch.rand(3, 40, generator=torch.Generator().manual_seed(2)) < 0.4).double().requires_grad_()
    (got,) = torch.autograd.grad(network(x).square().sum(), x)
    (want,) = torch.autograd.grad(naive(network, x).square().sum(), x)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(network(x), network(x.detach()))


@pytest.mark.parametrize("scaled", [False, True])
def test_step_equals_forward(scaled):
    network = build(12, 2, "tanh", scaled)
    x = torch.randn(4, 12, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    y = network(x)
    a = network.start(4).detach().clone()
    for t in range(12):
        got = network.step(a, t, None if t == 0 else x[:, t - 1])
        torch.testing.assert_close(got, y[:, t], rtol=0, atol=1e-12)


def test_refuses_what_it_cannot_build():
    with pytest.raises(InvalidInput, match="hidden"):
        PrefixNetwork(3, 0)
    with pytest.raises(InvalidInput, match="activation"):
        PrefixNetwork(3, 2, activation="step")
