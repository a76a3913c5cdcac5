"""Data that are read in order, because they are too large to hold or to index."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ancestral.errors import InvalidInput

Row = dict[str, Any]


class StreamSplit:
    """A split that is read from its start, through a shuffle buffer, and never held.

    Every process reads the same rows in the same order and decodes its own share of each global batch. So a batch
    depends on the seed and the epoch alone: `world` processes with batches of b see what one process sees with
    batches of world * b, and a resumed run sees what the uninterrupted one would have seen.

    Args:
        rows: given a seed and an epoch, the undecoded rows of that epoch, shuffled.
        decode: undecoded rows to (x, condition), with x of (n, *event.shape).
        transform: applied to each batch of x with the generator; None for none.
        name: what to call the split in errors.

    >>> def decode(rows):
    ...     return torch.tensor([row["x"] for row in rows]), None
    >>> split = StreamSplit(lambda seed, epoch: ({"x": i} for i in range(5)), decode)
    >>> [x.tolist() for x, _ in split.batches(2)]
    [[0, 1], [2, 3]]
    >>> [x.tolist() for x, _ in split.batches(1, rank=1, world=2)]
    [[1], [3]]
    """

    def __init__(
        self,
        rows: Callable[[int, int], Iterable[Row]],
        decode: Callable[[list[Row]], tuple[Tensor, Tensor | None]],
        transform: Callable[[Tensor, torch.Generator | None], Tensor] | None = None,
        name: str = "the stream",
    ) -> None:
        self._rows = rows
        self._decode = decode
        self._transform = transform
        self._name = name

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        epochs: int | None = 1,
        skip: int = 0,
        rank: int = 0,
        world: int = 1,
        generator: torch.Generator | None = None,
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Read batches; rows that do not fill the last global batch of an epoch are left out.

        Args:
            batch_size: number of data in a batch of this process.
            seed: with `epoch`, decides the order.
            epoch: with `seed`, decides the order; the first epoch to read.
            epochs: number of epochs to read; None to go on for ever.
            skip: number of batches, of all epochs, to pass over without decoding them: where a resumed run goes on.
            rank: this process's number, from 0.
            world: number of processes.
            generator: source of randomness of the transform (dynamic binarization).

        Yields:
            (x, condition): x of (batch_size, *event.shape), condition of (batch_size, *condition.shape) or None.

        Raises:
            InvalidInput: if the stream holds less than one global batch.
        """
        if batch_size < 1 or not 0 <= rank < world:
            raise InvalidInput(f"expected batch_size >= 1 and 0 <= rank < world, got {batch_size}, {rank} and {world}")
        count = 0
        for number in itertools.count(epoch) if epochs is None else range(epoch, epoch + epochs):
            batch: list[Row] = []
            before = count
            for row in self._rows(seed, number):
                batch.append(row)
                if len(batch) < batch_size * world:
                    continue
                if count >= skip:
                    x, condition = self._decode(batch[rank * batch_size : (rank + 1) * batch_size])
                    yield (x if self._transform is None else self._transform(x, generator)), condition
                batch = []
                count += 1
            if count == before:
                raise InvalidInput(
                    f"{self._name} holds {len(batch)} rows, fewer than one batch of {batch_size} x {world}: take a smaller one"
                )
