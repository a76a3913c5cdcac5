"""WaveNet: what it reads, how values go in, that a condition reaches every layer, and that it learns."""

import math

import pytest
import torch

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.wavenet import NumberEmbedding, WaveNet
from ancestral.pcm import PCM
from ancestral.verbs.sample import sample
from tests.models.learning import learn

SMALL = {"channels": 4, "skip": 6, "sets": 1, "max_dilation": 4}


def small(event: Event, condition: Event | None = None, **options: object) -> WaveNet:
    torch.manual_seed(0)
    model = create("wavenet", event, condition, **{**SMALL, **options})
    assert isinstance(model, WaveNet)
    return model.eval()


@pytest.mark.parametrize(("kernel", "sets", "expected"), [(2, 1, 8), (2, 2, 15), (3, 1, 15)])
@torch.no_grad()
def test_the_receptive_field_is_what_it_reads(kernel: int, sets: int, expected: int) -> None:
    model = small(Event.audio(40, PCM(8000)), kernel=kernel, sets=sets).double()
    assert model.receptive_field == expected
    assert model.receptive_milliseconds == expected / 8
    x = torch.full((2, 40), 128)
    last = 35
    for place, seen in ((last - expected, True), (last - expected - 1, False)):
        x[1] = x[0]
        x[1, place] = 3
        raw = model(x)[:, last]
        assert torch.equal(raw[0], raw[1]) is not seen


def test_the_paper_s_network_reads_three_thousand_samples() -> None:
    model = create("wavenet", Event.audio(16000, PCM(16000)))
    assert isinstance(model, WaveNet)
    assert model.receptive_field == 3070
    assert model.receptive_milliseconds == pytest.approx(191.875)
    assert small(Event.integers((100,), 7)).receptive_milliseconds is None


def test_numbers_go_in_linearly_and_none_is_apart() -> None:
    embedding = NumberEmbedding(5, 3).double()
    e = embedding(torch.arange(6))
    slope, offset, none = embedding.weight
    for k in range(5):
        torch.testing.assert_close(e[k], offset + (k / 2 - 1) * slope)
    torch.testing.assert_close(e[5], none)


@pytest.mark.parametrize(("levels", "inputs", "numbers"), [(256, "auto", False), (256, "numbers", True), (1024, "auto", True)])
def test_many_levels_go_in_as_numbers(levels: int, inputs: str, numbers: bool) -> None:
    model = small(Event.audio(10, PCM(8000, levels)), inputs=inputs, head="logistic-mixture")
    assert isinstance(model.symbols, NumberEmbedding) is numbers


@torch.no_grad()
def test_the_condition_reaches_every_gate_and_nothing_else() -> None:
    """A condition whose row is zero leaves the unconditional model; each layer's part of the row changes that layer."""
    event = Event.audio(20, PCM(8000))
    plain, given = small(event).double(), small(event, Event.label(3)).double()
    assert given.shift is not None
    assert [name for name in given.state_dict() if name not in plain.state_dict()] == ["shift.map.weight"]
    given.load_state_dict({**plain.state_dict(), "shift.map.weight": torch.zeros_like(given.shift.map.weight)})
    x, label = torch.randint(256, (1, 20)), torch.tensor([1])
    torch.testing.assert_close(given(x, label), plain(x))
    for part in range(3):
        given.shift.map.weight.zero_()
        given.shift.map.weight[1].view(3, 8)[part] = 1.0
        assert not torch.allclose(given(x, label), plain(x))
        shifted = small(event).double()
        shifted.load_state_dict(plain.state_dict())
        shifted.stack.bias[part] += 1.0
        torch.testing.assert_close(given(x, label), shifted(x))


@torch.no_grad()
def test_frames_reach_the_positions_around_them_and_what_follows() -> None:
    """A frame counts one stride to either side of it, and from there as far on as the network hears."""
    event, condition = Event.audio(40, PCM(8000)), Event.real((5, 3), axes=("time", "band"))
    model = small(event, condition, local=2).double()
    assert model.upsample is not None
    assert (model.upsample.stride, model.receptive_field) == (10, 8)
    x, frames = torch.randint(256, (1, 40)), torch.randn(1, 5, 3, dtype=torch.float64)
    raw = model(x, frames)
    frames[0, 2] += 1.0
    changed = (model(x, frames) != raw).any(-1)[0].nonzero()[:, 0].tolist()
    # The weight is 0 at distance 10; what enters the first gate at t, layers of dilation 2 and 4 hear up to 6 later.
    assert changed == list(range(11, 30 + 6))


def test_frames_are_of_one_length() -> None:
    model = small(Event.audio(40, PCM(8000)), Event.real((5, 3), axes=("time", "band")))
    with pytest.raises(Unsupported, match="no sound of another length"):
        sample(model, 1, torch.zeros(5, 3), length=50)
    assert sample(model, 2, torch.zeros(5, 3), prompt=[1, 2, 3], length=37).shape == (2, 40)


@pytest.mark.parametrize("levels", [16, 1024])
def test_it_learns_which_tone_goes_with_which_label(levels: int) -> None:
    """Two tones in random phase, told by the label: the first samples tell the phase, and the others follow."""
    pcm = PCM(1000, levels, "linear")
    label = torch.arange(500) % 2
    phase = 2 * math.pi * torch.rand(500, 1, generator=torch.Generator().manual_seed(0))
    wave = 0.6 * torch.sin(phase + torch.arange(40) * torch.tensor([0.3, 0.8])[label][:, None])
    x = torch.from_numpy(pcm.encode(wave.numpy()))
    model = small(
        Event.audio(40, pcm), Event.label(2), channels=12, skip=24, max_dilation=8, head="logistic-mixture", components=1
    )
    learn(model, x, label, steps=150, rate=1e-2, batch=32)
    with torch.no_grad():
        right, wrong = (float(-model.log_prob(x, c).mean()) / 40 for c in (label, 1 - label))
    assert right < 0.85 * math.log(levels)
    assert wrong > right + 0.2


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"channels": 0}, "width must be at least 1"),
        ({"skip": 0}, "at least 1 layer"),
        ({"sets": 0}, "at least 1 set"),
        ({"max_dilation": 3}, "power of 2"),
        ({"kernel": 1}, "kernel of at least 2"),
        ({"inputs": "number"}, "numbers"),
        ({"local": 0}, "local must be at least 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        small(Event.audio(10, PCM(8000)), **options)


def test_amplitudes_themselves_are_refused() -> None:
    with pytest.raises(InvalidInput, match="binary or integer"):
        create("wavenet", Event.real((4,)))


@torch.no_grad()
def test_short_sentences_have_frames() -> None:
    """A batch is cut to its longest sentence, and so are its frames: a sentence has one probability in all batches."""
    torch.manual_seed(0)
    condition = Event.real((3, 2), axes=("time", "band"))
    model = create("wavenet", Event.sentences(6, 3), condition, channels=3, skip=4, sets=1, max_dilation=2, local=2).eval()
    x, frames = torch.tensor([[1, 3, 3, 3, 3, 3], [0, 1, 2, 0, 1, 2]]), torch.randn(2, 3, 2)
    torch.testing.assert_close(model.log_prob(x[:1], frames[:1]), model.log_prob(x, frames)[:1])
