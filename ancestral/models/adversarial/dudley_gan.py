"""Dudley GAN: a critic in the unit ball of the bounded Lipschitz norm."""

from ancestral.event import Event
from ancestral.models.adversarial.gan import GAN
from ancestral.models.registry import register


@register("dudley-gan")
class DudleyGAN(
    GAN,
    defaults={
        "objective": "dudley",
        "network": "auto",
        "latent": 100,
        "critic_normalization": "spectral",
        "regularisers": ("sup-norm=1",),
    },
):
    r"""min_G max_h E_x[h(x)] - E_z[h(G(z))] over ||h||_sup + ||h||_Lip <= 1: the Dudley metric of data and samples.

    h = tanh(V) / 2, where V is of spectrally normalised layers: |h| <= 1/2, and h has half the Lipschitz constant of V,
    which is 1, as far as the power iteration of each layer has converged (see `layers.lipschitz`). A distance between data
    counts as far as it is short: the metric is that of weak convergence, and bounded.

    Args:
        objective: dudley.
        network: auto: conv for images of at least 8 x 8, mlp else; residual adds layers up, and is not certified.
        latent: length of z.
        critic_normalization: spectral, or orthogonal, which is exact at each step and slower.
        regularisers: sup-norm, which keeps |V| near 1, where tanh has a slope.

    References:
        Deep Lipschitz networks and Dudley GANs (Abbasnejad, Shi & van den Hengel, 2018),
        https://paperswithcode.com/paper/deep-lipschitz-networks-and-dudley-gans. There both bounds are penalties.

    >>> DudleyGAN(Event.real((2,)), latent=4, hidden=(8,)).sample(3).shape
    torch.Size([3, 2])
    """

    summary = "GAN whose critic is bounded and Lipschitz, by its layers"
    reference = "Abbasnejad et al. 2018"
    training_defaults = {**GAN.training_defaults, "evaluate_limit": 256}
    examples = (
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "latent": 2, "hidden": (8,)},
        {
            "event": Event.integers((1, 4, 5), 5),
            "condition": Event.label(3),
            "latent": 2,
            "network": "conv",
            "channels": (4, 6),
        },
        {"event": Event.binary((5,)), "latent": 2, "hidden": (8,), "critic_normalization": "orthogonal"},
    )
