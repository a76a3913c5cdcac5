"""Events: what they admit, their scales, and that all figures are on one measure."""

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import constraints

from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput
from ancestral.event import IMAGE_AXES, Event
from ancestral.pcm import PCM

EVENTS = [
    Event.binary((3,)),
    Event.binary((1, 4, 5)),
    Event.integers((2, 3), 17),
    Event.integers((3, 2, 2), 256),
    Event.integers((4,), 1000),
    Event.real((2,)),
    Event.real((2,), loc=(1.0, -3.0), scale=(0.5, 20.0)),
    Event.label(10),
    Event.integers((5,), 7, ("time",)),
    Event.tokens(5, TextEncoding.fit("byte")),
    Event.tokens(5, TextEncoding.fit("character", [b"text"])),
    Event.audio(5, PCM(8000)),
    Event.audio(5, PCM(44100, 65536)),
    Event.labels((4, 2)),
]
each_event = pytest.mark.parametrize("event", EVENTS, ids=str)


def every_level(levels: int) -> tuple[Event, torch.Tensor]:
    """Return an event and one datum for each level."""
    event = Event.integers((1,), levels)
    return event, torch.arange(levels)[:, None].to(event.dtype)


# Description


def test_axes_have_defaults() -> None:
    assert Event.binary((3,)).axes == ("feature",)
    assert Event.binary((1, 2, 3)).axes == IMAGE_AXES
    assert Event.real((4, 5)).axes == ("axis0", "axis1")
    assert Event.label(3).axes == ()
    assert Event.real((4, 5), axes=("time", "joint")).axes == ("time", "joint")
    assert Event.binary((1, 2, 3)).is_image
    assert not Event.binary((1, 2, 3), axes=("a", "b", "c")).is_image


def test_support_and_storage() -> None:
    assert Event.binary((3,)).support is constraints.boolean
    assert str(Event.integers((3,), 17).support) == "IntegerInterval(lower_bound=0, upper_bound=16)"
    assert Event.real((3,)).support is constraints.real
    assert [Event.integers((1,), n).dtype for n in (2, 256, 257)] == [torch.uint8, torch.uint8, torch.int64]
    assert Event.real((1,)).dtype == torch.float32
    assert (Event.binary((3,)).discrete, Event.real((3,)).discrete) == (True, False)
    assert Event.label(10).numel == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Event((0, 3), 2), "positive"),
        (lambda: Event((2.5,), 2), "whole numbers"),
        (lambda: Event((2,), 2.5), "whole number of levels"),
        (lambda: Event.integers((3,), 1), "at least 2 levels"),
        (lambda: Event.binary((2, 2), axes=("a",)), "1 axis names"),
        (lambda: Event((2,), 3, loc=(0.0, 0.0)), "loc is for real events"),
        (lambda: Event.real((2,), loc=(0.0,)), "loc needs 2 finite numbers, got 1"),
        (lambda: Event.real((2,), scale=(1.0, math.nan)), "of which 1 are not finite"),
        (lambda: Event.real((2,), scale=(1.0, 0.0)), "scale must be positive"),
        (lambda: Event((4,), 255, ("time",), encoding=TextEncoding.fit("byte")), "255 levels and axes .*use Event.tokens"),
        (lambda: Event((4,), 256, encoding=TextEncoding.fit("byte")), r"axes \('feature',\): use Event.tokens"),
        (lambda: Event.tokens(0, TextEncoding.fit("byte")), "positive"),
        (lambda: Event((4,), 255, ("time",), pcm=PCM(8000)), "mu-law samples of 256 levels at 8000 Hz .*use Event.audio"),
        (lambda: Event((4,), pcm=PCM(8000)), "got a real one: use Event.audio"),
        (lambda: Event((2,), 4, classes=(4,)), "one entry each, got shape .*use Event.labels"),
        (lambda: Event((2,), 4, classes=(4, 5)), "and 4 levels: use Event.labels"),
        (lambda: Event.labels((4, 1)), "two classes or more"),
        (lambda: Event.labels(()), "positive"),
    ],
)
def test_contradictions_are_refused(make, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make()


@each_event
def test_json_round_trip(event: Event) -> None:
    assert Event.from_json(json.loads(json.dumps(event.to_json()))) == event


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"shape": [2]},
        {"shape": ["a"], "levels": 2},
        {"shape": [2], "levels": "two"},
        [],
        {"shape": [2], "levels": 256, "axes": ["time"], "encoding": "byte"},
        {"shape": [2], "levels": 256, "axes": ["time"], "encoding": {"level": "letter"}},
        {"shape": [2], "levels": 2, "axes": ["time"], "encoding": {"level": "byte"}},
        {"shape": [2], "levels": 256, "axes": ["time"], "pcm": {"rate": 8000}},
        {"shape": [2], "levels": 256, "axes": ["time"], "pcm": {"rate": "8", "levels": 256, "companding": "mu-law"}},
        {"shape": [2], "levels": 4, "axes": ["label"], "classes": [4, "a"]},
    ],
)
def test_what_is_no_event_is_refused(fields) -> None:
    with pytest.raises(InvalidInput, match="not the description of an event"):
        Event.from_json(fields)


