"""Output heads: from a network's raw parameters to a distribution over one entry."""

from ancestral.distributions.heads import HEADS, Head, make_head
from ancestral.distributions.outputs import (
    Bernoulli,
    Categorical,
    DiscretizedLogisticMixture,
    GaussianMixture,
    Output,
)

__all__ = [
    "HEADS",
    "Bernoulli",
    "Categorical",
    "DiscretizedLogisticMixture",
    "GaussianMixture",
    "Head",
    "Output",
    "make_head",
]
