"""Heads: which distribution an event gets, and whole data on the event's own measure."""

import pickle

import pytest
import torch

from ancestral.distributions import HEADS, Bernoulli, Categorical, DiscretizedLogisticMixture, GaussianMixture, make_head
from ancestral.errors import InvalidInput
from ancestral.event import Event

BINARY, INTEGER, REAL = (
    Event.binary((3,)),
    Event.integers((3,), 5),
    Event.real((3,), loc=(0.0, 1.0, 2.0), scale=(1.0, 2.0, 3.0)),
)


@pytest.mark.parametrize(
    ("event", "name", "expected", "parameters"),
    [
        (BINARY, "auto", Bernoulli, 1),
        (BINARY, "bernoulli", Bernoulli, 1),
        (BINARY, "softmax", Categorical, 2),
        (BINARY, "logistic-mixture", DiscretizedLogisticMixture, 12),
        (INTEGER, "auto", Categorical, 5),
        (INTEGER, "logistic-mixture", DiscretizedLogisticMixture, 12),
        (REAL, "auto", GaussianMixture, 12),
        (REAL, "gaussian-mixture", GaussianMixture, 12),
    ],
)
def test_each_event_has_its_heads(event: Event, name: str, expected: type, parameters: int) -> None:
    head = make_head(event, name, components=4)
    assert head.parameters == parameters
    output = head(torch.zeros(2, 3, parameters))
    assert isinstance(output, expected)
    assert output.batch_shape == (2, 3)


@pytest.mark.parametrize(("event", "name"), [(BINARY, "gaussian-mixture"), (INTEGER, "bernoulli"), (REAL, "softmax")])
def test_a_head_that_does_not_fit_is_refused(event: Event, name: str) -> None:
    with pytest.raises(InvalidInput, match="does not fit"):
        make_head(event, name)


def test_unknown_heads_and_counts_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"no output head 'softmx'.* softmax"):
        make_head(INTEGER, "softmx")
    with pytest.raises(InvalidInput, match="at least 1 component"):
        make_head(REAL, components=0)


@pytest.mark.parametrize("event", [BINARY, INTEGER, REAL], ids=str)
def test_draws_and_points_are_data(event: Event) -> None:
    head = make_head(event)
    raw = torch.randn(7, 3, head.parameters)
    for x in (head.draw(raw, torch.Generator().manual_seed(0)), head.point(raw)):
        assert x.shape == (7, 3)
        assert x.dtype == event.dtype
        event.check(x)
        assert head.log_prob(raw, x).shape == (7, 3)


def test_points_are_modes_or_means() -> None:
    assert make_head(BINARY).point(torch.tensor([[[-1.0], [1.0], [2.0]]])).tolist() == [[0, 1, 1]]
    raw = torch.tensor([0.0, 0.5, 0.0]).expand(1, 3, 3)  # one component, its mean 0.5 on the standardized scale
    torch.testing.assert_close(make_head(REAL, components=1).point(raw), torch.tensor([[0.5, 2.0, 3.5]]))


def test_densities_are_on_the_measure_of_the_event() -> None:
    head = make_head(REAL, components=1)
    raw = torch.randn(5, 3, 3, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64)
    loc, scale = torch.tensor(REAL.loc), torch.tensor(REAL.scale)
    expected = torch.distributions.Normal(loc + scale * raw[..., 1], scale * raw[..., 2].exp()).log_prob(x)
    torch.testing.assert_close(head.log_prob(raw, x), expected)


def test_real_data_keep_their_digits_beside_16_bit_parameters() -> None:
    head = make_head(Event.real((1,)), components=1)
    raw = torch.tensor([[[0.0, 0.0, -6.0]]])
    x = torch.tensor([[1.0039]])  # bfloat16 has 1.0 and 1.0078
    torch.testing.assert_close(head.log_prob(raw.bfloat16(), x), head.log_prob(raw, x))


@pytest.mark.parametrize("name", HEADS[1:])
def test_heads_can_be_sent_to_another_process(name: str) -> None:
    event = {"gaussian-mixture": REAL, "mixed": Event.drawing(1)}.get(name, BINARY)
    head = make_head(event, name)
    raw, x = torch.randn(2, *event.shape, head.parameters), torch.ones(2, *event.shape)
    assert torch.equal(pickle.loads(pickle.dumps(head)).log_prob(raw, x), head.log_prob(raw, x))
