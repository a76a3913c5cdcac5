"""One way to feed any condition to a network."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event


class ConditionEmbedding(nn.Module):
    """A linear embedding of a condition: W one_hot(c) for a label, their sum for several, W c + b for anything else.

    A sentence is as many labels as it has places, the end symbol one of their classes: sum_i W_i one_hot(c_i), which tells
    any two sentences of a few words apart and leaves their grammar to the network that it is fed to.

    A label's table starts on the scale of the linear map that it stands for, so that a conditional model starts close
    to the unconditional one.

    Args:
        condition: the condition's event.
        features: length of the embedding.

    >>> ConditionEmbedding(Event.label(10), 4)(torch.tensor([3, 9])).shape
    torch.Size([2, 4])
    """

    def __init__(self, condition: Event, features: int) -> None:
        super().__init__()
        self.event = condition
        self.map: nn.Embedding | nn.Linear
        classes = condition.classes
        if condition.levels is not None and (condition.shape == () or (condition.end and condition.is_sequence)):
            classes = (condition.levels,) * condition.numel
        self.classes = classes or ()
        if classes is not None:
            self.map = nn.Embedding(sum(classes), features)  # one table for each label, one below another
            for count, table in zip(classes, self.map.weight.split(classes), strict=True):
                nn.init.uniform_(table, -1.0 / math.sqrt(count), 1.0 / math.sqrt(count))
        else:
            self.map = nn.Linear(condition.numel, features)

    def forward(self, condition: Tensor) -> Tensor:
        """Embed `condition`, (batch, *shape), as (batch, features)."""
        if isinstance(self.map, nn.Embedding):
            labels = condition.long()
            if not self.event.shape:
                return self.map(labels)
            tables = self.map.weight.split(self.classes)
            return torch.stack([F.embedding(labels[:, i], table) for i, table in enumerate(tables)]).sum(0)
        y = self.event.to_network(condition, self.map.weight.dtype)
        return self.map(y.reshape(len(y), -1))
