"""Sound files to amplitudes: what is decoded, and what is refused, by name."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly

from ancestral.data import audio_files
from ancestral.data.audio_files import SoundDecoder, SoundFormat
from ancestral.errors import InvalidInput


def cell(samples, rate=8000, kind="WAV", subtype=None, path=None):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return {"bytes": buffer.getvalue(), "path": path}


def decode(sound, expected=None, **form):
    decoder = SoundDecoder(SoundFormat(**form), expected)
    return decoder(sound, "sound 0"), decoder


def tone(seconds=0.1, rate=8000, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


# What is decoded


@given(
    samples=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=50), kind=st.sampled_from(["WAV", "FLAC", "AIFF"])
)
def test_sixteen_bits_are_those_of_the_file(samples, kind):
    amplitudes, decoder = decode(cell(np.array(samples, np.int16), 11025, kind))
    assert (amplitudes * 2**15).tolist() == samples
    assert decoder.rate == 11025


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW"])
def test_other_ways_to_store_samples_are_on_the_same_scale(subtype):
    amplitudes, _ = decode(cell(tone(), subtype=subtype))
    assert amplitudes == pytest.approx(tone(), abs=0.02)


def test_another_rate_is_brought_to_the_one_asked_for():
    amplitudes, decoder = decode(cell(tone(0.5, 44100), 44100, subtype="FLOAT"), rate=8000)
    assert decoder.rate == 8000
    assert len(amplitudes) == 4000
    assert amplitudes[100:-100] == pytest.approx(tone(0.5, 8000)[100:-100], abs=2e-3)
    assert amplitudes == pytest.approx(resample_poly(tone(0.5, 44100), 80, 441), abs=1e-5)


def test_channels_are_averaged_where_that_is_asked_for():
    left, right = tone(), tone(hertz=300.0)
    amplitudes, _ = decode(cell(np.stack((left, right), axis=1), subtype="FLOAT"), mono=True)
    assert amplitudes == pytest.approx((left + right) / 2, abs=1e-6)


def test_what_is_beyond_full_scale_is_clipped_and_counted():
    samples = np.array([0.0, 1.5, -1.2, 0.5, 1.0])
    amplitudes, decoder = decode(cell(samples, subtype="FLOAT"))
    assert amplitudes.tolist() == [0.0, 1.0, -1.0, 0.5, 1.0]
    assert decoder.clipped == 3
    _, decoder = decode(cell(np.array([2**15 - 1, -(2**15), 2**15 - 2], np.int16)))
    assert decoder.clipped == 2


# What is refused


def test_another_rate_is_named_with_the_first():
    decoder = SoundDecoder(SoundFormat())
    decoder(cell(tone()), "sound 0")
    with pytest.raises(
        InvalidInput, match=r"sound 1 \(b.wav\) has 16000 samples per second, expected 8000 as sound 0: pass rate="
    ):
        decoder(cell(tone(rate=16000), 16000, path="b.wav"), "sound 1")
    with pytest.raises(InvalidInput, match=r"has 8000 samples per second, expected 16000 as the data that it is for"):
        decode(cell(tone()), 16000)


def test_two_channels_are_refused():
    with pytest.raises(InvalidInput, match="sound 0 has 2 channels, expected one: pass mono=true"):
        decode(cell(np.stack((tone(), tone()), axis=1)))


def test_sound_of_no_length_is_refused():
    with pytest.raises(InvalidInput, match=r"sound 0 holds no samples \(0 s\)"):
        decode(cell(np.zeros(0)))


def test_numbers_that_are_none_are_refused():
    with pytest.raises(InvalidInput, match="sound 0 holds 2 NaN or infinite samples"):
        decode(cell(np.array([0.0, np.nan, np.inf]), subtype="FLOAT"))


def test_another_scale_is_refused():
    with pytest.raises(InvalidInput, match="amplitudes up to 8000, expected -1 to 1: divide them"):
        decode(cell(16000 * tone(), subtype="FLOAT"))


@pytest.mark.parametrize("content", [b"", b"not a sound", b"RIFF\x24\x00\x00\x00WAVEfmt "])
def test_what_is_no_sound_is_refused(content):
    with pytest.raises(InvalidInput, match=r"sound 0 \(a.wav\) cannot be read as sound .*: repair it or leave it out"):
        decode({"bytes": content, "path": "a.wav"})


def test_a_broken_flac_is_refused():
    sound = cell(tone(1.0), kind="FLAC", path="a.flac")
    sound["bytes"] = sound["bytes"][: len(sound["bytes"]) // 2]
    with pytest.raises(InvalidInput, match=r"sound 0 \(a.flac\)"):
        decode(sound)


@pytest.mark.parametrize("sound", [None, {"bytes": None, "path": None}])
def test_an_empty_cell_is_refused(sound):
    with pytest.raises(InvalidInput, match="sound 0 is empty, expected a sound"):
        decode(sound)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"a.wav\) cannot be read as sound"):
        decode({"bytes": None, "path": str(tmp_path / "a.wav")})


def test_more_than_the_memory_is_refused_before_it_is_read(monkeypatch):
    def refuse(size, what, instead):
        raise InvalidInput(f"{what} takes {size} bytes: {instead}")

    monkeypatch.setattr(audio_files.cache, "require_memory", refuse)
    with pytest.raises(InvalidInput, match="sound 0 takes 3200 bytes: cut it into shorter files"):
        decode(cell(tone()))
