"""Log-mel spectrograms and distances of spectra, beside NumPy's transform and triangles drawn one by one."""

import math

import numpy as np
import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.mel import Mel, spectral_distance


def noise(n: int, samples: int, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(n, samples, generator=torch.Generator().manual_seed(seed))


def by_hand(x: np.ndarray, rate: int, bands: int, size: int, hop: int) -> np.ndarray:
    """Log-mel frames as the docstring has them, each from NumPy's transform of samples picked one by one."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    top = 2595.0 * math.log10(1.0 + rate / 1400.0)
    corner = [700.0 * (10.0 ** (top * i / (bands + 1) / 2595.0) - 1.0) for i in range(bands + 2)]
    frames = []
    for centre in range(0, math.ceil(len(x) / hop) * hop + 1, hop):
        places = range(centre - size // 2, centre + size // 2)
        piece = window * np.array([x[i] if 0 <= i < len(x) else 0.0 for i in places])
        spectrum = np.abs(np.fft.rfft(piece, 2 * size)) * 2.0 / window.sum()
        frame = []
        for low, middle, high in zip(corner, corner[1:], corner[2:], strict=False):
            total = 0.0
            for k, magnitude in enumerate(spectrum):
                f = k * rate / (2 * size)
                if low < f <= middle:
                    total += magnitude * (f - low) / (middle - low)
                elif middle < f < high:
                    total += magnitude * (high - f) / (high - middle)
            frame.append(math.log(max(total, 1e-5)))
        frames.append(frame)
    return np.array(frames)


@pytest.mark.parametrize(("rate", "bands", "samples"), [(8000, 40, 1000), (2000, 12, 301), (8000, 20, 64)])
def test_log_mel_is_what_it_says(rate: int, bands: int, samples: int) -> None:
    mel = Mel(rate, bands)
    x = noise(1, samples)
    found = mel(x)
    assert found.shape == (1, mel.frames(samples), bands)
    np.testing.assert_allclose(found[0].numpy(), by_hand(x[0].double().numpy(), rate, bands, mel.size, mel.hop), atol=2e-4)


def test_a_tone_is_in_its_band_and_silence_is_at_the_floor() -> None:
    mel = Mel(8000)
    tone = torch.sin(2 * math.pi * 1000.0 / 8000 * torch.arange(4000))[None]
    band = int(mel(tone)[0, 30].argmax())
    assert mel.filters()[band, round(1000 / 8000 * 2 * mel.size)] > 0.4
    assert torch.equal(mel(torch.zeros(1, 500)), torch.full((1, mel.frames(500), 40), 1e-5).log())


def test_too_many_bands_are_refused() -> None:
    with pytest.raises(InvalidInput, match="take fewer"):
        Mel(8000, 400)


def test_distance_is_nothing_for_equals_and_grows_with_noise() -> None:
    x = noise(3, 2000)
    assert torch.equal(spectral_distance(x, x, 8000), torch.zeros(3))
    little, much = (spectral_distance(x + s * noise(3, 2000, 1), x, 8000) for s in (0.05, 1.0))
    assert bool((little > 0).all())
    assert bool((little < much).all())
    # The phase of a tone does not count, its pitch does.
    t = torch.arange(4000) * (2 * math.pi / 8000)
    tone, later, higher = torch.sin(500 * t)[None], torch.cos(500 * t)[None], torch.sin(900 * t)[None]
    assert spectral_distance(later, tone, 8000) < 0.3 < spectral_distance(higher, tone, 8000)


def test_distance_of_a_gain_is_known() -> None:
    """Twice the amplitude: a convergence of 1 and log 2, where nothing is below the floor."""
    x = noise(2, 4000)
    torch.testing.assert_close(spectral_distance(2 * x, x, 8000), torch.full((2,), 1 + math.log(2)), rtol=1e-3, atol=1e-3)


def test_sounds_of_other_lengths_do_not_compare() -> None:
    with pytest.raises(InvalidInput, match="do not compare"):
        spectral_distance(noise(1, 10), noise(1, 11), 8000)
