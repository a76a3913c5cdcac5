"""What critic and generator minimise: a table of objectives by name."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput, near_matches
from ancestral.models.adversarial.divergences import NAMES as DIVERGENCES
from ancestral.models.adversarial.divergences import divergence

Elementwise = Callable[[Tensor], Tensor]
ALTERNATIVE = "-alternative"
"""After the name of an f-divergence: the generator minimises -E[g_f(V)] in place of -E[f*(g_f(V))]."""


@dataclass(frozen=True)
class Objective:
    r"""Critic: min E_x[real(V(x))] + E_z[fake(V(G(z)))]; generator: min E_z[generator(V(G(z)))]; V is the critic's output.

    Args:
        name: as a person writes it.
        real: what the critic minimises on data, elementwise.
        fake: what it minimises on samples, elementwise.
        generator: what the generator minimises on samples, elementwise.
        reference: short cite.
        classifies: whether the critic tells two classes apart by a proper score, so that labels can be smoothed.
        differs: whether only the difference of outputs on data and samples matters, so that a constant has no effect.

    >>> hinge = objective("hinge")
    >>> hinge.critic_loss(torch.tensor([[2.0], [0.5]]), torch.tensor([[-3.0]]))
    tensor(0.2500)
    """

    name: str
    real: Elementwise
    fake: Elementwise
    generator: Elementwise
    reference: str
    classifies: bool = False
    differs: bool = False

    def critic_loss(self, on_real: Tensor, on_fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the critic's loss, a scalar.

        Args:
            on_real: V of data, (batch, 1).
            on_fake: V of samples, (batch, 1).
            smoothing: share e of the other label on data, one-sided: (1 - e) real(V) + e fake(V) there.
        """
        if not smoothing:
            return self.real(on_real).mean() + self.fake(on_fake).mean()
        # Cross-entropy is linear in the label; so is, but for a constant, the squared distance to it.
        smooth = (1.0 - smoothing) * self.real(on_real) + smoothing * self.fake(on_real)
        return smooth.mean() + self.fake(on_fake).mean()

    def generator_loss(self, on_fake: Tensor) -> Tensor:
        """Return the generator's loss, a scalar, of V of samples, (batch, 1)."""
        return self.generator(on_fake).mean()


def _negative(v: Tensor) -> Tensor:
    return -v


def _identity(v: Tensor) -> Tensor:
    return v


def _witness(v: Tensor) -> Tensor:
    """Return tanh(v) / 2: at most 1/2 in size, and 1/2-Lipschitz in v, so that sup-norm and Lipschitz constant add up to 1."""
    return 0.5 * torch.tanh(v)


# log D = -softplus(-V), log(1 - D) = -softplus(V): finite at any V.
TABLE = {
    row.name: row
    for row in (
        Objective(
            "minimax",
            real=lambda v: F.softplus(-v),
            fake=lambda v: F.softplus(v),
            generator=lambda v: -F.softplus(v),
            reference="Goodfellow et al. 2014",
            classifies=True,
        ),
        Objective(
            "non-saturating",
            real=lambda v: F.softplus(-v),
            fake=lambda v: F.softplus(v),
            generator=lambda v: F.softplus(-v),
            reference="Goodfellow et al. 2014",
            classifies=True,
        ),
        Objective(
            "wasserstein",
            real=_negative,
            fake=_identity,
            generator=_negative,
            reference="Arjovsky et al. 2017",
            differs=True,
        ),
        Objective(
            "hinge",
            real=lambda v: F.relu(1.0 - v),
            fake=lambda v: F.relu(1.0 + v),
            generator=_negative,
            reference="Lim & Ye 2017",
        ),
        Objective(
            "least-squares",
            real=lambda v: 0.5 * (v - 1.0).square(),
            fake=lambda v: 0.5 * v.square(),
            generator=lambda v: 0.5 * (v - 1.0).square(),
            reference="Mao et al. 2017",
            classifies=True,
        ),
        Objective(
            "dudley",
            real=lambda v: -_witness(v),
            fake=_witness,
            generator=lambda v: -_witness(v),
            reference="Abbasnejad et al. 2018",
        ),
    )
}
"""The objectives that are no f-divergences, by name."""
NAMES = (*TABLE, *DIVERGENCES)
"""Names of all objectives; an f-divergence may have its parameter ("alpha=2"), and "-alternative" before that."""


@functools.cache
def objective(name: str) -> Objective:
    """Return an objective by name.

    Args:
        name: one of `NAMES`. Of an f-divergence the generator minimises -E[f*(g_f(V))], as in Algorithm 1 of the paper; with
            "-alternative" after its name ("kl-alternative", "alpha-alternative=2"), -E[g_f(V)], with larger gradients while
            the critic wins.

    Raises:
        InvalidInput: for an unknown name, with near matches, or an unfit parameter.

    References:
        f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization (Nowozin, Cseke & Tomioka, 2016),
        https://arxiv.org/abs/1606.00709, for those of f-divergences; the others' are in `docs/adversarial.md`.

    >>> objective("pearson").reference
    'Nowozin et al. 2016'
    """
    if name in TABLE:
        return TABLE[name]
    stem, equals, value = name.partition("=")
    alternative = stem.endswith(ALTERNATIVE)
    stem = stem.removesuffix(ALTERNATIVE)
    if stem not in DIVERGENCES:
        raise InvalidInput(
            f"there is no objective {name!r}.{near_matches(stem, NAMES)} Choose one of {', '.join(NAMES)}; those from"
            f" {DIVERGENCES[0]} on also with {ALTERNATIVE} after the name"
        )
    row = divergence(stem + equals + value)
    return Objective(
        name,
        real=lambda v: -row.activation(v),
        fake=row.conjugate_of_output,
        generator=(lambda v: -row.activation(v)) if alternative else (lambda v: -row.conjugate_of_output(v)),
        reference="Nowozin et al. 2016",
        classifies=stem in ("gan", "jensen-shannon"),
    )
