import itertools

import numpy as np
import pytest
import torch

from ancestral.data import load
from ancestral.data.assemble import assemble, fitted
from ancestral.data.base import ArraySplit
from ancestral.data.material import Material, Options
from ancestral.errors import InvalidInput
from ancestral.event import Event

from .conftest import contents, equal_splits


def numbers(n):
    return np.arange(n)[:, None]


def test_a_limit_takes_rows_from_everywhere():
    data = load(np.arange(200)[:, None], limit=10)
    assert all(len(split) == 10 for split in data.splits.values())
    kept = contents(load({"train": np.arange(200)[:, None]}, validation=0, test=0, limit=10), "train")[0].flatten()
    assert (kept.diff() > 0).all()
    assert kept.max() > 100


def test_splits_are_disjoint_and_whole():
    data = load(np.arange(200)[:, None], validation=0.2, test=31)
    parts = {split: contents(data, split)[0].flatten().tolist() for split in data.splits}
    assert {split: len(values) for split, values in parts.items()} == {"train": 129, "validation": 40, "test": 31}
    assert sorted(itertools.chain(*parts.values())) == list(range(200))


@pytest.mark.parametrize(("n", "options"), [(2, {}), (10, {"test": 10}), (10, {"validation": 0.9, "test": 0.5})])
def test_holding_out_everything_is_refused(n, options):
    with pytest.raises(InvalidInput, match=rf"has {n} data, and holding out .* leaves none for train: hold out fewer"):
        load(np.random.default_rng(0).normal(size=(n, 2)), **options)


@pytest.mark.parametrize("memory", [0, 2])
def test_what_is_held_out_depends_on_the_seed_alone(memory):
    one, same, other = (load(numbers(100), seed=seed, memory=memory) for seed in (4, 4, 5))
    assert equal_splits(one, same)
    assert not equal_splits(one, other)
    assert one.record["held_out"]["test"] == {"from": "train", "count": 10, "seed": 4}


def test_zero_holds_out_none():
    data = load(numbers(50), validation=0, test=0)
    assert list(data.splits) == ["train"]
    assert contents(data, "train")[0].flatten().tolist() == list(range(50))


def test_defaults_of_a_source_give_way_to_what_is_asked():
    material = Material("it", {"train": numbers(50)}, held={"validation": 7, "test": 3})
    sizes = {split: len(part) for split, part in assemble("it", material, Options()).splits.items()}
    assert sizes == {"train": 40, "validation": 7, "test": 3}
    assert len(assemble("it", material, Options(test=20)).split("test")) == 20


def test_other_splits_of_a_source_are_kept():
    material = Material("it", {"train": numbers(50), "extra": numbers(4)})
    assert list(assemble("it", material, Options()).splits) == ["train", "validation", "test", "extra"]


def test_the_record_and_the_line_about_it_tell_the_sizes():
    data = load(numbers(50))
    assert data.record["splits"] == {"train": 40, "validation": 5, "test": 5}
    assert "(train 40, validation 5, test 5; validation and test drawn from train with seed 0)" in data.about


def test_mean_and_deviation_are_exact_to_seven_digits_and_constants_have_scale_one():
    x = torch.randn(70_000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-3, 1e5, 0.0]) + 3.0
    event = fitted(Event.real((3,)), ArraySplit(x))
    assert torch.allclose(torch.tensor(event.loc).double(), x.double().mean(0), rtol=1e-6)
    assert torch.allclose(torch.tensor(event.scale[:2]).double(), x.double().std(0, correction=0)[:2], rtol=1e-6)
    assert event.scale[2] == 1.0


def test_standardizing_leaves_the_data_alone():
    x = np.random.default_rng(0).normal(7, 2, (50, 2))
    assert torch.equal(contents(load(x), "train")[0], contents(load(x, standardize=False), "train")[0])
