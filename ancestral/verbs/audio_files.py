"""Sound files that samples are written to."""

from pathlib import Path

import numpy as np
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.files import replacing
from ancestral.pcm import PCM

AUDIO_FILES = (".wav", ".flac")
"""Suffixes of sound files."""
GAP = 0.25
"""Seconds of silence between one sound and the next in a file."""


def sound_of(event: Event, path: Path | str) -> PCM:
    """Return what the samples of sounds are that go to a file.

    Raises:
        InvalidInput: if the data are no sounds.
    """
    if event.pcm is None:
        raise InvalidInput(f"{path} is a sound file, the data are {event}: write .npy, or a picture")
    return event.pcm


def save_audio(x: Tensor, event: Event, path: Path | str) -> None:
    """Write sounds to a file of 16 bits and one channel, one after another, a quarter of a second of silence between them.

    Linear samples of 16 bits are written as they are, others rounded.

    Args:
        x: levels, (n, samples).
        event: what a datum is.
        path: the file, .wav or .flac; it is whole or not changed at all.

    Raises:
        InvalidInput: if there are no data, they are no sounds, or the suffix is another.
    """
    import soundfile

    pcm = sound_of(event, path)
    if Path(path).suffix.lower() not in AUDIO_FILES:
        raise InvalidInput(f"{path} has no suffix of a sound file: use {' or '.join(AUDIO_FILES)}")
    if len(x) == 0:
        raise InvalidInput("there are no data to write: give at least one")
    levels = np.round(pcm.decode(x.detach()) * 2.0**15).clip(-(2**15), 2**15 - 1).astype(np.int16)  # (n, samples)
    gaps = np.zeros((len(x), round(GAP * pcm.rate)), np.int16)
    together = np.concatenate((levels, gaps), axis=1).ravel()
    with replacing(path) as temporary:
        soundfile.write(temporary, together[: len(together) - gaps.shape[1]], pcm.rate, subtype="PCM_16")
