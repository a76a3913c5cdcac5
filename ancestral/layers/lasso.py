"""Sparse codes: the lasso for many data at once, to a duality gap."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.dictionaries import Dense, Dictionary

CHECK_EVERY = 10
"""Steps between looks at the gaps, at which rows that are done leave the batch."""


@dataclass(frozen=True)
class Codes:
    """Codes of a batch, and how far they may be from the best ones.

    Args:
        z: (batch, atoms).
        gap: (batch,), the objective less a lower bound on its minimum, in the units of x squared.
        steps: steps of the solver.
    """

    z: Tensor
    gap: Tensor
    steps: int


@torch.no_grad()
def lasso(
    x: Tensor,
    dictionary: Tensor | Dictionary,
    penalty: float,
    *,
    tolerance: float = 1e-5,
    max_steps: int = 1000,
    start: Tensor | None = None,
) -> Codes:
    r"""Return z = argmin 1/2 ||x - z D||^2 + penalty |z|_1 of each row of x, by accelerated proximal gradient with restarts.

    With G = D D' and L no less than its largest eigenvalue, a step is z = shrink(y - (y G - x D') / L, penalty / L),
    y = z + b (z - z_before), where b grows as in FISTA and is put back to 0 for the rows whose momentum points uphill.
    A residual r = x - z D, scaled until no atom correlates with it by more than the penalty, is feasible in the dual: the
    gap between the two objectives bounds what is left to gain. Rows whose gap is at most tolerance * ||x||^2 / 2 leave the
    batch. Codes for atoms that are not finite are NaN.

    Args:
        x: data, (batch, entries).
        dictionary: D, an atom in each row, (atoms, entries), or a linear map in its place, of the type of x.
        penalty: weight of |z|_1, positive.
        tolerance: gap at which a row is done, relative to the objective of z = 0.
        max_steps: steps after which rows are left as they are, and their gap says how good they are.
        start: first z, (batch, atoms); zeros where None.

    Returns:
        The codes with their gaps.

    Raises:
        InvalidInput: if the penalty is not positive, or the shapes do not fit.

    References:
        A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems (Beck & Teboulle, 2009),
        https://doi.org/10.1137/080716542.
        Adaptive Restart for Accelerated Gradient Schemes (O'Donoghue & Candes, 2015), https://arxiv.org/abs/1204.3982.

    >>> codes = lasso(torch.tensor([[3.0, 0.5]]), torch.eye(2), penalty=1.0)  # orthonormal atoms: x, shrunk
    >>> codes.z
    tensor([[2., 0.]])
    """
    if not penalty > 0.0:
        raise InvalidInput(f"the penalty of a lasso is {penalty}, expected a positive weight, such as 0.5")
    if isinstance(dictionary, Tensor) and dictionary.dim() == 2:
        dictionary = Dense(dictionary.to(x.dtype))
    if isinstance(dictionary, Tensor) or x.dim() != 2 or x.shape[1] != dictionary.entries:
        shape = dictionary.shape if isinstance(dictionary, Tensor) else (dictionary.atoms, dictionary.entries)
        raise InvalidInput(
            f"got data of shape {tuple(x.shape)} and atoms of shape {tuple(shape)}, expected (batch, entries) and"
            " (atoms, entries)"
        )
    with torch.autocast(x.device.type, enabled=False):  # a gap of a thousandth needs more digits than bf16 has
        return _solved(x, dictionary, penalty, tolerance, max_steps, start)


def _solved(
    x: Tensor, dictionary: Dictionary, penalty: float, tolerance: float, max_steps: int, start: Tensor | None
) -> Codes:
    lipschitz = max(dictionary.norm_squared(), torch.finfo(x.dtype).tiny)
    if lipschitz == torch.inf:
        nowhere = torch.full((len(x), dictionary.atoms), torch.nan, dtype=x.dtype, device=x.device)
        return Codes(nowhere, nowhere[:, 0], 0)
    step, shrink = 1.0 / lipschitz, penalty / lipschitz
    target = dictionary.correlate(x) * step  # (b, k)
    descend = dictionary.descent(step)
    z_out = torch.zeros(len(x), dictionary.atoms, dtype=x.dtype, device=x.device) if start is None else start.clone()
    gap_out = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
    enough = tolerance * 0.5 * x.square().sum(1)
    rows = torch.arange(len(x), device=x.device)
    z = y = z_out
    t = torch.ones(len(x), 1, dtype=x.dtype, device=x.device)
    for taken in range(1, max_steps + 1):
        before = z
        z = F.softshrink(descend(y, target), shrink)  # (b, k)
        change = z - before
        # Momentum that points uphill is dropped, row by row.
        t = torch.where(((y - z) * change).sum(1, keepdim=True) > 0, 1.0, t)
        after = 0.5 * (1.0 + torch.sqrt(1.0 + 4.0 * t.square()))
        y = torch.addcmul(z, (t - 1.0) / after, change)
        t = after
        if taken % CHECK_EVERY == 0 or taken == max_steps:
            gap = duality_gap(x, z, dictionary, penalty)
            z_out[rows], gap_out[rows] = z, gap
            left = gap > enough
            if not bool(left.any()):
                break
            if int(left.sum()) < len(rows):
                rows, x, z, y, t, target, enough = (v[left] for v in (rows, x, z, y, t, target, enough))
    return Codes(z_out, gap_out, taken)


def duality_gap(x: Tensor, z: Tensor, dictionary: Tensor | Dictionary, penalty: float) -> Tensor:
    """Return the lasso's objective at codes z less a bound from below on its minimum, (batch,); see `lasso`."""
    if isinstance(dictionary, Tensor):
        dictionary = Dense(dictionary)
    residual = x - dictionary.tell(z)  # (b, d)
    correlation = dictionary.correlate(residual).abs().amax(1, keepdim=True)
    dual = residual * (penalty / correlation.clamp(min=penalty))
    primal = 0.5 * residual.square().sum(1) + penalty * z.abs().sum(1)
    return primal - 0.5 * (x.square().sum(1) - (x - dual).square().sum(1))
