import pytest
import torch
from matplotlib.animation import FFMpegWriter
from PIL import Image

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.animate import Recorder, check_animation
from ancestral.verbs.sample import sample

GREY = Event.integers((1, 6, 6), 5)


@pytest.mark.parametrize("method", ["sequential", "parallel"])
@pytest.mark.parametrize(("frames", "batch_size"), [(9, None), (80, None), (9, 2)])
def test_frames_go_from_grey_to_the_sample(method, frames, batch_size):
    recorder = Recorder(GREY, frames)
    model = create("gated-pixelcnn", GREY, channels=4, layers=1)
    x = sample(model, 3, watch=recorder, method=method, batch_size=batch_size)
    assert torch.equal(recorder.frames[-1], x.double())
    if method == "sequential":
        assert abs(len(recorder.frames) - frames) <= (1 if frames == 9 else 80)
        first = recorder.frames[0]
        assert float(first[0, 0, -1, -1]) == 2.0, "not yet drawn: the middle of 0 to 4"
        drawn = [int((frame != 2.0).sum()) for frame in recorder.frames]
        assert drawn == sorted(drawn)


def test_the_order_is_the_models():
    """What is drawn first is where the order says."""
    model = create("nade", Event.binary((1, 2, 2)), order_seed=3)
    recorder = Recorder(model.event)
    x = sample(model, 1, watch=recorder)
    first = recorder.frames[0].flatten()
    entry = int(model.order[0])
    assert first[entry] == x.flatten()[entry]
    assert (first == 0.5).nonzero()[:, 0].tolist() == sorted(model.order[1:].tolist())


@pytest.mark.parametrize("event", [GREY, Event.binary((3, 4, 4)), Event.real((1, 4, 4), loc=[2.0] * 16)], ids=str)
def test_a_gif(event, tmp_path):
    recorder = Recorder(event, frames=7)
    sample(create("made", event, hidden=(4,)), 4, watch=recorder)
    recorder.save(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == len(recorder.frames)
        assert image.info["loop"] == 0
        image.seek(image.n_frames - 1)
        assert image.info["duration"] == 2000


def test_mp4_needs_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", lambda: False)
    with pytest.raises(InvalidInput, match=r"needs the program ffmpeg, .* or write a \.gif"):
        check_animation(tmp_path / "a.mp4")


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="needs ffmpeg")
def test_an_mp4(tmp_path):
    recorder = Recorder(GREY, frames=7)
    sample(create("nade", GREY, hidden=4), 4, watch=recorder)
    recorder.save(tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


def test_what_cannot_be_animated_is_refused(tmp_path):
    with pytest.raises(Unsupported, match="animations are of images"):
        Recorder(Event.binary((6,)))
    with pytest.raises(InvalidInput, match=r"suffix is \.gif or \.mp4"):
        Recorder(GREY).save(tmp_path / "a.png")
    with pytest.raises(InvalidInput, match="no step was recorded"):
        Recorder(GREY).save(tmp_path / "a.gif")
    with pytest.raises(Unsupported, match="draws a datum whole"):
        sample(create("vae", GREY), 1, watch=Recorder(GREY))
    assert not list(tmp_path.iterdir())
