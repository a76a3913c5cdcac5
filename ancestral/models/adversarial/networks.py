"""Generators and critics by the names of their parts."""

import math
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.minibatch_discrimination import MinibatchDiscrimination
from ancestral.layers.mlp import check_choice, check_sizes
from ancestral.layers.text_encoder import TextEncoder
from ancestral.layers.virtual_batch_norm import Referenced
from ancestral.models.adversarial.bodies import (
    REFERENCES,
    ConvGenerator,
    ConvTrunk,
    DenseGenerator,
    DenseTrunk,
    ResidualGenerator,
    ResidualTrunk,
    initialize,
    linear,
)

NETWORKS = ("auto", "mlp", "conv", "residual")
"""Kinds of generators and critics; "auto" is conv for images of at least 8 x 8 pixels, and mlp else."""
GENERATOR_NORMS = ("auto", "batch", "virtual-batch", "none")
"""Normalisations of a generator; "auto" is batch for convolutions, and none for mlp."""
CRITIC_NORMS = ("auto", "batch", "layer", "spectral", "orthogonal", "none")
"""Normalisations of a critic; "auto" is batch for conv (layer, where a datum must be judged by itself), and none else."""
TEXTS = ("places", "gru")
"""How a condition that is a sentence is read: as a label in each place, or by a recurrent encoder."""
TEXT_FEATURES = 128
"""Entries of what the recurrent encoder makes of a sentence."""
SMALLEST = 8
"""Pixels of an image's shorter side from which on "auto" is conv."""


def kind_of_network(event: Event, network: str) -> str:
    """Return mlp, conv or residual for one of `NETWORKS`.

    Raises:
        InvalidInput: for an unknown kind, or convolutions over what is no image.
    """
    check_choice("kind of network", network, NETWORKS)
    if network in ("conv", "residual") and not event.is_image:
        raise InvalidInput(f"convolutions are over images (channel, height, width), got {event}: use network=mlp")
    if network != "auto":
        return network
    return "conv" if event.is_image and min(event.shape[1:]) >= SMALLEST else "mlp"


class Reader(nn.Module):
    """f(x, c) = body(x, encoder(c)): a body that is given what an encoder makes of a sentence, as a vector.

    Args:
        body: of a generator or critic whose condition is `reading(event)`.
        encoder: of sentences.

    Attributes:
        width: of the body, where it has one.
    """

    def __init__(self, body: nn.Module, encoder: TextEncoder) -> None:
        super().__init__()
        self.body, self.encoder = body, encoder
        self.width = getattr(body, "width", None)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return what the body gives for x, (batch, inputs), and sentences, (batch, length)."""
        y: Tensor = self.body(x, self.encoder(condition))
        return y


def reader(condition: Event | None, text: str) -> tuple[Event | None, TextEncoder | None]:
    """Return what a body is given of a condition, and the encoder that makes it, one of its own for each network.

    Raises:
        InvalidInput: for an unknown way to read, or an encoder of what are no sentences.
    """
    check_choice("way to read a text", text, TEXTS)
    if text == "places":
        return condition, None
    if condition is None:
        raise InvalidInput(
            "text=gru reads a condition that is a sentence, got none: give one, such as --data.condition caption"
        )
    encoder = TextEncoder(condition, TEXT_FEATURES)
    return Event.real((TEXT_FEATURES,)), encoder


def make_generator(
    event: Event,
    condition: Event | None,
    latent: int,
    *,
    network: str = "auto",
    hidden: Sequence[int] = (256, 256),
    channels: Sequence[int] = (64, 128, 256),
    activation: str = "leaky-relu",
    normalization: str = "auto",
    text: str = "places",
) -> "Generator":
    """Return a network from (batch, latent) to (batch, numel), before it is squashed onto the scale of `Event.to_network`.

    Args:
        event: what a datum is.
        condition: what the network is also given, or None.
        latent: entries of its input.
        network: one of `NETWORKS`.
        hidden: units of each hidden layer of an mlp, input first.
        channels: channels of each size of a convolutional network, the full size's first: the critic's order.
        activation: nonlinearity of an mlp; convolutional ones have ReLU.
        normalization: one of `GENERATOR_NORMS`.
        text: one of `TEXTS`.

    Raises:
        InvalidInput: if an option is out of range, or does not fit the event or the condition.
    """
    kind = kind_of_network(event, network)
    check_choice("normalization of a generator", normalization, GENERATOR_NORMS)
    check_sizes("channels", channels)
    if normalization == "auto":
        normalization = "none" if kind == "mlp" else "batch"
    if normalization == "virtual-batch" and condition is not None:
        raise InvalidInput(
            "virtual batch normalisation has one reference batch, and no conditions for it: with a condition, use"
            " generator_normalization=batch or none"
        )
    given, encoder = reader(condition, text)
    body: nn.Module
    if kind == "mlp":
        body = DenseGenerator(latent, hidden, event.numel, activation, normalization, given)
    elif kind == "conv":
        body = ConvGenerator(latent, channels[::-1], event.shape, normalization, given)
    else:
        body = ResidualGenerator(latent, channels[::-1], event.shape, normalization, given)
    if encoder is not None:
        body = Reader(body, encoder)
    return Generator(body, latent, event.numel, normalization)


def make_critic(
    event: Event,
    condition: Event | None,
    *,
    network: str = "auto",
    hidden: Sequence[int] = (256, 256),
    channels: Sequence[int] = (64, 128, 256),
    activation: str = "leaky-relu",
    normalization: str = "auto",
    minibatch_discrimination: int = 0,
    outputs: int = 1,
    per_datum: bool = False,
    bias: bool = True,
    text: str = "places",
    projection: bool = False,
) -> "Critic":
    """Return a network from data on the scale of `Event.to_network`, (batch, numel), to (batch, outputs).

    Args:
        event: what a datum is.
        condition: what the network is also given, or None.
        network: one of `NETWORKS`.
        hidden: units of each hidden layer of an mlp, output first: it mirrors the generator of the same options.
        channels: channels of each size of a convolutional network, the full size's first.
        activation: nonlinearity of an mlp; conv has leaky ReLU, residual has ReLU.
        normalization: one of `CRITIC_NORMS`.
        minibatch_discrimination: kernels of `MinibatchDiscrimination` before the last layer; 0 for none.
        outputs: numbers for each datum.
        per_datum: whether a datum must be judged by itself, as penalties on gradients need.
        bias: whether the last layer has one; without effect where the objective takes differences of outputs.
        text: one of `TEXTS`.
        projection: whether the condition meets the features, not the input.

    Raises:
        InvalidInput: if an option is out of range, or does not fit the event or the other options.
    """
    kind = kind_of_network(event, network)
    check_choice("normalization of a critic", normalization, CRITIC_NORMS)
    check_sizes("channels", channels)
    if normalization == "auto":
        normalization = "none" if kind != "conv" else "layer" if per_datum else "batch"
    if per_datum and normalization == "batch":
        raise InvalidInput(
            "a penalty on the critic's gradient at each datum needs a critic that judges it by itself, got"
            " critic_normalization=batch: use layer, spectral, orthogonal or none"
        )
    given, encoder = reader(condition, text)
    if projection and given is None:
        raise InvalidInput("projection is of a condition, got none: give one, or projection=false")
    early = None if projection else given
    trunk: DenseTrunk | ConvTrunk | ResidualTrunk
    if kind == "mlp":
        trunk = DenseTrunk(event.numel, hidden[::-1], activation, normalization, early)
    elif kind == "conv":
        trunk = ConvTrunk(event.shape, channels, normalization, early)
    else:
        trunk = ResidualTrunk(event.shape, channels, normalization, early)
    critic = Critic(trunk, event.numel, normalization, minibatch_discrimination, outputs, bias)
    if projection and given is not None:
        critic.projection = ConditionEmbedding(given, critic.width)
    if kind == "conv":
        initialize(critic)
    if encoder is not None and critic.projection is not None:
        critic.projection = nn.Sequential(encoder, critic.projection)
    elif encoder is not None:
        critic.trunk = Reader(trunk, encoder)
    return critic


class Generator(nn.Module):
    """G(z, c) before it is squashed.

    Args:
        body: from (batch, inputs) and a condition to (batch, outputs).
        inputs: entries of z.
        outputs: entries of a datum.
        normalization: batch, virtual-batch or none.

    Attributes:
        needs_batch: whether a datum cannot be made alone in training.
    """

    def __init__(self, body: nn.Module, inputs: int, outputs: int, normalization: str = "none") -> None:
        super().__init__()
        self.body = Referenced(body, inputs, REFERENCES) if normalization == "virtual-batch" else body
        self.inputs, self.outputs, self.needs_batch = inputs, outputs, normalization == "batch"

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return (batch, outputs) for z, (batch, inputs), and the condition, (batch, *condition.shape)."""
        y: Tensor = self.body(z) if condition is None else self.body(z, condition)
        return y


