"""One way to feed any condition to a network."""

import math

from torch import Tensor, nn

from ancestral.event import Event


class ConditionEmbedding(nn.Module):
    """A linear embedding of a condition: W one_hot(c) for a label, W c + b for anything else.

    A label's table starts on the scale of the linear map that it stands for, so that a conditional model starts close
    to the unconditional one.

    Args:
        condition: the condition's event.
        features: length of the embedding.

    >>> import torch
    >>> ConditionEmbedding(Event.label(10), 4)(torch.tensor([3, 9])).shape
    torch.Size([2, 4])
    """

    def __init__(self, condition: Event, features: int) -> None:
        super().__init__()
        self.event = condition
        self.map: nn.Embedding | nn.Linear
        if condition.shape == () and condition.levels is not None:
            self.map = nn.Embedding(condition.levels, features)
            bound = 1.0 / math.sqrt(condition.levels)
            nn.init.uniform_(self.map.weight, -bound, bound)
        else:
            self.map = nn.Linear(condition.numel, features)

    def forward(self, condition: Tensor) -> Tensor:
        """Embed `condition`, (batch, *shape), as (batch, features)."""
        if isinstance(self.map, nn.Embedding):
            return self.map(condition.long())
        y = self.event.to_network(condition, self.map.weight.dtype)
        return self.map(y.reshape(len(y), -1))
