"""Linear layers with some connections left out, so that an output sees only what comes before it."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.layers.banded import banded_linear, bands_of
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes


def mask_by_degree(outputs: Tensor, inputs: Tensor, strict: bool = False) -> Tensor:
    """Return M_{ij} = 1 where output degree i >= input degree j (> where `strict`), 0 elsewhere.

    A unit of degree m sees the entries of degree at most m, and this rule keeps it so from layer to layer. Masks
    are made from degrees when they are needed: that costs a tenth of the product they are for, and no memory.

    Args:
        outputs: degree of each output, (outputs,).
        inputs: degree of each input, (inputs,).
        strict: whether an output must not see inputs of its own degree.

    Returns:
        (outputs, inputs), 0 or 1, of the default floating type.

    >>> mask_by_degree(torch.tensor([1, 2]), torch.tensor([1, 2, 3]))
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    mask = torch.empty(len(outputs), len(inputs), device=outputs.device)
    compare = torch.gt if strict else torch.ge
    # Written as floats: a boolean factor would be converted at every product, which takes three times as long.
    return compare(outputs[:, None], inputs, out=mask)


class MaskedLinear(nn.Module):
    r"""y_{iv} = b_{iv} + sum_j M_{ij} W_{ivj} x_j, with the mask M given at each call.

    Args:
        inputs: entries of x.
        outputs: groups of outputs that share a row of the mask.
        values: outputs v of each group.

    >>> layer = MaskedLinear(3, 2)
    >>> bool((layer(torch.ones(1, 3), torch.zeros(2, 3)) == layer.bias.view(1, 2)).all())
    True
    """

    def __init__(self, inputs: int, outputs: int, values: int = 1) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(inputs, 1))
        self.weight = nn.Parameter(torch.empty(outputs, values, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs, values))

    def masked_weight(self, mask: Tensor) -> Tensor:
        """Return the weights that `mask`, (outputs, inputs), leaves, (outputs, values, inputs)."""
        return self.weight * mask.to(self.weight.dtype)[:, None]

    @torch.no_grad()
    def start(self, mask: Tensor) -> None:
        """Draw weights and biases anew, uniform in +-1/sqrt(n), n the inputs that `mask`, (outputs, inputs), leaves an output.

        A unit that sees few inputs is then as large as one that sees many, and units bend in different places.
        """
        bound = mask.sum(1).clamp(min=1.0).rsqrt()[:, None]  # (outputs, 1)
        self.weight.uniform_(-1.0, 1.0).mul_(bound[..., None])
        self.bias.uniform_(-1.0, 1.0).mul_(bound)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return y, (batch, outputs * values).

        Args:
            x: (batch, inputs).
            mask: (outputs, inputs).
        """
        return F.linear(x, self.masked_weight(mask).flatten(0, 1), self.bias.flatten())


class MaskedUnits(NamedTuple):
    """A layer of a masked network, ready for steps.

    Args:
        weight: masked weights, (units, inputs).
        bias: with what the condition adds, (units, batch), or (units, 1).
        degrees: what each unit sees: so many entries, (units,).
    """

    weight: Tensor
    bias: Tensor
    degrees: Tensor


class MaskedSteps:
    r"""A masked network entry by entry: each unit is computed once, at the step at which the last entry it sees is known.

    Units are put into the order of their degrees, so that what a step computes, and what it computes it from, are slices. All
    steps together cost no more than one pass, where a pass for each entry would cost as many. Tensors have the batch as their
    last axis.

    Args:
        entries: number of entries, and of steps.
        layers: the hidden layers, the first one first.
        readout: masked weights of the output, (entries, values, units of the last layer).
        bias: of the output, (entries, values, batch), or (entries, values, 1).
        activation: f, elementwise.
        batch: number of data.
        residual: whether hidden layers after the first are added to the layer before.
        differentiable: keep what gradients need: memory is then not written in place but grows, which takes more time.

    >>> network = MaskedMLP(3, (8,), 2)
    >>> x = torch.randn(5, 3)
    >>> steps = network.steps(5)
    >>> raw = torch.stack([steps.advance(x.T[:t], t, t).T for t in range(3)], dim=1)
    >>> torch.allclose(raw, network(x), atol=1e-6)
    True
    """

    def __init__(
        self,
        entries: int,
        layers: Sequence[MaskedUnits],
        readout: Tensor,
        bias: Tensor,
        activation: Callable[[Tensor], Tensor],
        batch: int,
        *,
        residual: bool = False,
        differentiable: bool = False,
    ) -> None:
        self.bias, self.activation, self.residual, self.differentiable = bias, activation, residual, differentiable
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        self.known: list[list[int]] = []  # of each layer: units of degree at most t, at step t
        self.hidden: list[Tensor] = []
        """What was computed so far, (units, batch) for each layer; without gradients it is only written in place."""
        below: Tensor | None = None
        for weight, layer_bias, degrees in layers:
            weight = weight if below is None else weight.index_select(1, below)
            # Mostly they are in order already, and large weights need no copy.
            order = None if bool((degrees.diff() >= 0).all()) else degrees.argsort(stable=True)
            self.weights.append(weight if order is None else weight.index_select(0, order))
            self.biases.append(layer_bias if order is None else layer_bias.index_select(0, order))
            self.known.append(torch.bincount(degrees, minlength=entries + 1).cumsum(0).tolist())
            self.hidden.append(weight.new_zeros(len(weight), batch))
            below = order
        self.readout = readout if below is None else readout.index_select(2, below)

    def advance(self, v: Tensor, t: int, entry: int) -> Tensor:
        """Compute the units that see `t` entries, and return the outputs of the entry that comes next, (values, batch).

        Args:
            v: network input, (m, batch): the first m inputs of the first layer. Those that are not known yet may hold
                anything finite, or be left out.
            t: entries that are known; one more at each call.
            entry: the entry that comes next.
        """
        below = v
        for i, known in enumerate(self.known):
            first, last = known[t - 1] if t else 0, known[t]
            if last > first:
                a = torch.addmm(self.biases[i][first:last], self.weights[i][first:last, : len(below)], below)
                out = self.activation(a)
                if self.residual and i > 0:
                    out = out + below[first:last]
                if self.differentiable:
                    self.hidden[i] = torch.cat((self.hidden[i][:first], out))
                else:
                    self.hidden[i][first:last] = out
            below = self.hidden[i][:last]
        return torch.addmm(self.bias[entry], self.readout[entry][:, : len(below)], below)


class MaskedMLP(nn.Module):
    r"""h_l = f(b_l + (W_l * M_l) h_{l-1}), h_0 = x, and the values of output d are rows of c + (V * M) h_L: they see x_{<d}.

    A unit of degree m sees the first m entries; the degrees of each layer are spread evenly, in ascending order. The condition
    is added inside the first f; with one, some units see nothing else.

    Args:
        entries: entries of x.
        hidden: units of each hidden layer; none makes the network linear.
        values: outputs for each entry.
        activation: f, one of `ACTIVATIONS`.
        condition: the condition's event, or None.

    Raises:
        InvalidInput: for an unknown activation or a size below 1.

    References:
        MADE: Masked Autoencoder for Distribution Estimation (Germain et al., 2015), https://arxiv.org/abs/1502.03509.

    >>> MaskedMLP(3, (8, 8), 2)(torch.zeros(5, 3)).shape
    torch.Size([5, 3, 2])
    """

    def __init__(
        self,
        entries: int,
        hidden: Sequence[int],
        values: int,
        activation: str = "relu",
        condition: Event | None = None,
    ) -> None:
        super().__init__()
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_sizes("a network", (entries, *hidden, values))
        self.entries, self.values = entries, values
        self.activation = ACTIVATIONS[activation]
        self.layers = nn.ModuleList(MaskedLinear(m, n) for m, n in itertools.pairwise((entries, *hidden)))
        self.output = MaskedLinear((entries, *hidden)[-1], entries, values)
        self.embedding = ConditionEmbedding(condition, (*hidden, entries * values)[0]) if condition is not None else None
        lowest = 1 if condition is None else 0
        places = torch.arange(1, entries + 1)
        self.degrees = [places] + [lowest + torch.arange(n) * max(entries - lowest, 1) // n for n in hidden]
        # Made from the arguments: not part of the saved state.
        for i, (below, above) in enumerate(itertools.pairwise(self.degrees)):
            self.register_buffer(f"mask_{i}", mask_by_degree(above, below), persistent=False)
        for i, layer in enumerate(cast(list[MaskedLinear], list(self.layers))):
            layer.start(self.get_buffer(f"mask_{i}"))
        self.bands = [bands_of(self.get_buffer(f"mask_{i}")) for i in range(len(hidden))]
        self.register_buffer("readout", mask_by_degree(places, self.degrees[-1], strict=True), persistent=False)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the outputs, (batch, entries, values), for x, (batch, entries), and the condition."""
        added = self.embedding(condition) if self.embedding is not None and condition is not None else None
        h = x
        for i, layer in enumerate(cast(list[MaskedLinear], list(self.layers))):
            mask = self.get_buffer(f"mask_{i}")
            if len(self.bands[i]) > 1:  # about half of a wide layer's mask is zeros
                a = banded_linear(h, layer.weight[:, 0], layer.bias[:, 0], mask, self.bands[i])
            else:
                a = layer(h, mask)  # (b, hidden[i])
            h = self.activation(a + added if added is not None and i == 0 else a)
        y: Tensor = self.output(h, self.get_buffer("readout"))  # (b, entries * values)
        if added is not None and not self.layers:
            y = y + added
        return y.view(-1, self.entries, self.values)

    def steps(self, batch: int, condition: Tensor | None = None, differentiable: bool = False) -> MaskedSteps:
        """Return the same network entry by entry.

        Args:
            batch: number of data.
            condition: (batch, *condition.shape), where there is one.
            differentiable: as in `MaskedSteps`.
        """
        added = self.embedding(condition).T if self.embedding is not None and condition is not None else None
        units = []
        for i, layer in enumerate(cast(list[MaskedLinear], list(self.layers))):
            bias = layer.bias + added if added is not None and i == 0 else layer.bias  # (units, batch or 1)
            degrees = self.degrees[i + 1].to(bias.device)
            units.append(MaskedUnits(layer.masked_weight(self.get_buffer(f"mask_{i}"))[:, 0], bias, degrees))
        bias = self.output.bias[..., None]  # (entries, values, 1)
        if added is not None and not units:
            bias = bias + added.view(self.entries, self.values, -1)
        readout = self.output.masked_weight(self.get_buffer("readout"))
        return MaskedSteps(self.entries, units, readout, bias, self.activation, batch, differentiable=differentiable)
