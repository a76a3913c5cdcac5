import itertools
import json

import numpy as np
import pytest
import torch

from ancestral.cli.main import main
from ancestral.data import ArraySplit, Data, load
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.base import Model
from ancestral.models.store import save
from ancestral.verbs.classify import classify, match

LABEL = Event.label(3)


class Sorted(Model):
    """Tells the class that stands in the first entry of a datum."""

    def __init__(self, event, condition=None, classes=3):
        super().__init__(event, condition)
        self.classes = classes
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def classify(self, x):
        return torch.nn.functional.one_hot(x[:, 0].long(), self.classes).float()


class Labelled(Sorted):
    labelled = True


def data(train, test, condition=LABEL):
    """Data of (class of the model, label) by split."""
    splits = {}
    for name, pairs in (("train", train), ("test", test)):
        told, label = (torch.tensor(part) for part in zip(*pairs, strict=True))
        splits[name] = ArraySplit(told[:, None].float(), label)
    return Data("known", Event.real((1,)), splits, condition)


def test_the_best_matching_is_found():
    random = np.random.default_rng(0)
    for _ in range(20):
        counts = random.integers(0, 9, (4, 4))
        labels = match(counts)
        assert sorted(labels) == [0, 1, 2, 3]
        best = max(sum(counts[p[k], k] for k in range(4)) for p in itertools.permutations(range(4)))
        assert sum(counts[labels[k], k] for k in range(4)) == best


def test_the_matching_is_of_another_split_than_its_accuracy():
    train = [(0, 2)] * 5 + [(1, 0)] * 5 + [(2, 1)] * 5 + [(0, 0)]
    test = [(0, 2), (1, 0), (2, 1), (0, 1), (0, 1)]
    found = classify(Sorted(Event.real((1,))), data(train, test))
    assert found.matching == (2, 0, 1)
    assert (found.errors, found.count, found.matched) == (2, 5, "train")
    # A matching on test itself would put class 0 to label 1: 3 right of 5 as well or more; it is not asked.
    assert found.confusion.tolist() == [[1, 0, 0], [0, 1, 2], [0, 0, 1]]
    assert found.accuracy == pytest.approx(0.6)
    assert found.standard_error == pytest.approx((0.6 * 0.4 / 5) ** 0.5)
    json.dumps(found.to_json())
    with pytest.raises(InvalidInput, match=r"test would choose the matching that it is judged by"):
        classify(Sorted(Event.real((1,))), data(train, test), matched="test")


def test_a_model_that_knows_labels_is_not_matched_and_unlabelled_data_do_not_count():
    event = Event.labels((3, 2))
    given = data([(0, [0, 1])], [(0, [0, 1]), (1, [2, 1]), (2, [0, 0])], event)
    found = classify(Labelled(Event.real((1,)), event), given)
    assert (found.errors, found.count, found.matching) == (1, 2, None)
    assert found.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_refused():
    model = Sorted(Event.real((1,)))
    pairs = [(0, 0), (1, 1)]
    with pytest.raises(Unsupported, match=r"gan \(adversarial\) has no classify. Models that have: .*infogan"):
        classify(create("gan", Event.real((1,)), hidden=(4,)), data(pairs, pairs))
    with pytest.raises(InvalidInput, match=r"one to one goes as many classes as labels, the model has 3 and the data 5"):
        classify(model, data(pairs, pairs, Event.label(5)))
    with pytest.raises(InvalidInput, match=r"classes are told of data with one label each"):
        classify(model, data([(0, [0.5])] * 2, [(0, [0.5])] * 2, Event.real((1,))))
    event = Event.labels((3, 2))
    with pytest.raises(InvalidInput, match=r"tells 4 classes, known has 3"):
        classify(Labelled(Event.real((1,)), event, 4), data([(0, [0, 1])], [(0, [0, 1])], event))


def test_the_command_reads_the_data_that_the_model_was_trained_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    options = {"condition": "label", "labelled": 20}
    few = load("digits", **options)
    model = create(
        "semi-supervised-gan", few.event, few.condition, latent=2, hidden=(8,), generator_hidden=(8,)
    )  # fmt: skip
    save(model, tmp_path / "few", {"data": {"name": "digits", "record": {"options": options}}})
    assert main(["classify", "few"]) == 0
    assert "errors of 300 data (digits, test split): accuracy" in capsys.readouterr().out
    code = create("infogan", few.event, latent=2, channels=(4,), head=8)
    save(code, tmp_path / "code", {"data": {"name": "digits", "record": {"options": {}}}})
    assert main(["classify", "code", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["matched"], found["count"], sorted(found["matching"])) == ("train", 300, list(range(10)))
    assert main(["classify", "code", "--split", "train"]) == 2
