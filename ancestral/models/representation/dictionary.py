"""What models with a dictionary share: atoms in the unit ball, codes that are solved for, and the objective."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.lasso import Codes
from ancestral.layers.mlp import check_sizes
from ancestral.models.base import Model

EXACT = 1e-5
"""Relative gap of codes that are not learned from: those of `measures`, and of `encode` where it solves for them. Single
precision cannot tell gaps that are much smaller."""


class DictionaryModel(Model):
    r"""x ~ sum_k z_k d_k with few z_k other than 0, ||d_k|| <= 1: a subclass says which codes z are best for given atoms.

    Training alternates: the best codes of a batch for the atoms as they are, then a step of the atoms for these codes, after
    which those that are too long are put back into the unit ball.

    Args:
        event: what a datum is.
        condition: must be None.
        atoms: number of d_k.
        penalty: weight of |z|_1, positive.
        tolerance: duality gap at which codes are good enough to learn from, relative to the objective of z = 0.

    Raises:
        InvalidInput: if an option is out of range.
    """

    family = "representation"
    conditional = False
    monitor = "objective"
    training_defaults = {"learning_rate": 5e-2, "batch_size": 256}

    def __init__(self, event: Event, condition: Event | None = None, *, atoms: int, penalty: float, tolerance: float) -> None:
        super().__init__(event, condition)
        check_sizes("atoms", (atoms,))
        if not penalty > 0.0:
            raise InvalidInput(f"penalty is {penalty}, expected a positive weight of |z|_1, such as 1")
        if not 0.0 < tolerance < 1.0:
            raise InvalidInput(f"tolerance is {tolerance}, expected a relative gap in (0, 1), such as 0.01")
        self.penalty, self.tolerance = penalty, tolerance
        start = torch.randn(atoms, event.numel)
        self.atoms = nn.Parameter(start / start.norm(dim=1, keepdim=True))  # (k, d)

    def solve(self, y: Tensor, tolerance: float) -> Codes:
        """Return the best codes of `y`, (batch, numel), on the scale of `Event.to_network`, for the atoms as they are."""
        raise NotImplementedError

    def flat(self, x: Tensor) -> Tensor:
        """Return data, (batch, *event.shape), on the scale of `Event.to_network`, (batch, numel)."""
        return self.event.to_network(x, self.dtype).flatten(1)

    def filters(self) -> Tensor:
        """Return the atoms as data, (atoms, *event.shape)."""
        return self.atoms.detach().view(-1, *self.event.shape)

    def error(self, y: Tensor, z: Tensor) -> Tensor:
        """Return 1/2 ||y - z D||^2, (batch,), for `y`, (batch, numel), and codes, (batch, atoms)."""
        return 0.5 * (y - (z @ self.atoms).to(self.dtype)).square().sum(1)

    def after_step(self, group: str) -> None:
        with torch.no_grad():
            self.atoms.div_(self.atoms.norm(dim=1, keepdim=True).clamp(min=1.0))

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_condition(condition, len(code))
        y = (code.to(self.dtype) @ self.atoms).view(-1, *self.event.shape)
        return self.event.from_network(y).to(self.event.dtype)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"dictionary": list(self.parameters())}

    def groups_at(self, step: int) -> Sequence[str]:
        return ("dictionary",)


def active(z: Tensor) -> Tensor:
    """Return the number of entries other than 0 of each code, (batch,), as floats."""
    return (z != 0).to(z.dtype).sum(1)
