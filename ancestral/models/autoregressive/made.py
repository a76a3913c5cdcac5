"""MADE: an autoencoder whose connections are masked so that its outputs are the conditionals of all entries."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.masked import MaskedLinear, MaskedSteps, MaskedUnits, mask_by_degree
from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes
from ancestral.models.autoregressive.ensemble import Ensemble
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register

ORDERS = ("natural", "random", "agnostic")


def draw_degrees(
    numel: int,
    hidden: Sequence[int],
    masks: int,
    orders: str,
    seed: int,
    lowest: int = 1,
    tied: bool = False,
    spread: float = 1.0,
) -> list[np.ndarray]:
    """Draw m^0, the place of each entry in the order from 1 to numel, and m^1, ..., m^L, the degrees of hidden units.

    A unit of degree m sees the entries in places 1 to m. Degrees are uniform on {min m^{l-1}, ..., numel - 1}, as in the
    paper, and stratified, so that they cover the range evenly however few the units.

    Args:
        numel: entries of a datum.
        hidden: units of each hidden layer.
        masks: sets of degrees to draw.
        orders: natural (0, 1, 2, ... in every set), random (one order in every set) or agnostic (an order for each).
        seed: seed of the draw.
        lowest: least degree in the first hidden layer.
        tied: whether the units of all hidden layers have the degrees of the first.
        spread: share of the range of degrees on which those of one unit are drawn, around a place that it keeps in all sets.

    Returns:
        Arrays of (masks, numel), (masks, hidden[0]), (masks, hidden[1]), ...

    >>> [m.tolist() for m in draw_degrees(4, (3,), masks=1, orders="natural", seed=0)]
    [[[1, 2, 3, 4]], [[3, 2, 1]]]
    """
    # The stream of RandomState is frozen: a saved model finds its masks again under any later release.
    random = np.random.RandomState(seed)
    degrees = [np.empty((masks, n), dtype=np.int32) for n in (numel, *hidden)]

    def stratified(n: int) -> np.ndarray:
        return (random.permutation(n) + random.random_sample(n)) / n

    kept = [stratified(n) if spread < 1 else np.zeros(n) for n in hidden]
    for k in range(masks):
        if orders == "natural":
            degrees[0][k] = np.arange(1, numel + 1)
        elif orders == "agnostic" or k == 0:
            degrees[0][k] = random.permutation(numel) + 1
        else:
            degrees[0][k] = degrees[0][0]
        least = lowest
        for layer in range(1, len(degrees)):
            n = degrees[layer].shape[1]
            if tied and layer > 1:
                degrees[layer][k] = degrees[1][k]
                continue
            u = spread * stratified(n) + (1 - spread) * kept[layer - 1]
            degrees[layer][k] = least + np.floor(u * max(numel - least, 1))
            least = int(degrees[layer][k].min())
    return degrees


@register("made")
class MADE(Ensemble):
    r"""h^l = f(b^l + (W^l * M^l) h^{l-1}), h^0 = x, and the parameters of p(x_d | x_{<d}) are rows of c + (V * M^V) h^L.

    Each unit has a degree: an entry its place in the order, a hidden unit the number of entries it may see. The masks are
    M^l_{k'k} = 1 where m^l(k') >= m^{l-1}(k), and M^V_{dk} = 1 where d > m^L(k). All conditionals cost one pass.

    With `masks` K above 1, each training step draws one of K sets of masks ("connectivity-agnostic"), which also have
    an order each if `orders` is agnostic ("order-agnostic"); the model is then the mixture of its K members. The weights
    of an order-agnostic model serve any order, those that it was trained on best. A unit that sees another part of the datum
    with each mask is slow to learn; with a `spread` below 1 it sees nearly the same one.

    Args:
        event: any event.
        condition: what hidden units and outputs also depend on, or None.
        hidden: units of each hidden layer; none, with the outputs linear in the entries.
        activation: f, one of `ACTIVATIONS`.
        masks: K, sets of masks.
        orders: natural (entries in the order of the flattened datum), random (one order), agnostic (one for each mask).
        mask_seed: seed of masks and orders.
        spread: share of the range of degrees on which those of one unit lie, from 0, where masks are equal, to 1.
        direct: whether outputs also depend linearly on the entries before them.
        residual: whether hidden layers after the first are added to the layer before; all have one width then.
        dropout: probability with which hidden units are dropped in training.
        head: output distribution of an entry, one of `HEADS`.
        components: mixture components, for the mixture heads (with gaussian-mixture, the model is MADE MoG).

    Raises:
        InvalidInput: for an option out of its range, or a head that does not fit the event.

    References:
        MADE: Masked Autoencoder for Distribution Estimation (Germain et al., 2015), https://arxiv.org/abs/1502.03509.
        Here degrees are stratified and may be spread less, masks are drawn for each step and not cycled, the mixture averages
        probabilities, and hidden layers may be residual, with degrees then equal from layer to layer.

    >>> model = MADE(Event.binary((4,)), hidden=(8,), masks=2, orders="agnostic")
    >>> model.log_prob(torch.zeros(3, 4)).shape, str(model.likelihood)
    (torch.Size([3]), 'exact (mixture of 2 orders)')
    """

    summary = "masked autoencoder: all conditionals in one pass; masks and orders may be averaged over"
    reference = "Germain et al. 2015"
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100, "epochs": 100, "schedule": "cosine", "patience": 20}
    examples = (
        {"event": Event.binary((6,)), "hidden": (32, 32), "activation": "elu"},
        {"event": Event.binary((1, 2, 2)), "condition": Event.label(3), "hidden": (8, 8), "residual": True, "direct": True},
        {"event": Event.integers((4,), 3), "hidden": (12,), "masks": 3, "orders": "agnostic"},
        {"event": Event.integers((3,), 4), "hidden": (12,), "head": "logistic-mixture", "components": 2},
        {"event": Event.real((2,), loc=(1.0, 0.0), scale=(2.0, 0.5)), "hidden": (8,), "components": 3, "activation": "tanh"},
        {"event": Event.binary((5,)), "hidden": (16,), "masks": 2, "spread": 0.3},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        hidden: Sequence[int] = (500, 500),
        activation: str = "relu",
        masks: int = 1,
        orders: str = "natural",
        mask_seed: int = 0,
        spread: float = 1.0,
        direct: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        head: str = "auto",
        components: int = 10,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("hidden", tuple(hidden))
        check_sizes("masks", (masks,))
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("choice of orders", orders, ORDERS)
        if not 0.0 <= dropout < 1.0:
            raise InvalidInput(f"dropout is {dropout}, expected a probability below 1")
        if not 0.0 <= spread <= 1.0:
            raise InvalidInput(f"spread is {spread}, expected a share of the range of degrees, from 0 to 1")
        if residual and len(set(hidden)) > 1:
            raise InvalidInput(f"residual layers need one width, got {tuple(hidden)}: give equal widths, or residual=False")
        self.head = make_head(event, head, components)
        self.activation, self.residual, self.dropout = ACTIVATIONS[activation], residual, dropout
        self._set_members(masks, "masks" if orders != "agnostic" else "orders")
        self.any_order = orders == "agnostic" and masks > 1
        # With a condition some units see nothing else, so that the first entry too depends on it through a network.
        lowest = 1 if condition is None else 0
        drawn = draw_degrees(event.numel, hidden, masks, orders, mask_seed, lowest, tied=residual, spread=spread)
        for i, degrees in enumerate(drawn):
            self.register_buffer(f"degrees_{i}", torch.from_numpy(degrees), persistent=False)
        sizes = (event.numel, *hidden)
        self.layers = nn.ModuleList(MaskedLinear(m, n) for m, n in zip(sizes[:-1], hidden, strict=True))
        self.output = MaskedLinear(sizes[-1], event.numel, self.head.parameters)
        self.direct = MaskedLinear(event.numel, event.numel, self.head.parameters) if direct else None
        widths = (*hidden, event.numel * self.head.parameters)
        self.embeddings = nn.ModuleList(ConditionEmbedding(condition, n) for n in widths) if condition is not None else None
        if masks == 1:
            # Made once: at small batches making masks takes as long as the products. Those of many members would take
            # memory in proportion to their number.
            for i, mask in enumerate(self._make_masks(self._degrees(0))):
                self.register_buffer(f"mask_{i}", mask, persistent=False)

    def _degrees(self, member: Tensor | int) -> list[Tensor]:
        index = torch.as_tensor(member, device=self.device).view(1)
        return [self.get_buffer(f"degrees_{i}").index_select(0, index)[0] for i in range(len(self.layers) + 1)]

    def _make_masks(self, degrees: list[Tensor]) -> list[Tensor]:
        """Return the masks of all layers, of the output, and of the direct connections, where there are some."""
        hidden = [mask_by_degree(m, below) for m, below in zip(degrees[1:], degrees[:-1], strict=True)]
        output = mask_by_degree(degrees[0], degrees[-1], strict=True)
        direct = [mask_by_degree(degrees[0], degrees[0], strict=True)] if self.direct is not None else []
        return [*hidden, output, *direct]

    def _masks(self, member: Tensor | int) -> list[Tensor]:
        if self.members > 1:
            return self._make_masks(self._degrees(member))
        return [self.get_buffer(f"mask_{i}") for i in range(len(self.layers) + 1 + (self.direct is not None))]

    def _embed(self, condition: Tensor | None) -> list[Tensor] | None:
        if self.embeddings is None or condition is None:
            return None
        return [embedding(condition) for embedding in self.embeddings]

    def _network(self, x: Tensor, condition: Tensor | None, masks: list[Tensor]) -> Tensor:
        v = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        embedded = self._embed(condition)
        h = v
        for i, layer in enumerate(self.layers):
            a = layer(h, masks[i])  # (b, hidden[i])
            if embedded is not None:
                a = a + embedded[i]
            out = F.dropout(self.activation(a), self.dropout, self.training)
            h = h + out if self.residual and i > 0 else out
        raw = self.output(h, masks[len(self.layers)])  # (b, d * p)
        if self.direct is not None:
            raw = raw + self.direct(v, masks[-1])
        if embedded is not None:
            raw = raw + embedded[-1]
        return raw.view(-1, *self.event.shape, self.head.parameters)

    def member_forward(self, member: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self._network(x, condition, self._masks(member))

    def member_order(self, member: int) -> Tensor:
        return self.get_buffer("degrees_0")[member].argsort()

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        condition = self.check_batch(x, condition)
        member: Tensor | int = 0
        if self.members > 1:
            member = torch.randint(self.members, (1,), generator=generator, device=self.device)
        raw = self._network(x, condition, self._masks(member))
        return {"loss": -self.entry_log_prob(raw, x).sum() / len(x)}

    # Stepping: a hidden unit is computed once, when the last entry it sees is known, so that all steps together cost
    # about as much as one pass.

    def start(self, state: State) -> None:
        degrees = self._degrees(state.member)
        degrees[0] = torch.empty_like(degrees[0]).scatter_(  # of this order, which may be another than the member's
            0, state.order.to(self.device), torch.arange(1, self.event.numel + 1, dtype=degrees[0].dtype, device=self.device)
        )
        masks = self._make_masks(degrees)
        n, numel = state.x.shape
        layers = [cast(MaskedLinear, layer) for layer in self.layers]
        embedded = self._embed(state.condition) or [state.x.new_zeros(1, 1)] * (len(layers) + 1)  # (b or 1, n) each
        units = [
            MaskedUnits(layer.masked_weight(mask)[:, 0], layer.bias + e.T, m)
            for layer, mask, e, m in zip(layers, masks[: len(layers)], embedded[:-1], degrees[1:], strict=True)
        ]
        output = self.output.bias.flatten()
        if self.direct is not None:
            output = output + self.direct.bias.flatten()
            state.cache["direct"] = self.direct.masked_weight(masks[-1])  # (d, p, d)
        bias = (output[:, None] + embedded[-1].T).unflatten(0, (numel, -1))  # (d, p, b or 1)
        readout = self.output.masked_weight(masks[len(layers)])  # (d, p, hidden[-1])
        steps = MaskedSteps(numel, units, readout, bias, self.activation, n, residual=self.residual)
        for hidden in steps.hidden:
            state.remember(hidden.T)
        state.cache["steps"] = steps

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        entry = int(state.order[state.t])
        v = self.event.to_network(state.x.view(-1, *self.event.shape), self.dtype).flatten(1).T  # (d, b)
        raw: Tensor = state.cache["steps"].advance(v, state.t, entry)  # (p, b)
        if self.direct is not None:
            raw = raw + state.cache["direct"][entry] @ v
        return raw.T
