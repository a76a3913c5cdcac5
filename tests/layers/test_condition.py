"""Embeddings of conditions: labels as a table, anything else as a linear map."""

import math

import pytest
import torch

from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding


@pytest.mark.parametrize(
    "condition",
    [
        Event.label(5),
        Event.integers((), 300),
        Event.binary((3,)),
        Event.integers((1, 2, 2), 4),
        Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 4.0)),
        Event.real(()),
        Event.labels((5, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_condition_becomes_features(condition: Event, dtype: torch.dtype) -> None:
    embedding = ConditionEmbedding(condition, 7).to(dtype)
    embedded = embedding(torch.ones(4, *condition.shape).to(condition.dtype))
    assert embedded.shape == (4, 7)
    assert embedded.dtype == dtype
    embedded.sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in embedding.parameters())


def test_each_label_has_its_own_features() -> None:
    embedded = ConditionEmbedding(Event.label(5), 3)(torch.arange(5, dtype=torch.uint8))
    assert len(embedded.unique(dim=0)) == 5


def test_several_labels_are_a_linear_map_of_their_one_hot_vectors() -> None:
    embedding = ConditionEmbedding(Event.labels((4, 2, 3)), 5).double()
    labels = torch.tensor([[0, 0, 0], [3, 1, 2], [3, 0, 2]])
    hot = torch.cat([torch.nn.functional.one_hot(labels[:, i], n) for i, n in enumerate((4, 2, 3))], dim=1)
    torch.testing.assert_close(embedding(labels), hot.double() @ embedding.map.weight)


def test_a_label_starts_like_a_linear_map_of_its_one_hot_vector() -> None:
    table = ConditionEmbedding(Event.label(100), 50)(torch.arange(100)).detach()
    linear = torch.nn.Linear(100, 50).weight.detach()
    assert float(table.abs().max()) <= 1 / math.sqrt(100)
    assert float(table.std()) == pytest.approx(float(linear.std()), rel=0.05)


def test_a_sentence_is_a_label_in_each_place() -> None:
    embedding = ConditionEmbedding(Event.sentences(3, 4), 5).double()
    rows = embedding.map.weight.detach().view(3, 5, 5)  # place, symbol or end, feature
    embedded = embedding(torch.tensor([[1, 0, 4], [3, 3, 2]]))
    expected = torch.stack((rows[0, 1] + rows[1, 0] + rows[2, 4], rows[0, 3] + rows[1, 3] + rows[2, 2]))
    torch.testing.assert_close(embedded.detach(), expected)


def test_real_conditions_are_standardized() -> None:
    plain, scaled = Event.real((2,)), Event.real((2,), loc=(1.0, -1.0), scale=(2.0, 0.5))
    one, other = ConditionEmbedding(plain, 3), ConditionEmbedding(scaled, 3)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other(torch.tensor([[3.0, -2.0]])), one(torch.tensor([[1.0, -2.0]])))
