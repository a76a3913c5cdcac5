import numpy as np
import torch
from scipy.stats import kstest

from ancestral.verbs.noise import Streams, stream_number, uniform_noise

NOISE = [0.011546754286331562, 0.24154919656271812, 0.11142585551493822]
"""The first numbers of stream 0 under seed 0."""


def test_noise_follows_the_seed_and_the_stream_alone():
    a = uniform_noise(3, 5, 2000)
    assert np.array_equal(a, uniform_noise(3, 5, 4000)[:2000])
    for other in (uniform_noise(4, 5, 2000), uniform_noise(3, 6, 2000)):
        assert abs(np.corrcoef(a, other)[0, 1]) < 0.1
    assert (a.min() >= 0.0, a.max() < 1.0) == (True, True)
    assert kstest(np.concatenate([uniform_noise(0, i, 10) for i in range(2000)]), "uniform").pvalue > 1e-3
    assert np.array_equal(uniform_noise(-1, 0, 3), uniform_noise(-1, 0, 3))


def test_noise_is_the_same_under_every_release():
    """A changed stream, or number of one, would change what every published seed gives."""
    assert uniform_noise(0, 0, 3).tolist() == NOISE
    assert stream_number(b"\x00\x01", 3, "particles") == 14188622597478227011


def test_streams_go_on_and_do_not_depend_on_each_other():
    streams = Streams(3, [5, 2**64 - 1], "cpu")
    taken = torch.cat((streams.take(3), streams.take(4)), 1)
    assert taken.shape == (2, 7)
    assert taken.dtype == torch.float64
    assert np.array_equal(taken[0], uniform_noise(3, 5, 7))
    assert torch.equal(Streams(3, [2**64 - 1], "cpu").take(7), taken[1:])


def test_numbers_differ_as_names_do():
    names = [(), (0,), ("0",), (b"0",), (0, 0), (1, 11), (11, 1), ("a", "b"), ("ab",)]
    assert len({stream_number(*name) for name in names}) == len(names)
    assert all(0 <= stream_number(*name) < 2**64 for name in names)