def test_events_are_values() -> None:
    one, other = Event.real((2,), loc=[1, 2]), Event.real([2], loc=(1.0, 2.0))
    assert one == other
    assert hash(one) == hash(other)
    one.to_network(torch.zeros(1, 2))  # what is kept for speed is no part of the value
    assert one == other
    assert one.to_json() == other.to_json()


# Sequences


def test_what_the_tokens_mean_is_part_of_an_event() -> None:
    one, other = (Event.tokens(5, TextEncoding.fit("character", [text])) for text in (b"abc", b"abd"))
    assert one == Event.tokens(5, TextEncoding.fit("character", [b"cab"]))
    assert hash(one) == hash(Event.tokens(5, TextEncoding.fit("character", [b"cab"])))
    assert one != other
    assert one != Event.integers((5,), 4, ("time",))
    assert "encoding" not in Event.integers((5,), 4, ("time",)).to_json()
    assert str(one) == "5 character tokens of 4 levels"
    assert str(Event.tokens(8, TextEncoding.fit("bit"))) == "8 bit tokens of 2 levels"


def test_how_loud_a_level_is_is_part_of_an_event() -> None:
    event = Event.audio(5, PCM(8000))
    assert event != Event.audio(5, PCM(16000))
    assert event != Event.integers((5,), 256, ("time",))
    assert event.is_sequence
    assert event.resized(9) == Event.audio(9, PCM(8000))
    assert "pcm" not in Event.integers((5,), 256, ("time",)).to_json()
    assert str(event) == "5 mu-law samples of 256 levels at 8000 Hz"


def test_each_of_several_labels_has_its_own_range() -> None:
    event = Event.labels((4, 2))
    event.check(torch.tensor([[3, 1], [0, 0]]))
    with pytest.raises(InvalidInput, match=r"has the label 3 in place 1, expected 0 to 1"):
        event.check(torch.tensor([[3, 1], [0, 3]]))


def test_a_sequence_can_have_another_length() -> None:
    event = Event.tokens(5, TextEncoding.fit("byte"))
    assert event.is_sequence
    assert event.resized(9) == Event.tokens(9, event.encoding)
    assert event.resized(9).resized(5) == event
    with pytest.raises(InvalidInput, match="positive"):
        event.resized(0)


@pytest.mark.parametrize("event", [Event.binary((5,)), Event.binary((1, 4, 5)), Event.label(3)], ids=str)
def test_what_is_no_sequence_keeps_its_shape(event: Event) -> None:
    assert not event.is_sequence
    with pytest.raises(InvalidInput, match="only a sequence, with the axis time, can have another length"):
        event.resized(4)


# Checks


