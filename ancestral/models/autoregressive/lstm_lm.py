"""Recurrent language models: an LSTM reads the sequence and predicts what comes next."""

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.state import State
from ancestral.models.registry import register


@register("lstm-lm")
class LSTMLanguageModel(SequenceModel):
    r"""(h_t, c_t) = LSTM(E x_{t-1}, h_{t-1}, c_{t-1}) in several layers, and p(x_t | x_{<t}) = softmax(W h_t).

    Args:
        event: any event of whole numbers.
        condition: what every position's embedding also depends on, linearly; None for none.
        width: features of an embedding.
        hidden: units of each layer; None for the width. Where they differ, a linear map brings h_t to the width.
        layers: layers of the LSTM.
        tied: whether the output's weights are the embedding's.
        dropout: probability of dropping a feature of the embeddings and of what each layer gives.
        head: output distribution of an entry: "auto", "softmax", "logistic-mixture".
        components: mixture components, for mixture heads.

    Raises:
        InvalidInput: if an option is out of its range, or the head does not fit.

    References:
        Recurrent neural network based language model (Mikolov et al., 2010),
        https://www.isca-archive.org/interspeech_2010/mikolov10_interspeech.html.
        Generating Sequences With Recurrent Neural Networks (Graves, 2013), https://arxiv.org/abs/1308.0850. Here there are no
        peephole connections and no skip connections around layers.
        Using the Output Embedding to Improve Language Models (Press & Wolf, 2017), https://arxiv.org/abs/1608.05859, for
        tied weights.

    >>> model = LSTMLanguageModel(Event.integers((16,), 65), width=8, layers=2)
    >>> model.log_prob(torch.zeros(3, 16)).shape
    torch.Size([3])
    """

    summary = "an LSTM over a sequence"
    reference = "Mikolov et al. 2010; Graves 2013"
    carries = True
    training_defaults = {"learning_rate": 2e-3, "batch_size": 32, "clip": 1.0}
    examples = (
        {"event": Event.binary((6,)), "width": 3, "hidden": 4, "layers": 1},
        {"event": Event.integers((5,), 3), "width": 4, "layers": 2, "tied": True},
        {"event": Event.integers((1, 2, 2), 3), "width": 3, "layers": 1, "condition": Event.label(3)},
        {"event": Event.sentences(4, 2), "width": 3, "layers": 1},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        width: int = 256,
        hidden: int | None = None,
        layers: int = 2,
        tied: bool = False,
        dropout: float = 0.0,
        head: str = "auto",
        components: int = 10,
    ) -> None:
        super().__init__(event, condition, width, tied, head, components, dropout)
        hidden = width if hidden is None else hidden
        if layers < 1 or hidden < 1:
            raise InvalidInput(f"layers and hidden must be at least 1, got {layers} and {hidden}")
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.project = nn.Linear(hidden, width) if hidden != width else nn.Identity()
        with torch.no_grad():
            for k in range(layers):
                bias = getattr(self.lstm, f"bias_ih_l{k}")
                bias[hidden : 2 * hidden] = 1.0  # of the forget gates: a state is kept until there is reason not to

    def features(self, h: Tensor) -> Tensor:
        if self.carried is None:
            out, _ = self.lstm(h)  # (b, t, hidden)
        else:
            symbols, hidden, cell = self.carried
            out, after = self.lstm(h, (hidden, cell))
            self.carried = (symbols, *(units.detach().to(hidden.dtype) for units in after))
        projected: Tensor = self.project(self.dropout(out))
        return projected

    def _blank(self, n: int) -> tuple[Tensor, ...]:
        units = torch.zeros(self.lstm.num_layers, n, self.lstm.hidden_size, dtype=self.dtype, device=self.device)
        return (*super()._blank(n), units, units)

    @property
    def longest(self) -> int | None:
        """None: the state is of one size, however long the sequence is."""
        return None

    # Steps

    def start_features(self, state: State) -> None:
        shape = (len(state.x), self.lstm.hidden_size)
        layers = range(self.lstm.num_layers)
        state.cache["weights"] = [[getattr(self.lstm, f"{name}_l{k}") for name in _WEIGHTS] for k in layers]
        state.cache["units"] = [(state.x.new_zeros(shape), state.x.new_zeros(shape)) for _ in layers]
        for units in state.cache["units"]:
            state.remember(*units)

    def step_features(self, state: State, h: Tensor) -> Tensor:
        for (hidden, cell), weights in zip(state.cache["units"], state.cache["weights"], strict=True):
            h, c = torch.lstm_cell(h, (hidden, cell), *weights)
            hidden.copy_(h)
            cell.copy_(c)
        out: Tensor = self.project(h)
        return out

    def prefill_features(self, state: State, h: Tensor) -> Tensor:
        units = tuple(torch.stack(layers) for layers in zip(*state.cache["units"], strict=True))
        weights = [weight for layer in state.cache["weights"] for weight in layer]
        h, *after = torch.lstm(h, units, weights, True, len(units[0]), 0.0, False, False, True)
        for kept, now in zip(zip(*state.cache["units"], strict=True), after, strict=True):
            for layer, units_now in zip(kept, now, strict=True):
                layer.copy_(units_now)
        out: Tensor = self.project(h)
        return out


_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
