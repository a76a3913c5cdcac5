"""Exponential moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ancestral.training.state import distribute


class EMA:
    r"""Shadow weights s <- decay s + (1 - decay) w, with decay min(decay, (1 + t) / (10 + t)) in the first steps.

    Args:
        model: the model; its parameters are averaged, its buffers are used as they are.
        decay: in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        self.parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self.shadow = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow towards the current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.shadow, self.parameters, 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the shadow in the model's place for the time of the context."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, shadow in zip(self.parameters, self.shadow, strict=True):
            kept = parameter.clone()
            parameter.copy_(shadow)
            shadow.copy_(kept)

    def state(self) -> dict[str, Tensor]:
        """Return the shadow by parameter name."""
        return dict(zip(self.names, self.shadow, strict=True))

    @torch.no_grad()
    def load(self, state: dict[str, Tensor], updates: int) -> None:
        """Restore what `state` returned."""
        self.updates = updates
        for name, shadow in zip(self.names, self.shadow, strict=True):
            shadow.copy_(distribute(state[name], shadow))
