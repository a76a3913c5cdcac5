"""What models of sequences of symbols share: values as embeddings, one position later, and steps that read the last one."""

import functools
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.dropout import Dropout
from ancestral.layers.int8 import share_int8
from ancestral.models.autoregressive.fused import FusedModel
from ancestral.models.autoregressive.state import State


class SequenceModel(FusedModel):
    r"""p(x_t | x_{<t}, c) = softmax(W f(e_0, ..., e_t)), with e_t = E x_{t-1} + C c, and a symbol of its own before x_0.

    A subclass implements `features`, and for steps `start_features`, `step_features` and, where several of them can be one
    pass, `prefill_features`. Entries are symbols: nothing is made of their being numbers. They are visited as they come, those
    of images pixel by pixel and channels innermost.

    Of sentences (`Event.sentences`), entries after an end symbol are end symbols with probability 1: their raw parameters say
    so, whatever the network does. A batch is cut to its longest sentence before anything is computed.

    Args:
        event: any event of whole numbers.
        condition: what every position's embedding also depends on, linearly; None for none.
        width: features of a position.
        tied: whether the weights W of the output are those of the embedding E.
        head: output distribution of an entry: "auto", "softmax" and so on.
        components: mixture components, for mixture heads.
        dropout: probability of dropping a feature of the embeddings, in training.
        features: features that an entry is predicted from; None for the width.

    Raises:
        InvalidInput: if an option is out of its range, or the head does not fit.
    """

    takes = ("binary", "integer")
    sentences = True
    prefills = True
    carries: ClassVar[bool] = False
    """Whether a sequence can go on from one batch to the next: see `carry`."""
    carried: tuple[Tensor, ...] | None = None
    """What goes from one pass to the next: the last symbols, (batch, 1), and what the subclass adds; None for nothing."""

    def __init__(
        self,
        event: Event,
        condition: Event | None,
        width: int,
        tied: bool,
        head: str,
        components: int,
        dropout: float,
        features: int | None = None,
    ) -> None:
        super().__init__(event, condition)
        if width < 1:
            raise InvalidInput(f"width must be at least 1, got {width}")
        if not 0.0 <= dropout < 1.0:
            raise InvalidInput(f"dropout must be in [0, 1), got {dropout}")
        self.head = make_head(event, head, components)
        if event.end:
            self.head.certain(event.end_symbol, torch.empty(0))  # refuses a head that cannot say that a sentence is over
        levels = event.levels or 0
        if tied and self.head.parameters != levels:
            raise InvalidInput(
                f"tied=True takes one output for each of {levels} symbols, the head {self.head.name!r} has"
                f" {self.head.parameters}: use the softmax head, or tied=False"
            )
        self.symbols = nn.Embedding(levels + 1, width)  # the last one stands before the first entry
        nn.init.normal_(self.symbols.weight, std=0.02 if tied else width**-0.5)
        self.embedding = ConditionEmbedding(condition, width) if condition is not None else None
        self.dropout = Dropout(dropout)
        features = features or width
        self.output = None if tied else nn.Linear(features, self.head.parameters)
        self.output_bias = nn.Parameter(torch.zeros(levels)) if tied else None
        if self.output is not None:
            nn.init.normal_(self.output.weight, std=0.1 * features**-0.5)  # close to even odds at first
            nn.init.zeros_(self.output.bias)

    def features(self, h: Tensor) -> Tensor:
        """Return the features that the entries are predicted from, (batch, positions, width), given embeddings e."""
        raise NotImplementedError

    def conditioned(self, h: Tensor, condition: Tensor | None) -> Tensor:
        """Return the features given embeddings E x_{t-1} and the condition, (batch, *condition.shape).

        Here the condition is added to the embeddings; a model that feeds it to every layer overrides this, and `start`.
        """
        if self.embedding is not None and condition is not None:
            h = h + self.embedding(condition)[:, None]
        return self.features(self.dropout(h))

    def start_features(self, state: State) -> None:
        """Prepare memory for steps, in `state.cache`."""
        raise NotImplementedError

    def step_features(self, state: State, h: Tensor) -> Tensor:
        """Return the features of the position `state.t`, (batch, width), given its embedding, (batch, width)."""
        raise NotImplementedError

    def prefill_features(self, state: State, h: Tensor) -> Tensor:
        """Return the features of positions from `state.t` on, given their embeddings, (batch, positions, width) both.

        This default goes position by position; models override it where one pass leaves the same memory.
        """
        begin, features = state.t, []
        for state.t, one in enumerate(h.unbind(1), begin):
            features.append(self.step_features(state, one))
        state.t = begin
        return torch.stack(features, dim=1)

    @functools.cached_property
    def order(self) -> Tensor:
        numel = self.event.numel
        return torch.arange(numel).view(self.event.shape[0], -1).T.flatten() if self.event.is_image else torch.arange(numel)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.event.end:
            return self._sentences_forward(x, condition)
        ordered = self.event.is_image and self.event.shape[0] > 1
        symbols = x.flatten(1).long()  # (b, t)
        if ordered:
            symbols = symbols[:, self.order]
        raw = self._readout(self._features(symbols, condition))  # (b, t, p)
        if self.carried is not None:
            self.carried = (symbols[:, -1:], *self.carried[1:])
        if ordered:
            raw = raw[:, self.order.argsort()]
        return raw.view(len(x), *self.event.shape, -1)

    def _features(self, symbols: Tensor, condition: Tensor | None) -> Tensor:
        """Return what each entry is predicted from, (batch, t, features), given the symbols, (batch, t)."""
        first = symbols.new_full((len(symbols), 1), self.event.levels or 0) if self.carried is None else self.carried[0]
        h = self.symbols(torch.cat((first, symbols[:, :-1]), dim=1))  # (b, t, w)
        return self.conditioned(h, condition)

    # Sentences

    def _cut(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the symbols of sentences up to where the longest ends, (batch, t), and which entries are not over, the same.

        Where the longest ends decides the shape of what follows, so a GPU is waited for; padding would cost more.
        """
        counts = self.event.counted(x)  # (b,)
        longest = int(counts.max()) if len(x) else 0
        return x[:, :longest].long(), torch.arange(longest, device=x.device) < counts[:, None]

    def _sentences_forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        symbols, live = self._cut(x)
        raw = self._readout(self._features(symbols, condition))
        over = self.head.certain(self.event.end_symbol, raw)
        rest = over.expand(len(x), self.event.numel - symbols.shape[1], -1)
        return torch.cat((torch.where(live[..., None], raw, over), rest), dim=1)

    def live_features(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return of sentences, for the entries up to each end alone: what they are predicted from, and what they are.

        Args:
            x: sentences, (batch, *event.shape).
            condition: (batch, *condition.shape), where the model has a condition.

        Returns:
            Features, (entries, features); symbols, (entries,); the sentence that each is of, (entries,).
        """
        symbols, live = self._cut(x)
        row = live.nonzero()[:, 0]
        return self._features(symbols, condition)[live], symbols[live], row

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        if not self.event.end:
            return super().log_prob(x, condition, generator=generator)
        condition = self.check_batch(x, condition)
        features, symbols, row = self.live_features(x, condition)
        entries = self.head(self._readout(features)).log_prob(symbols)  # raw parameters of padding are never made
        return entries.new_zeros(len(x)).index_add(0, row, entries)

    # Recurrence

    def carry(self, n: int | None) -> None:
        """Let each pass from now on go on where the last one ended: data i of a batch follow data i of the batch before.

        Gradients do not reach back beyond a batch, which is truncated back-propagation through time. In a pass the state
        is read and written: `carried` may be kept and put back.

        Args:
            n: data of a batch; None to begin each pass anew again.

        Raises:
            Unsupported: if the model has no state to carry.
        """
        if n is not None and not self.carries:
            raise Unsupported(
                f"a {self.name} has no state to carry from batch to batch; give it longer data, or take a recurrent model"
            )
        if n is not None and self.event.end:
            raise Unsupported("a sentence does not go on in the next batch: leave carry out")
        self.carried = None if n is None else self._blank(n)

    def _blank(self, n: int) -> tuple[Tensor, ...]:
        """Return what is carried into the first batch, of `n` data."""
        return (torch.full((n, 1), self.event.levels or 0, device=self.device),)

    def _readout(self, features: Tensor) -> Tensor:
        if self.output is not None:
            raw: Tensor = self.output(features)
            return raw
        return F.linear(features, self.symbols.weight[:-1], self.output_bias)

    def resized(self, length: int) -> Self:
        """Return this model for sequences of another length: the same weights, not a copy.

        Args:
            length: entries of a sequence.

        Raises:
            InvalidInput: if the event is no sequence.
            Unsupported: if the weights are of one length alone.
        """
        event = self.event.resized(length)
        with torch.device("meta"):  # no memory: the weights take the place of these
            other = type(self)(event, condition=self.condition, **self.config)
        share_int8(self, other)
        other.load_state_dict(self.state_dict(), assign=True)
        other.fused = self.fused
        return other.train(self.training)

    @property
    def receptive_field(self) -> int | None:
        """Entries before an entry that its distribution depends on; None where it depends on all of them."""
        return None

    @property
    def longest(self) -> int | None:
        """Entries of a sequence that the model is made for: the event's; None where sequences of any length are alike to it.

        They are where an entry depends on fewer before it than the event has: those far on then depend on as many as some
        do in training. What is longer is drawn in windows; see `ancestral.models.autoregressive.windows.windows`.
        """
        reach = self.receptive_field
        return None if reach is not None and reach < self.event.numel else self.event.numel

    # Steps

    def start(self, state: State) -> None:
        if self.embedding is not None and state.condition is not None:
            state.cache["condition"] = self.embedding(state.condition)
        if self.event.end:
            state.ended = state.remember(torch.zeros(len(state.x), dtype=torch.bool, device=state.x.device))
        self.start_features(state)

    def advance(self, state: State, previous: Tensor | None) -> Tensor:
        h = self.symbols.weight[-1].expand(len(state.x), -1) if previous is None else self.symbols(previous.long())
        if "condition" in state.cache:
            h = h + state.cache["condition"]
        raw = self._readout(self.step_features(state, h))
        if state.ended is None or previous is None:
            return raw
        state.ended |= previous == self.event.end_symbol
        return torch.where(state.ended[:, None], self.head.certain(self.event.end_symbol, raw), raw)

    def advance_over(self, state: State, values: Tensor, previous: Tensor | None) -> Tensor:
        values = values.long()
        first = torch.full_like(values[:, 0], self.event.levels or 0) if previous is None else previous.long()
        symbols = torch.cat((first[:, None], values[:, :-1]), dim=1)  # (b, t)
        h = self.symbols(symbols)
        if "condition" in state.cache:
            h = h + state.cache["condition"][:, None]
        raw = self._readout(self.prefill_features(state, h))
        if state.ended is None:
            return raw
        ended = state.ended[:, None] | ((symbols == self.event.end_symbol).cumsum(1) > 0)
        state.ended.copy_(ended[:, -1])
        return torch.where(ended[..., None], self.head.certain(self.event.end_symbol, raw), raw)
