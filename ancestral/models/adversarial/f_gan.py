"""f-GAN: a generator that lowers an f-divergence, by its variational bound."""

from ancestral.event import Event
from ancestral.models.adversarial.gan import GAN
from ancestral.models.registry import register


@register("f-gan")
class FGAN(GAN, defaults={"objective": "kl-alternative", "latent": 100, "generator_normalization": "batch"}):
    r"""min_G max_V E_x[g_f(V(x))] - E_z[f*(g_f(V(G(z))))], a lower bound of D_f(data || samples).

    f is convex, f* its conjugate and g_f maps what the critic puts out, V, into the domain of f*: a row of the table in
    `divergences.py`, which `objective` names, such as kl, pearson, squared-hellinger, jensen-shannon or alpha=2. With
    -alternative after the name the generator minimises -E_z[g_f(V(G(z)))], which the paper found to work better.

    Args:
        objective: an f-divergence, or any other objective.
        latent: length of z.
        generator_normalization: batch, as in the paper; virtual-batch or none.

    References:
        f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization (Nowozin, Cseke & Tomioka, 2016),
        https://arxiv.org/abs/1606.00709, Algorithm 1. There z is uniform, and batches have 4096 data.

    >>> FGAN(Event.real((2,)), latent=4, hidden=(8,), objective="pearson").sample(3).shape
    torch.Size([3, 2])
    """

    summary = "GAN that lowers a bound of any f-divergence: KL, Pearson, Hellinger and eight more"
    reference = "Nowozin et al. 2016"
    training_defaults = {**GAN.training_defaults, "clip": 1.0}
    examples = (
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "latent": 2, "hidden": (8,)},
        {
            "event": Event.integers((1, 2, 2), 5),
            "condition": Event.label(3),
            "latent": 2,
            "hidden": (8,),
            "objective": "jensen-shannon",
        },
        {"event": Event.binary((5,)), "latent": 2, "hidden": (8,), "objective": "alpha=0.4"},
    )
