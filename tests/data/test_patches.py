"""Patches: the filter at single frequencies, what is cut where, what is left out and counted, and splits kept apart."""

import numpy as np
import pytest
import torch

from ancestral.data import load
from ancestral.data.patches import CUTOFF, cut, valued, whiten
from ancestral.errors import InvalidInput


def waves(*frequencies: float, side: int = 64) -> np.ndarray:
    return sum(np.cos(2 * np.pi * f * np.arange(side)) for f in frequencies) * np.ones((1, side, 1))


def test_the_filter_is_the_ramp_with_the_low_pass_at_each_frequency() -> None:
    low, high = 4 / 64, 16 / 64
    spectrum = np.abs(np.fft.fft(whiten(waves(low, high))[0, 0]))
    gains = {f: f * np.exp(-((f / CUTOFF) ** 4)) for f in (low, high)}
    assert spectrum[16] / spectrum[4] == pytest.approx(gains[high] / gains[low], rel=1e-9)


def test_an_amplitude_that_falls_as_the_frequency_is_made_flat() -> None:
    random = np.random.default_rng(0)
    f = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None])
    f[0, 0] = 1.0
    pink = np.real(np.fft.ifft2(np.fft.fft2(random.standard_normal((128, 128))) / f))[None]
    power = np.abs(np.fft.fft2(whiten(pink)[0])) ** 2
    bands = [power[(f > a) & (f < b)].mean() for a, b in ((0.02, 0.08), (0.08, 0.14), (0.14, 0.2))]
    assert max(bands) < 1.3 * min(bands)


def test_patches_are_pieces_of_their_image() -> None:
    images = [np.arange(30).reshape(1, 5, 6), 100 + np.arange(24).reshape(1, 4, 6)]
    patches, origin = cut(images, 3, 7, np.random.default_rng(0))
    assert patches.shape == (7, 1, 3, 3)
    assert origin.tolist() == [0, 0, 0, 0, 1, 1, 1]
    for patch, i in zip(patches, origin, strict=True):
        row, column = divmod(int(patch[0, 0, 0]) - 100 * i, 6)
        assert np.array_equal(patch[0], images[i][0, row : row + 3, column : column + 3])


def test_fewer_patches_than_images_are_of_different_images() -> None:
    _, origin = cut([np.zeros((1, 3, 3))] * 10, 2, 6, np.random.default_rng(0))
    assert len(set(origin.tolist())) == 6


def test_flat_patches_are_left_out() -> None:
    patches = np.zeros((4, 1, 2, 2), np.uint8)
    patches[1, 0, 0, 0], patches[2] = 200, 7
    kept_patches, kept = valued(patches, "pixels")
    assert kept.tolist() == [False, True, False, False]
    assert np.array_equal(kept_patches, patches[1:2])
    contrast, _ = valued(patches, "contrast")
    assert float(contrast.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(contrast.std()) == pytest.approx(1.0, rel=1e-3)


def test_any_images_can_be_cut_and_the_record_counts() -> None:
    data = load("digits", patches=4, condition="label")
    assert str(data.event) == "1x4x4 17 levels"
    (step,) = data.record["preprocessing"]
    assert "patches of 4 x 4 cut at random (seed 0)" in step
    left_out = int(step.split("one value: ")[1].split(" of ")[0])
    assert left_out + sum(len(split) for split in data.splits.values()) == 20_000
    assert data.condition is not None
    again = load("digits", patches=4, condition="label", **{})
    for name, split in data.splits.items():
        assert torch.equal(split.x, again.splits[name].x)
    assert not torch.equal(data.split("train").x[:10], load("digits", patches=4, seed=1).split("train").x[:10])


def test_held_out_patches_are_of_other_images() -> None:
    """Each image is of one grey with one pixel that tells which it is, so that a patch names its image."""
    x = np.zeros((20, 1, 6, 6), np.float32)
    x[:, :, :, ::2] = np.arange(1, 21)[:, None, None, None]
    data = load(x, patches=4, standardize=False)
    images = [{float(p.max()) for p in split.x} for split in data.splits.values()]
    shared = [a & b for i, a in enumerate(images) for b in images[i + 1 :]]
    assert sum(map(len, shared)) <= 2  # an image at the border of a share may be in both


def test_what_cannot_be_cut_is_a_sentence() -> None:
    for source, options, match in (
        ("digits", {"patches": 9}, r"patches of 9 x 9 do not fit into an image of 8 x 8 pixels: choose a smaller size"),
        (np.ones((50, 1, 8, 8)), {"patches": 4}, r"all 20000 patches of 4 x 4 from train of .* are of one value each"),
        (np.ones((50, 8)), {"patches": 4}, r"patches are cut from images .* has data of shape \(8,\)"),
        ("digits", {"patch_values": "contrast"}, r"no patches were asked for: give their size, patches=16"),
        ("digits", {"patches": 4, "patch_values": "whiten"}, r"got 'whiten'. Did you mean whitened"),
        ("digits", {"patches": 0}, r"patches= takes a positive number, got 0"),
    ):
        with pytest.raises(InvalidInput, match=match):
            load(source, **options)
