"""Pictures of sounds: how strong which frequency is when."""

import math
from collections.abc import Sequence
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


def spectrograms(x: Tensor, pcm: PCM, columns: int = COLUMNS, titles: Sequence[str] = ()) -> "Figure":
    """Return a picture of sounds, of each its spectrogram on one scale for all.

    Args:
        x: levels, (n, samples); the first `MAX_SOUNDS` are shown.
        pcm: what they mean.
        columns: sounds beside one another.
        titles: what is written above each; nothing where there are none.

    >>> len(spectrograms(torch.full((2, 800), 128), PCM(8000)).axes)  # two sounds and the scale
    3
    """
    from matplotlib.figure import Figure

    shown = x[:MAX_SOUNDS]
    levels = decibels(shown, pcm)  # (n, frequencies, frames)
    columns = min(len(shown), columns)
    rows = math.ceil(len(shown) / columns)
    # Sizes and margins are in inches: to lay out so many axes for itself takes matplotlib seconds.
    title = 0.25 if titles else 0.0
    width, height = 2.4 * columns + 1.8, (1.7 + title) * rows + 0.8 + title
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    top, apart = 1 - (0.2 + title) / height, (0.2 + title) / 1.7
    figure.subplots_adjust(0.7 / width, 0.6 / height, 1 - 1.1 / width, top, wspace=0.1, hspace=apart)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    loudest = float(levels.max())
    style: dict[str, Any] = {"cmap": "magma", "vmin": loudest - RANGE, "vmax": loudest, "aspect": "auto", "origin": "lower"}
    extent = (0.0, shown.shape[1] / pcm.rate, 0.0, pcm.rate / 2000.0)
    drawn = [axis.imshow(one.numpy(), extent=extent, **style) for axis, one in zip(axes.flat, levels, strict=False)]
    for axis, text in zip(axes.flat, titles, strict=False):
        axis.set_title(text, fontsize="small", pad=3.0)
    axes[-1, 0].set_xlabel("time (s)")
    axes[-1, 0].set_ylabel("frequency (kHz)")
    scale = figure.add_axes((1 - 0.95 / width, 0.6 / height, 0.15 / width, top - 0.6 / height))
    figure.colorbar(drawn[0], cax=scale, label="dB")
    return figure


def completed_spectrograms(
    x: Tensor, observed: Tensor, pcm: PCM, log_prob: Tensor | None = None, truth: Tensor | None = None
) -> "Figure":
    """Return completed sounds as one picture, a row for each: what was given, the completions, and the truth if known.

    What was not observed is hatched in what was given, and lies between lines in what it was completed to.

    Args:
        x: levels, (batch, n, samples); as many rows are shown as `MAX_SOUNDS` allows, one at least.
        observed: (batch, samples), bool.
        pcm: what levels mean.
        log_prob: log p(completion | observed), (batch, n), nats.
        truth: (batch, samples).

    >>> len(completed_spectrograms(torch.full((2, 3, 800), 128), torch.ones(2, 800, dtype=torch.bool), PCM(8000)).axes)
    9
    """
    n = min(x.shape[1], MAX_SOUNDS - (1 if truth is None else 2))
    x = x[:, :n]
    shown = torch.cat((x[:, :1], x) if truth is None else (x[:, :1], x, truth[:, None].to(x.dtype)), dim=1)
    columns = shown.shape[1]
    rows = min(len(shown), max(1, MAX_SOUNDS // columns))
    titles = []
    for row in range(rows):
        values = [f"{float(value):.1f} nats" for value in log_prob[row, :n]] if log_prob is not None else [""] * n
        titles += ["given", *values, *([] if truth is None else ["truth"])]
    figure = spectrograms(shown[:rows].flatten(0, 1), pcm, columns, titles)
    for row in range(rows):
        hidden = F.pad((~observed[row]).int(), (1, 1)).diff()  # 1 where a gap begins, -1 where it has ended
        edges = zip((hidden == 1).nonzero()[:, 0].tolist(), (hidden == -1).nonzero()[:, 0].tolist(), strict=True)
        given, *others = figure.axes[row * columns : (row + 1) * columns]
        for begin, end in edges:
            given.axvspan(begin / pcm.rate, end / pcm.rate, facecolor="0.75", edgecolor="0.45", hatch="///", linewidth=0.0)
            for axis in others[:n]:
                for edge in (begin, end):
                    axis.axvline(edge / pcm.rate, color="white", linestyle="--", linewidth=0.8)
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
