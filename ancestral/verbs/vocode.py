"""Vocoding: sounds drawn from the log-mel spectra of recordings, and how far they are from them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.errors import Unsupported
from ancestral.event import Event
from ancestral.mel import spectral_distance
from ancestral.verbs.evaluate import Moments
from ancestral.verbs.inputs import Named, check_counts, open_data, open_model
from ancestral.verbs.sample import sample


@dataclass(frozen=True)
class Vocoded:
    """Recordings and what was drawn from their spectra.

    Args:
        event: what a sound is.
        recorded: levels, (n, samples).
        drawn: levels, (n, samples).
        distance: of each to its recording, (n,); see `ancestral.mel.spectral_distance`.
        others: mean distance of the other recordings to it, (n,): what knowing nothing of it comes to.
    """

    event: Event
    recorded: Tensor
    drawn: Tensor
    distance: Tensor
    others: Tensor

    def __str__(self) -> str:
        mine, theirs = Moments.of(self.distance), Moments.of(self.others)
        error = "" if mine.standard_error is None else f" ± {mine.standard_error:.3f}"
        other = "" if theirs.mean != theirs.mean else f"; of other recordings {theirs.mean:.3f}"
        return f"multi-resolution spectral distance of {mine.count} sounds: {mine.mean:.3f}{error}{other}"


def vocode(
    model: Named,
    data: Data | str | None = None,
    split: str = "test",
    *,
    limit: int = 8,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
) -> Vocoded:
    """Draw sounds from the log-mel spectra of recordings, by a model that was trained with `--data.condition mel`.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        data: recordings, their name or path; what the model was trained on where None.
        split: name of the split.
        limit: recordings used, the first ones.
        temperature: as in `sample`.
        seed: seed of the draws.
        batch_size: sounds drawn at once; a size that fits in memory where None.
        progress: show a progress bar.

    Raises:
        Unsupported: if the model is not of sounds given their spectra.
        InvalidInput: if there is no such split, or the data do not fit.
    """
    check_counts(limit=limit)
    subject = open_model(model)
    event, condition = subject.model.event, subject.model.condition
    if event.pcm is None or condition is None or condition.axes[:1] != ("time",):
        raise Unsupported(
            f"{subject.name} is of {event} data, given {condition or 'nothing'}; vocoding needs sounds given log-mel spectra:"
            " train one with --data.condition mel"
        )
    part = open_data(data, subject).split(split)
    recorded, frames = part.batch(torch.arange(min(limit, len(part))), torch.Generator().manual_seed(seed))
    drawn = sample(
        subject.model,
        len(recorded),
        frames,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    mine, theirs = (torch.from_numpy(event.pcm.decode(x)).float() for x in (drawn, recorded))
    n, rate = len(theirs), event.pcm.rate
    shifts = [spectral_distance(theirs.roll(k, 0), theirs, rate) for k in range(1, n)]
    others = torch.stack(shifts).mean(0) if shifts else torch.full((n,), float("nan"))
    return Vocoded(event, recorded, drawn, spectral_distance(mine, theirs, rate), others)
