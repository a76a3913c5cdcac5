"""Sound as whole numbers: levels against the formula, and back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancestral.errors import InvalidInput
from ancestral.pcm import COMPANDING, PCM

half_levels = st.one_of(st.integers(1, 200), st.sampled_from([2**10, 2**15]))
companding = st.sampled_from(COMPANDING)


@given(half=half_levels, companding=companding)
def test_every_level_is_found_again_from_its_amplitude(half: int, companding: str) -> None:
    pcm, levels = PCM(8000, 2 * half, companding), np.arange(2 * half)
    amplitude = pcm.decode(levels)
    assert amplitude.min() == pytest.approx(-1.0, abs=1e-12)
    assert bool((np.diff(amplitude) > 0).all())
    assert pcm.encode(amplitude).tolist() == levels.tolist()
    assert pcm.encode(np.array([0.0, -0.0])).tolist() == [pcm.silence, pcm.silence]


@given(half=half_levels, companding=companding, amplitude=st.floats(-1.0, 1.0))
def test_no_other_level_is_nearer_on_the_companded_scale(half: int, companding: str, amplitude: float) -> None:
    pcm = PCM(8000, 2 * half, companding)

    def scaled(a: float) -> float:
        m = pcm.levels - 1
        return a if companding == "linear" else math.copysign(math.log(1 + m * abs(a)) / math.log(1 + m), a)

    distances = [abs(scaled(float(a)) - scaled(amplitude)) for a in pcm.decode(np.arange(pcm.levels))]
    assert distances[int(pcm.encode(np.array(amplitude)))] <= min(distances) + 1e-9


def test_sixteen_bits_are_kept_as_they_are() -> None:
    samples = np.arange(-(2**15), 2**15)
    assert (PCM(8000, 2**16).encode((samples / 2**15).astype(np.float32)) == samples + 2**15).all()


def test_beyond_full_scale_is_full_scale() -> None:
    assert [PCM(8000, levels).encode(np.array([-3.0, 3.0])).tolist() for levels in (256, 2**16)] == [[0, 255], [0, 2**16 - 1]]


def test_silence_is_nearly_nothing() -> None:
    assert abs(float(PCM(8000).decode([PCM(8000).silence])[0])) < 1e-4
    assert float(PCM(8000, 2**16).decode([2**15])[0]) == 0.0


def test_it_is_a_value() -> None:
    assert PCM(8000) == PCM(8000, 256, "mu-law") == PCM.from_json(PCM(8000).to_json())
    assert PCM(8000, 2**16) == PCM(8000, 2**16, "linear") != PCM(8000, 2**16, "mu-law")
    assert hash(PCM(8000)) == hash(PCM(8000, 256))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "positive number of samples"),
        ((8000.5,), "whole numbers"),
        ((8000, 255), "even number of levels"),
        ((8000, 0), "even number of levels"),
        ((8000, 2**17), "to 65536"),
        ((8000, 256, "a-law"), "choose one of mu-law, linear"),
    ],
)
def test_what_is_no_sound_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        PCM(*arguments)


@pytest.mark.parametrize(
    "described", [None, [], {"rate": 8000}, {"rate": 8000, "levels": 256, "companding": "mu-law", "x": 1}]
)
def test_what_describes_no_sound_is_refused(described: object) -> None:
    with pytest.raises(InvalidInput, match="expected rate, levels and companding"):
        PCM.from_json(described)
