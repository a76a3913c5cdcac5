"""Fully connected networks."""

import pytest
import torch
from torch import nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import ACTIVATIONS, MLP, check_choice, check_sizes


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_network_is_the_composition_it_says(activation: str) -> None:
    network = MLP(3, (4, 5), 2, activation).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    f = ACTIVATIONS[activation]
    (w0, b0), (w1, b1), (w2, b2) = ((layer.weight, layer.bias) for layer in network.layers)
    expected = f(f(x @ w0.T + b0) @ w1.T + b1) @ w2.T + b2
    torch.testing.assert_close(network(x), expected)


def test_without_hidden_layers_it_is_linear() -> None:
    network = MLP(3, (), 2)
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    torch.testing.assert_close(network(x + y) + network(torch.zeros(5, 3)), network(x) + network(y))


def test_a_label_acts_as_if_one_hot_were_appended() -> None:
    network = MLP(3, (4,), 2, condition=Event.label(5))
    label = torch.tensor([0, 4, 2])
    x = torch.randn(3, 3)
    wide = MLP(8, (4,), 2)
    with torch.no_grad():
        wide.layers[0].weight.copy_(torch.cat((network.layers[0].weight, network.embedding.map.weight.T), dim=1))
        wide.layers[0].bias.copy_(network.layers[0].bias)
    wide.layers[1] = network.layers[1]
    one_hot = nn.functional.one_hot(label, 5).float()
    torch.testing.assert_close(network(x, label), wide(torch.cat((x, one_hot), dim=1)))


def test_bad_options_are_named() -> None:
    with pytest.raises(InvalidInput, match=r"no activation 'rellu'\. Did you mean relu"):
        MLP(3, (4,), 2, "rellu")
    with pytest.raises(InvalidInput, match=r"at least 1, got \(3, 0, 2\)"):
        MLP(3, (0,), 2)
    with pytest.raises(InvalidInput, match="hidden needs whole numbers"):
        check_sizes("hidden", (2.5,))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="Choose one of a, b"):
        check_choice("thing", "c", ("a", "b"))
