"""The state that a model of sequences carries from one batch of a text to the next."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.base import Model


class Carry:
    """Truncated back-propagation through time: lets a model go on where the batch before ended.

    Args:
        model: the model.

    Raises:
        InvalidInput: if it is no model of sequences.
        Unsupported: if it has no state to carry.
    """

    def __init__(self, model: Model) -> None:
        if not isinstance(model, SequenceModel):
            raise InvalidInput(f"a {model.name} has no state to carry from batch to batch: leave carry out")
        model.carry(1)  # says so where it cannot
        model.carry(None)
        self.model = model

    def follow(self, n: int, *, anew: bool) -> None:
        """Prepare for the next batch, of `n` data; `anew` where it is the first of the text."""
        if anew or self.model.carried is None:
            self.model.carry(n)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the model begin each pass anew, and go on afterwards where it was."""
        carried, self.model.carried = self.model.carried, None
        try:
            yield
        finally:
            self.model.carried = carried

    def end(self) -> None:
        """Let the model begin each pass anew, as before the run."""
        self.model.carry(None)

    def state(self) -> dict[str, Tensor]:
        """Return what is carried, by number."""
        return {str(i): tensor for i, tensor in enumerate(self.model.carried or ())}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        carried = tuple(state[str(i)].to(self.model.device) for i in range(len(state)))
        self.model.carried = carried or None
