"""Sounds drawn from spectra, and sounds that a classifier of recordings recognises."""

import numpy as np
import pytest
import torch

from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.mel import Mel, spectral_distance
from ancestral.models import create
from ancestral.pcm import PCM
from ancestral.verbs import recognise as recognition
from ancestral.verbs.inputs import Subject
from ancestral.verbs.recognise import Accuracy, recognise
from ancestral.verbs.vocode import vocode

PCM8 = PCM(8000)
LENGTH = 400
TINY = {"channels": 3, "skip": 3, "sets": 1, "max_dilation": 2}


def tones(label, seed=0):
    """Tones of a pitch for each label, in random phase and noise."""
    generator = torch.Generator().manual_seed(seed)
    phase, noise = 6.3 * torch.rand(len(label), 1, generator=generator), torch.randn(len(label), LENGTH, generator=generator)
    wave = 0.5 * torch.sin(0.2 * (1 + label[:, None]) * torch.arange(LENGTH) + phase) + 0.01 * noise
    return torch.from_numpy(PCM8.encode(wave.numpy())).to(torch.uint8)


def data(condition, given):
    label = torch.arange(90) % 3
    x = tones(label)
    split = {"train": ArraySplit(x[:60], given[:60]), "test": ArraySplit(x[60:], given[60:])}
    return Data("tones", Event.audio(LENGTH, PCM8), split, condition)


def test_sounds_are_drawn_from_the_spectra_of_recordings():
    mel = Mel(8000)
    condition = Event.real((mel.frames(LENGTH), 40), axes=("time", "band"))
    given = mel(torch.from_numpy(PCM8.decode(tones(torch.arange(90) % 3))).float())
    model = create("wavenet", Event.audio(LENGTH, PCM8), condition, **TINY)
    done = vocode(Subject(model, "it"), data(condition, given), limit=4)
    assert done.drawn.shape == done.recorded.shape == (4, LENGTH)
    mine, theirs = (torch.from_numpy(PCM8.decode(x)).float() for x in (done.drawn, done.recorded))
    torch.testing.assert_close(done.distance, spectral_distance(mine, theirs, 8000))
    far = [float(spectral_distance(theirs[i : i + 1], theirs[j : j + 1], 8000)) for j in range(4) for i in range(4) if i != j]
    assert float(done.others.mean()) == pytest.approx(np.mean(far), rel=1e-5)
    assert "multi-resolution spectral distance of 4 sounds" in str(done)
    alone = vocode(Subject(model, "it"), data(condition, given), limit=1)
    assert "other recordings" not in str(alone)


def test_vocoding_needs_spectra():
    label = create("wavenet", Event.audio(LENGTH, PCM8), Event.label(3), **TINY)
    with pytest.raises(Unsupported, match=r"train one with --data.condition mel"):
        vocode(Subject(label, "it"))


@pytest.mark.parametrize("several", [False, True])
def test_what_is_drawn_is_recognised_by_what_it_was_drawn_for(several, monkeypatch):
    """A model that draws perfectly is recognised, one that draws another class never is."""
    label = torch.arange(90) % 3
    condition = Event.labels((3, 2)) if several else Event.label(3)
    given = torch.stack((label, label % 2), dim=1) if several else label
    model = create("wavenet", Event.audio(LENGTH, PCM8), condition, **TINY)
    for shift, expected in ((0, 9), (1, 0)):

        def drawn(model, n, asked, *, shift=shift, **options):
            first = asked[:, 0] if several else asked
            return tones((first + shift) % 3, seed=1)

        monkeypatch.setattr(recognition, "sample", drawn)
        real, fake = recognise(Subject(model, "it"), data(condition, given), n=9)
        assert (real.right, real.count) == (30, 30)
        assert (fake.right, fake.count) == (expected, 9)


def test_shares_have_errors_at_either_end():
    all_right = Accuracy("drawn", 100, 100)
    assert str(all_right) == "drawn: 100.0% ± 1.0% (100 of 100)"
    assert 0 < all_right.standard_error < Accuracy("drawn", 50, 100).standard_error == pytest.approx(0.05)


def test_what_cannot_be_recognised_is_said():
    with pytest.raises(Unsupported, match=r"train a model with --data.condition label"):
        recognise(Subject(create("wavenet", Event.audio(LENGTH, PCM8), **TINY), "it"))
    model = create("wavenet", Event.audio(LENGTH, PCM8), Event.label(3), **TINY)
    with pytest.raises(InvalidInput, match="choose data that fit"):
        recognise(Subject(model, "it"), data(Event.label(4), torch.arange(90) % 3))
    with pytest.raises(InvalidInput, match="of one class"):
        recognise(Subject(model, "it"), data(Event.label(3), torch.zeros(90, dtype=torch.long)))
