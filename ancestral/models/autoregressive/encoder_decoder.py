"""What translation models share: a sentence is read by an encoder, and its translation predicted symbol by symbol from it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ancestral.distributions.smoothing import smoothed_nats
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.mlp import check_choice
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.state import State

TIES = ("none", "output", "all")
"""Which weights are one: none, the target's embedding and the output, or these and the source's embedding."""


@dataclass
class Source:
    """What an encoder makes of sentences.

    Args:
        values: of each position, (batch, positions, features).
        mask: which positions there are, (batch, positions); None for all.
        embeddings: what the encoder began with, of the shape of `values`; None where no decoder asks for it.
    """

    values: Tensor
    mask: Tensor | None
    embeddings: Tensor | None = None

    def rows(self, index: Tensor) -> "Source":
        """Return the source of each datum, given which of these it has, (batch,)."""
        mask, embeddings = (None if part is None else part[index] for part in (self.mask, self.embeddings))
        return Source(self.values[index], mask, embeddings)


class EncoderDecoder(SequenceModel):
    r"""p(y | x) = prod_t softmax(W f(y_{<t}, encode(x)))_{y_t}: a sequence given another, its source, as the condition.

    A subclass implements `encode_source` and `decode_features`, and for steps `start_decoder` and `step_features`.

    Training may minimise (1 - a) nats + a (mean over symbols of their nats), label smoothing, in place of the nats; these are
    logged beside it, and validation is on them alone.

    Args:
        event: what is predicted: any event of whole numbers, as a rule `Event.sentences`.
        condition: the source: sequences of whole numbers.
        width: features of an embedding.
        tied: "none"; "output", the output's weights are the embedding's; or "all", the source's too.
        smoothing: a, in [0, 1).
        dropout: probability of dropping a feature of the embeddings, in training.

    Raises:
        InvalidInput: if an option is out of its range, or the condition is no sequence.

    References:
        Rethinking the Inception Architecture for Computer Vision (Szegedy et al., 2016), https://arxiv.org/abs/1512.00567, for
        label smoothing.
    """

    training_defaults = {
        "learning_rate": 1e-3,
        "batch_size": 200,
        "betas": (0.9, 0.98),
        "warmup_steps": 400,
        "clip": 10.0,
        "ema": 0.999,
        "samples": 0,
    }

    def __init__(self, event: Event, condition: Event | None, width: int, tied: str, smoothing: float, dropout: float) -> None:
        self.check_event(event, condition)
        check_choice("kind of tied weights", tied, TIES)
        if condition is None or not condition.is_sequence or condition.levels is None:
            raise InvalidInput(
                f"{self.name} predicts a sequence given another, its source, got the condition {condition}: load translations,"
                " such as multi30k"
            )
        if not 0.0 <= smoothing < 1.0:
            raise InvalidInput(f"smoothing must be in [0, 1), got {smoothing}")
        super().__init__(event, condition, width, tied != "none", "softmax", 1, dropout)
        self.embedding = None  # the condition is read by an encoder
        self.source_event: Event = condition
        self.smoothing = smoothing
        if tied == "all" and (condition.levels != event.levels or condition.encoding != event.encoding):
            raise InvalidInput(
                f"tied='all' takes one vocabulary for both sides, the source is {condition} and the target {event}: use"
                " tied='output'"
            )
        self.scale = width**0.5  # embeddings of scale one, and outputs of scale one where features are
        nn.init.normal_(self.symbols.weight, std=width**-0.5)
        self.sources = None if tied == "all" else nn.Embedding(condition.levels, width)
        if self.sources is not None:
            nn.init.normal_(self.sources.weight, std=width**-0.5)

    # Encoder

    def encode_source(self, h: Tensor, mask: Tensor | None, counts: Tensor) -> Source:
        """Return what decoding reads of sources.

        Args:
            h: their embeddings, (batch, positions, width).
            mask: which positions there are, (batch, positions), end symbols among them; None for all.
            counts: how many there are of each, (batch,).
        """
        raise NotImplementedError

    def source_positions(self, counts: Tensor) -> Tensor:
        """Return how many positions of each source are encoded, (batch,): those up to its end symbol, and that."""
        return counts

    def read(self, condition: Tensor) -> Source:
        """Return what decoding reads of sources, (batch, *condition.shape); they are cut to the longest."""
        symbols, counts = condition.long(), self.source_event.counted(condition)
        used = self.source_positions(counts)  # (b,)
        longest = int(used.max())
        if longest > symbols.shape[1]:
            fill = symbols.new_full((len(symbols), longest - symbols.shape[1]), (self.source_event.levels or 1) - 1)
            symbols = torch.cat((symbols, fill), dim=1)
        mask = torch.arange(longest, device=symbols.device) < used[:, None] if int(used.min()) < longest else None
        table = self.symbols if self.sources is None else self.sources
        h = self.dropout(table(symbols[:, :longest]) * self.scale)
        return self.encode_source(h, mask, counts)

    # Decoder

    def decode_features(self, h: Tensor, source: Source, seen: list[Tensor] | None = None) -> Tensor:
        """Return the features that entries are predicted from, (batch, positions, width).

        Args:
            h: embeddings of the entries before, (batch, positions, width), with dropout.
            source: of each datum.
            seen: where to put how much each layer attends to what, (batch, positions, source positions) each; None for
                nowhere.
        """
        raise NotImplementedError

    def conditioned(self, h: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            raise InvalidInput(f"{self.name} needs a source for each datum, got none: give its condition")
        return self.decode_features(self.dropout(h * self.scale), self.read(condition))

    @torch.no_grad()
    def attention(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return how much each entry of data gathers from where in their sources, by layer.

        Args:
            x: data, (batch, *event.shape).
            condition: their sources, (batch, *condition.shape).

        Returns:
            (batch, layers, entries, source entries), up to the longest; each row of a source sums to 1.

        Raises:
            Unsupported: if the model has no attention.
        """
        seen: list[Tensor] = []
        symbols = self._cut(x)[0] if self.event.end else x.long()
        first = symbols.new_full((len(x), 1), self.event.levels or 0)
        h = self.symbols(torch.cat((first, symbols[:, :-1]), dim=1)) * self.scale
        self.decode_features(h, self.read(condition), seen)
        if not seen:
            raise Unsupported(f"a {self.name} has no attention to its source; transformer-mt and conv-s2s have")
        return torch.stack(seen, dim=1)

    # Training

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        condition = self.check_batch(x, condition)
        if not self.event.end:
            features, symbols = self._features(x.long(), condition).flatten(0, 1), x.long().flatten()
        else:
            features, symbols, _ = self.live_features(x, condition)
        weight = self.symbols.weight[:-1] if self.output is None else self.output.weight
        bias = self.output_bias if self.output is None else self.output.bias
        nats, smoothed = smoothed_nats(features, weight, bias, symbols, self.smoothing)
        values = {"loss": smoothed / len(x)}
        return values if self.smoothing == 0.0 else {**values, "nats": nats / len(x)}

    # Steps

    def start_decoder(self, state: State, source: Source) -> None:
        """Prepare memory for steps, in `state.cache`, given the source of each datum."""
        raise NotImplementedError

    def start_features(self, state: State) -> None:
        if state.condition is None:
            raise InvalidInput(f"{self.name} needs a source for each datum, got none: give its condition")
        # Hypotheses of one source lie side by side: it is read once.
        some, index = state.condition.unique_consecutive(return_inverse=True, dim=0)
        self.start_decoder(state, self.read(some).rows(index))
