"""Output heads: from a network's raw parameters to a distribution over one entry."""

from ancestral.distributions.heads import HEADS, Head, make_head
from ancestral.distributions.outputs import (
    Bernoulli,
    Categorical,
    DiscretizedLogisticMixture,
    GaussianMixture,
    Output,
)
from ancestral.distributions.sharpen import Sharpening

__all__ = [
    "HEADS",
    "Bernoulli",
    "Categorical",
    "DiscretizedLogisticMixture",
    "GaussianMixture",
    "Head",
    "Output",
    "Sharpening",
    "make_head",
]
