"""Modes: how many of those that data are known to have a model's samples find, and how evenly."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.data import load as load_data
from ancestral.data.mixtures import MIXTURES
from ancestral.errors import InvalidInput, Unsupported
from ancestral.verbs.features import drawn_like, features_of
from ancestral.verbs.inputs import Named, check_counts, open_data, open_model

STACKED = "stacked-mnist"
"""The data set whose modes are told by a classifier of digits."""
POINTS, PICTURES = 2_500, 26_000
"""Samples where no number is given: of points in the plane as in VEEGAN, of stacked digits as in PacGAN."""
DEVIATIONS = 3.0
"""A sample of points is of high quality within so many standard deviations of the nearest mode."""


@dataclass(frozen=True)
class Modes:
    """How the samples of a model lie over the modes of its data.

    Args:
        model: the model's name.
        data: name of the data.
        found: modes that at least one sample is of; of points, one of high quality.
        modes: modes that there are.
        kl: KL(p || uniform), nats, p the share of each mode among the samples that were assigned to one; None where none was.
        count: samples.
        high_quality: share of samples within three deviations of the mode nearest to them; None of pictures.
        standard_error: of that share.
        expected: of points, the share that the data themselves have.
        classifier: of pictures, what told the digits.
        accuracy: of pictures, share of MNIST's test digits that it tells right.
        shares: of each mode among the samples, (modes,).
    """

    model: str
    data: str
    found: int
    modes: int
    kl: float | None
    count: int
    high_quality: float | None
    standard_error: float | None
    expected: float | None
    classifier: str | None
    accuracy: float | None
    shares: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        kl = "no sample of a mode" if self.kl is None else f"KL to uniform {self.kl:.4f} nats"
        text = f"{self.model} on {self.data} ({self.count:,} samples): {self.found:,} of {self.modes:,} modes, {kl}"
        if self.high_quality is not None:
            text += (
                f"\nhigh quality {self.high_quality:.1%} ± {self.standard_error:.1%} (within {DEVIATIONS:g} deviations of a"
                f" mode; data {self.expected:.1%})"
            )
        if self.accuracy is not None:
            text += f"\ndigits told by {self.classifier}, right on {self.accuracy:.2%} of MNIST's test digits"
        return text


def modes(model: Named, data: Data | str | None = None, *, n: int | None = None, seed: int = 0) -> Modes:
    """Count the modes that a model's samples find, of data whose modes are known: ring, grid or stacked-mnist.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        data: the data; what the model was trained on where None.
        n: samples; 2,500 of points and 26,000 of pictures where None.
        seed: seed of the draws.

    Raises:
        InvalidInput: if the model is for other data.
        Unsupported: if the modes of the data are not known.

    References:
        VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning (Srivastava et al., 2017),
        https://arxiv.org/abs/1705.07761, for high quality within three standard deviations.
        PacGAN: The power of two samples in generative adversarial networks (Lin et al., 2018),
        https://arxiv.org/abs/1712.04086, for 26,000 samples and the KL of stacked MNIST. There distances of points are
        Euclidean ones over the deviation, as here; each has a classifier of digits of its own.
    """
    check_counts(n=n)
    subject = open_model(model)
    data = open_data(data, subject)
    if data.name not in (*MIXTURES, STACKED):
        raise Unsupported(
            f"the modes of {data.name} are not known: name data of {', '.join((*MIXTURES, STACKED))}, and a model of such"
        )
    count = n or (POINTS if data.name in MIXTURES else PICTURES)
    x, _ = drawn_like(subject, data, count, "train", seed)
    if data.name in MIXTURES:
        return mixture_modes(x, data, subject.name)
    return stacked_modes(x, subject.name)


def mixture_modes(x: Tensor, data: Data | str, model: str = "samples") -> Modes:
    """Return how points lie over the modes of a mixture of Gaussians.

    Args:
        x: points, (n, 2).
        data: ring or grid, or its name.
        model: what to call the points.

    >>> from ancestral.data.mixtures import RING
    >>> found = mixture_modes(torch.tensor(RING.means[:4]), "ring")
    >>> found.found, found.high_quality, round(found.kl, 4)
    (4, 1.0, 0.6931)
    """
    name = data if isinstance(data, str) else data.name
    mixture = MIXTURES[name]
    means = torch.tensor(mixture.means, dtype=torch.float64)
    distance, nearest = torch.cdist(x.double(), means).min(1)
    good = distance < DEVIATIONS * mixture.scale
    share = float(good.double().mean())
    counts = torch.bincount(nearest[good], minlength=len(means))
    return Modes(
        model=model,
        data=name,
        found=int((counts > 0).sum()),
        modes=len(means),
        kl=kl_to_uniform(counts),
        count=len(x),
        high_quality=share,
        standard_error=math.sqrt(share * (1.0 - share) / len(x)),
        expected=1.0 - math.exp(-0.5 * DEVIATIONS**2),  # of two independent normal variables
        classifier=None,
        accuracy=None,
        shares=_shares(counts),
    )


def stacked_modes(x: Tensor, model: str = "samples") -> Modes:
    """Return how pictures of three digits lie over the 1,000 modes, by a classifier of MNIST's training digits.

    Args:
        x: pictures, (n, 3, 28, 28), of 256 levels.
        model: what to call them.

    Raises:
        InvalidInput: if MNIST is not to be had.
    """
    if x.shape[1:] != (3, 28, 28):
        raise InvalidInput(f"stacked digits are of shape (3, 28, 28), got {tuple(x.shape[1:])}: give samples of {STACKED}")
    features = features_of(load_data("mnist", condition="label"))
    digits = torch.stack([features.told(channel[:, None])[:, 0] for channel in x.unbind(1)], dim=1)  # (n, 3)
    counts = torch.bincount(digits @ torch.tensor([100, 10, 1]), minlength=1000)
    return Modes(
        model=model,
        data=STACKED,
        found=int((counts > 0).sum()),
        modes=1000,
        kl=kl_to_uniform(counts),
        count=len(x),
        high_quality=None,
        standard_error=None,
        expected=None,
        classifier=features.name,
        accuracy=features.accuracy,
        shares=_shares(counts),
    )


def kl_to_uniform(counts: Tensor) -> float | None:
    """Return KL(p || uniform), nats, of the shares p that counts of modes, (modes,), have; None where all are 0.

    >>> kl_to_uniform(torch.tensor([5, 5])), round(kl_to_uniform(torch.tensor([7, 0])), 4)
    (0.0, 0.6931)
    """
    total = counts.sum()
    if not total:
        return None
    p = counts[counts > 0].double() / total
    return float((p * (p * len(counts)).log()).sum())


def _shares(counts: Tensor) -> tuple[float, ...]:
    return tuple((counts.double() / counts.sum().clamp(min=1)).tolist())
