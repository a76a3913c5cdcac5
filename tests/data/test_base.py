import time

import pytest
import torch

from ancestral.data import ArraySplit, Data, StreamSplit, Subset
from ancestral.errors import InvalidInput
from ancestral.event import Event


def make(n=6):
    return ArraySplit(torch.arange(2 * n, dtype=torch.uint8).view(n, 2), torch.arange(n))


def test_batch_takes_rows_in_the_order_asked_for():
    x, condition = make().batch(torch.tensor([4, 0, 4]))
    assert x.tolist() == [[8, 9], [0, 1], [8, 9]]
    assert condition.tolist() == [4, 0, 4]


def test_transform_is_applied_to_each_batch_with_the_generator():
    split = ArraySplit(torch.zeros(4, 3), transform=lambda x, g: x + torch.rand(x.shape, generator=g))
    one, _ = split.batch(torch.arange(4), torch.Generator().manual_seed(1))
    two, _ = split.batch(torch.arange(4), torch.Generator().manual_seed(1))
    other, _ = split.batch(torch.arange(4), torch.Generator().manual_seed(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_subset_reads_its_rows_of_the_whole():
    subset = Subset(make(), torch.tensor([5, 2]))
    assert len(subset) == 2
    x, condition = subset.batch(torch.tensor([1, 0]))
    assert x.tolist() == [[4, 5], [10, 11]]
    assert condition.tolist() == [2, 5]


def test_conditions_must_be_as_many_as_data():
    with pytest.raises(InvalidInput, match=r"got 6 data and 5 conditions"):
        ArraySplit(torch.zeros(6, 2), torch.zeros(5))


def test_missing_split_names_those_there_are():
    data = Data("toy", Event.integers((2,), 12), {"train": make(), "test": make(3)})
    with pytest.raises(InvalidInput, match=r"no split 'tets'. Did you mean test\? It has: train \(6\), test \(3\)"):
        data.split("tets")


def test_streamed_split_cannot_be_indexed():
    stream = StreamSplit(lambda seed, epoch: [], lambda rows: (torch.zeros(len(rows), 2), None))
    data = Data("toy", Event.binary((2,)), {}, streams={"train": stream})
    with pytest.raises(InvalidInput, match=r"streamed, and cannot be indexed"):
        data.split("train")
    with pytest.raises(InvalidInput, match=r"It has: train \(streamed\)"):
        data.split("test")


def test_a_batch_costs_a_few_microseconds():
    split = ArraySplit(torch.zeros(1000, 16, dtype=torch.uint8))
    indices = torch.arange(8)
    best = float("inf")
    for _ in range(5):
        start = time.thread_time()
        for _ in range(200):
            split.batch(indices)
        best = min(best, (time.thread_time() - start) / 200)
    assert best < 50e-6  # measured 3 to 5 on an idle machine
