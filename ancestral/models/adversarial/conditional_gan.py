"""Conditional GAN: generator and critic are both told what the datum is of."""

from ancestral.event import Event
from ancestral.models.adversarial.gan import GAN
from ancestral.models.registry import register


@register("conditional-gan")
class ConditionalGAN(GAN, defaults={"network": "auto", "latent": 100}):
    r"""min_G max_D E_{x,c}[log D(x | c)] + E_{z,c}[log(1 - D(G(z, c) | c))], c a label, several, or a vector.

    The condition is needed: each datum has one. A linear embedding of it is added to the first layer of both networks (see
    `ConditionEmbedding`), which for a label is the same as appending it, one-hot. The generator's loss is the non-saturating
    one.

    Args:
        network: auto: conv for images of at least 8 x 8, mlp else.
        latent: length of z.

    References:
        Conditional Generative Adversarial Nets (Mirza & Osindero, 2014), https://arxiv.org/abs/1411.1784. There networks are
        fully connected, the critic has maxout units, and both have dropout.

    >>> import torch
    >>> model = ConditionalGAN(Event.real((2,)), Event.label(3), latent=4, hidden=(8,))
    >>> model.sample(3, torch.tensor([0, 1, 2])).shape
    torch.Size([3, 2])
    """

    summary = "GAN of data given a label or a vector"
    reference = "Mirza & Osindero 2014"
    needs_condition = True
    training_defaults = {**GAN.training_defaults, "evaluate_limit": 256}
    examples = (
        {
            "event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)),
            "condition": Event.label(3),
            "latent": 2,
            "hidden": (8,),
        },
        {
            "event": Event.integers((1, 4, 5), 5),
            "condition": Event.real((2,)),
            "latent": 2,
            "network": "conv",
            "channels": (4, 6),
        },
        {"event": Event.binary((5,)), "condition": Event.labels((2, 2)), "latent": 2, "hidden": (8,)},
        {
            "event": Event.integers((1, 4, 5), 5),
            "condition": Event.sentences(3, 4),
            "latent": 2,
            "network": "conv",
            "channels": (4, 6),
            "text": "gru",
            "projection": True,
            "mismatched": 1.0,
        },
        {"event": Event.real((2,)), "condition": Event.sentences(2, 3), "latent": 2, "hidden": (8,), "text": "gru"},
    )
