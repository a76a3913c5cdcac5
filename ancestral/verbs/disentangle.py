"""Disentanglement: whether each latent stands for one factor of the data, where the factors are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data import Data
from ancestral.data.shapes import FACTORS
from ancestral.errors import InvalidInput
from ancestral.verbs.codes import encoded, first_labelled, open_coder
from ancestral.verbs.inputs import Named, check_counts, open_data

BINS = 20
"""Bins of equal width that a latent's values are sorted into, for its mutual information with a factor."""
TREES = 50
"""Trees of the forest that tells a factor from the codes."""


@dataclass(frozen=True)
class Disentanglement:
    """How well latents and factors go together; each figure is 1 at best.

    Args:
        gap: mutual information gap, the mean over the factors.
        disentanglement: of DCI: each latent tells one factor.
        completeness: of DCI: one latent tells each factor.
        informativeness: of DCI: share of the held-out data whose factor is told right from their codes, the mean over factors.
        by_factor: gap, completeness and informativeness of each factor, by its name.
        importance: of each latent for each factor, (latents, factors); sums to 1 over the latents.
        data: name of the data.
        count: data that were looked at.
        latents: entries of a code.
    """

    gap: float
    disentanglement: float
    completeness: float
    informativeness: float
    by_factor: dict[str, dict[str, float]]
    importance: NDArray[np.float64]
    data: str
    count: int
    latents: int

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-able values."""
        return {**self.__dict__, "importance": self.importance.tolist()}


def disentangle(
    model: Named,
    data: Data | str | None = None,
    factors: Sequence[str] = tuple(FACTORS),
    *,
    split: str = "train",
    held_out: str = "test",
    limit: int | None = None,
    seed: int = 0,
) -> Disentanglement:
    """Measure how the codes of data go together with their factors: the mutual information gap, and DCI.

    Args:
        model: an unconditional model with codes, or its zoo name, run directory or hub repository.
        data: data with known factors, their name or path; what the model was trained on where None.
        factors: columns of the factors, each with classes; those of the data set `shapes` where not given.
        split: name of the split whose codes are looked at.
        held_out: name of the split on which factors are told.
        limit: data used of each, the first ones; all where None.
        seed: seed of the forests.

    Raises:
        Unsupported: if the model has no codes.
        InvalidInput: if the model has a condition, or the data lack the factors.
    """
    check_counts(limit=limit)
    subject = open_coder(model)
    coder = subject.model
    if coder.condition is not None:
        raise InvalidInput(
            f"{subject.name} is given {coder.condition}, which its codes need not tell: measure a model without a condition"
        )
    columns = list(factors) if len(factors) != 1 else factors[0]
    data = open_data(data, subject, {"condition": columns})
    if data.condition is None or data.condition.levels is None:
        raise InvalidInput(f"factors have classes, {data.name} has {data.condition or 'none'}: name columns with factors=")
    sides = []
    for name in (split, held_out):
        x, labels = first_labelled(data, name, limit, "factors")
        sides.append((encoded(coder, x, None).double(), labels.view(len(labels), -1)))
    (codes, of), (others, of_others) = sides
    names = list(factors) if len(factors) == of.shape[1] else [f"factor {k}" for k in range(of.shape[1])]
    gaps = mutual_information_gaps(codes, of)
    importance, told = importances(codes, of, others, of_others, seed)
    disentanglement, completeness = dci(importance)
    rows = zip(names, gaps.tolist(), completeness.tolist(), told, strict=True)
    return Disentanglement(
        gap=float(gaps.mean()),
        disentanglement=disentanglement,
        completeness=float(completeness.mean()),
        informativeness=float(np.mean(told)),
        by_factor={n: {"gap": g, "completeness": c, "informativeness": i} for n, g, c, i in rows},
        importance=importance,
        data=data.name,
        count=len(codes),
        latents=codes.shape[1],
    )


def mutual_information_gaps(codes: Tensor, factors: Tensor, bins: int = BINS) -> Tensor:
    r"""Return (I(z_j; v_k) - max_(l != j) I(z_l; v_k)) / H(v_k) of each factor v_k, z_j the latent that tells most of it.

    Args:
        codes: (n, latents), each sorted into bins of equal width between its least and its largest value.
        factors: numbers of classes, (n, factors).
        bins: how many.

    Returns:
        (factors,), each in [0, 1]; 0 for a factor that does not vary.

    References:
        Isolating Sources of Disentanglement in Variational Autoencoders (Chen et al., 2018), https://arxiv.org/abs/1802.04942.
        There the information is an average over the posterior; here that of its mean, by counting, as in Locatello et al.
        (2019), https://arxiv.org/abs/1811.12359.

    >>> v = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    >>> mutual_information_gaps(v.double(), v).tolist(), mutual_information_gaps(v[:, [0, 0]].double(), v).tolist()
    ([1.0, 1.0], [0.0, 0.0])
    """
    low, high = codes.amin(0), codes.amax(0)
    binned = ((codes - low) / (high - low).clamp(min=1e-300) * bins).floor().clamp(max=bins - 1).long()
    gaps = []
    for k in range(factors.shape[1]):
        factor = factors[:, k]
        entropy = _entropy(torch.bincount(factor))
        told = [
            _entropy(torch.bincount(b)) + entropy - _entropy(torch.bincount(b * (int(factor.max()) + 1) + factor))
            for b in binned.unbind(1)
        ]
        first, second = sorted([*told, 0.0], reverse=True)[:2]
        gaps.append((first - second) / entropy if entropy > 0.0 else 0.0)
    return torch.tensor(gaps, dtype=torch.float64).clamp(0.0, 1.0)


def importances(
    codes: Tensor, factors: Tensor, held_codes: Tensor, held_factors: Tensor, seed: int = 0
) -> tuple[NDArray[np.float64], list[float]]:
    """Return how much each latent counts for telling each factor, by a random forest, and how often it is told right.

    Args:
        codes: (n, latents).
        factors: (n, factors).
        held_codes: codes of data held out, (m, latents).
        held_factors: their factors, (m, factors).
        seed: of the forests.

    Returns:
        (latents, factors), sums over latents are 1 (0 for a factor that does not vary); and the accuracy of each factor.
    """
    from sklearn.ensemble import RandomForestClassifier

    columns, told = [], []
    for k in range(factors.shape[1]):
        forest = RandomForestClassifier(TREES, min_samples_leaf=5, max_features=None, random_state=seed)
        forest.fit(codes.numpy(), factors[:, k].numpy())
        columns.append(forest.feature_importances_)
        told.append(float(forest.score(held_codes.numpy(), held_factors[:, k].numpy())))
    return np.stack(columns, axis=1), told


def dci(importance: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    r"""Return the disentanglement of latents and the completeness of each factor, from the importance R of each for each.

    D = sum_i rho_i (1 - H_K(R_i. / sum_k R_ik)), rho_i the share of latent i in all of R, and
    C_j = 1 - H_D(R_.j / sum_i R_ij); H_K is the entropy to the base of the number of factors, H_D to that of latents.

    Args:
        importance: R, (latents, factors), not negative.

    Returns:
        D, and C, (factors,).

    References:
        A Framework for the Quantitative Evaluation of Disentangled Representations (Eastwood & Williams, 2018),
        https://openreview.net/forum?id=By-7dz-AZ.

    >>> D, C = dci(np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]]))
    >>> round(D, 3), C.round(3).tolist()
    (1.0, [1.0, 0.369])
    """
    latents, factors = importance.shape
    by_latent = np.array([_even(row) for row in importance]) if factors > 1 else np.zeros(latents)
    by_factor = np.array([_even(column) for column in importance.T]) if latents > 1 else np.zeros(factors)
    total = importance.sum()
    weights = importance.sum(1) / total if total > 0 else np.zeros(latents)
    return float((weights * (1.0 - by_latent)).sum()), 1.0 - by_factor


def _even(values: NDArray[np.float64]) -> float:
    """Return the entropy of values that are not negative, as a share of the largest that there is; 1 where all are 0."""
    total = values.sum()
    if total <= 0:
        return 1.0
    p = values[values > 0] / total
    return float(-(p * np.log(p)).sum() / np.log(len(values)))


def _entropy(counts: Tensor) -> float:
    """Return the entropy of counts, nats."""
    p = counts[counts > 0].double() / counts.sum()
    return float(-(p * p.log()).sum())
