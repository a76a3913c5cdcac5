"""Variational autoencoder: a latent variable model trained on a bound, by amortized inference."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from ancestral.distributions import make_head
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.models.latent.base import GaussianLatentModel
from ancestral.models.latent.networks import make_decoder, make_encoder, widest
from ancestral.models.registry import register


@register("vae")
class VAE(GaussianLatentModel):
    r"""p(x | c) = integral of p(x | z, c) N(z; 0, I) dz, with q(z | x, c) = N(mu(x, c), diag sigma(x, c)^2).

    Training maximises the evidence lower bound, with z drawn from q by z = mu + sigma * noise:
    log p(x | c) >= E_q[log p(x | z, c)] - KL(q(z | x, c) || N(0, I)).
    With `importance` K above 1 it maximises the tighter bound of K samples, E[log (1/K) sum_k p(x, z_k) / q(z_k | x)].

    Args:
        event: what a datum is.
        condition: what encoder and decoder are also given; None for none.
        latent: length of z.
        hidden: units of each hidden layer of the encoder, input first; the decoder mirrors them.
        network: kind of both networks, one of `models.latent.networks.NETWORKS`: mlp, conv, or auto, which is conv for images.
        channels: of conv: channels of each convolution between the image and the hidden layers, each halving its sides.
        activation: nonlinearity of both networks.
        head: output distribution of each entry given z, one of `ancestral.distributions.HEADS`.
        components: mixture components of the head, where it is a mixture.
        beta: weight of the KL term in the loss (Higgins et al., 2017): a departure from the model where it is not 1.
            The figures, logged and returned, are those of the true bound in any case.
        free_bits: nats of each latent's KL term, in the mean over a batch, that cost nothing in the loss (Kingma et al.,
            2016): another departure, against codes that are ignored.
        importance: K, samples of the bound that is trained on, and that figures are of where no other number is asked for.

    Raises:
        InvalidInput: if an option is out of range, or the head does not fit the event.

    References:
        Auto-Encoding Variational Bayes (Kingma & Welling, 2014), https://arxiv.org/abs/1312.6114. There a hidden
        layer of 500 tanh units; here two of ReLU by default.
        Importance Weighted Autoencoders (Burda, Grosse & Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519,
        for the bound with several samples.
        Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
        https://arxiv.org/abs/1606.04934, for `free_bits`.
        beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins et al., 2017),
        https://openreview.net/forum?id=Sy2fzU9gl, for `beta`.

    >>> import torch
    >>> model = VAE(Event.binary((1, 4, 4)), latent=2, hidden=(8,))
    >>> model.encode(torch.zeros(3, 1, 4, 4)).shape
    torch.Size([3, 2])
    """

    summary = "decoder of a Gaussian code, trained with an encoder on the evidence lower bound"
    reference = "Kingma & Welling 2014"
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"event": Event.binary((5,)), "latent": 2, "hidden": (8,)},
        {"event": Event.integers((1, 2, 2), 3), "condition": Event.label(3), "latent": 2, "hidden": (8, 8)},
        {"event": Event.integers((3,), 4), "latent": 1, "hidden": (), "head": "logistic-mixture", "components": 2},
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "latent": 2, "hidden": (8,), "activation": "tanh"},
        {"event": Event.binary((1, 3, 2)), "latent": 2, "hidden": (8,), "network": "conv", "channels": (4,), "importance": 3},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 32,
        hidden: Sequence[int] = (500, 500),
        network: str = "mlp",
        channels: Sequence[int] = (32, 64),
        activation: str = "relu",
        head: str = "auto",
        components: int = 1,
        beta: float = 1.0,
        free_bits: float = 0.0,
        importance: int = 1,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("latent", (latent,))
        self.set_objective(beta, free_bits, importance)
        self.latent = latent
        self.head = make_head(event, head, components)
        shape: dict[str, Any] = {"network": network, "hidden": hidden, "channels": channels, "activation": activation}
        self.encoder = make_encoder(event, condition, self.features, **shape)
        self.decoder = make_decoder(event, condition, latent, self.head.parameters, **shape)

    @property
    def features(self) -> int:
        """Numbers that the encoder gives."""
        return 2 * self.latent

    @property
    def elements(self) -> int:
        return max(super().elements, widest(self.decoder))

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        out = self.decoder(z, condition).to(self.dtype)  # (b, d p)
        return out.view(-1, *self.event.shape, self.head.parameters)
