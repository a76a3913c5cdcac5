"""Retrieval: precision and recall against all orders of ties, and codes whose figures are known."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from ancestral.cli.main import main
from ancestral.data import load
from ancestral.data.base import ArraySplit, Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.base import Model
from ancestral.models.store import save
from ancestral.verbs.retrieval import ranked, retrieval


class Same(Model):
    """A model whose code is the datum."""

    name = "same"
    conditional = False

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__(event, condition)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return x.float()


@pytest.mark.parametrize("seed", range(5))
def test_figures_of_ties_are_means_over_all_orders(seed):
    random = np.random.default_rng(seed)
    distance, relevant = random.integers(0, 3, 7), random.integers(0, 2, 7).astype(bool)
    relevant[0] = True
    hits, averages = [], []
    for order in itertools.permutations(range(7)):
        if list(distance[list(order)]) == sorted(distance):
            found = np.cumsum(relevant[list(order)])
            hits.append(found)
            averages.append((found / np.arange(1, 8))[relevant[list(order)]].mean())
    expected, average = ranked(distance, relevant)
    np.testing.assert_allclose(expected, np.mean(hits, 0))
    assert average == pytest.approx(np.mean(averages))


def test_average_precision_without_ties_is_that_of_scikit_learn():
    from sklearn.metrics import average_precision_score

    random = np.random.default_rng(0)
    distance, relevant = random.normal(size=200), random.integers(0, 2, 200).astype(bool)
    assert ranked(distance, relevant)[1] == pytest.approx(average_precision_score(relevant, -distance))


def data_of(x, y, condition):
    half = len(x) // 2
    splits = {"train": ArraySplit(x[:half], y[:half]), "test": ArraySplit(x[half:], y[half:])}
    return Data("it", Event.binary(x.shape[1:]), splits, condition)


def test_codes_that_are_the_label_find_it():
    y = torch.arange(64) % 4
    x = torch.stack((y // 2, y % 2, y // 2, y % 2), 1).to(torch.uint8)
    found = retrieval(Same(Event.binary((4,))), data_of(x, y, Event.label(4)), threshold="median")
    ours = found.summary.set_index("codes").loc["same"]
    assert (found.queries, found.size) == (32, 32)
    assert ours["average_precision"] == pytest.approx(1.0)
    assert ours["precision_100"] == pytest.approx(8 / 32)  # of all there are
    assert ours["ball_precision"] == pytest.approx(8 / 24)  # two bits tell two pairs of labels from each other
    assert ours["ball_empty"] == 0.0
    curve = found.curve[found.curve["codes"] == "same"].set_index("retrieved")
    assert curve.loc[4, "precision"] == pytest.approx(1.0)
    assert curve.loc[4, "recall"] == pytest.approx(0.5)
    assert curve.loc[32, "recall"] == pytest.approx(1.0)


def test_topics_are_shared_where_both_have_one_and_queries_without_are_left_out():
    y = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.uint8)
    x = torch.tensor([[0, 0], [1, 1], [1, 0], [0, 0], [0, 1], [1, 1]], dtype=torch.uint8)
    found = retrieval(Same(Event.binary((2,))), data_of(x, y, Event.binary((3,))), baselines=False)
    assert found.queries == 2
    # By hand: the first query is 0, 2 and 1 bits from the data, the second 1, 1 and 2.
    first = ranked(np.array([0, 2, 1]), np.array([True, True, False]))[1]
    second = ranked(np.array([1, 1, 2]), np.array([False, True, False]))[1]
    assert found.summary["average_precision"][0] == pytest.approx((first + second) / 2)


@pytest.fixture
def posts(tmp_path, monkeypatch):
    """Documents of two groups with words of their own, and a saved model, untrained."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    words = [[f"{group}{i}" for i in "abcdef"] for group in ("space", "faith")]
    texts = [" ".join(random.choice(words[i % 2], 12)) for i in range(120)]
    pd.DataFrame({"text": texts, "label": [i % 2 for i in range(120)]}).to_parquet("posts.parquet")
    data = load("posts.parquet", bag=True)
    torch.manual_seed(0)
    model = create("semantic-hashing", data.event, hidden=(), bits=8)
    save(model, "run", {"data": {"name": "posts.parquet", "record": data.record}})


def test_the_command_prints_figures_beside_those_of_lsa(posts, capsys):
    assert main(["retrieval", "run", "--json", "-o", "curve.png"]) == 0
    told = json.loads(capsys.readouterr().out)
    figures = {row["codes"]: row for row in told["summary"]}
    assert list(figures) == ["run", "TF-IDF", "LSA, real", "LSA, bits"]
    assert figures["LSA, real"]["average_precision"] > 0.9
    assert figures["run"]["bits"] == figures["LSA, bits"]["bits"] == 8
    assert figures["TF-IDF"]["ball_precision"] is None
    assert main(["retrieval", "run", "--split", "validation"]) == 0
    assert "12 queries (posts.parquet, validation split) to 96 data of train" in capsys.readouterr().out


def test_what_cannot_be_measured_is_refused(posts):
    with pytest.raises(InvalidInput, match="a datum would find itself"):
        retrieval("run", split="train")
    with pytest.raises(InvalidInput, match="name each model once"):
        retrieval("run", beside=("run",))
    with pytest.raises(InvalidInput, match="retrieval is of data with labels"):
        retrieval("run", load("posts.parquet", bag=True))
