"""What all flows share: the names of saved parameters, layers stacked, and what a flow of a single entry is told."""

import pytest
import torch
from torch import nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.couplings import AffineCoupling, Halves
from ancestral.layers.invertible import Chain, Permutation
from ancestral.layers.invertible_linear import InvertibleLinear
from ancestral.layers.mlp import MLP
from ancestral.layers.norms import ActNorm, BatchNorm
from ancestral.models.flows.base import NORMS, ORDERS, FlowModel, stacked
from ancestral.models.flows.realnvp import RealNVP


class Swapped(FlowModel):
    """The entries in reverse: a flow whose density is known."""

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__(event, condition)
        self.stages.append(Chain(Permutation(torch.arange(event.numel).flip(0))))
        self.anchor = nn.Parameter(torch.zeros(1))  # a model's type is that of its parameters


def test_a_flow_that_moves_nothing_has_the_density_of_the_normal() -> None:
    model = Swapped(Event.real((3,), loc=(0.0, 1.0, 2.0), scale=(1.0, 2.0, 4.0))).double().eval()
    x = torch.tensor([[0.0, 1.0, 2.0], [1.0, 5.0, -2.0]], dtype=torch.float64)
    assert model.encode(x).tolist() == [[0.0, 0.0, 0.0], [-1.0, 2.0, 1.0]]
    loc, scale = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 4.0])
    expected = torch.distributions.Normal(loc.double(), scale.double()).log_prob(x).sum(1)
    torch.testing.assert_close(model.log_prob(x), expected)


def test_a_single_entry_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Swapped needs 2 entries or more"):
        Swapped(Event.real((1,)))


def test_saved_parameters_keep_their_names() -> None:
    """Files of saved models hold these names; a flow that changes them cannot read its own files."""
    names = set(RealNVP(Event.real((4,)), Event.label(2), couplings=1, hidden=(8,)).state_dict())
    norm = {f"stages.0.layers.1.layers.0.{name}" for name in ("loc_0", "loc_1", "log_scale_0", "log_scale_1", "initialized")}
    network = {f"layers.{i}.{part}" for i in (0, 1) for part in ("weight", "bias")} | {"embedding.map.weight"}
    coupling = "stages.0.layers.1.layers.1"
    assert names == norm | {f"{coupling}.amplitude"} | {f"{coupling}.network.{name}" for name in network}
    image = RealNVP(Event.binary((1, 2, 2)), couplings=1, channels=2, blocks=1, scales=1, norm="none")
    assert "stages.0.layers.2.layers.0.network.blocks.0.1.weight" in image.state_dict()
    assert "stages.1.layers.0.layers.0.amplitude" in image.state_dict()


@pytest.mark.parametrize("orders", ORDERS)
@pytest.mark.parametrize("norm", NORMS)
def test_layers_are_stacked_with_what_is_asked_for(orders: str, norm: str) -> None:
    def halves() -> AffineCoupling:
        parts = Halves(4, flip=False)
        return AffineCoupling(MLP(parts.given, (8,), 2 * parts.changed), parts)

    flow = stacked([halves() for _ in range(3)], 4, orders, order_seed=0, norm=norm).double()
    mixing = [layer for layer in flow.layers if isinstance(layer, Permutation | InvertibleLinear)]
    norms = [layer for layer in flow.layers if isinstance(layer, ActNorm | BatchNorm)]
    assert len(mixing) == 2
    assert all(isinstance(layer, InvertibleLinear) == (orders == "linear") for layer in mixing)
    assert len(norms) == (0 if norm == "none" else 3)
    x = torch.randn(50, 4, dtype=torch.float64)
    flow(x)  # sets what normalizes
    y, log_det = flow.eval()(x)
    torch.testing.assert_close(flow.inverse(y), x, rtol=1e-10, atol=1e-10)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], x[0])
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-10, atol=1e-10)
