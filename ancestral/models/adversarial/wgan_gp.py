"""WGAN-GP: a critic of slope 1, which bounds the Wasserstein distance, by a penalty on its gradient."""

from ancestral.event import Event
from ancestral.models.adversarial.gan import GAN
from ancestral.models.registry import register


@register("wgan-gp")
class WGANGP(
    GAN,
    defaults={
        "objective": "wasserstein",
        "network": "auto",
        "latent": 128,
        "critic_steps": 5,
        "regularisers": ("gradient-penalty=10",),
    },
):
    r"""min_G max_V E_x[V(x)] - E_z[V(G(z))] - 10 E_y[(||grad V(y)|| - 1)^2], y on the line from a sample to a datum.

    The largest difference of means over functions of Lipschitz constant 1 is the Wasserstein distance of data and samples;
    the critic takes five steps for each of the generator to come near it. The critic judges each datum by itself: it has
    no batch normalisation, but layer normalisation where it is of convolutions.

    Args:
        objective: wasserstein.
        network: auto: conv for images of at least 8 x 8, mlp else; residual is the paper's of CIFAR-10.
        latent: length of z.
        critic_steps: updates of the critic for each of the generator.
        regularisers: the gradient penalty with the paper's weight.

    References:
        Improved Training of Wasserstein GANs (Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, 2017),
        https://arxiv.org/abs/1704.00028, Algorithm 1, with Adam(1e-4, 0, 0.9) and batches of 64.

    >>> WGANGP(Event.real((2,)), latent=4, hidden=(8,)).sample(3).shape
    torch.Size([3, 2])
    """

    summary = "GAN of the Wasserstein distance, with a penalty on the slope of its critic"
    reference = "Gulrajani et al. 2017"
    training_defaults = {
        **GAN.training_defaults,
        "learning_rate": 1e-4,
        "betas": (0.0, 0.9),
        "batch_size": 64,
        "evaluate_limit": 256,
    }
    examples = (
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "latent": 2, "hidden": (8,)},
        {
            "event": Event.integers((1, 4, 5), 5),
            "condition": Event.label(3),
            "latent": 2,
            "network": "residual",
            "channels": (4,),
            "critic_steps": 2,
        },
        {"event": Event.binary((1, 3, 3)), "latent": 2, "network": "conv", "channels": (4, 6), "critic_steps": 1},
    )
