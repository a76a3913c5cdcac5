"""Mixtures of Gaussians in the plane whose modes are known: what is asked of a sampler that may drop modes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZES = {"train": 100_000, "validation": 10_000, "test": 10_000}
"""Data of each split."""
SEED = 0
"""Of the draws."""


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians, all of one deviation and one weight.

    Args:
        means: of the modes, (modes, 2).
        scale: standard deviation of every mode along every axis.
    """

    means: tuple[tuple[float, float], ...]
    scale: float


RING = Mixture(tuple((math.cos(2.0 * math.pi * i / 8), math.sin(2.0 * math.pi * i / 8)) for i in range(8)), 0.01)
"""8 modes on a circle of radius 1."""
GRID = Mixture(tuple((float(x), float(y)) for x in range(-4, 5, 2) for y in range(-4, 5, 2)), 0.05)
"""25 modes on a square grid from -4 to 4."""
MIXTURES: Mapping[str, Mixture] = {"ring": RING, "grid": GRID}
"""The mixtures by the names of their data sets."""


def draw_mixture(mixture: Mixture) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.int64]]]:
    """Return the splits of a mixture, each drawn independently of the others, and the mode of each datum.

    Returns:
        By split, (n, 2), and numbers of modes, (n,).

    References:
        PacGAN: The power of two samples in generative adversarial networks (Lin, Khetan, Fanti & Oh, 2018),
        https://arxiv.org/abs/1712.04086, and its code, https://github.com/fjxmlzn/PacGAN, for the means, the deviations, and
        the 100,000 training data; the setting is that of VEEGAN (Srivastava et al., 2017), https://arxiv.org/abs/1705.07761.

    >>> x, modes = draw_mixture(RING)
    >>> x["test"].shape, int(modes["test"].max())
    ((10000, 2), 7)
    """
    rng = np.random.default_rng(SEED)
    means = np.array(mixture.means)
    x, modes = {}, {}
    for split, count in SIZES.items():
        modes[split] = rng.integers(len(means), size=count)
        x[split] = (means[modes[split]] + mixture.scale * rng.standard_normal((count, 2))).astype(np.float32)
    return x, modes
