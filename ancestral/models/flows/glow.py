"""Glow: a flow of images by steps of ActNorm, a learned mixing of the channels, and an affine coupling, at several scales."""

import math

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.convnet import ResidualConvNet
from ancestral.layers.couplings import AffineCoupling, Halves
from ancestral.layers.invertible import Chain, Inverse, Invertible, Squeeze
from ancestral.layers.invertible_linear import InvertibleLinear
from ancestral.layers.mlp import check_sizes
from ancestral.layers.norms import ActNorm
from ancestral.models.flows.base import FlowModel
from ancestral.models.registry import register


@register("glow")
class Glow(FlowModel):
    r"""log p(x | c) = log N(z; 0, I) + log |det dz/dx|, z by steps h = W actnorm(x), y_1 = h_1, y_2 = h_2 exp(s) + t.

    At each scale every 2x2 block of pixels becomes four channels of one, and `flow_steps` steps follow: ActNorm, a learned
    invertible map W of the channels of each pixel, and an affine coupling: (s, t) is what a convolutional network makes of
    h_1, one half of the channels, and c. Half of the channels then leave for z; at the last scale all of them.

    Discrete data are dequantized and mapped to the real line, as in every `FlowModel`: `log_prob` is then a lower bound in
    expectation, exact for real data.

    Args:
        event: images of even height and width.
        condition: what the networks are also given; None for none.
        scales: how many times the sides are halved, at most; halving stops at an odd side.
        flow_steps: steps at each scale.
        channels: channels of the networks.
        blocks: their residual blocks.
        amplitude: bound of a coupling's log-scales at first, above 0; it is learned, channel by channel.
        alpha: discrete events only: distance from 0 and 1 of the logit's argument, in [0, 0.5).
        dequantization: "uniform", or for discrete events "variational": the noise is learned.

    Raises:
        InvalidInput: if an option is out of range, or the height or the width is odd.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma & Dhariwal, 2018),
        https://arxiv.org/abs/1807.03039. There what leaves at a scale has a Gaussian whose mean and scale are computed from
        what stays: here a last coupling of that scale, which is the same; networks there have two hidden layers, here residual
        blocks; and discrete data pass a logit here.

    >>> import torch
    >>> model = Glow(Event.real((1, 4, 4)), scales=1, flow_steps=2, channels=8)
    >>> x = torch.randn(3, 1, 4, 4)
    >>> torch.allclose(model.decode(model.encode(x)), x, atol=1e-4)
    True
    """

    summary = "flow of images: couplings between learned mixings of the channels, at several scales"
    reference = "Kingma & Dhariwal 2018"
    images_only = True
    examples = (
        {"event": Event.real((1, 2, 2)), "condition": Event.label(2), "flow_steps": 2, "channels": 4, "blocks": 1},
        {"event": Event.binary((1, 2, 4)), "flow_steps": 2, "channels": 4, "blocks": 1, "alpha": 0.0},
        {
            "event": Event.integers((1, 2, 2), 3),
            "flow_steps": 1,
            "channels": 4,
            "blocks": 1,
            "alpha": 0.0,
            "dequantization": "variational",
        },
        {
            "event": Event.integers((1, 4, 4), 3),
            "condition": Event.label(3),
            "scales": 2,
            "flow_steps": 1,
            "channels": 4,
            "blocks": 1,
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        scales: int = 2,
        flow_steps: int = 8,
        channels: int = 64,
        blocks: int = 1,
        amplitude: float = 1.0,
        alpha: float = 0.05,
        dequantization: str = "uniform",
    ) -> None:
        super().__init__(event, condition, alpha, dequantization)
        if not 0.0 < amplitude < math.inf:
            raise InvalidInput(f"amplitude is {amplitude}, expected a finite number above 0, such as 1")
        check_sizes("scales", (scales,))
        check_sizes("flow_steps", (flow_steps,))
        size, height, width = self.data_shape = event.shape
        if height % 2 or width % 2:
            raise InvalidInput(
                f"glow squeezes blocks of 2x2 pixels and needs an even height and width, got an event of {event}: pad or crop"
                " the images, or take realnvp"
            )

        def couple(size: int, flip: bool) -> AffineCoupling:
            parts = Halves(size, flip)
            network = ResidualConvNet(parts.given, channels, 2 * parts.changed, blocks, condition)
            return AffineCoupling(network, parts, 2, amplitude)

        def step(size: int) -> Chain:
            return Chain(ActNorm(size, 2), InvertibleLinear(size), couple(size, flip=False))

        last = False
        while not last:
            size, height, width = 4 * size, height // 2, width // 2
            last = len(self.stages) + 1 == scales or height % 2 == 1 or width % 2 == 1
            layers: list[Invertible] = [Squeeze(), *(step(size) for _ in range(flow_steps))]
            # What leaves is standardized given what stays; at the last scale all goes to z, in the shape that it came in.
            self.stages.append(Chain(*layers, Inverse(Squeeze()) if last else couple(size, flip=True)))
            size //= 2
