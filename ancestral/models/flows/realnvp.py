"""RealNVP: a flow of affine couplings, with an exact density, an exact inverse, and sampling in one pass."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.convnet import ResidualConvNet
from ancestral.layers.couplings import ActNorm, AffineCoupling, Chain, Checkerboard, Halves, Partition, Permutation, Squeeze
from ancestral.layers.mlp import MLP, check_choice, check_sizes
from ancestral.likelihood import EXACT, Likelihood
from ancestral.models.base import Model
from ancestral.models.registry import register


@register("realnvp")
class RealNVP(Model):
    r"""log p(x | c) = log N(z; 0, I) + log |det dz/dx|, z = f(x, c), f a chain of affine couplings.

    Vectors (and anything that is not an image) alternate between their even and their odd entries, with fully
    connected networks. Images alternate between the colours of a checkerboard, then are squeezed to half their sides and
    alternate between halves of the channels; after each such scale half of the channels go to z. Their networks are
    convolutional.

    Discrete data are dequantized, u = (x + uniform noise) / levels, and mapped to the real line by
    y = logit(alpha + (1 - 2 alpha) u): `log_prob` is then a lower bound in expectation, exact for real data. With
    alpha above 0 what the flow puts outside of the image of [0, 1) counts for nothing: the bound stays one, but with any
    number of samples it stays below log p.

    Args:
        event: what a datum is; at least 2 entries.
        condition: what the networks are also given; None for none.
        couplings: of vectors, their number; of images, their number for each mask of each scale.
        network: "mlp" (flattens images), "conv" (images only), or "auto": conv for images, mlp for others.
        hidden: units of each hidden layer of an mlp.
        activation: nonlinearity of an mlp.
        channels: channels of a convolutional network.
        blocks: residual blocks of a convolutional network.
        scales: images only: how many times the sides are halved, at most; halving stops at an odd side.
        norm: "actnorm" before each coupling, or "none".
        alpha: discrete events only: distance from 0 and 1 of the logit's argument, in [0, 0.5).

    Raises:
        InvalidInput: if an option is out of range, or the event has a single entry.

    References:
        Density estimation using Real NVP (Dinh, Sohl-Dickstein & Bengio, 2017), https://arxiv.org/abs/1605.08803.
        There each coupling has batch normalization and the networks weight normalization; here ActNorm (Kingma &
        Dhariwal, 2018), which leaves each datum's density its own, and no normalization in small networks. The logit's
        argument is alpha + (1 - 2 alpha) u, kept from both ends, after Papamakarios et al. (2017).

    >>> model = RealNVP(Event.real((2,)), couplings=2, hidden=(8,))
    >>> x = torch.randn(5, 2)
    >>> torch.allclose(model.decode(model.encode(x)), x, atol=1e-5)
    True
    """

    family = "flow"
    summary = "invertible chain of affine couplings: exact densities of real data, sampling in one pass"
    reference = "Dinh et al. 2017"
    likelihood = Likelihood("exact", note="a lower bound for discrete data")
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100, "clip": 10.0}
    examples = (
        {"event": Event.real((2,), loc=(1.0, -1.0), scale=(2.0, 0.5)), "couplings": 2, "hidden": (8,)},
        {"event": Event.real((3,)), "condition": Event.label(2), "couplings": 2, "hidden": (8,), "norm": "none"},
        {"event": Event.integers((4,), 3), "couplings": 2, "hidden": (4,), "alpha": 0.0},
        {"event": Event.binary((1, 2, 3)), "couplings": 2, "channels": 4, "blocks": 1, "alpha": 0.0},
        {
            "event": Event.integers((1, 4, 4), 3),
            "condition": Event.label(3),
            "couplings": 1,
            "channels": 4,
            "blocks": 1,
            "scales": 1,
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        couplings: int = 4,
        network: str = "auto",
        hidden: Sequence[int] = (256, 256),
        activation: str = "relu",
        channels: int = 32,
        blocks: int = 2,
        scales: int = 2,
        norm: str = "actnorm",
        alpha: float = 0.05,
    ) -> None:
        super().__init__(event, condition)
        if event.numel < 2:
            raise InvalidInput(
                f"realnvp needs at least 2 entries, got an event of {event}: a coupling changes some given others"
            )
        check_sizes("couplings", (couplings,))
        check_choice("network", network, ("auto", "mlp", "conv"))
        check_choice("norm", norm, ("actnorm", "none"))
        if network == "conv" and not event.is_image:
            raise InvalidInput(f"network conv takes images (channel, height, width), got an event of {event}: use mlp")
        if scales < 0:
            raise InvalidInput(f"scales is {scales}, expected 0 or more")
        if not 0.0 <= alpha < 0.5:
            raise InvalidInput(f"alpha is {alpha}, expected a number in [0, 0.5), such as 0.05")
        self.alpha = alpha
        self.likelihood = Likelihood("lower bound", samples=1, note="uniform dequantization") if event.discrete else EXACT

        image = network == "conv" or (network == "auto" and event.is_image)
        dimensions = 2 if image else 0

        def couple(parts: Partition) -> Chain:
            net: nn.Module
            if image:
                net = ResidualConvNet(parts.given, channels, 2 * parts.changed, blocks, condition)
            else:
                net = MLP(parts.given, hidden, 2 * parts.changed, activation, condition)
            coupling = AffineCoupling(net, parts, dimensions)
            return Chain(ActNorm(parts.channels, dimensions), coupling) if norm == "actnorm" else Chain(coupling)

        def halves(size: int) -> list[Chain]:
            return [couple(Halves(size, flip=i % 2 == 1)) for i in range(couplings)]

        def checkerboards(size: int, height: int, width: int) -> list[Chain]:
            if height * width == 1:  # a single pixel has no neighbours to be given
                return halves(size)
            return [couple(Checkerboard(size, height, width, flip=i % 2 == 1)) for i in range(couplings)]

        self.stages = nn.ModuleList()
        if image:
            size, height, width = event.shape
            while len(self.stages) < scales and height % 2 == 0 and width % 2 == 0:
                before = checkerboards(size, height, width)
                self.stages.append(Chain(*before, Squeeze(), *halves(4 * size)))
                # Half of the squeezed channels leave for z here, the others go on.
                size, height, width = 2 * size, height // 2, width // 2
            self.stages.append(Chain(*checkerboards(size, height, width)))
        else:
            order = torch.cat((torch.arange(0, event.numel, 2), torch.arange(1, event.numel, 2)))
            self.stages.append(Chain(Permutation(order), *halves(event.numel)))
        self.data_shape = event.shape if image else (event.numel,)

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
        u, correction = self.event.dequantize(x, generator, self.dtype)  # (b, *shape), (b,)
        z, log_det = self.transform(u, condition)
        normal = -0.5 * (z.square().sum(1) + self.event.numel * math.log(2.0 * math.pi))  # (b,)
        return normal + log_det + correction

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
