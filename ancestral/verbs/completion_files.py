"""The files that completions are written to."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ancestral.event import Event
from ancestral.files import replacing
from ancestral.verbs import pictures
from ancestral.verbs.audio_files import AUDIO_FILES, save_audio
from ancestral.verbs.audio_pictures import completed_spectrograms
from ancestral.verbs.complete import Completion
from ancestral.verbs.score import check_suffix, save_table

if TYPE_CHECKING:
    import pandas

FILES = (".png", ".npy", ".csv", ".parquet", *AUDIO_FILES)
"""Suffixes of the files that completions are written to."""


def save(done: Completion, event: Event, path: Path | str, truth: Tensor | None = None) -> None:
    """Write completions to a file by its suffix: a picture, .npy, a table .csv or .parquet of likelihoods, or sound .wav.

    Images and sounds make a grid, a row for each datum: what was given, the completions, the truth; other data make a map.

    Args:
        done: the completions.
        event: what a datum is.
        path: the file; it is whole or not changed at all.
        truth: the whole data, (batch, *event.shape), where they are known; for pictures of images and sounds.

    Raises:
        InvalidInput: for another suffix, or .wav or .flac where the data are no sounds.
    """
    check_suffix(path, FILES)
    suffix = Path(path).suffix.lower()
    if suffix == ".png" and event.is_image:
        pictures.save_image(pictures.completion_grid(event, done.x, done.observed, done.log_prob, truth), path)
    elif suffix == ".png" and event.pcm is not None:
        observed = done.observed.flatten(1).expand(len(done.x), -1)
        pictures.save_figure(completed_spectrograms(done.x, observed, event.pcm, done.log_prob, truth), path)
    elif suffix == ".png":
        pictures.samples(event, done.x.flatten(0, 1), path)
    elif suffix == ".npy":
        with replacing(path) as temporary:
            np.save(temporary, done.x.numpy(), allow_pickle=False)
    elif suffix in AUDIO_FILES:
        save_audio(done.x.flatten(0, 1), event, path)
    else:
        save_table(to_table(done), path)


def to_table(done: Completion) -> "pandas.DataFrame":
    """Return a row for each completion: datum, completion, log_prob and log_evidence (nats), and how."""
    import pandas

    batch, n = done.x.shape[:2]
    nothing = torch.full((batch,), math.nan)
    columns = {
        "datum": torch.arange(batch).repeat_interleave(n).numpy(),
        "completion": torch.arange(n).repeat(batch).numpy(),
        "log_prob": (nothing.repeat_interleave(n) if done.log_prob is None else done.log_prob.flatten()).numpy(),
        "log_evidence": (nothing if done.log_evidence is None else done.log_evidence).repeat_interleave(n).numpy(),
        "kind": str(done.kind),
        "method": [method for method in done.method for _ in range(n)],
    }
    if done.effective_sample_size is not None:
        columns["effective_sample_size"] = done.effective_sample_size.repeat_interleave(n).numpy()
    return pandas.DataFrame(columns)
