"""What all flows share: the change of variables, several scales, and the bound on discrete data."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.invertible import Chain, Invertible, Permutation
from ancestral.layers.invertible_linear import InvertibleLinear
from ancestral.layers.mlp import MLP, check_choice, check_sizes
from ancestral.layers.noise import VariationalNoise
from ancestral.layers.norms import ActNorm, BatchNorm
from ancestral.likelihood import EXACT, Likelihood
from ancestral.models.autoregressive.orders import random_orders
from ancestral.models.base import Model

DEQUANTIZATIONS = ("uniform", "variational")
NOISE_CHANNELS = 16
"""Channels, or hidden units, of the network that learned noise comes from."""
ORDERS = ("reversed", "random", "linear")
NORMS = ("actnorm", "batchnorm", "none")


class FlowModel(Model):
    r"""log p(x | c) = log N(z; 0, I) + log |det dz/dx|, z = f(x, c), f a chain of invertible layers.

    A subclass appends its layers to `stages`, one `Chain` for each scale; where they are not over vectors, it sets
    `data_shape` to what the first one takes. After each stage but the last, half of the channels leave for z, and the others
    go on.

    Discrete data are dequantized, u = (x + uniform noise) / levels, and mapped to the real line by
    y = logit(alpha + (1 - 2 alpha) u): `log_prob` is then a lower bound in expectation, exact for real data. With
    alpha above 0 what the flow puts outside of the image of [0, 1) counts for nothing: the bound stays one, but with any
    number of samples it stays below log p.

    With `dequantization` "variational" the noise is learned (`VariationalNoise`), and its log-density is subtracted: still a
    lower bound, and a tighter one.

    Args:
        event: what a datum is; at least 2 entries.
        condition: what the layers are also given; None for none.
        alpha: discrete events only: distance from 0 and 1 of the logit's argument, in [0, 0.5).
        dequantization: "uniform", or for discrete events "variational".

    Raises:
        InvalidInput: if an option is out of range, or the event has a single entry.

    References:
        Variational Inference with Normalizing Flows (Rezende & Mohamed, 2015), https://arxiv.org/abs/1505.05770.
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057,
        for the logit.
    """

    family = "flow"
    likelihood = Likelihood("exact", note="a lower bound for discrete data")
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100, "clip": 10.0}

    def __init__(
        self, event: Event, condition: Event | None = None, alpha: float = 0.05, dequantization: str = "uniform"
    ) -> None:
        super().__init__(event, condition)
        if event.numel < 2:
            name = self.name or type(self).__name__
            raise InvalidInput(f"{name} needs 2 entries or more, got an event of {event}: a layer changes some given others")
        if not 0.0 <= alpha < 0.5:
            raise InvalidInput(f"alpha is {alpha}, expected a number in [0, 0.5), such as 0.05")
        check_choice("dequantization", dequantization, DEQUANTIZATIONS)
        self.alpha = alpha
        note = f"{dequantization} dequantization"
        self.likelihood = Likelihood("lower bound", samples=1, note=note) if event.discrete else EXACT
        self.noise: VariationalNoise | None = None
        if dequantization == "variational":
            if not event.discrete:
                raise InvalidInput(
                    f"dequantization {dequantization} is for discrete data, got an event of {event}: leave it out"
                )
            self.noise = VariationalNoise(_noise_network(event))
        self.stages = nn.ModuleList()
        self.data_shape: tuple[int, ...] = (event.numel,)

    # The map and its inverse

    def transform(self, u: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z = f(u) and its log-determinant.

        Args:
            u: from `Event.dequantize`, (batch, *event.shape).
            condition: (batch, *condition.shape), where the model has a condition.

        Returns:
            z, (batch, numel), and log |det dz/du|, (batch,), nats.
        """
        h = u.reshape(-1, *self.data_shape)
        total = u.new_zeros(len(u))
        if self.event.discrete:
            p = self.alpha + (1.0 - 2.0 * self.alpha) * h
            log_p, log_q = torch.log(p), torch.log1p(-p)
            h = log_p - log_q
            total = self.event.numel * math.log(1.0 - 2.0 * self.alpha) - (log_p + log_q).flatten(1).sum(1)
        *stages, last = self.stages
        left = []
        for stage in stages:
            h, log_det = stage(h, condition)
            out, h = h.chunk(2, dim=1)  # each (b, 2 c, h, w)
            left.append(out.flatten(1))
            total = total + log_det
        h, log_det = last(h, condition)
        return torch.cat((*left, h.flatten(1)), dim=1), total + log_det

    def inverse(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the u, (batch, *event.shape), that `transform` maps to z, (batch, numel)."""
        stages = cast(list[Chain], list(self.stages))
        parts = []
        shape = self.data_shape
        for _ in stages[:-1]:
            out, z = z.tensor_split(2, dim=1)  # what leaves a scale is half of what is in it
            shape = (2 * shape[0], shape[1] // 2, shape[2] // 2)
            parts.append(out.reshape(-1, *shape))
        h = stages[-1].inverse(z.reshape(-1, *shape), condition)
        for stage, part in zip(stages[-2::-1], parts[::-1], strict=True):
            h = stage.inverse(torch.cat((part, h), dim=1), condition)
        if self.event.discrete:
            h = (torch.sigmoid(h) - self.alpha) / (1.0 - 2.0 * self.alpha)
        return h.reshape(-1, *self.event.shape)

    # Primitives

    def _log_prob(self, x: Tensor, condition: Tensor | None, generator: torch.Generator | None) -> Tensor:
        n, log_q = None, 0.0
        if self.noise is not None:
            n, log_q = self.noise(self.event.to_network(x, self.dtype), generator)  # (b, *event.shape), (b,)
        u, correction = self.event.dequantize(x, generator, self.dtype, n)  # (b, *shape), (b,)
        z, log_det = self.transform(u, condition)
        normal = -0.5 * (z.square().sum(1) + self.event.numel * math.log(2.0 * math.pi))  # (b,)
        return normal + log_det + correction - log_q

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        return self.bound(x, condition, generator=generator)

    def bound(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Return log (1/K) sum_k p(u_k) / levels^numel, u_k uniform in the cell of x; exactly log p for real data.

        In expectation it lies below log P(x), and approaches it as K grows.

        Args:
            x: data, (batch, *event.shape).
            condition: (batch, *condition.shape), where the model has a condition.
            samples: K, draws of u for each datum.
            generator: source of u; torch's default one where omitted.

        Returns:
            (batch,), nats.

        Raises:
            InvalidInput: if `samples` is below 1.
        """
        check_sizes("samples", (samples,))
        condition = self.check_batch(x, condition)
        if samples == 1 or not self.event.discrete:
            return self._log_prob(x, condition, generator)
        draws = [self._log_prob(x, condition, generator) for _ in range(samples)]
        return torch.logsumexp(torch.stack(draws), dim=0) - math.log(samples)

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        z = torch.randn(n, self.event.numel, dtype=self.dtype, device=self.device, generator=generator)
        return self.decode(z, condition)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        condition = self.check_batch(x, condition)
        return self.transform(self.event.midpoint(x, self.dtype), condition)[0]

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        condition = self.check_condition(condition, len(code))
        return self.event.quantize(self.inverse(code.to(self.dtype), condition)).to(self.event.dtype)


def _noise_network(event: Event) -> nn.Module:
    size = event.shape[0]
    if event.is_image:  # little is enough: a value and its neighbours say whether it is certain
        hidden = nn.Conv2d(size, NOISE_CHANNELS, 3, padding=1)
        return nn.Sequential(hidden, nn.ReLU(), nn.Conv2d(NOISE_CHANNELS, 2 * size, 1))
    network = MLP(event.numel, (NOISE_CHANNELS,), 2 * event.numel)
    return nn.Sequential(nn.Flatten(), network, nn.Unflatten(1, (2 * size, *event.shape[1:])))


def stacked(
    layers: Sequence[Invertible], entries: int, orders: str = "reversed", order_seed: int = 0, norm: str = "none"
) -> Chain:
    """Return a chain of layers of vectors, with the entries in another order for each.

    Args:
        layers: the layers.
        entries: of a vector.
        orders: what is done between layers. "reversed": the entries are reversed; "random": in turn reversed and put into a
            random order, so that what a layer leaves as it is the next one changes; "linear": a learned linear map mixes them.
        order_seed: seed of random orders.
        norm: "actnorm" or "batchnorm" before each layer, or "none".

    Raises:
        InvalidInput: for an unknown choice.

    >>> flow = stacked([Permutation(torch.arange(3))] * 2, 3)
    >>> flow(torch.tensor([[1.0, 2.0, 3.0]]))[0]
    tensor([[3., 2., 1.]])
    """
    check_choice("choice of orders", orders, ORDERS)
    check_choice("norm", norm, NORMS)
    backwards = torch.arange(entries).flip(0)
    drawn = random_orders(entries, len(layers), order_seed)
    chain: list[Invertible] = []
    for i, layer in enumerate(layers):
        if i > 0 and orders == "linear":
            chain.append(InvertibleLinear(entries))
        elif i > 0:
            chain.append(Permutation(drawn[i] if orders == "random" and i % 2 == 0 else backwards))
        if norm != "none":
            chain.append(ActNorm(entries) if norm == "actnorm" else BatchNorm(entries))
        chain.append(layer)
    return Chain(*chain)
