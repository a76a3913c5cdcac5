"""Uniform noise in numbered streams: what is drawn follows from who it is drawn for, not from when."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def uniform_noise(seed: int, stream: int, count: int) -> NDArray[np.float64]:
    """Return the first numbers of a stream, which depend on `seed` and the stream alone.

    Args:
        seed: seed of all streams.
        stream: number of the stream, from 0 to 2^64 - 1; that of a datum, say.
        count: numbers wanted; the first ones are the same for every count.

    Returns:
        (count,), multiples of 2^-53 in [0, 1).

    References:
        Parallel random numbers: as easy as 1, 2, 3 (Salmon et al., 2011), https://doi.org/10.1145/2063384.2063405.

    >>> [round(float(u), 4) for u in uniform_noise(seed=0, stream=7, count=2)]
    [0.5845, 0.891]
    """
    return _uniform(_philox(seed, stream).random_raw(count))


class Streams:
    """Several streams, each read on from where it was left; what one gives does not depend on the others.

    Args:
        seed: seed of all streams.
        numbers: of the streams, (rows,).
        device: where the noise is put.

    >>> streams = Streams(0, [7, 8], "cpu")
    >>> bool((torch.cat((streams.take(2), streams.take(1)), 1) == Streams(0, [7, 8], "cpu").take(3)).all())
    True
    """

    def __init__(self, seed: int, numbers: Sequence[int], device: torch.device | str) -> None:
        self.device = device
        self._generators = [_philox(seed, number) for number in numbers]

    def take(self, count: int) -> Tensor:
        """Return the next numbers of each stream, (rows, count), multiples of 2^-53 in [0, 1)."""
        raw = np.stack([generator.random_raw(count) for generator in self._generators])
        return torch.from_numpy(_uniform(raw)).to(self.device)


def stream_number(*names: bytes | int | str) -> int:
    """Return the number of the stream that goes by some names: a hash of 64 bits.

    >>> stream_number("member", 1) == stream_number("member", 1) != stream_number("member", 2)
    True
    """
    return int.from_bytes(hashlib.blake2b(repr(names).encode(), digest_size=8).digest(), "little")


def _philox(seed: int, stream: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed % 2**64, stream], dtype=np.uint64))


def _uniform(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    # The raw numbers of a bit generator are the same under every release of numpy; those of its methods need not be.
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
