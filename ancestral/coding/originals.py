"""Data as the bytes that they are: what digests are of, and what is deflated where a model is of no use."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ancestral.coding import Damage
from ancestral.event import Event

Batch = tuple[Tensor, Tensor | None]
"""Data, (n, *event.shape), and their conditions, (n, *condition.shape), where the model has a condition."""


class Originals:
    r"""Data to bytes and back: a byte for each entry, or two, the least significant first, above 256 levels.

    Args:
        event: of the data, with levels.
        condition: of their conditions, whose bytes follow those of all data; None where there are none.

    >>> originals = Originals(Event.binary((3,)), None)
    >>> originals.pack(torch.tensor([[0, 1, 1]]), None)
    b'\x00\x01\x01'
    >>> originals.unpack(1, b'\x00\x01\x01')
    (tensor([[0, 1, 1]], dtype=torch.uint8), None)
    """

    def __init__(self, event: Event, condition: Event | None) -> None:
        self.event, self.condition = event, condition

    @property
    def size(self) -> int:
        """Bytes of one datum with its condition, packed."""
        return _size(self.event) + (0 if self.condition is None else _size(self.condition))

    @property
    def held(self) -> int:
        """Bytes of one datum with its condition, unpacked: whole numbers above 256 levels take eight bytes each."""
        events = [self.event] if self.condition is None else [self.event, self.condition]
        return sum(event.numel * event.dtype.itemsize for event in events)

    def pack(self, x: Tensor, condition: Tensor | None) -> bytes:
        """Return data, (n, *event.shape), and their conditions, (n, *condition.shape), as bytes."""
        content = _pack(self.event, x)
        return content if self.condition is None or condition is None else content + _pack(self.condition, condition)

    def unpack(self, count: int, content: bytes) -> Batch:
        """Return what `pack` packed: `count` data and their conditions, on the CPU.

        Raises:
            Damage: if there are more or fewer bytes, or values outside of the events.
        """
        if len(content) != count * self.size:
            raise Damage(f"{len(content)} bytes in place of {count * self.size}")
        end = count * _size(self.event)
        x = _unpack(self.event, content[:end])
        return x, None if self.condition is None else _unpack(self.condition, content[end:])


def _storage(event: Event) -> np.dtype[Any]:
    return np.dtype("u1" if (event.levels or 0) <= 256 else "<u2")


def _size(event: Event) -> int:
    return event.numel * _storage(event).itemsize


def _pack(event: Event, x: Tensor) -> bytes:
    return x.cpu().numpy().astype(_storage(event)).tobytes()


def _unpack(event: Event, content: bytes) -> Tensor:
    values = np.frombuffer(content, _storage(event)).astype(np.int64)
    if values.max(initial=0) >= (event.levels or 0):
        raise Damage(f"a value of {values.max()}")
    return torch.from_numpy(values).to(event.dtype).view(-1, *event.shape)
