"""Fully visible sigmoid belief network: every conditional is a logistic regression."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register


@register("fvsbn")
class FVSBN(AutoregressiveModel):
    r"""p(x_d = 1 | x_{<d}) = sigmoid(b_d + sum_{k<d} W_{dk} x_k).

    Args:
        event: a binary event.
        condition: what the biases also depend on, linearly; None for none.
        l1: a in the loss -log p(x) + a sum_{k<d} |W_{dk}|, which training minimises, nats; entries that tell nothing about an
            entry then have no weight on it.

    Raises:
        InvalidInput: if the event is not binary, or `l1` is negative.

    References:
        Graphical Models for Machine Learning and Digital Communication (Frey, 1998).
        Learning Deep Sigmoid Belief Networks with Data Augmentation (Gan et al., 2015) for its figure of 97.45 nats.

    >>> FVSBN(Event.binary((4,))).log_prob(torch.zeros(1, 4)).shape
    torch.Size([1])
    """

    summary = "logistic regression of each entry on those before it"
    reference = "Frey 1998"
    takes = ("binary",)
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}
    examples = (
        {"event": Event.binary((5,))},
        {"event": Event.binary((1, 2, 3)), "condition": Event.label(3), "l1": 0.1},
    )

    def __init__(self, event: Event, condition: Event | None = None, l1: float = 0.0) -> None:
        super().__init__(event, condition)
        if not 0.0 <= l1 < math.inf:
            raise InvalidInput(f"l1 must be at least 0, got {l1}")
        self.l1 = l1
        self.head = make_head(event)
        d = event.numel
        self.weight = nn.Parameter(torch.randn(d, d) * 0.01)
        self.bias = nn.Parameter(torch.zeros(d))
        self.embedding = ConditionEmbedding(condition, d) if condition is not None else None

    def _bias(self, condition: Tensor | None) -> Tensor:
        if self.embedding is None or condition is None:
            return self.bias
        return self.bias + self.embedding(condition)  # (b, d)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        v = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        logits = F.linear(v, self.weight.tril(-1)) + self._bias(condition)  # (b, d)
        return logits.view(-1, *self.event.shape, 1)

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        values = super().loss(x, condition, group=group, generator=generator)
        if self.l1 == 0.0:
            return values
        return {"loss": values["loss"] + self.l1 * self.weight.tril(-1).abs().sum(), "nats": values["loss"].detach()}

    def start(self, state: State) -> None:
        state.cache["bias"] = self._bias(state.condition).expand(len(state.x), -1)

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        d = state.t
        logit = state.cache["bias"][:, d] + state.x[:, :d] @ self.weight[d, :d]  # (b,)
        return logit[:, None]
