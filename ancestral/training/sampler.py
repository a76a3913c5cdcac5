"""Which examples each step sees: a function of the seed and the step alone, so that a run can go on anywhere."""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from ancestral.data.base import Batch, Data, Split
from ancestral.data.pairs import PairSplit
from ancestral.data.text import TokenSplit
from ancestral.errors import InvalidInput
from ancestral.training.config import TrainConfig

STREAM_EPOCH = 1000
"""Steps that count as an epoch of a stream, whose length is not known."""


class Sampler:
    """Batches of a split, without replacement within an epoch; the last, partial batch is dropped.

    Epoch e is a permutation seeded by (seed, e); or, in order, the split is cut into as many stretches as a global batch has
    examples, and batch i has the i-th example of each. Where data have sizes, the permutation is sorted by size, equal ones
    left as they are, cut into batches, and these are shuffled: those of a batch are of similar size. Process r of w takes the
    r-th of w parts of each global batch, so that w processes with batches of b see what one process with batches of w·b sees.

    Args:
        n: examples in the split.
        batch_size: examples per batch and process.
        seed: seed.
        rank: number of this process.
        world: number of processes.
        in_order: whether examples follow one another from batch to batch.
        sizes: size of each example, (n,), where batches are to be of similar sizes.

    >>> sampler = Sampler(7, 2, seed=0, in_order=True)
    >>> [sampler.indices(batch).tolist() for batch in range(4)]
    [[0, 3], [1, 4], [2, 5], [0, 3]]
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        *,
        in_order: bool = False,
        sizes: Tensor | None = None,
    ) -> None:
        self.n, self.seed, self.rank, self.world = n, seed, rank, world
        self.batch_size = max(1, min(batch_size, n // world))
        self.batches = max(1, n // (self.batch_size * world))
        self.in_order, self.sizes = in_order, sizes
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.long)

    def indices(self, batch: int) -> Tensor:
        """Return the indices of batch number `batch`, counted from the start of the run."""
        epoch, position = divmod(batch, self.batches)
        if self.in_order:
            return (torch.arange(self.batch_size) + self.rank * self.batch_size) * self.batches + position
        if epoch != self._epoch:
            # Any fixed mixing of seed and epoch will do, as long as runs with other seeds see other orders.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._permutation = self._by_size(torch.randperm(self.n, generator=generator), generator)
            self._epoch = epoch
        start = (position * self.world + self.rank) * self.batch_size
        return self._permutation[start : start + self.batch_size]

    def _by_size(self, permutation: Tensor, generator: torch.Generator) -> Tensor:
        if self.sizes is None:
            return permutation
        whole = permutation[: self.batches * self.batch_size * self.world]  # what is dropped is not always the largest
        ordered = whole[self.sizes[whole].argsort(stable=True)].view(self.batches, -1)
        return ordered[torch.randperm(self.batches, generator=generator)].flatten()


def shard(n: int, batch_size: int, rank: int, world: int, limit: int = 0) -> Iterator[Tensor]:
    """Yield this process's part of the indices 0, ..., n - 1 in batches: every example in exactly one process.

    Args:
        n: number of examples.
        batch_size: examples per batch.
        rank: number of this process.
        world: number of processes.
        limit: take so many examples, evenly spaced (data are often stored class by class); 0 for all.
    """
    chosen = torch.arange(n) if not 0 < limit < n else torch.arange(limit) * n // limit
    yield from chosen[rank::world].split(batch_size)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch where it is not there already."""
    x, condition = batch
    if device.type == "cpu":
        return batch
    return x.to(device, non_blocking=True), None if condition is None else condition.to(device, non_blocking=True)


def read(split: Split, indices: Tensor, generator: torch.Generator | None, device: torch.device) -> Batch:
    """Return the data at `indices` on `device`."""
    return to_device(split.batch(indices, generator), device)


class Feed:
    """The training batches of a run, in memory or streamed, from any step on.

    Args:
        data: the data; its split or stream "train" is read.
        config: the settings.
        device: where the batches go.
        rank: number of this process.
        world: number of processes.

    Raises:
        InvalidInput: if there are fewer examples than processes, or a stream is to be read for a number of epochs.
    """

    def __init__(self, data: Data, config: TrainConfig, device: torch.device, rank: int, world: int) -> None:
        self.data, self.config, self.device, self.rank, self.world = data, config, device, rank, world
        self.stream = data.streams.get("train")
        if self.stream is not None:
            if config.epochs is not None:
                raise InvalidInput(
                    f"{data.name} is streamed and its length not known: give --train.steps or --train.minutes, not epochs"
                )
            self.steps_per_epoch = STREAM_EPOCH
            return
        self.split = data.split("train")
        if len(self.split) < world:
            raise InvalidInput(f"{data.name} has {len(self.split)} training examples, fewer than the {world} processes")
        if config.carry and not isinstance(self.split, TokenSplit):
            raise InvalidInput(f"carry is for text, whose data follow one another; {data.name} is {data.event}: leave it out")
        sizes = self.split.sizes if isinstance(self.split, PairSplit) else None
        self.sampler = Sampler(
            len(self.split), config.batch_size, config.seed, rank, world, in_order=config.carry, sizes=sizes
        )
        # With accumulation the last, partial step of an epoch is dropped like a partial batch.
        self.steps_per_epoch = max(1, self.sampler.batches // config.accumulate)

    def batches(self, step: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield batches without end, from the first one of `step` on.

        Args:
            step: the step.
            generator: source of randomness of splits that have some.
        """
        first = step * self.config.accumulate
        if self.stream is not None:
            size, seed = self.config.batch_size, self.config.seed
            stream = self.stream.batches(
                size, seed=seed, epochs=None, skip=first, rank=self.rank, world=self.world, generator=generator
            )
            for batch in stream:
                yield self.arrange(to_device(batch, self.device))
            return
        per_epoch = self.steps_per_epoch * self.config.accumulate
        for number in itertools.count(first):
            epoch, position = divmod(number, per_epoch)
            indices = self.sampler.indices(epoch * self.sampler.batches + position)
            # A generator would move the windows of a text apart, which must follow one another to be carried on.
            yield self.arrange(read(self.split, indices, None if self.config.carry else generator, self.device))

    def arrange(self, batch: Batch) -> Batch:
        """Return a batch in the memory format that the settings ask for."""
        if self.config.channels_last and batch[0].dim() == 4:
            return batch[0].contiguous(memory_format=torch.channels_last), batch[1]
        return batch
