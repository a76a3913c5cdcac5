"""DeepNADE: one network for the conditionals of every order, given which entries are known; EoNADE: a mixture of orders."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ancestral.distributions import Sharpening, make_head
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.fused import FusedSteps
from ancestral.layers.fused_orderless import OrderlessNetwork, take_orderless_steps
from ancestral.layers.kernels import Array, array
from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.models.autoregressive.ensemble import Ensemble
from ancestral.models.autoregressive.fused import FusedModel
from ancestral.models.autoregressive.orders import random_orders
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register

DRAWS = 4
"""Sets of known entries drawn for each datum by `DeepNADE.measures`."""
NEAR = 32
"""Data that one call of a compiled loop takes at most: their hidden units stay near."""


@register("deep-nade")
class DeepNADE(Ensemble, FusedModel):
    r"""p(x_d | x_o, c) for every set o of known entries and every d outside it, by one network of (x * m, m).

    Here m_k = 1 for k in o: h^1 = f(U (x * m) + A m + b^1), h^l = f(W^l h^{l-1} + b^l), and the parameters of
    p(x_d | x_o) are rows of c + V h^L. Training draws for each datum an order and how many entries are known, and scales
    the loss of the others, D / (D - |o|) sum_{d not in o} -log p(x_d | x_o), whose mean is that of the negative
    log-likelihood over all D! orders.

    Each order gives a distribution of its own; with `ensemble` K above 1 the model is the mixture of K of them
    (EoNADE). One likelihood takes D passes, of which the first layer costs O(hidden) and the output one unit.

    Args:
        event: any event.
        condition: what hidden units and outputs also depend on, or None.
        hidden: units of each hidden layer, at least one layer.
        activation: f, one of `ACTIVATIONS`.
        ensemble: K, orders in the mixture; the weights serve any number.
        order_seed: seed of the orders.
        head: output distribution of an entry, one of `HEADS`.
        components: mixture components, for the mixture heads.

    Raises:
        InvalidInput: for an option out of its range, or a head that does not fit the event.

    References:
        A Deep and Tractable Density Estimator (Uria, Murray & Larochelle, 2014), https://arxiv.org/abs/1310.1757.
        Here the share of known entries is stratified over a batch, which lowers the variance of the gradient.

    >>> model = DeepNADE(Event.binary((4,)), hidden=(8,), ensemble=2)
    >>> model.log_prob(torch.zeros(3, 4)).shape, str(model.likelihood)
    (torch.Size([3]), 'exact (mixture of 2 orders)')
    >>> model.init_state(3, order=torch.tensor([2, 0, 1, 3])).order
    tensor([2, 0, 1, 3])
    """

    summary = "one network for every order of the entries; EoNADE averages over some orders"
    reference = "Uria et al. 2014"
    any_order = True
    monitor = "nats_estimate"
    fused_least = 100_000
    fused_data = True
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100, "epochs": 200, "schedule": "cosine"}
    examples = (
        {"event": Event.binary((5,)), "hidden": (16, 16), "activation": "elu"},
        {"event": Event.binary((1, 2, 2)), "condition": Event.label(3), "hidden": (8,), "ensemble": 2},
        {"event": Event.integers((4,), 3), "hidden": (12,), "activation": "tanh"},
        {"event": Event.real((2,), loc=(1.0, 0.0), scale=(2.0, 0.5)), "hidden": (6,), "components": 2, "activation": "tanh"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        hidden: Sequence[int] = (500, 500),
        activation: str = "relu",
        ensemble: int = 1,
        order_seed: int = 0,
        head: str = "auto",
        components: int = 10,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("hidden", tuple(hidden))
        check_sizes("ensemble", (ensemble,))
        check_choice("activation", activation, tuple(ACTIVATIONS))
        if not hidden:
            raise InvalidInput("deep-nade got no hidden layers, expected at least one, such as hidden=(500, 500)")
        self.head = make_head(event, head, components)
        self.activation = ACTIVATIONS[activation]
        self._set_members(ensemble, "orders")
        self.register_buffer("orders", random_orders(event.numel, ensemble, order_seed), persistent=False)
        # Values and known-marks of an entry have a row each, since a step adds the rows of one entry.
        self.values = nn.Parameter(torch.empty(event.numel, hidden[0]))
        self.marks = nn.Parameter(torch.empty(event.numel, hidden[0]))
        for weight in (self.values, self.marks):
            nn.init.uniform_(weight, -(event.numel**-0.5), event.numel**-0.5)
        self.bias = nn.Parameter(torch.zeros(hidden[0]))
        self.layers = nn.ModuleList(nn.Linear(m, n) for m, n in pairwise(hidden))
        outputs = event.numel * self.head.parameters
        self.output = nn.Linear(hidden[-1], outputs)
        self.embeddings = (
            nn.ModuleList(ConditionEmbedding(condition, n) for n in (*hidden, outputs)) if condition is not None else None
        )

    def _embed(self, condition: Tensor | None) -> list[Tensor | None]:
        if self.embeddings is None or condition is None:
            return [None] * (len(self.layers) + 2)
        return [embedding(condition) for embedding in self.embeddings]

    def _last_hidden(self, a: Tensor, embedded: list[Tensor | None]) -> Tensor:
        h = self.activation(a)  # (b, hidden[0])
        for layer, shift in zip(self.layers, embedded[1:-1], strict=True):
            a = layer(h)
            h = self.activation(a if shift is None else a + shift)  # (b, hidden[l])
        return h

    def conditionals(self, x: Tensor, known: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the raw head parameters of every entry given the known ones.

        Args:
            x: data, (batch, *event.shape); values that are not known have no effect.
            known: which entries are known, (batch, *event.shape), 0 or 1.
            condition: (batch, *condition.shape), where the model has a condition.

        Returns:
            (batch, *event.shape, head.parameters); of no meaning for entries that are known.
        """
        embedded = self._embed(condition)
        m = known.flatten(1).to(self.dtype)  # (b, d)
        v = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        a = torch.cat((v * m, m), dim=1) @ torch.cat((self.values, self.marks)) + self.bias  # (b, hidden[0])
        if embedded[0] is not None:
            a = a + embedded[0]
        raw = self.output(self._last_hidden(a, embedded))  # (b, d * p)
        if embedded[-1] is not None:
            raw = raw + embedded[-1]
        return raw.view(-1, *self.event.shape, self.head.parameters)

    # Training

    def _draw_known(self, shares: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw known entries, (b, d), such that their number is uniform on 0, ..., d - 1 if `shares` are uniform.

        One entry, any, is not known; each other is with the datum's probability, (b,). Given their number, all sets
        are equally likely: these are the first steps of a random order, without the sorting that drawing one takes.
        """
        b, numel, device = len(shares), self.event.numel, self.device
        known = torch.rand(b, numel, generator=generator, device=device) < shares[:, None]
        target = torch.randint(numel, (b, 1), generator=generator, device=device)
        return known.scatter_(1, target, False)

    def _estimate(self, x: Tensor, condition: Tensor | None, shares: Tensor, generator: torch.Generator | None) -> Tensor:
        known = self._draw_known(shares, generator)  # (b, d)
        raw = self.conditionals(x, known, condition)
        log_p = self.entry_log_prob(raw, x).flatten(1)  # (b, d)
        unknown = ~known
        # The unselected values are finite, but a product with 0 would still send them gradients.
        return -torch.where(unknown, log_p, 0.0).sum(1) * (self.event.numel / unknown.sum(1))

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        condition = self.check_batch(x, condition)
        n = len(x)
        places = torch.arange(n, device=self.device)
        shares = (places + torch.rand(n, generator=generator, device=self.device)) / n
        return {"loss": self._estimate(x, condition, shares, generator).mean()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "nats_estimate", (batch,): an unbiased estimate of the mean over all orders of -log p(x), nats.

        It takes `DRAWS` passes where `log_prob` takes as many as a datum has entries. The mixture's own negative
        log-likelihood is less than this mean on average, by the concavity of the logarithm.
        """
        condition = self.check_batch(x, condition)
        total = torch.zeros(len(x), dtype=self.dtype, device=self.device)
        for i in range(DRAWS):
            shares = (i + torch.rand(len(x), generator=generator, device=self.device)) / DRAWS
            total = total + self._estimate(x, condition, shares, generator)
        return {"nats_estimate": total / DRAWS}

    # One order: the first pre-activation grows by the rows of one entry a step.

    def _begin_sum(self, n: int, embedded: list[Tensor | None]) -> Tensor:
        return (self.bias if embedded[0] is None else self.bias + embedded[0]).expand(n, -1)

    def _read(self, a: Tensor, entry: int, embedded: list[Tensor | None]) -> Tensor:
        rows = slice(entry * self.head.parameters, (entry + 1) * self.head.parameters)
        raw = F.linear(self._last_hidden(a, embedded), self.output.weight[rows], self.output.bias[rows])  # (b, p)
        return raw if embedded[-1] is None else raw + embedded[-1][:, rows]

    def _add(self, a: Tensor, entry: int, v: Tensor) -> Tensor:
        return a + torch.addcmul(self.marks[entry], v[:, None], self.values[entry])

    def member_order(self, member: int) -> Tensor:
        return self.get_buffer("orders")[member]

    def member_forward(self, member: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        embedded = self._embed(condition)
        v = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        a = self._begin_sum(len(x), embedded)
        raw = [v] * self.event.numel
        for entry in self.member_order(member).tolist():
            raw[entry] = self._read(a, entry, embedded)
            a = self._add(a, entry, v[:, entry])
        return torch.stack(raw, dim=1).view(-1, *self.event.shape, self.head.parameters)

    def start(self, state: State) -> None:
        state.cache["embedded"] = self._embed(state.condition)
        state.cache["sum"] = state.remember(self._begin_sum(len(state.x), state.cache["embedded"]).clone())

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        if previous is not None:
            v = self.event.to_network(state.x.view(-1, *self.event.shape), self.dtype).flatten(1)
            last = int(state.order[state.t - 1])
            state.cache["sum"].copy_(self._add(state.cache["sum"], last, v[:, last]))
        return self._read(state.cache["sum"], int(state.order[state.t]), state.cache["embedded"])

    # Many steps in one call

    @property
    def depth(self) -> int:
        return 1 + len(self.layers)

    def fusible(self, draws: Draws) -> bool:
        return super().fusible(draws) and self.embeddings is None and self.activation is ACTIVATIONS["relu"]

    def make_network(self) -> OrderlessNetwork:
        layers = [cast(nn.Linear, layer) for layer in self.layers]
        empty = self.bias.new_zeros(0)
        return OrderlessNetwork(
            values=array(self.values),
            marks=array(self.marks),
            weights=array(torch.cat([empty, *(layer.weight.T.flatten() for layer in layers)])),
            biases=array(torch.cat([empty, *(layer.bias for layer in layers)])),
            widths=np.array([len(self.bias), *(layer.out_features for layer in layers)]),
            output=array(self.output.weight.view(self.event.numel, self.head.parameters, -1)),
            output_bias=array(self.output.bias.view(self.event.numel, -1)),
            scaled=array(self.scaled_levels()),
        )

    def prepare_fused(self, state: State, begin: int, stop: int) -> tuple[OrderlessNetwork, Array, NDArray[np.int64]]:
        entries = np.array([-1, *state.entries][begin : stop + 1])
        return self.fused_network(), array(state.cache["sum"]), entries

    def take_fused(
        self, state: State, prepared: tuple[OrderlessNetwork, Array, NDArray[np.int64]], steps: FusedSteps, rows: slice
    ) -> None:
        network, sums, entries = prepared
        for begin in range(rows.start, rows.stop, NEAR):
            take_orderless_steps(network, sums, entries, steps, begin, min(begin + NEAR, rows.stop))

    def member_log_prob(self, member: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        if not torch.is_grad_enabled():
            state = self.init_state(len(x), condition, member=member)
            draws = Draws(EntryValue(self.head, Sharpening()), given=x.flatten(1), scored=True)
            if self.fuses(state, draws):
                self.run_fused(state, draws, self.event.numel)
                return draws.log_p.to(self.dtype)
        return super().member_log_prob(member, x, condition)
