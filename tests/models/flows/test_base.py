"""What all flows share: the names of saved parameters, and what a flow of a single entry is told."""

import pytest
import torch
from torch import nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.invertible import Chain, Permutation
from ancestral.models.flows.base import FlowModel
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
