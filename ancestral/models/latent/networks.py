"""Encoders and decoders that models of latent variables share, for data of any kind and for images."""

from collections.abc import Sequence

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.convnet import ConvDecoder, ConvEncoder
from ancestral.layers.mlp import MLP, check_choice

NETWORKS = ("auto", "mlp", "conv")
"""Kinds of encoders and decoders; "auto" is conv for images of at least 8 x 8 pixels, and mlp else."""
_SMALLEST = 8


def convolves(event: Event, network: str) -> bool:
    """Return whether `network`, one of `NETWORKS`, stands for convolutions over data of an event.

    Raises:
        InvalidInput: for an unknown kind, or convolutions over what is no image.
    """
    check_choice("kind of network", network, NETWORKS)
    if network == "conv" and not event.is_image:
        raise InvalidInput(f"convolutions are over images (channel, height, width), got {event}: use network=mlp")
    return network == "conv" or (network == "auto" and event.is_image and min(event.shape[1:]) >= _SMALLEST)


def make_encoder(
    event: Event,
    condition: Event | None,
    outputs: int,
    *,
    network: str,
    hidden: Sequence[int],
    channels: Sequence[int],
    activation: str,
) -> MLP | ConvEncoder:
    """Return a network from data on the scale of `Event.to_network`, (batch, numel), to (batch, outputs).

    Args:
        event: what a datum is.
        condition: what the network is also given, or None.
        outputs: entries of what it gives.
        network: one of `NETWORKS`.
        hidden: units of each hidden layer.
        channels: channels of each convolution before them, where there are convolutions.
        activation: nonlinearity.

    Raises:
        InvalidInput: if an option is out of range, or convolutions do not fit the event.
    """
    if convolves(event, network):
        return ConvEncoder(event.shape, channels, hidden, outputs, activation, condition)
    return MLP(event.numel, hidden, outputs, activation, condition)


def make_decoder(
    event: Event,
    condition: Event | None,
    inputs: int,
    values: int,
    *,
    network: str,
    hidden: Sequence[int],
    channels: Sequence[int],
    activation: str,
) -> MLP | ConvDecoder:
    """Return a network from (batch, inputs) to (batch, numel * values), with so many values for each entry.

    It mirrors the encoder of the same options, which are as in `make_encoder`.

    Raises:
        InvalidInput: if an option is out of range, or convolutions do not fit the event.
    """
    if convolves(event, network):
        return ConvDecoder(inputs, hidden[::-1], channels[::-1], event.shape, values, activation, condition)
    return MLP(inputs, hidden[::-1], event.numel * values, activation, condition)


def widest(decoder: MLP | ConvDecoder) -> int:
    """Return the numbers of the largest layer inside a decoder of `make_decoder` for one code, or 0 where none is large."""
    return decoder.widest if isinstance(decoder, ConvDecoder) else 0
