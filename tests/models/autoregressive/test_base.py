"""The loop over steps, on a model whose conditionals are known: x_t is near its predecessor in the order."""

import pytest
import torch
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.state import State


class Walk(AutoregressiveModel):
    """Entries are visited last to first; each is near the one before it: logit 4 x - 2, or N(x, e^-4)."""

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__(event, condition)
        self.head = make_head(event, components=1)
        self.one = nn.Parameter(torch.ones(()))

    @property
    def order(self) -> Tensor:
        return torch.arange(self.event.numel).flip(0)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.event.to_network(x, self.dtype).flatten(1) * self.one  # (b, d)
        before = torch.cat((y[:, 1:], torch.zeros_like(y[:, :1])), dim=1)
        if self.event.discrete:
            raw = (4.0 * before - 2.0)[..., None]
        else:
            raw = torch.stack((before, torch.full_like(y, -4.0)), dim=-1)
        return raw.view(*x.shape, self.head.parameters)


class AnyOrder(Walk):
    """A model that says it serves any order, and records the one it got."""

    any_order = True

    def start(self, state: State) -> None:
        state.cache["order"] = state.order.tolist()


def test_samples_follow_the_order_of_the_model() -> None:
    """In the order of the model neighbours are alike; the last entry, drawn first, is 1 in 12 % of the data."""
    model = Walk(Event.binary((4,))).eval()
    x = model.sample(4000, generator=torch.Generator().manual_seed(0)).float()
    assert float(x[:, 3].mean()) == pytest.approx(torch.sigmoid(torch.tensor(-2.0)).item(), abs=0.02)
    for d in range(3):
        same = (x[:, d] == x[:, d + 1]).float().mean()
        assert float(same) == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item(), abs=0.02)


def test_real_samples_are_on_the_scale_of_the_event() -> None:
    event = Event.real((2,), loc=(10.0, -5.0), scale=(2.0, 0.5))
    x = Walk(event).eval().sample(4000, generator=torch.Generator().manual_seed(0))
    assert x.mean(0).tolist() == pytest.approx([10.0, -5.0], abs=0.02)
    small = torch.tensor(-4.0).exp().item()
    assert x.std(0).tolist() == pytest.approx([2.0 * small * 2**0.5, 0.5 * small], rel=0.05)


@pytest.mark.parametrize(
    "event", [Event.binary((4,)), Event.binary((1, 2, 2)), Event.real((3,), scale=(1.0, 2.0, 3.0))], ids=str
)
def test_steps_give_what_one_pass_gives(event: Event) -> None:
    model = Walk(event).double().eval()
    x = event.from_network(torch.randn(5, *event.shape).double())
    state = model.init_state(5)
    steps, previous = [], None
    for t in range(event.numel):
        steps.append(model.step(state, previous))
        previous = x.flatten(1)[:, int(model.order[t])]
    assert state.t == event.numel
    stepped = torch.stack(steps, 1)[:, model.order]  # the order is its own inverse
    torch.testing.assert_close(stepped, model(x).flatten(1, -2))


def test_the_log_prob_is_the_sum_over_entries() -> None:
    model = Walk(Event.binary((1, 2, 2))).eval()
    x = torch.tensor([[[[1, 0], [0, 1]]]])
    entries = model.entry_log_prob(model(x), x)
    assert entries.shape == x.shape
    torch.testing.assert_close(model.log_prob(x), entries.sum((1, 2, 3)))


@pytest.mark.parametrize(
    "event", [Event.binary((2, 2)), Event.real((4,), (5.0, 0.0, 1.0, 2.0), (1.0, 2.0, 3.0, 4.0))], ids=str
)
def test_a_run_can_stop_and_go_on(event: Event) -> None:
    """Every value is seen by the steps after a stop, and its log-probability is that of the whole."""
    model = Walk(event).eval()
    x = model.sample(5, generator=torch.Generator().manual_seed(0))
    entries = model.entry_log_prob(model(x), x).flatten(1)

    def choose(entry: int, raw: Tensor) -> Tensor:
        value = x.flatten(1)[:, entry]
        torch.testing.assert_close(model.value_log_prob(entry, raw, value), entries[:, entry])
        return value

    state = model.init_state(5)
    for stop in (0, 1, 1, 3):
        assert torch.equal(model.run(state, choose, stop).flatten(1)[:, 4 - stop :], x.flatten(1)[:, 4 - stop :])
        assert state.t == stop
    assert torch.equal(model.run(state, choose), x)
    assert torch.equal(model.run(state, choose), x)


def test_an_order_of_its_own_is_the_only_one() -> None:
    with pytest.raises(Unsupported, match="Walk has an order of its own"):
        Walk(Event.binary((3,))).init_state(1, order=torch.tensor([0, 1, 2]))


def test_any_order_is_a_permutation() -> None:
    model = AnyOrder(Event.binary((3,)))
    assert model.init_state(1, order=torch.tensor([2, 0, 1])).cache["order"] == [2, 0, 1]
    assert model.init_state(1).cache["order"] == [2, 1, 0]
    for order in ([0, 1], [0, 1, 1], [1, 2, 3]):
        with pytest.raises(InvalidInput, match=r"each of 0, \.\.\., 2 once"):
            model.init_state(1, order=torch.tensor(order))


def test_steps_come_in_turn() -> None:
    model = Walk(Event.binary((2,)))
    with pytest.raises(InvalidInput, match="at least 1"):
        model.init_state(0)
    state = model.init_state(3)
    with pytest.raises(InvalidInput, match="step 0 of 2 got a previous value"):
        model.step(state, torch.zeros(3))
    model.step(state)
    with pytest.raises(InvalidInput, match="step 1 of 2 got no previous value"):
        model.step(state)
    model.step(state, torch.zeros(3))
    with pytest.raises(InvalidInput, match="step 2 of 2"):
        model.step(state, torch.zeros(3))


def test_sampling_keeps_no_graph() -> None:
    x = Walk(Event.real((2,))).sample(2, generator=torch.Generator().manual_seed(0))
    assert not x.requires_grad
