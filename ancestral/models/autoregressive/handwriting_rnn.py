"""The handwriting network: an LSTM moves a pen, point by point, and where there is a text, reads it as it writes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput
from ancestral.event import PEN, Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.skip_lstm import SkipLSTM
from ancestral.layers.soft_window import SoftWindow
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register

LOWEST = -7.0
"""Lowest log deviation of a component on the standardized scale: none can shrink onto an offset without end."""
STRONGEST = 0.9999
"""Highest correlation of dx and dy in a component, by size."""


@register("handwriting-rnn")
class HandwritingRNN(AutoregressiveModel):
    r"""p(dx_t, dy_t, pen_t | before) = sum_k pi_k N(dx_t, dy_t; mu_k, sigma_k, rho_k) softmax(e)_{pen_t}, by an LSTM's units.

    Entry by entry this is exactly p(dx) = sum_k pi_k N(dx; mu_xk, sigma_xk^2); p(dy | dx), a mixture with weights in
    proportion to pi_k N(dx; mu_xk, sigma_xk^2), means mu_yk + rho_k sigma_yk (dx - mu_xk) / sigma_xk, and variances
    sigma_yk^2 (1 - rho_k^2); and the pen, which depends on neither. After a point whose pen says that the drawing is over, all
    entries are certain.

    Args:
        event: drawings (`Event.drawing`).
        condition: a text (sequences of symbols), which a soft window reads; any other condition is an input of every layer;
            None for none.
        hidden: units of each layer.
        layers: layers of the LSTM; at least 2 with a text, since the first one moves the window.
        components: Gaussians k.
        window: bumps of the window on a text.
        dropout: probability of dropping a unit where the next layer or the output reads it, in training.

    Raises:
        InvalidInput: if the event is no drawing, or an option is out of its range.

    References:
        Generating Sequences With Recurrent Neural Networks (Graves, 2013), https://arxiv.org/abs/1308.0850. There the pen is
        up or not (Bernoulli), and nothing says that a drawing is over; here a third state does. There are no peepholes.

    >>> model = HandwritingRNN(Event.drawing(5), hidden=8, components=2).eval()
    >>> x = model.sample(3, generator=torch.Generator().manual_seed(0))
    >>> x.shape, model.log_prob(x).shape
    (torch.Size([3, 5, 3]), torch.Size([3]))
    """

    summary = "an LSTM that moves a pen, with mixtures of Gaussians; a soft window reads a text"
    reference = "Graves 2013"
    takes = ("mixed",)
    sentences = True
    blind_spot = True  # the pen of a point does not depend on where the point is
    training_defaults = {"learning_rate": 2e-3, "batch_size": 64, "clip": 100.0, "schedule": "cosine"}
    examples = (
        {"event": Event.drawing(2), "hidden": 4, "components": 2},
        {"event": Event.drawing(2), "condition": Event.label(2), "hidden": 4, "layers": 1, "components": 1},
        {"event": Event.drawing(2), "condition": Event.sentences(2, 2), "hidden": 4, "components": 2, "window": 2},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        hidden: int = 256,
        layers: int = 2,
        components: int = 20,
        window: int = 10,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(event, condition)
        if not event.is_drawing:
            raise InvalidInput(f"{self.name} takes drawings (Event.drawing), got {event}: load strokes, such as kanji-strokes")
        if hidden < 1 or layers < 1 or window < 1:
            raise InvalidInput(f"hidden, layers and window must be at least 1, got {hidden}, {layers} and {window}")
        if not 0.0 <= dropout < 1.0:
            raise InvalidInput(f"dropout must be in [0, 1), got {dropout}")
        text = condition is not None and condition.is_sequence and condition.levels is not None
        if text and layers < 2:
            raise InvalidInput("a text takes 2 layers or more, since the first one moves the window on it, got 1")
        self.head = make_head(event, components=components)
        self.embedding = ConditionEmbedding(condition, hidden) if condition is not None and not text else None
        looking = None
        if condition is not None and text:
            looking = SoftWindow(condition, hidden, window, pace=condition.numel / event.shape[0])
        inputs = 2 + len(PEN) + (0 if self.embedding is None else hidden)
        self.lstm = SkipLSTM(inputs, hidden, layers, dropout, looking)
        weights = components if components > 1 else 0
        self.sizes = [weights, *[components] * 5, len(PEN)]
        self.output = nn.Linear(layers * hidden, sum(self.sizes))
        nn.init.normal_(self.output.weight, std=0.1 * (layers * hidden) ** -0.5)
        nn.init.zeros_(self.output.bias)
        with torch.no_grad():  # components apart from each other, as far as offsets are
            self.output.bias[weights : weights + 2 * components].normal_()

    # All points at once

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        live = self._live(x)
        longest = live.shape[1]
        y = self._predicted(x, condition, longest)  # (b, t, p)
        loc, scale = self._affine(y, slice(longest))
        raw = self._entries(y, x[:, :longest, 0], loc, scale)  # (b, t, 3, parameters)
        over = self._over(raw)
        raw = torch.where(live[..., None, None], raw, over)
        return torch.cat((raw, over.expand(len(x), self.event.shape[0] - longest, -1, -1)), dim=1)

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        condition = self.check_batch(x, condition)
        live = self._live(x)
        y = self._predicted(x, condition, live.shape[1])[live]  # (points, p): those after an end are certain
        row, place = live.nonzero(as_tuple=True)
        points = x[:, : live.shape[1]][live].to(y.dtype)  # (points, 3)
        loc, scale = self._affine(y, place)
        entries = self.head(self._entries(y, points[:, 0], loc, scale)).log_prob(points).sum(1)
        return entries.new_zeros(len(x)).index_add(0, row, entries)

    def _live(self, x: Tensor) -> Tensor:
        """Return which points of drawings there are, (batch, longest).

        The longest decides the shape of what follows, so a GPU is waited for; padding would cost more.
        """
        counts = self.event.counted(x) // self.event.shape[1]
        longest = int(counts.max()) if len(x) else 0
        return torch.arange(longest, device=x.device) < counts[:, None]

    def _predicted(self, x: Tensor, condition: Tensor | None, points: int) -> Tensor:
        """Return the network's outputs at the first points of drawings, (batch, points, outputs), of 32 bits or more."""
        seen = self._seen(self.event.to_network(x, self.dtype)[:, : points - 1])
        first = seen.new_zeros(len(x), 1, seen.shape[-1])
        first[..., -1] = 1.0  # before a drawing the pen is as after one
        h = torch.cat((first, seen), dim=1)[:, :points]  # (b, t, 5)
        source, label = self._given(condition)
        if label is not None:
            h = torch.cat((h, label[:, None].expand(-1, points, -1)), dim=-1)
        return self._outputs(self.lstm(h, source))

    def _seen(self, y: Tensor) -> Tensor:
        """Return points, (..., 3), scaled in their offsets, as input: (..., 5)."""
        pen = F.one_hot(y[..., 2].long(), len(PEN)).to(y.dtype)
        return torch.cat((y[..., :2], pen), dim=-1)

    def _given(self, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Return what the window reads, and what every layer is told: one of them, or neither."""
        if condition is None:
            return None, None
        if self.lstm.window is not None:
            return self.lstm.window.read(condition), None
        return None, None if self.embedding is None else self.embedding(condition)

    def _outputs(self, units: Tensor) -> Tensor:
        y: Tensor = self.output(units)
        return y.to(torch.promote_types(y.dtype, torch.float32))  # 16 bits would round the offsets

    def _affine(self, like: Tensor, place: slice | Tensor | int) -> tuple[Tensor, Tensor]:
        loc, scale = self.event.affine(like)
        return loc[place], scale[place]

    # From outputs to entries

    def _entries(self, y: Tensor, dx: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Return raw parameters of the entries of points, (..., 3, parameters); see `_entry`."""
        return torch.stack([self._entry(column, y, dx, loc, scale) for column in range(3)], dim=-2)

    def _entry(self, column: int, y: Tensor, dx: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Return raw parameters of one entry of points, (..., parameters).

        Args:
            column: 0 for dx, 1 for dy, 2 for the pen.
            y: the network's outputs, (..., outputs).
            dx: offsets dx of the points, which dy depends on, (...).
            loc: of the points' entries, (..., 3) or (3,).
            scale: the same.
        """
        logits, mean_x, mean_y, log_x, log_y, tied, pen = y.split(self.sizes, dim=-1)
        if self.head.layout is None:
            raise InvalidInput("the head of a drawing is of mixed columns: use auto")
        if column == 2:
            return self.head.layout.whole(pen)
        log_x, log_y = log_x.clamp(min=LOWEST), log_y.clamp(min=LOWEST)
        mean, log_scale = mean_x, log_x
        if column == 1:
            rho = STRONGEST * torch.tanh(tied)
            z = (((dx.to(y.dtype) - loc[..., 0]) / scale[..., 0])[..., None] - mean_x) * torch.exp(-log_x)
            mean, log_scale = mean_y + rho * torch.exp(log_y) * z, log_y + 0.5 * torch.log1p(-rho.square())
            if self.sizes[0]:
                logits = F.log_softmax(logits, dim=-1) - 0.5 * z.square() - log_x
        m, s = loc[..., column, None], scale[..., column, None]
        return self.head.layout.real(torch.cat((logits, mean * s + m, log_scale + torch.log(s)), dim=-1))

    def _over(self, like: Tensor) -> Tensor:
        """Return raw parameters of the entries of a point after the end, (3, parameters)."""
        return torch.stack([self.head.certain(level, like) for level in (0, 0, self.event.end_symbol)])

    # Steps

    def start(self, state: State) -> None:
        n = len(state.x)
        source, state.cache["label"] = self._given(state.condition)
        memory = self.lstm.start(n, source)
        outputs = torch.zeros(n, sum(self.sizes), dtype=torch.promote_types(self.dtype, torch.float32), device=state.x.device)
        state.cache["memory"], state.cache["outputs"] = memory, outputs
        state.ended = torch.zeros(n, dtype=torch.bool, device=state.x.device)
        state.remember(*memory.tensors, outputs, state.ended)
        state.cache["over"] = self._over(outputs)

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        point, column = divmod(state.t, self.event.shape[1])
        y, ended = state.cache["outputs"], state.ended
        if column == 0:
            if previous is not None and ended is not None:
                ended |= previous == self.event.end_symbol
            y.copy_(self._step_outputs(state, point))
        loc, scale = self._affine(y, point)
        raw = self._entry(column, y, state.x[:, state.t - column], loc, scale)
        return raw if ended is None else torch.where(ended[:, None], state.cache["over"][column], raw)

    def _step_outputs(self, state: State, point: int) -> Tensor:
        if point == 0:
            h = state.x.new_zeros(len(state.x), 2 + len(PEN))
            h[:, -1] = 1.0
        else:
            loc, scale = self._affine(state.x, point - 1)
            h = self._seen((state.x[:, 3 * point - 3 : 3 * point] - loc) / scale)
        label = state.cache["label"]
        return self._outputs(self.lstm.step(h if label is None else torch.cat((h, label), dim=-1), state.cache["memory"]))
