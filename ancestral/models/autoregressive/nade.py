"""NADE: one hidden layer for each conditional, all from one running sum, at a cost linear in the entries."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from ancestral.distributions import make_head
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.prefix import PrefixNetwork
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.orders import random_orders
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register


@register("nade")
class NADE(AutoregressiveModel):
    r"""h_d = f(c + sum_{k<d} x_k W_k) and p(x_d = 1 | x_{<d}) = sigmoid(b_d + V_d h_d).

    The sum inside f grows by one term from entry to entry, so that a likelihood and a sample each cost
    O(entries * hidden). With more than two levels, V_d h_d are the logits of a softmax, and x_k is scaled to [-1, 1].

    Args:
        event: a binary or integer event.
        condition: what c and b also depend on, linearly; None for none.
        hidden: units of each hidden layer.
        activation: f, one of `ACTIVATIONS`; the sigmoid of the paper where not given.
        order_seed: seed of a random order of the entries; None for the order of the flattened datum.
        head: output distribution of an entry, one of `HEADS`.
        components: mixture components, for the logistic mixture.

    Raises:
        InvalidInput: for an option out of its range, or an event that is not discrete.

    References:
        The Neural Autoregressive Distribution Estimator (Larochelle & Murray, 2011),
        https://proceedings.mlr.press/v15/larochelle11a.html. Here entries may have more than two levels, and the
        order is that of the datum unless a random one is asked for.

    >>> NADE(Event.binary((4,)), hidden=8).log_prob(torch.zeros(3, 4)).shape
    torch.Size([3])
    """

    summary = "one hidden layer per entry from a shared running sum: exact and linear in the entries"
    reference = "Larochelle & Murray 2011"
    takes: ClassVar[tuple[str, ...]] = ("binary", "integer")
    scaled: ClassVar[bool] = False
    """Whether each entry has a factor on its pre-activations."""
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100, "epochs": 100, "schedule": "cosine", "patience": 20}
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"event": Event.binary((6,)), "hidden": 12},
        {"event": Event.binary((1, 2, 2)), "condition": Event.label(3), "hidden": 8, "order_seed": 0},
        {"event": Event.integers((4,), 3), "hidden": 8, "activation": "tanh"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        hidden: int = 500,
        activation: str = "sigmoid",
        order_seed: int | None = None,
        head: str = "auto",
        components: int = 10,
    ) -> None:
        super().__init__(event, condition)
        self.head = make_head(event, head, components)
        self.network = PrefixNetwork(event.numel, hidden, self.head.parameters, activation, self.scaled)
        order = torch.arange(event.numel) if order_seed is None else random_orders(event.numel, 1, order_seed)[0]
        self.register_buffer("order_of_entries", order, persistent=False)
        outputs = event.numel * self.head.parameters
        self.hidden_embedding = ConditionEmbedding(condition, hidden) if condition is not None else None
        self.output_embedding = ConditionEmbedding(condition, outputs) if condition is not None else None

    @property
    def order(self) -> Tensor:
        return self.get_buffer("order_of_entries")

    def _embed(self, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if self.hidden_embedding is None or self.output_embedding is None or condition is None:
            return None, None
        shift = self.output_embedding(condition).view(len(condition), self.event.numel, -1)  # (b, d, p)
        return self.hidden_embedding(condition), shift

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        hidden_shift, output_shift = self._embed(condition)
        v = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        raw = self.network(v[:, self.order], hidden_shift)[:, self.order.argsort()]  # (b, d, p)
        if output_shift is not None:
            raw = raw + output_shift
        return raw.view(-1, *self.event.shape, self.head.parameters)

    def start(self, state: State) -> None:
        hidden_shift, state.cache["shift"] = self._embed(state.condition)
        state.cache["sum"] = state.remember(self.network.start(len(state.x), hidden_shift).clone())

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        if previous is not None:
            # The value on the network's scale, which for real events depends on which entry it is of.
            v = self.event.to_network(state.x.view(-1, *self.event.shape), self.dtype).flatten(1)
            previous = v[:, int(state.order[state.t - 1])]
        raw = self.network.step(state.cache["sum"], state.t, previous)
        shift = state.cache["shift"]
        return raw if shift is None else raw + shift[:, int(state.order[state.t])]
