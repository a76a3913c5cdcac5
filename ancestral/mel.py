"""Log-mel spectrograms, which a vocoder is given, and the distance of sounds by their spectra."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput

WINDOW = 0.032
"""Seconds that a frame is about long; frames begin a quarter of it after one another."""
FLOOR = 1e-5
"""Magnitude below which a band counts as silent."""
RESOLUTIONS = (0.016, 0.032, 0.064)
"""Seconds of the windows that spectra are compared in."""


@dataclass(frozen=True)
class Mel:
    r"""Log-mel spectrograms: log max(floor, sum_f M_{bf} |X_{tf}|), X the short-time Fourier transform in Hann windows.

    M has triangles, evenly spaced from 0 to half the rate on the scale 2595 log10(1 + f / 700), of height 1. Frame t is
    centred on sample t `hop`; the last one is at the end of the sound or after it. Beyond its ends there is silence.

    Args:
        rate: samples per second, in hertz.
        bands: number of bands.

    Raises:
        InvalidInput: if there is no band, or the rate is too low for so many.

    References:
        The scale: Speech Communication: Human and Machine (O'Shaughnessy, 1987), p. 150.

    >>> mel = Mel(8000, bands=40)
    >>> mel.size, mel.hop, mel.frames(6000), mel(torch.zeros(2, 6000)).shape
    (256, 64, 95, torch.Size([2, 95, 40]))
    """

    rate: int
    bands: int = 40

    def __post_init__(self) -> None:
        if self.bands < 1 or bool((self.filters().sum(1) == 0).any()):
            raise InvalidInput(f"a sound of {self.rate} Hz has no {self.bands} mel bands with a frequency in each: take fewer")

    @property
    def size(self) -> int:
        """Samples of a window, a power of 2."""
        return 2 ** max(3, round(math.log2(WINDOW * self.rate)))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.size // 4

    def frames(self, samples: int) -> int:
        """Return the number of frames of a sound."""
        return 1 + math.ceil(samples / self.hop)

    def filters(self) -> Tensor:
        """Return M, (bands, frequencies), frequencies from 0 to half the rate; transforms have twice a window's points."""
        frequency = torch.linspace(0.0, self.rate / 2, self.size + 1, dtype=torch.float64)
        edges = torch.linspace(0.0, _mel(self.rate / 2), self.bands + 2, dtype=torch.float64)
        corner = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
        rising = (frequency - corner[:-2, None]) / (corner[1:-1] - corner[:-2])[:, None]
        falling = (corner[2:, None] - frequency) / (corner[2:] - corner[1:-1])[:, None]
        return torch.minimum(rising, falling).clamp(min=0.0).float()

    def __call__(self, amplitude: Tensor) -> Tensor:
        """Return log-mel spectrograms, (n, frames, bands), of amplitudes in [-1, 1], (n, samples)."""
        magnitude = _magnitudes(amplitude, self.size, self.hop, 2 * self.size, self.frames(amplitude.shape[1]))
        return (self.filters() @ magnitude).clamp(min=FLOOR).log().mT.contiguous()


def _mel(frequency: float) -> float:
    return 2595.0 * math.log10(1.0 + frequency / 700.0)


def _magnitudes(amplitude: Tensor, size: int, hop: int, points: int, frames: int) -> Tensor:
    """Return |X|, (n, frequencies, frames), of frames centred on every `hop`-th sample; a sine of amplitude 1 has about 1."""
    before = points // 2
    after = max(0, (frames - 1) * hop + points - before - amplitude.shape[1])
    padded = F.pad(amplitude, (before, after))
    window = torch.hann_window(size, dtype=amplitude.dtype)
    transform = torch.stft(padded, points, hop, win_length=size, window=window, center=False, return_complex=True)
    return transform[..., :frames].abs() * (2.0 / float(window.sum()))


def spectral_distance(x: Tensor, y: Tensor, rate: int, windows: Sequence[float] = RESOLUTIONS) -> Tensor:
    r"""Return how far sounds are from others by their spectra: the mean over resolutions of two terms.

    ||X - Y|| / ||Y|| + mean |log X - log Y|, of the magnitudes X, Y of short-time Fourier transforms, at least 1e-5 in the
    logarithms. Phases do not count.

    Args:
        x: amplitudes in [-1, 1], (n, samples).
        y: those that they are compared with, (n, samples).
        rate: samples per second, in hertz.
        windows: seconds of the windows.

    Returns:
        (n,); 0 where the sounds are equal.

    References:
        Parallel WaveGAN (Yamamoto et al., 2020), https://arxiv.org/abs/1910.11480, equations 3 to 6. Here windows are
        told in seconds, and a sound of silence has a convergence of the norm of X.

    >>> x = torch.sin(torch.arange(800.0))[None]
    >>> spectral_distance(x, x, 8000)
    tensor([0.])
    """
    if x.shape != y.shape or x.dim() != 2:
        raise InvalidInput(f"sounds of shapes {tuple(x.shape)} and {tuple(y.shape)} do not compare: give two of (n, samples)")
    total = torch.zeros(len(x))
    for seconds in windows:
        size = 2 ** max(3, round(math.log2(seconds * rate)))
        hop = size // 4
        a, b = (_magnitudes(s.float(), size, hop, size, 1 + math.ceil(x.shape[1] / hop)) for s in (x, y))
        norm = b.flatten(1).norm(dim=1)
        convergence = (a - b).flatten(1).norm(dim=1) / torch.where(norm > 0, norm, 1.0)
        logs = (a.clamp(min=FLOOR).log() - b.clamp(min=FLOOR).log()).abs().flatten(1).mean(1)
        total += convergence + logs
    return total / len(windows)
