import itertools

import pytest
import torch

from ancestral.data import StreamSplit
from ancestral.errors import InvalidInput


class Counted:
    """A stream of `n` numbers, shuffled, that counts what it decodes."""

    def __init__(self, n):
        self.n = n
        self.decoded = 0

    def rows(self, seed, epoch):
        order = torch.randperm(self.n, generator=torch.Generator().manual_seed(1000 * seed + epoch))
        return ({"x": int(i)} for i in order)

    def decode(self, rows):
        self.decoded += len(rows)
        return torch.tensor([row["x"] for row in rows]), torch.tensor([row["x"] % 3 for row in rows])

    def split(self):
        return StreamSplit(self.rows, self.decode)


def values(batches):
    return [x.tolist() for x, _ in batches]


def test_an_epoch_has_every_row_of_its_whole_batches_once():
    read = list(itertools.chain(*values(Counted(20).split().batches(5))))
    assert sorted(read) == list(range(20))
    assert len(list(Counted(23).split().batches(5))) == 4


def test_conditions_go_with_their_data():
    for x, condition in Counted(12).split().batches(4):
        assert condition.tolist() == (x % 3).tolist()


def test_order_depends_on_seed_and_epoch_alone():
    split = Counted(20).split()
    assert values(split.batches(5, seed=1, epoch=2)) == values(split.batches(5, seed=1, epoch=2))
    assert values(split.batches(5, seed=1, epoch=2)) != values(split.batches(5, seed=1, epoch=3))
    assert values(split.batches(5, seed=1, epoch=2)) != values(split.batches(5, seed=2, epoch=2))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_each_global_batch(world):
    whole = values(Counted(24).split().batches(6))
    parts = [values(Counted(24).split().batches(6 // world, rank=rank, world=world)) for rank in range(world)]
    assert [list(itertools.chain(*batches)) for batches in zip(*parts, strict=True)] == whole


@pytest.mark.parametrize("skip", [0, 1, 3, 4, 7])
def test_skipping_gives_what_the_uninterrupted_run_reads_and_decodes_nothing_else(skip):
    whole = values(Counted(17).split().batches(4, epochs=2))
    counted = Counted(17)
    assert values(counted.split().batches(4, epochs=2, skip=skip)) == whole[skip:]
    assert counted.decoded == 4 * (len(whole) - skip)


def test_it_goes_on_for_ever_where_no_number_of_epochs_is_given():
    endless = Counted(8).split().batches(4, epochs=None)
    assert len(list(itertools.islice(endless, 7))) == 7


def test_a_stream_shorter_than_a_batch_is_refused():
    with pytest.raises(InvalidInput, match=r"holds 3 rows, fewer than one batch of 2 x 2: take a smaller"):
        list(Counted(3).split().batches(2, world=2))


def test_impossible_ranks_are_refused():
    with pytest.raises(InvalidInput, match=r"0 <= rank < world"):
        next(Counted(3).split().batches(1, rank=2, world=2))


def test_the_transform_takes_the_generator():
    counted = Counted(8)
    split = StreamSplit(counted.rows, counted.decode, lambda x, g: x + torch.rand(x.shape, generator=g))
    one = values(split.batches(4, generator=torch.Generator().manual_seed(0)))
    assert one == values(split.batches(4, generator=torch.Generator().manual_seed(0)))
    assert one != values(split.batches(4, generator=torch.Generator().manual_seed(1)))
