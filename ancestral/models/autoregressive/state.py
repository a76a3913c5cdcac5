"""What an autoregressive model remembers between steps."""

import functools
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class State:
    """What a model remembers between steps.

    Args:
        order: entry (flat index) at each step, (numel,); on the CPU, since the loop over steps reads it.
        x: data so far, on the event's scale, (batch, numel); zero where not yet given.
        condition: as in `Model.log_prob`.
        member: which member of a mixture the steps are of, from 0.
        t: steps taken.
        cache: what the model itself keeps.
        memory: tensors of the cache, (batch, ...), that hold what was computed from the data so far; see `remember`.
        ended: of sentences, which of them are over, (batch,), as of the values given to `step`; None for other data.
    """

    order: Tensor
    x: Tensor
    condition: Tensor | None
    member: int = 0
    t: int = 0
    cache: dict[str, Any] = field(default_factory=dict)
    memory: list[Tensor] = field(default_factory=list)
    ended: Tensor | None = None

    @functools.cached_property
    def entries(self) -> list[int]:
        """The order as a list, which the loop over steps reads."""
        entries: list[int] = self.order.tolist()
        return entries

    def remember(self, *tensors: Tensor) -> Tensor:
        """Note memory of the data so far, (batch, ...), which from then on is only written in place; return the first."""
        self.memory.extend(tensors)
        return tensors[0]

    def select(self, index: Tensor) -> None:
        """Let each datum i go on from where datum index[i] stands, (batch,); both must have one condition."""
        for tensor in (self.x, *self.memory):
            tensor.copy_(tensor[index])
