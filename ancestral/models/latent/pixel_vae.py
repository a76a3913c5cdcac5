"""PixelVAE: a variational autoencoder whose decoder is an autoregressive model of the image given its code."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from ancestral.models.latent.base import GaussianLatentModel
from ancestral.models.latent.networks import make_decoder, make_encoder, widest
from ancestral.models.registry import register


@register("pixel-vae")
class PixelVAE(GaussianLatentModel):
    r"""p(x | c) = integral of prod_t p(x_t | x_{<t}, u(z, c)) N(z; 0, I) dz, with q(z | x, c) a Gaussian.

    u is a network from the code to features of each pixel; a Gated PixelCNN reads them beside the pixels before. What pixels
    tell each other need not be in the code, and where they tell all, nothing is: the `kl` among the measures says how many
    nats of an image its code holds. `free_bits` keeps it from zero; few layers and a small kernel leave more to it.

    Args:
        event: an image event.
        condition: what encoder and u are also given; None for none.
        latent: length of z.
        hidden: units of each hidden layer of the encoder, input first; u mirrors them.
        network: kind of encoder and u: mlp, conv, or auto, which is conv for images of at least 8 x 8 pixels.
        channels: of conv: channels of each convolution between the image and the hidden layers, each halving its sides.
        activation: nonlinearity of both.
        features: features of each pixel that u gives.
        pixel_channels: features of each stack of the PixelCNN.
        layers: its gated layers, after a first convolution of 7 x 7.
        kernel: side of the square window that its kernels are cut from, odd.
        separable: whether its vertical kernels are one window for each feature and then a product over features.
        head: output distribution of each entry, one of `ancestral.distributions.HEADS`.
        components: mixture components of the head, where it is a mixture.
        beta: weight of the KL term in the loss; a departure from the bound where it is not 1.
        free_bits: nats of each latent's KL term, in the mean over a batch, that cost nothing in the loss: likewise.
        importance: K, samples of the bound that is trained on, and that figures are of where no other number is asked for.

    Raises:
        InvalidInput: if an option is out of range, the event is no image, or the head does not fit it.

    References:
        PixelVAE: A Latent Variable Model for Natural Images (Gulrajani et al., 2017), https://arxiv.org/abs/1611.05013. Here
        one layer of latents, and features of u enter the PixelCNN at its first layer.
        Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016), https://arxiv.org/abs/1606.05328.

    >>> model = PixelVAE(Event.binary((1, 4, 4)), latent=2, hidden=(8,), pixel_channels=4, layers=1)
    >>> model.sample(2).shape
    torch.Size([2, 1, 4, 4])
    """

    images_only = True
    summary = "variational autoencoder whose decoder is a Gated PixelCNN, which reads features of the code at each pixel"
    reference = "Gulrajani et al. 2017"
    examples = (
        {"event": Event.binary((1, 2, 3)), "latent": 2, "hidden": (8,), "features": 2, "pixel_channels": 4, "layers": 1},
        {
            "event": Event.integers((1, 2, 2), 3),
            "condition": Event.label(3),
            "latent": 1,
            "hidden": (),
            "network": "conv",
            "channels": (4,),
            "features": 3,
            "pixel_channels": 4,
            "layers": 1,
            "kernel": 3,
        },
        {"event": Event.real((1, 2, 2)), "latent": 1, "hidden": (8,), "features": 2, "pixel_channels": 4, "layers": 1},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 32,
        hidden: Sequence[int] = (256,),
        network: str = "auto",
        channels: Sequence[int] = (32, 64),
        activation: str = "relu",
        features: int = 16,
        pixel_channels: int = 32,
        layers: int = 3,
        kernel: int = 5,
        separable: bool = False,
        head: str = "auto",
        components: int = 1,
        beta: float = 1.0,
        free_bits: float = 0.0,
        importance: int = 1,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("latent and features", (latent, features))
        self.set_objective(beta, free_bits, importance)
        self.latent = latent
        shape: dict[str, Any] = {"network": network, "hidden": hidden, "channels": channels, "activation": activation}
        maps = Event.real((features, *event.shape[1:]), axes=event.axes)
        self.encoder = make_encoder(event, condition, 2 * latent, **shape)
        self.upsampler = make_decoder(maps, condition, latent, 1, **shape)
        self.pixels = GatedPixelCNN(
            event,
            maps,
            channels=pixel_channels,
            layers=layers,
            kernel=kernel,
            separable=separable,
            head=head,
            components=components,
        )
        self.head = self.pixels.head
        gates = 4 * pixel_channels * event.shape[1] * event.shape[2]
        self._elements = max(gates, widest(self.upsampler), event.numel * self.head.parameters)
        self._maps = maps.shape

    @property
    def elements(self) -> int:
        return self._elements

    @property
    def pixel_model(self) -> GatedPixelCNN:
        return self.pixels

    def maps(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return u(z, condition), (rows, features, height, width), for z, (rows, latent)."""
        out = self.upsampler(z, condition).to(self.dtype)  # (n, features h w)
        return out.view(-1, *self._maps)

    def log_likelihood(self, x: Tensor, z: Tensor, condition: Tensor | None = None) -> Tensor:
        raw = self.pixels(x, self.maps(z, condition))  # (n, c, h, w, p)
        return self.pixels.entry_log_prob(raw, x).flatten(1).sum(1)

    @torch.no_grad()
    def draw_data(self, z: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        return self.pixels.sample(len(z), self.maps(z, condition), generator=generator)

    @torch.no_grad()
    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the data of codes, (batch, *event.shape): the likeliest or mean value of each entry given those before it."""
        maps = self.maps(code.to(self.dtype), self.check_condition(condition, len(code)))

        def choose(entry: int, raw: Tensor) -> Tensor:
            return self.pixels.entry_value(entry, self.head.likeliest(raw).to(torch.promote_types(raw.dtype, torch.float32)))

        return self.pixels.run(self.pixels.init_state(len(code), maps), choose)
