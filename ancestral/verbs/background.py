"""Background models: what is common to all data of a kind, learned from data with noise."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.data.base import Batch, Split
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.training import Run
from ancestral.verbs.fit import LIMITS, fit, new_folder
from ancestral.verbs.inputs import Named, open_data, open_model

NOISE = 0.2
"""Share of the entries that are drawn anew where none is given."""


def noised(x: Tensor, event: Event, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """Return a copy of data in which entries, each with probability `rate`, are drawn anew, without regard to the others.

    Discrete entries are drawn evenly from their levels, real ones from a Gaussian of the event's loc and scale.

    Args:
        x: data, (batch, *event.shape).
        event: what a datum is: discrete or real, and of one length.
        rate: probability that an entry is drawn anew.
        generator: source of randomness.

    Raises:
        InvalidInput: if the rate is not in (0, 1], or the entries are of mixed columns or have an end.

    >>> noised(torch.zeros(1, 6), Event.binary((6,)), 0.5, torch.Generator().manual_seed(0)).sum() > 0
    tensor(True)
    """
    if not 0.0 < rate <= 1.0:
        raise InvalidInput(f"noise is {rate}, expected a share of the entries in (0, 1], such as {NOISE}")
    if event.columns is not None or event.end:
        raise InvalidInput(f"noise is for entries of one kind in data of one length, got {event}: name a background model")
    chosen = torch.rand(x.shape, generator=generator) < rate
    if event.levels is None:
        loc, scale = event.affine(x)
        fresh = loc + scale * torch.randn(x.shape, dtype=x.dtype, generator=generator)
    else:
        fresh = torch.randint(event.levels, x.shape, dtype=x.dtype, generator=generator)
    return torch.where(chosen, fresh, x)


class Noised:
    """A split whose data are read with noise, drawn anew at each reading.

    Args:
        split: the split.
        event: what a datum is.
        rate: probability that an entry is drawn anew.
    """

    def __init__(self, split: Split, event: Event, rate: float) -> None:
        self.base, self.event, self.rate = split, event, rate

    def __len__(self) -> int:
        return len(self.base)

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Batch:
        x, condition = self.base.batch(indices, generator)
        return noised(x, self.event, self.rate, generator), condition


def fit_background(
    model: Named,
    data: Data | str | None = None,
    *,
    noise: float = NOISE,
    model_options: dict[str, Any] | None = None,
    output: Path | str | None = None,
    progress: bool = True,
    **changes: Any,
) -> Run:
    """Train a model like another one, with its options and settings, on data with noise.

    Noise leaves how common each value is roughly as it was, and breaks what holds data together: what is left to learn is the
    background. The ratio of both models' likelihoods is then that of what makes a datum one of its kind.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        data: what it was trained on; what is recorded of it where None.
        noise: probability that an entry is drawn anew, as `noised` does.
        model_options: options in place of the model's own, such as channels=24: a smaller model learns the background sooner.
        output: the run directory; runs/<data>-<model>-background-<number> where None.
        progress: show a progress bar.
        changes: training settings in place of the model's own, such as epochs=5.

    Returns:
        The run of the background model.

    Raises:
        InvalidInput: if the data are not known or there is no noise for their entries, or a setting is out of range.

    References:
        Likelihood Ratios for Out-of-Distribution Detection (Ren et al., 2019), https://arxiv.org/abs/1906.02845. There the
        rate is chosen on known outliers, and the background model has an L2 penalty besides: `weight_decay=` gives one.
    """
    subject = open_model(model)
    data = open_data(data, subject)
    event = data.event
    noised(torch.zeros(0, *event.shape, dtype=event.dtype), event, noise)  # refuses what has no noise before training
    name = subject.model.name
    splits: dict[str, Split] = {k: Noised(data.split(k), event, noise) for k in ("train", "validation") if k in data.splits}
    steps = [*data.record.get("preprocessing", []), f"each entry drawn anew with probability {noise}"]
    record = {**data.record, "preprocessing": steps}
    limited = any(limit in changes for limit in LIMITS)  # a limit of these replaces the model's own
    settings = {k: v for k, v in subject.training.items() if k not in LIMITS or not (limited or v is None)}
    return fit(
        name,
        Data(data.name, event, splits, data.condition, data.about, record),
        output=output or new_folder(data.name, f"{name}-background"),
        model_options={**subject.model.config, **(model_options or {})},
        train={**settings, "samples": 0, "loggers": ("csv",), **changes},
        progress=progress,
    )
