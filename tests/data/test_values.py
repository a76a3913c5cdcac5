import pytest
import torch

from ancestral.data import load
from ancestral.data.material import Options
from ancestral.data.values import binarize_dynamically, values_of
from ancestral.errors import InvalidInput
from ancestral.event import Event

from .conftest import contents, equal_splits, pictures

BYTES = torch.arange(256, dtype=torch.uint8)
GRAY = Event.integers((1, 16, 16), 256)


def test_nothing_asked_changes_nothing():
    values = values_of(GRAY, Options(), False, "it")
    assert values.event == GRAY
    assert values.steps == ()
    assert torch.equal(values.fixed(BYTES), BYTES)


@pytest.mark.parametrize("threshold", [1, 127.5, 128, 255])
def test_a_threshold_counts_itself_as_one(threshold):
    values = values_of(GRAY, Options(binarize=threshold), False, "it")
    assert values.event == Event.binary((1, 16, 16))
    assert torch.equal(values.fixed(BYTES), BYTES.ge(threshold).to(torch.uint8))


@pytest.mark.parametrize("levels", [2, 3, 16, 255])
def test_levels_are_of_equal_width(levels):
    values = values_of(GRAY, Options(levels=levels), False, "it")
    assert values.event.levels == levels
    counts = torch.bincount(values.fixed(BYTES).long())
    assert len(counts) == levels
    assert counts.max() - counts.min() <= 1
    assert (values.fixed(BYTES).diff() >= 0).all()


def test_inversion_comes_first():
    values = values_of(Event.binary((2,)), Options(), True, "it")
    assert values.fixed(torch.tensor([0, 1], dtype=torch.uint8)).tolist() == [1, 0]
    assert values_of(GRAY, Options(binarize=200), True, "it").fixed(BYTES).sum() == 56  # 255 - x >= 200


def test_numbers_have_a_threshold_too():
    values = values_of(Event.real((3,)), Options(binarize=0.5), False, "it")
    assert values.event == Event.binary((3,))
    assert values.fixed(torch.tensor([0.4, 0.5, 7.0])).tolist() == [0, 1, 1]


def test_dynamic_binarization_has_the_right_probabilities():
    x = BYTES.repeat(20_000, 1)
    drawn = binarize_dynamically(256)(x, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.uint8
    mean = drawn.double().mean(0)
    p = BYTES.double() / 255
    # Five standard errors of each of the 256 means.
    assert ((mean - p).abs() <= 5 * (p * (1 - p) / 20_000).sqrt()).all()
    assert mean[0] == 0
    assert mean[255] == 1


def test_dynamic_binarization_draws_train_anew_and_the_rest_once():
    data = load(pictures(200), binarize="dynamic")
    assert data.event == Event.binary((1, 6, 5))
    rows = torch.arange(10)
    one, two, three = (data.split("train").batch(rows, torch.Generator().manual_seed(i))[0] for i in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    for split in ("validation", "test"):
        first, second = (data.split(split).batch(rows, torch.Generator().manual_seed(i))[0] for i in (0, 1))
        assert torch.equal(first, second)
        assert set(first.unique().tolist()) == {0, 1}
    again = load(pictures(200), binarize="dynamic")
    assert equal_splits(data, again)
    assert not torch.equal(contents(data, "test")[0], contents(load(pictures(200), binarize="dynamic", seed=1), "test")[0])


@pytest.mark.parametrize("options", [{}, {"binarize": 99}, {"levels": 5}, {"binarize": "dynamic"}])
def test_memory_mapped_data_are_the_same_data(options):
    x = pictures(60, (6, 5, 3))
    held, mapped = load(x, **options), load(x, memory=0, **options)
    assert mapped.record["memory_mapped"]
    assert not held.record["memory_mapped"]
    assert equal_splits(held, mapped)


@pytest.mark.parametrize(
    ("event", "options", "message"),
    [
        (GRAY, {"binarize": 0}, "threshold above 0 and up to 255 for it, got 0"),
        (GRAY, {"binarize": 256}, "threshold above 0 and up to 255"),
        (GRAY, {"levels": 256}, "it has 256 levels, expected levels= to be fewer"),
        (Event.binary((2,)), {"binarize": 1}, "it is binary already"),
        (Event.real((2,)), {"levels": 4}, "levels= takes data of at most 256 levels"),
        (Event.real((2,)), {"binarize": "dynamic"}, "binarize='dynamic' takes data of at most 256 levels"),
        (Event.integers((2,), 300), {"levels": 4}, "levels= takes data of at most 256 levels"),
    ],
)
def test_what_does_not_fit_is_refused(event, options, message):
    with pytest.raises(InvalidInput, match=message):
        values_of(event, Options(**options), False, "it")
