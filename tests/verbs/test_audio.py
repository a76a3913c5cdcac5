"""Sounds as files and as pictures."""

import math

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.pcm import PCM
from ancestral.verbs import pictures
from ancestral.verbs.audio_files import save_audio
from ancestral.verbs.audio_pictures import completed_spectrograms, decibels


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_sixteen_bits_are_written_as_they_are(tmp_path, suffix):
    pcm = PCM(11025, 65536)
    x = torch.randint(65536, (3, 40), generator=torch.Generator().manual_seed(0))
    save_audio(x, Event.audio(40, pcm), tmp_path / f"a{suffix}")
    samples, rate = soundfile.read(tmp_path / f"a{suffix}", dtype="int16")
    assert rate == 11025
    gap = round(11025 / 4)
    assert len(samples) == 3 * 40 + 2 * gap
    for i in range(3):
        start = i * (40 + gap)
        assert samples[start : start + 40].tolist() == (x[i] - 2**15).tolist()
        assert not samples[start + 40 : start + 40 + gap].any()
    assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


def test_companded_levels_are_read_back(tmp_path):
    pcm = PCM(8000)
    save_audio(torch.arange(256)[None], Event.audio(256, pcm), tmp_path / "a.wav")
    samples, _ = soundfile.read(tmp_path / "a.wav")
    assert samples == pytest.approx(pcm.decode(np.arange(256)), abs=2**-15)
    assert pcm.encode(samples).tolist() == list(range(256))


def test_what_is_no_sound_is_not_written(tmp_path):
    event = Event.audio(4, PCM(8000))
    x = torch.zeros(1, 4, dtype=torch.uint8)
    with pytest.raises(InvalidInput, match="is a sound file, the data are 4 256 levels"):
        save_audio(x, Event.integers((4,), 256), tmp_path / "a.wav")
    with pytest.raises(InvalidInput, match=r"use .wav or .flac"):
        save_audio(x, event, tmp_path / "a.mp3")
    with pytest.raises(InvalidInput, match="no data to write"):
        save_audio(x[:0], event, tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("hertz", [250.0, 1000.0, 3000.0])
def test_a_tone_is_where_it_belongs_and_as_loud(hertz):
    pcm = PCM(8000, 65536)
    x = torch.from_numpy(pcm.encode(0.5 * np.sin(2 * math.pi * hertz * np.arange(8000) / 8000)))[None]
    found = decibels(x, pcm)[0]
    middle = found[:, found.shape[1] // 2]
    assert int(middle.argmax()) == round(hertz / 4000 * (len(middle) - 1))
    assert float(middle.max()) == pytest.approx(20 * math.log10(0.5), abs=0.1)
    assert float(decibels(torch.full((1, 8000), pcm.silence), pcm).max()) == pytest.approx(-120.0)


@pytest.mark.parametrize(("n", "samples"), [(1, 10), (7, 3000), (25, 700)])
def test_every_sound_has_a_picture(tmp_path, n, samples):
    x = torch.randint(256, (n, samples), dtype=torch.uint8)
    pictures.samples(Event.audio(samples, PCM(8000)), x, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert min(image.size) > 150
        assert len(np.unique(np.asarray(image))) > 50


@pytest.mark.parametrize(("n", "known", "shown"), [(3, True, 15), (3, False, 12), (30, True, 20), (18, False, 19)])
def test_completed_sounds_show_what_was_given_and_the_gaps(n, known, shown):
    """Rows that do not fit are left out, and so are completions beyond a row."""
    x = torch.full((3, n, 800), 128)
    observed = torch.ones(3, 800, dtype=torch.bool)
    observed[0, :100] = observed[0, 300:350] = observed[1, 799] = False
    figure = completed_spectrograms(x, observed, PCM(8000), torch.zeros(3, n), x[:, 0] if known else None)
    *axes, _ = figure.axes
    assert len(axes) == shown
    columns = next(i for i in range(1, 21) if i == len(axes) or axes[i].get_title() == "given")
    titles = ["given", *["0.0 nats"] * (columns - 1 - known), *["truth"] * known]
    assert [axis.get_title() for axis in axes[:columns]] == titles
    (first, second) = axes[0].patches
    assert (first.get_x(), first.get_width()) == pytest.approx((0.0, 100 / 8000))
    assert (second.get_x(), second.get_width()) == pytest.approx((300 / 8000, 50 / 8000))
    assert [len(axis.lines) for axis in axes[:columns]] == [0, *[4] * (columns - 1 - known), *[0] * known]


def test_conditions_that_show_all_labels():
    shown = pictures.example_conditions(Event.labels((3, 2)), 7)
    assert shown.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1], [0, 0]]
    Event.labels((3, 2)).check(shown)
