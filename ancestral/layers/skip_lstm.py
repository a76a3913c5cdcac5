"""Layers of LSTM, all of which see the input and are seen by the output; and a window on a text that the first one moves."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ancestral.layers.dropout import Dropout
from ancestral.layers.soft_window import SoftWindow


@dataclass
class SkipMemory:
    """What steps remember.

    Args:
        units: hidden units and cells of each layer, (batch, hidden) each.
        window: what was seen through the window, (batch, levels), and where its bumps are, (batch, components); or nothing.
        source: of the window, (batch, symbols, levels); None where there is no window.
    """

    units: list[tuple[Tensor, Tensor]]
    window: tuple[Tensor, ...] = ()
    source: Tensor | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """All that steps write to."""
        return [*(part for pair in self.units for part in pair), *self.window]


class SkipLSTM(nn.Module):
    r"""h^1_t = LSTM(x_t, w_{t-1}; h^1_{t-1}), h^n_t = LSTM(x_t, h^{n-1}_t, w_t; h^n_{t-1}), and out come all h^n_t together.

    Args:
        inputs: features of x_t.
        hidden: units of each layer.
        layers: number of layers n.
        dropout: probability of dropping a unit where the next layer or the output reads it, in training.
        window: gives w_t, given h^1_t; None for none.

    References:
        Generating Sequences With Recurrent Neural Networks (Graves, 2013), https://arxiv.org/abs/1308.0850. Here there are no
        peephole connections.

    >>> SkipLSTM(3, hidden=4, layers=2)(torch.zeros(1, 5, 3)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, inputs: int, hidden: int, layers: int, dropout: float = 0.0, window: SoftWindow | None = None) -> None:
        super().__init__()
        seen = inputs + (0 if window is None else window.features)
        self.window = window
        self.lstms = nn.ModuleList(nn.LSTM(seen + (hidden if n else 0), hidden, batch_first=True) for n in range(layers))
        self.dropout = Dropout(dropout)
        self.hidden = hidden
        with torch.no_grad():
            for lstm in self.lstms:
                bias: Tensor = getattr(lstm, "bias_ih_l0")  # noqa: B009
                bias[hidden : 2 * hidden] = 1.0  # of the forget gates: a state is kept until there is reason not to

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Return the units of all layers, (batch, t, layers * hidden).

        Args:
            x: (batch, t, inputs).
            source: of the window, (batch, symbols, levels).
        """
        units = []
        if self.window is not None and source is not None:
            h, seen = self._windowed(x, source)
            units, x = [self.dropout(h)], torch.cat((x, seen), dim=-1)
        for lstm in self.lstms[len(units) :]:
            h, _ = lstm(torch.cat((x, units[-1]), dim=-1) if units else x)  # (b, t, hidden)
            units.append(self.dropout(h))
        return torch.cat(units, dim=-1)

    def _windowed(self, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return the units of the first layer, (batch, t, hidden), and what the window shows, (batch, t, levels)."""
        memory = self.start(len(x), source)
        hidden, seen = [], []
        (h, c), (w, kappa) = memory.units[0], memory.window
        for part in x.unbind(1):
            h, c, w, kappa = self._first(part, h, c, w, kappa, source)
            hidden.append(h)
            seen.append(w)
        return torch.stack(hidden, dim=1), torch.stack(seen, dim=1)

    def _first(
        self, x: Tensor, h: Tensor, c: Tensor, w: Tensor, kappa: Tensor, source: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take one step of the first layer and of the window that it moves."""
        h, c = self._cell(0, torch.cat((x, w), dim=-1), h, c)
        if self.window is not None:
            w, kappa = self.window(h, kappa, source)
        return h, c, w, kappa

    def _cell(self, n: int, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        lstm = self.lstms[n]
        weights: list[Tensor] = [getattr(lstm, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        return torch.lstm_cell(x, (h, c), *weights)

    # Steps

    def start(self, n: int, source: Tensor | None = None) -> SkipMemory:
        """Return the memory before the first step of `n` sequences, given what the window looks at."""
        like = next(self.lstms[0].parameters())
        units = [(like.new_zeros(n, self.hidden), like.new_zeros(n, self.hidden)) for _ in self.lstms]
        if self.window is None:
            return SkipMemory(units)
        window = (like.new_zeros(n, self.window.features), like.new_zeros(n, self.window.components))
        return SkipMemory(units, window, source)

    def step(self, x: Tensor, memory: SkipMemory) -> Tensor:
        """Return the units of all layers, (batch, layers * hidden), given the input of one place, (batch, inputs).

        Args:
            x: the input.
            memory: from `start`; it is written in place.
        """
        units: list[Tensor] = []
        for n, (hidden, cell) in enumerate(memory.units):
            if n == 0 and memory.source is not None:
                w, kappa = memory.window
                h, c, seen, now = self._first(x, hidden, cell, w, kappa, memory.source)
                w.copy_(seen)
                kappa.copy_(now)
                x = torch.cat((x, w), dim=-1)
            else:
                h, c = self._cell(n, torch.cat((x, units[-1]), dim=-1) if units else x, hidden, cell)
            hidden.copy_(h)
            cell.copy_(c)
            units.append(h)
        return torch.cat(units, dim=-1)
