"""DCGAN: generator and critic of strided convolutions alone."""

from ancestral.event import Event
from ancestral.models.adversarial.gan import GAN
from ancestral.models.registry import register


@register("dcgan")
class DCGAN(GAN, defaults={"network": "conv", "latent": 100, "channels": (64, 128, 256, 512)}):
    r"""The GAN of images by five rules of architecture; -E_z[log D(G(z))] is minimised by G, z ~ N(0, I).

    Strided convolutions in place of pooling, batch normalisation in both networks but for the generator's output and the
    critic's input, no hidden fully connected layers, ReLU in the generator, leaky ReLU in the critic; weights start from
    N(0, 0.02^2), and both networks have Adam of rate 2e-4 with a first decay of 0.5. Images may have any height and width.

    Args:
        network: conv.
        latent: length of z.
        channels: channels of each size, the largest first: at 64 x 64, images of 32, 16, 8 and 4 pixels.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (Radford, Metz &
        Chintala, 2016), https://arxiv.org/abs/1511.06434. There z is uniform, kernels are 5 x 5 and channels twice as many.

    >>> DCGAN(Event.integers((1, 9, 12), 256), latent=4, channels=(4, 8)).sample(2).shape
    torch.Size([2, 1, 9, 12])
    """

    summary = "GAN of images by strided convolutions and batch normalisation"
    reference = "Radford et al. 2016"
    images_only = True
    training_defaults = {**GAN.training_defaults, "batch_size": 128, "evaluate_limit": 256}
    examples = (
        {"event": Event.integers((1, 5, 4), 4), "latent": 3, "channels": (4, 6)},
        {"event": Event.real((2, 3, 3)), "condition": Event.label(3), "latent": 3, "channels": (4, 6)},
        {"event": Event.binary((1, 4, 4)), "latent": 3, "channels": (6,), "critic_normalization": "spectral"},
    )
