"""Semantic hashing: a deep autoencoder with binary codes, under which data of one meaning are near each other."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.encoding import BagOfWords
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes
from ancestral.models.base import Model
from ancestral.models.registry import register

BINARIZED = ("straight-through", "noise")
"""How codes are made binary in training."""
CODES = ("probabilities", "bits")
"""What `encode` returns."""
_DECODED_WORDS = 100
"""Words of the document that a code is decoded to: a code does not say how long it is."""


@register("semantic-hashing")
class SemanticHashing(Model):
    r"""min E[L(x, g(h))], h_j a bit of probability sigmoid(f_j(x)), f and g mirrored networks.

    Of documents, L = -sum_i (x_i / N) log softmax(g)_i, in nats per word, where x_i counts word i and N = sum_i x_i. Of binary
    data L is the cross-entropy in nats, of others the squared error on the scale of `Event.to_network`.

    What makes codes binary in training is a draw, h_j = 1 with probability sigmoid(f_j), that has the gradient of this
    probability (straight-through); or noise, h_j = sigmoid(f_j + sigma e_j) with e_j standard normal, which only outputs far
    from 0 survive.

    With `pretrain_steps` each layer is a restricted Boltzmann machine first, trained by contrastive divergence on what the
    one below makes of the data. That of documents is a constrained Poisson model: x_i given h has the rate
    N softmax(a + W'h)_i.

    Args:
        event: what a datum is.
        condition: must be None.
        hidden: units of each layer of f before the code, input first; g mirrors them.
        bits: length of the code.
        activation: of the hidden layers, one of `ancestral.layers.mlp.ACTIVATIONS`; sigmoid where they are pretrained.
        binarize: straight-through or noise.
        sigma: standard deviation of the noise.
        pretrain_steps: steps in which each layer is trained alone, from the first one up, before all are; 0 for none.
        cd_steps: steps of Gibbs sampling to each negative sample, in these.
        code: what `encode` returns: probabilities, or bits, 1 where that is at least 1/2.

    Raises:
        InvalidInput: if an option is out of range, or layers that are pretrained are no sigmoids.

    References:
        Semantic Hashing (Salakhutdinov & Hinton, 2009), https://doi.org/10.1016/j.ijar.2008.11.006. There the noise of a datum
        is the same at each step and sigma is 4, and code bits are 1 above 0.1; here noise is new at each step and the
        threshold is 1/2, or the median (see `ancestral index`).
        Estimating or Propagating Gradients Through Stochastic Neurons (Bengio, Leonard & Courville, 2013),
        https://arxiv.org/abs/1308.3432, for the straight-through gradient.

    >>> model = SemanticHashing(Event.documents(BagOfWords(("rose", "thorn", "bee"))), hidden=(5,), bits=12)
    >>> model.encode(torch.tensor([[2, 1, 0]])).shape, model.bits(torch.tensor([[2, 1, 0]])).shape
    (torch.Size([1, 12]), torch.Size([1, 2]))
    """

    family = "representation"
    summary = "deep autoencoder with binary codes, for documents or images that are to be found again"
    reference = "Salakhutdinov & Hinton 2009"
    conditional = False
    monitor = "reconstruction"
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}
    code_threshold = 0.5
    examples = (
        {"event": Event.documents(BagOfWords(("bee", "rose", "thorn", "wasp"))), "hidden": (5,), "bits": 3},
        {"event": Event.binary((5,)), "hidden": (4, 4), "bits": 9, "binarize": "noise", "code": "bits"},
        {
            "event": Event.documents(BagOfWords(("bee", "rose", "thorn"))),
            "hidden": (4,),
            "bits": 3,
            "activation": "sigmoid",
            "pretrain_steps": 1,
        },
        {"event": Event.real((3,), loc=(1.0, 2.0, 3.0), scale=(2.0, 1.0, 0.5)), "hidden": (), "bits": 4},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (500, 500),
        bits: int = 32,
        activation: str = "relu",
        binarize: str = "straight-through",
        sigma: float = 4.0,
        pretrain_steps: int = 0,
        cd_steps: int = 1,
        code: str = "probabilities",
    ) -> None:
        super().__init__(event, condition)
        check_sizes("hidden", hidden)
        check_sizes("bits", (bits,))
        check_sizes("cd_steps", (cd_steps,))
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("way to binarize", binarize, BINARIZED)
        check_choice("code", code, CODES)
        if not (math.isfinite(sigma) and sigma > 0):
            raise InvalidInput(f"sigma is {sigma}, expected the standard deviation of the noise, such as 4")
        if pretrain_steps < 0:
            raise InvalidInput(f"pretrain_steps is {pretrain_steps}, expected a number of steps for each layer, or 0 for none")
        if pretrain_steps and activation != "sigmoid":
            raise InvalidInput(f"layers are pretrained as units that are 0 or 1, got activation {activation}: use sigmoid")
        self.activation = ACTIVATIONS[activation]
        self.binarize, self.sigma, self.code = binarize, sigma, code
        self.pretrain_steps, self.cd_steps = pretrain_steps, cd_steps
        sizes = (event.numel, *hidden, bits)
        self.encoder = nn.ModuleList(nn.Linear(m, n) for m, n in itertools.pairwise(sizes))
        self.decoder = nn.ModuleList(nn.Linear(m, n) for m, n in itertools.pairwise(sizes[::-1]))

    # The two halves

    def _input(self, x: Tensor) -> Tensor:
        if self.event.bag is not None:
            return x.flatten(1).to(self.dtype)  # counts
        return self.event.to_network(x, self.dtype).flatten(1)  # (b, d)

    def _through(self, layers: Iterable[nn.Module], y: Tensor) -> Tensor:
        first, *others = layers
        y = first(y)
        for layer in others:
            y = layer(self.activation(y))
        return y

    def _logits(self, y: Tensor) -> Tensor:
        return self._through(self.encoder, y).to(self.dtype)  # (b, bits)

    def _reconstruction(self, code: Tensor) -> Tensor:
        """Return logits of words or binary entries, values on the scale of `Event.to_network` of others, (b, d)."""
        return self._through(self.decoder, code).to(self.dtype)

    def _errors(self, y: Tensor, out: Tensor) -> Tensor:
        if self.event.bag is not None:
            # A document of no known word has nothing to say: its error is 0.
            return -(y / y.sum(1, keepdim=True).clamp(min=1.0) * F.log_softmax(out, dim=1)).sum(1)
        if self.event.is_binary:
            return F.binary_cross_entropy_with_logits(out, y, reduction="none").sum(1)
        return (out - y).square().sum(1)

    def _binary(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return codes that are binary, or soon will be, with a gradient, (b, bits)."""
        if self.binarize == "noise":
            noise = torch.randn(logits.shape, dtype=logits.dtype, device=logits.device, generator=generator)
            return torch.sigmoid(logits + self.sigma * noise)
        p = torch.sigmoid(logits)
        return _drawn(p, generator) + p - p.detach()

    # Primitives

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        p = torch.sigmoid(self._logits(self._input(x)))
        return (p >= self.code_threshold).to(self.dtype) if self.code == "bits" else p

    def bits(self, x: Tensor) -> Tensor:
        """Return the codes of data, packed eight bits to a byte, the first one highest, (batch, ceil(bits / 8)), uint8.

        Args:
            x: data, (batch, *event.shape).
        """
        return pack(self.encode(x) >= self.code_threshold)

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the datum of a code, (batch, *event.shape): of documents the expected counts of one of 100 words, rounded."""
        self.check_condition(condition, len(code))
        out = self._reconstruction(code.to(self.dtype))
        if self.event.bag is not None:
            return (_DECODED_WORDS * torch.softmax(out, dim=1)).round().to(self.event.dtype)
        y = out.view(-1, *self.event.shape)
        return self.event.from_network(torch.sigmoid(y) if self.event.is_binary else y).to(self.event.dtype)

    # Training

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = {"model": list(self.parameters())}
        if self.pretrain_steps:
            groups |= {f"layer{i}": [*self._machine(i)[0].parameters(), self._machine(i)[1].bias] for i in range(self._layers)}
        return groups

    def groups_at(self, step: int) -> Sequence[str]:
        # The step alone says what is trained, so that a resumed run goes on where it was.
        layer = step // self.pretrain_steps if self.pretrain_steps else self._layers
        return (f"layer{layer}" if layer < self._layers else "model",)

    def after_step(self, group: str) -> None:
        if group != "model":
            up, down = self._machine(int(group.removeprefix("layer")))
            with torch.no_grad():
                down.weight.copy_(up.weight.T)  # one machine until all are trained together

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        y = self._input(x)
        if group != "model":
            return self._contrast(y, int(group.removeprefix("layer")), generator)
        out = self._reconstruction(self._binary(self._logits(y), generator))
        return {"loss": self._errors(y, out).mean()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "reconstruction", L of each datum from the bits of its code, (batch,), and "balance".

        The second is the share of the bits of each code that are 1: with the bits that differ between data it says whether the
        code is used.
        """
        y = self._input(x)
        bits = (self._logits(y) >= 0).to(self.dtype)
        return {"reconstruction": self._errors(y, self._reconstruction(bits)), "balance": bits.mean(1)}

    # Layers as restricted Boltzmann machines

    @property
    def _layers(self) -> int:
        return len(self.encoder)

    def _machine(self, layer: int) -> tuple[nn.Linear, nn.Linear]:
        """Return what goes up from a layer and what comes down to it."""
        return cast(nn.Linear, self.encoder[layer]), cast(nn.Linear, self.decoder[self._layers - 1 - layer])

    def _contrast(self, v: Tensor, layer: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Return mean F(v) - mean F(v_k), F the free energy and v_k a negative sample, whose gradient is that of CD-k."""
        up, down = self._machine(layer)
        with torch.no_grad():
            for i in range(layer):
                v = torch.sigmoid(self._machine(i)[0](v)).to(self.dtype)
            negative = v
            for _ in range(self.cd_steps):
                h = _drawn(torch.sigmoid(up(negative).to(self.dtype)), generator)
                out = F.linear(h, up.weight.T, down.bias).to(self.dtype)
                if layer:
                    negative = torch.sigmoid(out)
                elif self.event.bag is not None:
                    negative = torch.poisson(v.sum(1, keepdim=True) * torch.softmax(out, dim=1), generator=generator)
                elif self.event.is_binary:
                    negative = _drawn(torch.sigmoid(out), generator)
                else:
                    negative = out + torch.randn(out.shape, dtype=out.dtype, device=out.device, generator=generator)
        gaussian = not layer and self.event.bag is None and not self.event.is_binary

        def free_energy(v: Tensor) -> Tensor:
            own = 0.5 * (v - down.bias).square().sum(1) if gaussian else -(v * down.bias).sum(1)
            return own - F.softplus(up(v).to(self.dtype)).sum(1)

        return {"loss": free_energy(v).mean() - free_energy(negative).mean()}


def _drawn(p: Tensor, generator: torch.Generator | None) -> Tensor:
    return (torch.rand(p.shape, dtype=p.dtype, device=p.device, generator=generator) < p).to(p.dtype)


def pack(bits: Tensor) -> Tensor:
    """Return rows of bits, eight to a byte, the first one highest, zeros after the last, (batch, ceil(bits / 8)), uint8.

    Args:
        bits: truth values, (batch, bits).

    >>> pack(torch.tensor([[True, False, False, False, False, False, False, True, True]]))
    tensor([[129, 128]], dtype=torch.uint8)
    """
    padded = F.pad(bits.to(torch.uint8), (0, -bits.shape[1] % 8)).view(len(bits), -1, 8)
    weights = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    return (padded * weights).sum(-1).to(torch.uint8)
