"""RealNVP: a flow of affine couplings, with an exact density, an exact inverse, and sampling in one pass."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.convnet import ResidualConvNet
from ancestral.layers.couplings import AffineCoupling, Checkerboard, Halves, PackedCheckerboard, Partition
from ancestral.layers.invertible import Chain, Permutation, Squeeze
from ancestral.layers.mlp import MLP, check_choice, check_sizes
from ancestral.layers.norms import ActNorm
from ancestral.models.flows.base import FlowModel
from ancestral.models.registry import register


@register("realnvp")
class RealNVP(FlowModel):
    r"""log p(x | c) = log N(z; 0, I) + log |det dz/dx|, z = f(x, c), f a chain of affine couplings.

    Vectors (and anything that is not an image) alternate between their even and their odd entries, with fully
    connected networks. Images alternate between the colours of a checkerboard, then are squeezed to half their sides and
    alternate between halves of the channels; after each such scale half of the channels go to z. Their networks are
    convolutional.

    Discrete data are dequantized and mapped to the real line, as in every `FlowModel`: `log_prob` is then a lower bound in
    expectation, exact for real data.

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
        packed: where the sides are even, the networks of a checkerboard see 2x2 blocks of pixels as channels of one, which
            takes a quarter of the products.
        amplitude: bound of a coupling's log-scales at first, above 0; it is learned, channel by channel.
        alpha: discrete events only: distance from 0 and 1 of the logit's argument, in [0, 0.5).
        dequantization: "uniform", or for discrete events "variational": the noise is learned.

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

    summary = "invertible chain of affine couplings: exact densities of real data, sampling in one pass"
    reference = "Dinh et al. 2017"
    examples = (
        {"event": Event.real((2,), loc=(1.0, -1.0), scale=(2.0, 0.5)), "couplings": 2, "hidden": (8,)},
        {"event": Event.real((3,)), "condition": Event.label(2), "couplings": 2, "hidden": (8,), "norm": "none"},
        {"event": Event.integers((4,), 3), "couplings": 2, "hidden": (4,), "alpha": 0.0},
        {"event": Event.binary((1, 2, 3)), "couplings": 2, "channels": 4, "blocks": 1, "alpha": 0.0},
        {
            "event": Event.integers((1, 2, 2), 3),
            "couplings": 2,
            "channels": 4,
            "blocks": 1,
            "packed": True,
            "alpha": 0.0,
            "dequantization": "variational",
        },
        {"event": Event.integers((2, 2), 3), "couplings": 2, "hidden": (4,), "alpha": 0.0, "dequantization": "variational"},
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
        packed: bool = False,
        amplitude: float = 1.0,
        alpha: float = 0.05,
        dequantization: str = "uniform",
    ) -> None:
        super().__init__(event, condition, alpha, dequantization)
        if not 0.0 < amplitude < math.inf:
            raise InvalidInput(f"amplitude is {amplitude}, expected a finite number above 0, such as 1")
        check_sizes("couplings", (couplings,))
        check_choice("network", network, ("auto", "mlp", "conv"))
        check_choice("norm", norm, ("actnorm", "none"))
        if network == "conv" and not event.is_image:
            raise InvalidInput(f"network conv takes images (channel, height, width), got an event of {event}: use mlp")
        if scales < 0:
            raise InvalidInput(f"scales is {scales}, expected 0 or more")

        image = network == "conv" or (network == "auto" and event.is_image)
        dimensions = 2 if image else 0

        def couple(parts: Partition) -> Chain:
            net: nn.Module
            if image:
                net = ResidualConvNet(parts.given, channels, 2 * parts.changed, blocks, condition)
            else:
                net = MLP(parts.given, hidden, 2 * parts.changed, activation, condition)
            coupling = AffineCoupling(net, parts, dimensions, amplitude)
            return Chain(ActNorm(parts.channels, dimensions), coupling) if norm == "actnorm" else Chain(coupling)

        def halves(size: int) -> list[Chain]:
            return [couple(Halves(size, flip=i % 2 == 1)) for i in range(couplings)]

        def checkerboards(size: int, height: int, width: int) -> list[Chain]:
            if height * width == 1:  # a single pixel has no neighbours to be given
                return halves(size)
            if packed and height % 2 == 0 and width % 2 == 0:
                return [couple(PackedCheckerboard(size, flip=i % 2 == 1)) for i in range(couplings)]
            return [couple(Checkerboard(size, height, width, flip=i % 2 == 1)) for i in range(couplings)]

        if image:
            self.data_shape = event.shape
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
