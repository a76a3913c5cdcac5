import numpy as np
import pytest
import torch

from ancestral.data import ArraySplit, load
from ancestral.data.conditions import condition_of
from ancestral.data.labels import MISSING, SomeLabelled, some_labelled, spread, with_known
from ancestral.data.material import Material
from ancestral.errors import InvalidInput
from ancestral.event import Event


def digits(**options):
    return load("digits", **{"condition": "label", "labelled": 20, **options})


def test_few_labels_are_spread_evenly_and_fill_half_of_train():
    data, whole = digits(), load("digits", condition="label")
    assert data.condition == Event.labels((10, 2))
    train, n = data.splits["train"], len(whole.splits["train"])
    assert len(train) == 2 * n
    x, given = train.batch(torch.arange(2 * n))
    assert given[:n].sum() == 0
    assert bool((given[n:, 1] == 1).all())
    assert torch.equal(x[:n], whole.splits["train"].x)
    assert torch.equal(x[n : n + 20], x[n + 20 : n + 40])
    assert torch.bincount(given[n : n + 20, 0].long()).tolist() == [2] * 10
    of = {tuple(row.flatten().tolist()): int(y) for row, y in zip(*whole.splits["train"].batch(torch.arange(n)), strict=True)}
    assert all(of[tuple(row.flatten().tolist())] == int(y) for row, y in zip(x[n : n + 20], given[n : n + 20, 0], strict=True))


def test_other_splits_keep_all_labels_and_are_not_repeated():
    data, whole = digits(), load("digits", condition="label")
    for name in ("validation", "test"):
        x, given = data.splits[name].batch(torch.arange(50))
        other, label = whole.splits[name].batch(torch.arange(50))
        assert torch.equal(x, other)
        assert torch.equal(given[:, 0].long(), label.long())
        assert bool((given[:, 1] == 1).all())
        assert len(data.splits[name]) == len(whole.splits[name])
    assert data.record["classes"][1] == ["unlabelled", "labelled"]
    assert data.record["splits"]["train"] == len(whole.splits["train"])


def test_the_seed_decides_which_labels_are_kept_and_nothing_else():
    rows = [digits(label_seed=seed).splits["train"].rows.tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    one, other = (digits(label_seed=seed) for seed in (0, 1))
    assert torch.equal(one.splits["test"].x, other.splits["test"].x)
    again = load("digits", **one.record["options"])
    assert again.splits["train"].rows.tolist() == rows[0]


def test_spread_misses_no_class():
    y = np.array([0] * 50 + [1] * 3 + [2] * 2)
    chosen = spread(y, 7, np.random.default_rng(0))
    assert np.bincount(y[chosen]).tolist() == [3, 2, 2]


def test_labels_may_be_missing_where_some_are_kept():
    cells = {"train": np.array(["b", "", "a", "b"]), "test": np.array(["a", "b"])}
    given = Material("it", {}, column=lambda name: (cells, None))
    values, event, names = condition_of(given, ["k"], some=True)
    assert event == Event.labels((2, 2))
    assert names == [["a", "b"], ["unlabelled", "labelled"]]
    assert values["train"].tolist() == [[1, 1], [0, 0], [0, 1], [1, 1]]
    numbered = Material("it", {}, column=lambda name: ({"train": np.array([2, -1, 0])}, ["x", "y", "z"]))
    assert condition_of(numbered, ["k"], some=True)[0]["train"].tolist() == [[2, 1], [0, 0], [0, 1]]
    gaps = Material("it", {}, column=lambda name: ({"train": np.array([3.0, np.nan, 7.0])}, None))
    assert condition_of(gaps, ["k"], some=True)[0]["train"].tolist() == [[0, 1], [0, 0], [1, 1]]


def test_a_missing_label_is_not_kept():
    given = with_known(torch.tensor([0, MISSING, 1, MISSING, 0, 1]))
    split = SomeLabelled(ArraySplit(torch.arange(6)[:, None], given), 4, 0, "it")
    assert split.rows.tolist() == [0, 2, 4, 5]
    with pytest.raises(InvalidInput, match=r"labelled= is 5, it has 4 labels in train: ask for fewer"):
        SomeLabelled(ArraySplit(torch.arange(6)[:, None], given), 5, 0, "it")


def test_what_a_condition_is():
    assert some_labelled(Event.labels((7, 2)))
    assert not any(map(some_labelled, (None, Event.label(2), Event.labels((2, 3)), Event.labels((2, 2, 2)))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condition": None}, r"labelled= of .* needs a column of classes: name it with condition="),
        ({"condition": ["label", "label"]}, r"labelled= is for one column of classes"),
        ({"labelled": 0}, r"labelled= takes a positive number, got 0"),
        ({"labelled": 10**6}, r"labelled= is 1000000, .* labels in train: ask for fewer"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        digits(**options)


def test_without_labelled_a_missing_label_is_refused_and_the_way_out_named():
    given = Material("it", {}, column=lambda name: ({"train": np.array([2, -1])}, ["x", "y", "z"]))
    with pytest.raises(InvalidInput, match=r"has values in \[-1, 2\].* keep them with labelled="):
        condition_of(given, ["k"])
    real = Material("it", {}, column=lambda name: ({"train": np.array([0.5, 1.0])}, None))
    with pytest.raises(InvalidInput, match=r"holds numbers that are no classes"):
        condition_of(real, ["k"], some=True)
