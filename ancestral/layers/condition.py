"""One way to feed any condition to a network."""

from torch import Tensor, nn

from ancestral.event import Event


class ConditionEmbedding(nn.Module):
    """A linear embedding of a condition: a table of vectors for a label, a linear map for anything else.

    Args:
        condition: the condition's event.
        features: length of the embedding.
    """

    def __init__(self, condition: Event, features: int) -> None:
        super().__init__()
        self.event = condition
        self.is_label = condition.shape == () and condition.discrete
        self.map: nn.Module
        if self.is_label:
            self.map = nn.Embedding(condition.levels or 0, features)
        else:
            self.map = nn.Linear(condition.numel, features)

    def forward(self, condition: Tensor) -> Tensor:
        """Embed `condition`, (batch, *shape), as (batch, features)."""
        if self.is_label:
            embedded: Tensor = self.map(condition.long())
            return embedded
        dtype = next(self.map.parameters()).dtype
        embedded = self.map(self.event.to_network(condition, dtype).flatten(1))
        return embedded
