"""Pictures of sounds: how strong which frequency is when."""

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.pcm import PCM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SOUNDS = 20
"""Sounds shown, the first ones."""
COLUMNS = 5
FRAME = 0.032
"""Seconds that a frame is about long; frames overlap by three quarters."""
RANGE = 70.0
"""Decibels below the loudest that are told from silence."""


def spectrograms(x: Tensor, pcm: PCM) -> "Figure":
    """Return a picture of sounds, of each its spectrogram on one scale for all.

    Args:
        x: levels, (n, samples); the first `MAX_SOUNDS` are shown.
        pcm: what they mean.

    >>> len(spectrograms(torch.full((2, 800), 128), PCM(8000)).axes)  # two sounds and the scale
    3
    """
    from matplotlib.figure import Figure

    shown = x[:MAX_SOUNDS]
    levels = decibels(shown, pcm)  # (n, frequencies, frames)
    columns = min(len(shown), COLUMNS)
    rows = math.ceil(len(shown) / columns)
    # Sizes and margins are in inches: to lay out so many axes for itself takes matplotlib seconds.
    width, height = 2.4 * columns + 1.8, 1.7 * rows + 0.8
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(0.7 / width, 0.6 / height, 1 - 1.1 / width, 1 - 0.2 / height, wspace=0.1, hspace=0.12)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    top = float(levels.max())
    style: dict[str, Any] = {"cmap": "magma", "vmin": top - RANGE, "vmax": top, "aspect": "auto", "origin": "lower"}
    extent = (0.0, shown.shape[1] / pcm.rate, 0.0, pcm.rate / 2000.0)
    drawn = [axis.imshow(one.numpy(), extent=extent, **style) for axis, one in zip(axes.flat, levels, strict=False)]
    axes[-1, 0].set_xlabel("time (s)")
    axes[-1, 0].set_ylabel("frequency (kHz)")
    scale = figure.add_axes((1 - 0.95 / width, 0.6 / height, 0.15 / width, 1 - 0.8 / height))
    figure.colorbar(drawn[0], cax=scale, label="dB")
    return figure


def decibels(x: Tensor, pcm: PCM) -> Tensor:
    r"""Return 20 log10 |X| of the short-time Fourier transform X of each sound, in Hann windows.

    A sine of amplitude 1 has about 0.

    Args:
        x: levels, (n, samples).
        pcm: what they mean.

    Returns:
        (n, frequencies, frames), dB, at least -120; frequencies from 0 to half the rate.
    """
    size = 2 ** max(3, round(math.log2(FRAME * pcm.rate)))
    amplitude = torch.from_numpy(pcm.decode(x)).float()
    amplitude = F.pad(amplitude, (0, max(0, size - amplitude.shape[1])))
    window = torch.hann_window(size)
    transform = torch.stft(amplitude, size, size // 4, window=window, pad_mode="constant", return_complex=True)
    return 20.0 * (transform.abs() * (2.0 / float(window.sum()))).clamp(min=1e-6).log10()
