"""IAF-VAE: a variational autoencoder whose posterior is bent by inverse autoregressive flows."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.masked import MaskedMLP
from ancestral.layers.mlp import check_sizes
from ancestral.models.latent.base import LatentModel
from ancestral.models.latent.vae import VAE
from ancestral.models.registry import register

_GATE_BIAS = 2.0
"""Added to the logit of each gate: at first a step keeps 0.88 of z, as the paper advises (1 or 2)."""


@register("iaf-vae")
class IAFVAE(VAE):
    r"""p(x | c) = integral of p(x | z, c) N(z; 0, I) dz, with q(z | x, c) a Gaussian that T steps of a flow have changed.

    z_0 = mu(x, c) + sigma(x, c) * noise, and with (m_t, s_t) from a masked network, whose i-th outputs see the entries of
    z_{t-1} before i, and what the encoder says of x:
    z_t = g_t * z_{t-1} + (1 - g_t) * m_t, g_t = sigmoid(s_t), with entries in the opposite order from step to step.
    The Jacobian of a step is triangular, so log q(z_T | x) = log N(z_0; mu, sigma^2) - sum_t sum_i log g_{t,i}: one pass.

    Args:
        event: what a datum is.
        condition: what encoder and decoder are also given; None for none.
        latent: length of z, at least 2.
        flow_steps: T, steps of the flow.
        flow_hidden: units of each hidden layer of a step's network.
        context: numbers that the encoder gives to all steps.
        hidden: units of each hidden layer of the encoder, input first; the decoder mirrors them.
        network: kind of encoder and decoder: mlp, conv, or auto, which is conv for images.
        channels: of conv: channels of each convolution between the image and the hidden layers, each halving its sides.
        activation: nonlinearity of all networks.
        head: output distribution of each entry given z, one of `ancestral.distributions.HEADS`.
        components: mixture components of the head, where it is a mixture.
        beta: weight of the KL term in the loss; a departure from the bound where it is not 1.
        free_bits: nats of each latent's KL term, in the mean over a batch, that cost nothing in the loss: likewise.
        importance: K, samples of the bound that is trained on, and that figures are of where no other number is asked for.

    Raises:
        InvalidInput: if an option is out of range, or the head does not fit the event.

    References:
        Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
        https://arxiv.org/abs/1606.04934, algorithm 1, with the gated step of its equations 13 and 14. There on ladders of
        residual layers; here on one layer of latents, as in its section on MNIST, with `free_bits` of one latent each.

    >>> import torch
    >>> model = IAFVAE(Event.binary((1, 4, 4)), latent=2, hidden=(8,), flow_hidden=(8,), context=4)
    >>> model.log_prob(torch.zeros(3, 1, 4, 4)).shape
    torch.Size([3])
    """

    factorial = False  # a flow ties latents to each other
    summary = "variational autoencoder with a posterior of inverse autoregressive flow steps"
    reference = "Kingma et al. 2016"
    examples = (
        {"event": Event.binary((5,)), "latent": 3, "flow_steps": 2, "flow_hidden": (8,), "context": 4, "hidden": (8,)},
        {
            "event": Event.integers((1, 2, 2), 3),
            "condition": Event.label(3),
            "latent": 2,
            "flow_steps": 1,
            "flow_hidden": (8, 8),
            "context": 2,
            "hidden": (8,),
        },
        {"event": Event.real((2,)), "latent": 2, "flow_steps": 2, "flow_hidden": (6,), "context": 2, "hidden": (8,)},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 32,
        flow_steps: int = 4,
        flow_hidden: Sequence[int] = (320,),
        context: int = 100,
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
        check_sizes("flow_steps and context", (flow_steps, context))
        if latent == 1:
            raise InvalidInput("latent is 1: a flow of one latent only rescales it, use a vae, or latent=2 or more")
        super().__init__(
            event,
            condition,
            latent=latent,
            hidden=hidden,
            network=network,
            channels=channels,
            activation=activation,
            head=head,
            components=components,
            beta=beta,
            free_bits=free_bits,
            importance=importance,
        )
        flow = [MaskedMLP(latent, flow_hidden, 2, activation, Event.real((context,))) for _ in range(flow_steps)]
        for step in flow:
            with torch.no_grad():  # near a plain gate at first, whatever the depth
                step.output.weight.mul_(0.1)
                step.output.bias[:, 1] = _GATE_BIAS
        self.steps = nn.ModuleList(flow)

    @property
    def features(self) -> int:
        return 2 * self.latent + int(self.config["context"])

    def flow(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Take all steps from z_0.

        Args:
            z: z_0, (rows, latent).
            context: what the encoder says of x, (rows, context).

        Returns:
            z_T, (rows, latent), and the log of each diagonal entry of its Jacobian, (rows, latent), nats.
        """
        log_det = torch.zeros_like(z)
        for step in self.steps:
            shift, gate = step(z, context).to(z.dtype).unbind(2)  # (n, l) each
            # In the order of the latents before this step: flipped with them, each entry keeps its own.
            log_det = (log_det + F.logsigmoid(gate)).flip(1)
            z = torch.lerp(shift, z, torch.sigmoid(gate)).flip(1)
        return z, log_det

    def draw_posterior(
        self, features: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_q = super().draw_posterior(features, condition, generator)
        z, log_det = self.flow(z, features[:, 2 * self.latent :])
        # What a latent adds is that of the entry of the noise that it came from.
        flipped = log_q.flip(1) if len(self.steps) % 2 else log_q
        return z, flipped - log_det

    def divergence(self, features: Tensor, z: Tensor, log_q: Tensor, condition: Tensor | None = None) -> Tensor:
        return LatentModel.divergence(self, features, z, log_q, condition)  # a flow's is not known in closed form

    def code(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return where the flow takes the Gaussian's mean, (batch, latent); the mean of q itself is not known."""
        return self.flow(super().code(features, condition), features[:, 2 * self.latent :])[0]
