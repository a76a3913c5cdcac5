"""Divergence: the first loss that is no finite number ends a run, and never reaches what it keeps."""

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.models.base import Model
from ancestral.training import checkpoint as checkpoints

ADVICE = "lower --train.learning_rate, set --train.clip 1, or use --train.precision 32"
REMEMBERED = 10_000
"""Batches at most that are looked through for the first one."""


class Watch:
    """The losses and terms of the batches since they were last looked at.

    On a CPU each loss is looked at as it comes. On another device that would wait for it at each step, and one of several
    processes that stops alone leaves the others waiting: there `check` looks, before anything is logged or kept.

    Args:
        path: the run directory, whose checkpoints stay as they are.
        steps_per_epoch: batches of an epoch.
        at_once: look at each loss before the step is taken.
    """

    def __init__(self, path: Path, steps_per_epoch: int, *, at_once: bool) -> None:
        self.path, self.steps_per_epoch, self.at_once = path, steps_per_epoch, at_once
        self._seen: deque[tuple[int, dict[str, Tensor]]] = deque(maxlen=REMEMBERED)

    def see(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Take the loss and the terms of one batch.

        Args:
            step: steps taken before it.
            values: by name, scalars.

        Raises:
            InvalidInput: if the loss is looked at once, and is not finite.
        """
        self._seen.append((step, {name: value.detach() for name, value in values.items()}))
        if self.at_once and not math.isfinite(float(values["loss"].detach())):
            self._refuse(*self._seen[-1])

    def check(self, total: Tensor) -> None:
        """Forget what was seen, or raise if it is not finite.

        Args:
            total: the sum of all losses and terms since the last check, over all processes.

        Raises:
            InvalidInput: naming the terms and the batch of the first one that is not finite.
        """
        seen = list(self._seen)
        self._seen.clear()
        if math.isfinite(float(total)):
            return
        for step, values in seen:
            if not all(bool(value.isfinite()) for value in values.values()):
                self._refuse(step, values)
        raise InvalidInput(f"training diverged: the losses of all processes add up to {float(total)}; {self._way_out()}")

    def check_figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Raise if a figure of validation after `step` steps is not finite."""
        for name, value in figures.items():
            if not math.isfinite(value):
                raise InvalidInput(f"training diverged: validation {name} is {value} after step {step}; {self._way_out()}")

    def check_weights(self, step: int, model: Model, weights: Mapping[str, Tensor]) -> None:
        """Raise if a parameter among a model's `weights` after `step` steps is not finite; buffers may hold what they like."""
        for name, _ in model.named_parameters():
            if name in weights and not bool(weights[name].isfinite().all()):
                raise InvalidInput(f"training diverged: {name} is not finite after step {step}; {self._way_out()}")

    def _refuse(self, step: int, values: Mapping[str, Tensor]) -> None:
        bad = {name: float(value) for name, value in values.items() if not bool(value.isfinite())}
        terms = {name: value for name, value in bad.items() if name != "loss"} or bad
        said = ", ".join(f"{name} is {value}" for name, value in terms.items())
        epoch, batch = divmod(step, self.steps_per_epoch)
        raise InvalidInput(
            f"training diverged: {said} at step {step + 1}, batch {batch + 1} of epoch {epoch + 1}; {self._way_out()}"
        )

    def _way_out(self) -> str:
        kept = checkpoints.newest(self.path / "checkpoints")
        if kept is None:
            return f"{ADVICE}; there is no checkpoint yet: start again with --overwrite"
        return f"{ADVICE}; the last good checkpoint, {kept}, is kept: ancestral fit --resume {self.path}"