class Critic(nn.Module):
    r"""V(y, c) = W h(y, c) + b, h the features of a trunk, and how close those of a batch are to each other, if asked for.

    With a projection the trunk is not given c, and V(y, c) = W h(y) + b + e(c) . h(y) / sqrt(width).

    Args:
        trunk: from (batch, inputs) and a condition to (batch, width), with `width` an attribute.
        inputs: entries of a datum.
        normalization: of `CRITIC_NORMS` but "auto"; that of the last layer, if spectral or orthogonal.
        kernels: of minibatch discrimination, 0 for none.
        outputs: numbers for each datum.
        bias: whether there is b.

    Attributes:
        width: number of features.
        projection: e, from a condition to (batch, width), or None.
        needs_batch: whether a datum cannot be judged alone in training.
    """

    def __init__(
        self,
        trunk: nn.Module,
        inputs: int,
        normalization: str = "none",
        kernels: int = 0,
        outputs: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.projection: nn.Module | None = None
        if kernels < 0:
            raise InvalidInput(f"minibatch_discrimination needs a number of kernels, or 0 for none, got {kernels}")
        self.trunk, self.inputs, self.width = trunk, inputs, cast(int, trunk.width)
        self.needs_batch = normalization == "batch"
        self.discrimination = MinibatchDiscrimination(self.width, kernels) if kernels else nn.Identity()
        self.last = linear(self.width + kernels, outputs, normalization, bias)

    def features(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return h, (batch, width), of y, (batch, inputs)."""
        h: Tensor = self.trunk(y, condition)
        return h

    def of_features(self, h: Tensor) -> Tensor:
        """Return V, (batch, outputs), of features, (batch, width)."""
        v: Tensor = self.last(self.discrimination(h))
        return v

    def forward(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return V, (batch, outputs), for y, (batch, inputs), and the condition."""
        h = self.features(y, condition)
        v = self.of_features(h)
        if self.projection is None or condition is None:
            return v
        e: Tensor = self.projection(condition)  # (b, width)
        return v + (e * h).sum(1, keepdim=True) / math.sqrt(self.width)