@pytest.mark.parametrize(
    ("event", "x", "message"),
    [
        (Event.binary((3,)), torch.zeros(3), r"shape \(3,\), expected \('batch', 3\)"),
        (Event.binary((3,)), torch.zeros(2, 4), "reshape"),
        (Event.binary((1, 2, 2)), torch.zeros(2, 4), "reshape"),
        (Event.binary((3,)), torch.full((2, 3), 2), r"\[2, 2\], expected integers in \[0, 1\]"),
        (Event.binary((3,)), torch.full((2, 3), 0.5), "expected integers"),
        (Event.integers((3,), 5), torch.full((2, 3), -1), "expected integers in"),
        (Event.real((3,)), torch.tensor([[0.0, math.nan, math.inf]]), "2 NaN or infinite"),
        (Event.label(3), torch.tensor([3]), r"expected integers in \[0, 2\]"),
        (Event.label(3), torch.tensor(1), "expected"),
    ],
)
def test_data_that_do_not_fit_are_refused(event: Event, x: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        event.check(x)


def test_the_message_names_what_was_checked() -> None:
    with pytest.raises(InvalidInput, match=r"^condition has"):
        Event.label(3).check(torch.tensor([7]), "condition")


@each_event
def test_data_that_fit_are_admitted(event: Event) -> None:
    x = torch.ones(4, *event.shape)
    for dtype in (torch.float32, torch.float64, torch.int64, torch.uint8):
        event.check(x.to(dtype))
    event.check(x[:0])


# Scales


@each_event
def test_from_network_inverts_to_network(event: Event) -> None:
    if event.levels is None:
        x = torch.randn(50, *event.shape)
        torch.testing.assert_close(event.from_network(event.to_network(x)), x)
    else:
        x = torch.randint(event.levels, (50, *event.shape)).to(event.dtype)
        back = event.from_network(event.to_network(x))
        assert back.dtype == event.dtype
        assert torch.equal(back, x)


@pytest.mark.parametrize("levels", [2, 3, 17, 255, 256, 257, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_level_goes_to_the_network_and_back(levels: int, dtype: torch.dtype) -> None:
    event, x = every_level(levels)
    y = event.to_network(x, dtype)
    assert y.dtype == dtype
    assert float(y.max()) == 1.0
    assert float(y.min()) == (0.0 if levels == 2 else -1.0)
    assert torch.equal(event.from_network(y), x)


def test_from_network_takes_the_nearest_datum() -> None:
    event = Event.integers((1,), 3)
    y = torch.tensor([[-9.0], [-0.6], [0.4], [0.6], [9.0]])
    assert event.from_network(y).flatten().tolist() == [0, 0, 1, 2, 2]


def test_whole_numbers_take_the_default_type() -> None:
    assert Event.binary((2,)).to_network(torch.zeros(1, 2, dtype=torch.uint8)).dtype == torch.float32
    assert Event.real((2,)).to_network(torch.zeros(1, 2, dtype=torch.float64)).dtype == torch.float64


def test_constants_made_in_inference_mode_serve_training() -> None:
    event = Event.real((2,), loc=(1.0, 2.0), scale=(3.0, 4.0))
    x = torch.ones(1, 2, requires_grad=True)
    with torch.inference_mode():
        event.to_network(x)
    event.to_network(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[1 / 3, 1 / 4]]))


# The measure


@pytest.mark.parametrize("levels", [2, 3, 17, 255, 256, 257, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quantize_inverts_dequantize_at_every_level(levels: int, dtype: torch.dtype) -> None:
    event, x = every_level(levels)
    for seed in range(20):
        u, correction = event.dequantize(x, torch.Generator().manual_seed(seed), dtype)
        assert u.dtype == correction.dtype == dtype
        assert bool(((u >= 0.0) & (u < 1.0)).all())
        assert torch.equal(event.quantize(u), x)
    assert correction.tolist() == pytest.approx([-math.log(levels)] * levels)


@pytest.mark.parametrize("levels", [3, 17, 255, 256, 1000])
@pytest.mark.parametrize("extreme", [0.0, 1.0 - 2.0**-24])
def test_noise_at_the_edge_of_a_cell_stays_in_it(levels: int, extreme: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """255 + (1 - 2^-24) rounds to 256 in float32, and 3 / 17 * 17 to less than 3."""
    event, x = every_level(levels)
    monkeypatch.setattr(torch, "rand", lambda shape, **kwargs: torch.full(shape, extreme, dtype=kwargs["dtype"]))
    u, _ = event.dequantize(x)
    assert float(u.max()) < 1.0
    assert torch.equal(event.quantize(u), x)


def test_dequantized_data_are_uniform_in_their_cells() -> None:
    event = Event.integers((1,), 4)
    u, _ = event.dequantize(torch.full((20_000, 1), 2), torch.Generator().manual_seed(0))
    inside = (u * 4 - 2).flatten()
    assert float(inside.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(inside.var()) == pytest.approx(1 / 12, abs=0.003)


def test_noise_that_is_given_takes_the_place_of_a_draw() -> None:
    event, x = every_level(17)
    u, correction = event.dequantize(x, noise=torch.full(x.shape, 0.25))
    torch.testing.assert_close(u * 17 - x, torch.full_like(u, 0.25), rtol=0, atol=1e-5)
    assert torch.equal(correction, event.dequantize(x)[1])
    for extreme in (0.0, 1.0):  # a sigmoid rounds to its ends
        assert torch.equal(event.quantize(event.dequantize(x, noise=torch.full(x.shape, extreme))[0]), x)


def test_dequantizing_takes_at_least_32_bits() -> None:
    x = torch.zeros(1, 2)
    for event in (Event.binary((2,)), Event.real((2,))):
        assert event.dequantize(x, dtype=torch.bfloat16)[0].dtype == torch.float32
        assert event.dequantize(x.bfloat16())[0].dtype == torch.float32


def test_dequantizing_follows_its_generator_alone() -> None:
    event, before = Event.binary((20,)), torch.random.get_rng_state()
    x = torch.zeros(2, 20)
    one, again, other = (event.dequantize(x, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_uniform_density_is_a_uniform_probability() -> None:
    """The correction turns the density 1 on the unit cube into the probability levels^-numel, of 256 levels and not 255."""
    event = Event.integers((3, 4, 4), 256)
    _, correction = event.dequantize(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    assert event.bits_per_dim(-float(correction)) == pytest.approx(8.0, rel=1e-6)


def test_real_corrections_are_change_of_variables() -> None:
    event = Event.real((2,), loc=(1.0, -1.0), scale=(2.0, 0.25))
    x = torch.tensor([[1.5, 0.5]], dtype=torch.float64)
    u, correction = event.dequantize(x)
    normal = torch.distributions.Normal(torch.tensor([1.0, -1.0]).double(), torch.tensor([2.0, 0.25]).double())
    standard = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(standard.log_prob(u).sum(1) + correction, normal.log_prob(x).sum(1))
    torch.testing.assert_close(event.log_scale(x).sum(), -correction[0])
    torch.testing.assert_close(event.quantize(u), x)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_midpoints_are_in_the_middle(levels: int) -> None:
    event, x = every_level(levels)
    u = event.midpoint(x)
    torch.testing.assert_close(u * levels - x, torch.full_like(u, 0.5), rtol=0, atol=1e-4)
    assert torch.equal(event.quantize(u), x)
    assert event.midpoint(x, torch.float64).dtype == torch.float64


@given(st.integers(1, 2000), st.floats(-1e4, 1e4))
def test_bits_per_dim_are_nats_over_entries(entries: int, nats: float) -> None:
    bits = Event.real((entries,)).bits_per_dim(nats)
    assert bits * entries * math.log(2) == pytest.approx(nats, abs=1e-9)


# Sentences


def test_sentences_are_over_after_their_first_end() -> None:
    event = Event.sentences(4, 3)
    assert (event.levels, event.end_symbol, event.shape, event.is_sequence) == (4, 3, (4,), True)
    event.check(torch.tensor([[0, 1, 2, 0], [0, 3, 3, 3], [3, 3, 3, 3]]))
    with pytest.raises(InvalidInput, match=r"2 of 3 sequences that go on after their end symbol \(3\)"):
        event.check(torch.tensor([[0, 3, 1, 3], [3, 3, 3, 0], [0, 1, 3, 3]]))
    with pytest.raises(InvalidInput, match="values in"):
        event.check(torch.tensor([[4, 4, 4, 4]]))


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=6))
def test_lengths_count_what_comes_before_the_end(rows: list[list[int]]) -> None:
    event, x = Event.sentences(5, 3), torch.tensor(rows)
    expected = [row.index(3) if 3 in row else 5 for row in rows]
    assert event.lengths(x).tolist() == expected
    assert event.counted(x).tolist() == [min(n + 1, 5) for n in expected]
    assert event.closed(x).tolist() == [row[:n] + [3] * (5 - n) for row, n in zip(rows, expected, strict=True)]
    assert [event.until_end(row).tolist() for row in x] == [row[:n] for row, n in zip(rows, expected, strict=True)]


def test_data_without_an_end_are_whole() -> None:
    event = Event.tokens(3, TextEncoding.fit("byte"))
    x = torch.tensor([[255, 0, 255]], dtype=torch.uint8)
    assert event.lengths(x).tolist() == event.counted(x).tolist() == [3]
    assert torch.equal(event.closed(x), x)
    assert torch.equal(event.until_end(x[0]), x[0])
    with pytest.raises(InvalidInput, match="has no end symbol"):
        _ = event.end_symbol


def test_sentences_survive_json() -> None:
    for event in (Event.sentences(7, TextEncoding.fit("character", [b"abc"])), Event.sentences(2, 1)):
        assert Event.from_json(json.loads(json.dumps(event.to_json()))) == event
    with pytest.raises(InvalidInput, match="end is 1, expected true or false"):
        Event.from_json({**Event.sentences(2, 3).to_json(), "end": 1})


@pytest.mark.parametrize("event", [{"shape": (2, 2), "levels": 3}, {"shape": (4,), "axes": ("time",)}])
def test_only_sequences_of_whole_numbers_end(event: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"use Event\.sentences"):
        Event(**event, end=True)


# Drawings


def test_drawings_are_closed_counted_and_told_in_json():
    event = Event.drawing(3, (1.0, 2.0), (3.0, 4.0))
    assert Event.from_json(event.to_json()) == event
    assert (event.kind, event.dtype, event.discrete, event.end_symbol) == ("mixed", torch.float32, False, 2)
    x = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 2.0], [5.0, 5.0, 0.0]], [[1.0, 1.0, 1.0]] * 3, [[1.0, 1.0, 2.0]] * 3])
    assert event.lengths(x).tolist() == [5, 9, 2]
    assert event.counted(x).tolist() == [6, 9, 3]
    closed = event.closed(x)
    event.check(closed)
    assert closed[0, 2].tolist() == [0.0, 0.0, 2.0]
    assert torch.equal(closed[1], x[1])
    with pytest.raises(InvalidInput, match="2 of 3 drawings that go on after they are over"):
        event.check(x)


def test_only_the_offsets_of_a_drawing_are_scaled():
    event = Event.drawing(2, (1.0, 2.0), (3.0, 4.0))
    x = torch.tensor([[[4.0, 6.0, 1.0], [1.0, 2.0, 2.0]]])
    y = event.to_network(x)
    assert y.tolist() == [[[1.0, 1.0, 1.0], [0.0, 0.0, 2.0]]]
    assert torch.equal(event.from_network(y), x)
    assert event.from_network(y + 0.4)[..., 2].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (2, 3), "columns": (None, None)},
        {"shape": (2, 2), "columns": (None, None)},
        {"shape": (2, 2), "columns": (3, 3)},
        {"shape": (2, 2), "columns": (None, 1)},
        {"shape": (2, 2), "columns": (None, 3), "levels": 3},
        {"shape": (1, 2), "columns": (None, 3), "scale": (1.0, 2.0)},
        {"shape": (1, 2), "columns": (3, None), "end": True},
    ],
)
def test_columns_that_fit_nothing_are_refused(wrong):
    with pytest.raises(InvalidInput):
        Event(**wrong)
