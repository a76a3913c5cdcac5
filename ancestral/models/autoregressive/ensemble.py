"""Mixtures of autoregressive models that share their parameters: one for each mask, or each order."""

import math

import torch
from torch import Tensor

from ancestral.likelihood import Likelihood
from ancestral.models.autoregressive.base import AutoregressiveModel, State


class Ensemble(AutoregressiveModel):
    r"""p(x | c) = 1/K sum_k p_k(x | c), with members p_k that share their parameters.

    The mixture is a distribution of its own: `log_prob` is its exact logarithm, and `sample` draws a member for each
    datum, then the datum from it. `forward` and `init_state` serve one member, the first where none is named.

    A subclass calls `_set_members`, and implements `member_forward` and `member_order`.
    """

    members: int

    def _set_members(self, members: int, what: str) -> None:
        self.members = members
        if members > 1:
            self.likelihood = Likelihood("exact", note=f"mixture of {members} {what}")

    def member_forward(self, member: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the raw head parameters of all conditionals of one member; see `AutoregressiveModel.forward`."""
        raise NotImplementedError

    def member_order(self, member: int) -> Tensor:
        """Return the flat index of the entry at each step of one member, (numel,)."""
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

    def log_prob(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        condition = self.check_batch(x, condition)
        each = [self.member_log_prob(k, x, condition) for k in range(self.members)]
        return torch.logsumexp(torch.stack(each), dim=0) - math.log(self.members)

    def init_state(self, n: int, condition: Tensor | None = None, order: Tensor | None = None, member: int = 0) -> State:
        """Return the state before the first step of one member, for `n` data.

        Args:
            n: batch size.
            condition: (n, *condition.shape), where the model has a condition.
            order: an order other than the member's own, (numel,), for models that serve any.
            member: which member of the mixture, from 0.

        Raises:
            InvalidInput: if `n` is not positive, the condition does not fit, or `order` is not a permutation.
            Unsupported: if the model does not serve any order.
        """
        if order is not None:
            return super().init_state(n, condition, order)
        return self._begin(n, condition, self.member_order(member), member=member)

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        condition = self.check_condition(condition, n)
        if self.members == 1:
            return self._run(self.init_state(n, condition), generator)
        x = torch.empty(n, *self.event.shape, dtype=self.event.dtype, device=self.device)
        member = torch.randint(self.members, (n,), generator=generator, device=self.device)
        for k in member.unique().tolist():
            rows = (member == k).nonzero()[:, 0]
            given = None if condition is None else condition[rows]
            x[rows] = self._run(self.init_state(len(rows), given, member=k), generator)
        return x
