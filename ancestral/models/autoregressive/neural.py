"""Bengio & Bengio's networks: each conditional has hidden units of its own, and may read those of earlier ones."""

import torch
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.masked import MaskedLinear, mask_by_degree
from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register


@register("neural-conditionals")
class NeuralConditionals(AutoregressiveModel):
    r"""h_d = f(c_d + sum_{k<d} W_{dk} x_k), and p(x_d | x_{<d}) has parameters b_d + sum_{j<=d} V_{dj} h_j.

    Each entry d has a group of `hidden` units, which see the entries before it. With `shared` groups an entry also
    reads the groups of the entries before it, as in the paper; without, each conditional is a network apart and V has
    V_{dd} alone. Weights grow with the square of the number of entries.

    Args:
        event: any event.
        condition: what the biases c and b also depend on, linearly; None for none.
        hidden: units of each entry's group.
        activation: f, one of `ACTIVATIONS`.
        shared: whether an entry also reads the groups of entries before it.
        direct: whether outputs also depend linearly on the entries before them.
        head: output distribution of an entry, one of `HEADS`.
        components: mixture components, for the mixture heads.

    Raises:
        InvalidInput: for an option out of its range, or a head that does not fit the event.

    References:
        Modeling High-Dimensional Discrete Data with Multi-Layer Neural Networks (Bengio & Bengio, 2000),
        https://papers.nips.cc/paper/1679. There levels are given to the network as indicators, and connections are
        pruned by statistical tests; here a level is one number in [-1, 1], and all connections stay.

    >>> NeuralConditionals(Event.binary((4,)), hidden=3).log_prob(torch.zeros(3, 4)).shape
    torch.Size([3])
    """

    summary = "a group of hidden units for each entry, over the entries before it"
    reference = "Bengio & Bengio 2000"
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100, "epochs": 50, "schedule": "cosine", "patience": 10}
    examples = (
        {"event": Event.binary((6,)), "hidden": 3},
        {"event": Event.binary((1, 2, 2)), "condition": Event.label(3), "hidden": 2, "shared": False, "direct": True},
        {"event": Event.integers((4,), 3), "hidden": 2, "direct": True},
        {"event": Event.real((2,), loc=(1.0, 0.0), scale=(2.0, 0.5)), "hidden": 4, "components": 2},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        hidden: int = 2,
        activation: str = "tanh",
        shared: bool = True,
        direct: bool = False,
        head: str = "auto",
        components: int = 10,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("hidden", (hidden,))
        check_choice("activation", activation, tuple(ACTIVATIONS))
        self.head = make_head(event, head, components)
        self.activation, self.hidden, self.shared = ACTIVATIONS[activation], hidden, shared
        d, p = event.numel, self.head.parameters
        self.groups = MaskedLinear(d, d, hidden)
        self.output = MaskedLinear(d * hidden if shared else hidden, d, p)
        self.direct = MaskedLinear(d, d, p) if direct else None
        self.embeddings = (
            nn.ModuleList(ConditionEmbedding(condition, n) for n in (d * hidden, d * p)) if condition is not None else None
        )

    def _embed(self, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if self.embeddings is None or condition is None:
            return None, None
        n, d = len(condition), self.event.numel
        return self.embeddings[0](condition).view(n, d, -1), self.embeddings[1](condition).view(n, d, -1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        shift, output_shift = self._embed(condition)
        v = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        places = torch.arange(self.event.numel, device=v.device)
        earlier = mask_by_degree(places, places, strict=True)  # (d, d)
        a = self.groups(v, earlier).view(len(v), -1, self.hidden)  # (b, d, h)
        h = self.activation(a if shift is None else a + shift)
        if self.shared:
            groups = mask_by_degree(places, places.repeat_interleave(self.hidden))  # (d, d * h)
            raw = self.output(h.flatten(1), groups).view(len(v), -1, self.head.parameters)  # (b, d, p)
        else:
            raw = torch.einsum("bdh,dph->bdp", h, self.output.weight) + self.output.bias
        if self.direct is not None:
            raw = raw + self.direct(v, earlier).view_as(raw)
        if output_shift is not None:
            raw = raw + output_shift
        return raw.view(-1, *self.event.shape, self.head.parameters)

    def start(self, state: State) -> None:
        state.cache["shifts"] = self._embed(state.condition)
        state.cache["h"] = state.remember(state.x.new_zeros(len(state.x), self.event.numel, self.hidden))

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        t, h, (shift, output_shift) = state.t, state.cache["h"], state.cache["shifts"]
        v = self.event.to_network(state.x.view(-1, *self.event.shape), self.dtype).flatten(1)[:, :t]  # (b, t)
        a = v @ self.groups.weight[t, :, :t].T + self.groups.bias[t]  # (b, h)
        h[:, t] = self.activation(a if shift is None else a + shift[:, t])
        seen = h[:, : t + 1].flatten(1) if self.shared else h[:, t]
        raw = seen @ self.output.weight[t, :, : seen.shape[1]].T + self.output.bias[t]  # (b, p)
        if self.direct is not None:
            raw = raw + v @ self.direct.weight[t, :, :t].T + self.direct.bias[t]
        return raw if output_shift is None else raw + output_shift[:, t]
