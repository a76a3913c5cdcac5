"""Which examples each step sees: a function of the seed and the step alone, so that a run can go on anywhere."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ancestral.data.base import Batch, Split


class Sampler:
    """Shuffled batches of a split, without replacement within an epoch; the last, partial batch is dropped.

    Epoch e is a permutation seeded by (seed, e). Process r of w takes the r-th of w parts of each global batch, so
    that w processes with batches of b see what one process with batches of w·b sees.

    Args:
        n: examples in the split.
        batch_size: examples per batch and process.
        seed: seed.
        rank: number of this process.
        world: number of processes.
    """

    def __init__(self, n: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.n, self.seed, self.rank, self.world = n, seed, rank, world
        self.batch_size = max(1, min(batch_size, n // world))
        self.batches = max(1, n // (self.batch_size * world))
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.long)

    def indices(self, batch: int) -> Tensor:
        """Return the indices of batch number `batch`, counted from the start of the run."""
        epoch, position = divmod(batch, self.batches)
        if epoch != self._epoch:
            # Any fixed mixing of seed and epoch will do, as long as runs with other seeds see other orders.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._permutation = torch.randperm(self.n, generator=generator)
            self._epoch = epoch
        start = (position * self.world + self.rank) * self.batch_size
        return self._permutation[start : start + self.batch_size]


def shard(n: int, batch_size: int, rank: int, world: int) -> Iterator[Tensor]:
    """Yield the indices of this process's part of 0, ..., n - 1 in batches: every example in exactly one process."""
    mine = torch.arange(n)[rank::world]
    yield from mine.split(batch_size)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch where it is not there already."""
    x, condition = batch
    if device.type == "cpu":
        return batch
    return x.to(device, non_blocking=True), None if condition is None else condition.to(device, non_blocking=True)


def read(split: Split, indices: Tensor, generator: torch.Generator | None, device: torch.device) -> Batch:
    """Return the data at `indices` on `device`."""
    return to_device(split.batch(indices, generator), device)
