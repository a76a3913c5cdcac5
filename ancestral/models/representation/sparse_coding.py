"""Sparse coding: each datum as a sum of few atoms of a dictionary that is learned."""

import torch
from torch import Tensor

from ancestral.event import Event
from ancestral.layers.lasso import Codes, lasso
from ancestral.models.registry import register
from ancestral.models.representation.dictionary import EXACT, DictionaryModel, active


@register("sparse-coding")
class SparseCoding(DictionaryModel):
    r"""min over atoms and codes of E[1/2 ||x - sum_k z_k d_k||^2 + l |z|_1], ||d_k|| <= 1.

    x is on the scale of `Event.to_network`. Codes are solved for (`ancestral.layers.lasso`), to a gap that is measured, with
    the atoms as they are; then the atoms take a step, and go back into the unit ball. There is no likelihood: the
    penalty is that of a Laplace prior, and its codes are one value, not a distribution.

    Args:
        event: what a datum is.
        condition: must be None.
        atoms: number of d_k; more than entries of x make the dictionary overcomplete.
        penalty: l, positive: the larger, the fewer z_k are other than 0.
        tolerance: duality gap at which codes are good enough to learn from, relative to the objective of z = 0; `encode`
            and `measures` go to 1e-5.

    Raises:
        InvalidInput: if an option is out of range.

    References:
        Emergence of simple-cell receptive field properties by learning a sparse code for natural images (Olshausen & Field,
        1996), https://doi.org/10.1038/381607a0. There the penalty is of log(1 + z^2), and codes are descended to; here |z|,
        whose codes have true zeros and a bound on their error.
        Online Learning for Matrix Factorization and Sparse Coding (Mairal, Bach, Ponce & Sapiro, 2010),
        https://jmlr.org/papers/v11/mairal10a.html, for |z| and atoms in the unit ball. There atoms are updated one by one
        from sums over all codes so far; here by any optimizer.

    >>> model = SparseCoding(Event.real((4,)), atoms=6, penalty=0.5)
    >>> model.decode(model.encode(torch.zeros(2, 4))).shape
    torch.Size([2, 4])
    """

    summary = "each datum as a sum of few atoms of a learned dictionary"
    reference = "Olshausen & Field 1996"
    examples = (
        {"event": Event.binary((5,)), "atoms": 6, "penalty": 0.1},
        {"event": Event.integers((1, 2, 2), 4), "atoms": 3, "penalty": 0.05},
        {"event": Event.real((3,), loc=(1.0, 2.0, 3.0), scale=(2.0, 1.0, 0.5)), "atoms": 4, "penalty": 0.1},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        atoms: int = 256,
        penalty: float = 1.0,
        tolerance: float = 0.03,
    ) -> None:
        super().__init__(event, condition, atoms=atoms, penalty=penalty, tolerance=tolerance)

    def solve(self, y: Tensor, tolerance: float) -> Codes:
        return lasso(y, self.atoms, self.penalty, tolerance=tolerance)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        return self.solve(self.flat(x), EXACT).z

    def loss(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        *,
        group: str = "dictionary",
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        y = self.flat(x)
        codes = self.solve(y, self.tolerance)
        error = self.error(y, codes.z).mean()
        size = self.penalty * codes.z.abs().sum(1).mean()
        return {"loss": error + size, "error": error.detach(), "active": active(codes.z).mean(), "gap": codes.gap.mean()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return by datum "objective", its part "error", 1/2 ||x - z D||^2, "active", entries of z other than 0, and "gap"."""
        y = self.flat(x)
        codes = self.solve(y, EXACT)
        error = self.error(y, codes.z)
        objective = error + self.penalty * codes.z.abs().sum(1)
        return {"objective": objective, "error": error, "active": active(codes.z), "gap": codes.gap}
