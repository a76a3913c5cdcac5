"""Mixtures of autoregressive models that share their parameters: one for each mask, or each order."""

import math

import torch
from torch import Tensor

from ancestral.likelihood import Likelihood
from ancestral.models.autoregressive.base import AutoregressiveModel


class Ensemble(AutoregressiveModel):
    r"""p(x | c) = 1/K sum_k p_k(x | c), with members p_k that share their parameters.

    The mixture is a distribution of its own: `log_prob` is its exact logarithm, and `sample` draws a member for each
    datum, then the datum from it. `forward` and `init_state` serve one member, the first where none is named.

    A subclass calls `_set_members`, and implements `member_forward` and `member_order`.
    """

    def _set_members(self, members: int, what: str) -> None:
        self.members = members
        if members > 1:
            self.likelihood = Likelihood("exact", note=f"mixture of {members} {what}")

    def member_forward(self, member: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def member_log_prob(self, member: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return log p_k(x | condition), exactly.

        Args:
            member: k, from 0.
            x: data, (batch, *event.shape).
            condition: (batch, *condition.shape), where the model has a condition.

        Returns:
            (batch,), nats.
        """
        return self.entry_log_prob(self.member_forward(member, x, condition), x).flatten(1).sum(1)

    @property
    def order(self) -> Tensor:
        return self.member_order(0)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.member_forward(0, x, condition)

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        condition = self.check_batch(x, condition)
        each = [self.member_log_prob(k, x, condition) for k in range(self.members)]
        return torch.logsumexp(torch.stack(each), dim=0) - math.log(self.members)
