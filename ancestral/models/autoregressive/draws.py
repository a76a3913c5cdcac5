"""How the values of entries are chosen from noise, said in full: so that a model can take many steps in one call."""

import torch
from torch import Tensor

from ancestral.distributions import Head, Sharpening


class EntryValue:
    """From raw parameters and noise to values on the scale of the head.

    Args:
        head: the head.
        sharpening: what is done to its distributions.
    """

    def __init__(self, head: Head, sharpening: Sharpening) -> None:
        self.head, self.sharpening = head, sharpening
        self.noises = sharpening(head(torch.zeros(head.parameters))).noises

    def __call__(self, raw: Tensor, noise: Tensor) -> Tensor:
        """Return values, (...), for raw parameters, (..., parameters), and noise, (..., noises)."""
        return self.sharpening(self.head(raw)).from_noise(noise)


class Draws:
    """What is chosen at the steps of `AutoregressiveModel.run`: given values as they are, the others drawn from noise.

    Args:
        value: from raw parameters and noise to values.
        noise: uniform noise of each entry, (batch, numel, noises); None where all entries that are visited are given.
        given: values on the event's scale, (batch, numel); None where none is given.
        observed: whether each entry is given, (numel,), on the CPU; all where None.
        scored: whether log p of what is chosen is summed up.
    """

    def __init__(
        self,
        value: EntryValue,
        noise: Tensor | None = None,
        given: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        scored: bool = False,
    ) -> None:
        self.value, self.noise, self.given, self.scored = value, noise, given, scored
        self._observed = None if observed is None else observed.tolist()
        self.log_p = torch.zeros((), dtype=torch.float64)
        """log p of what was chosen so far, where it is summed up, given what came before it, (batch,), nats, in float64."""

    def is_given(self, entry: int) -> bool:
        """Whether the value of an entry (flat index) is given."""
        return self.given is not None and (self._observed is None or self._observed[entry])

    def noise_of(self, entry: int | list[int]) -> Tensor:
        """Return the noise of an entry, (batch, noises), or of several, (batch, entries, noises).

        Raises:
            RuntimeError: if there is none.
        """
        if self.noise is None:
            raise RuntimeError("draws without noise came to an entry that is not given")
        return self.noise[:, entry]

    def add(self, log_prob: Tensor) -> None:
        """Note log p of values that were chosen, (batch,)."""
        self.log_p = self.log_p + log_prob.double()
