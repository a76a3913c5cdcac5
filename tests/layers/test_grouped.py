"""Networks side by side: each is the network that it would be alone."""

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.grouped import GroupedMLP
from ancestral.layers.mlp import MLP


def alone(network: GroupedMLP, k: int, condition: Event | None = None) -> MLP:
    """Return network `k` as one of its own."""
    sizes = [weight.shape[2] for weight in network.weights]
    single = MLP(network.weights[0].shape[1], sizes[:-1], sizes[-1], "tanh", condition)
    with torch.no_grad():
        for layer, weight, bias in zip(single.layers, network.weights, network.biases, strict=True):
            layer.weight.copy_(weight[k].T)
            layer.bias.copy_(bias[k, 0])
        if single.embedding is not None and network.embedding is not None:
            n = sizes[0]
            single.embedding.map.weight.copy_(network.embedding.map.weight[:, k * n : (k + 1) * n])
    return single


@pytest.mark.parametrize("hidden", [(), (5,), (5, 6)])
@pytest.mark.parametrize("condition", [None, Event.label(3)])
def test_each_network_is_what_it_is_alone(hidden: tuple[int, ...], condition: Event | None) -> None:
    network = GroupedMLP(4, 3, hidden, 2, "tanh", condition)
    shared, of_each = torch.randn(7, 3), torch.randn(4, 7, 3)
    labels = None if condition is None else torch.randint(3, (7,))
    outputs, outputs_of_each = network(shared, labels), network(of_each, labels)
    for k in range(4):
        single = alone(network, k, condition)
        torch.testing.assert_close(outputs[k], single(shared, labels))
        torch.testing.assert_close(outputs_of_each[k], single(of_each[k], labels))
        torch.testing.assert_close(network.member(k, shared, labels), single(shared, labels))


@torch.no_grad()
def test_initial_weights_are_spread_as_those_of_one_network() -> None:
    torch.manual_seed(0)
    network, single = GroupedMLP(50, 20, (30,), 40), MLP(20, (30,), 40)
    for layer, weight, bias in zip(single.layers, network.weights, network.biases, strict=True):
        for of_all, of_one in ((weight, layer.weight), (bias, layer.bias)):
            assert float(of_all.std()) == pytest.approx(float(of_one.std()), rel=0.3)
            assert float(of_all.abs().max()) <= 1.0 / layer.in_features**0.5
        assert not torch.equal(weight[0], weight[1])


def test_bad_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="networks side by side needs"):
        GroupedMLP(0, 3, (), 2)
    with pytest.raises(InvalidInput, match="activation 'swish'"):
        GroupedMLP(2, 3, (), 2, "swish")
