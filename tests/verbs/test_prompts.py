"""Prompts: sequences of any length, drawn in windows; what is kept, what is refused, and what a text is as tokens."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.state import State
from ancestral.verbs.complete import complete
from ancestral.verbs.drawing import DrawOptions
from ancestral.verbs.noise import uniform_noise
from ancestral.verbs.prompts import PromptWarning, encode_prompt, make_course, windows
from ancestral.verbs.sample import draw, sample

TIME = Event.integers((8,), 5, ("time",))
SMALL = {
    "transformer": {"width": 8, "layers": 2, "heads": 2},
    "lstm-lm": {"width": 8, "layers": 1},
    "bytenet": {"width": 8, "sets": 1, "max_dilation": 2},
}
names = pytest.mark.parametrize("name", SMALL)


def lively(name: str, event: Event = TIME, **options: object) -> SequenceModel:
    """A model whose conditionals differ, and depend on what comes before."""
    torch.manual_seed(0)
    model = create(name, event, **{**SMALL[name], **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    assert isinstance(model, SequenceModel)
    return model.double().eval()


# Windows


@given(st.integers(0, 60), st.integers(1, 60), st.integers(1, 20), st.sampled_from([1, 8]))
def test_windows_draw_each_entry_once_given_half_a_window(size: int, more: int, longest: int, period: int) -> None:
    longest *= period
    total = size + more
    found = windows(size, total, longest, period)
    assert [t for _, first, stop in found for t in range(first, stop)] == list(range(size, total))
    for begin, first, stop in found:
        assert begin % period == 0
        assert begin <= first < stop <= begin + longest
        assert begin == 0 or first - begin >= longest // 2 - (period - 1)
    # A read entry is one that is given, or was drawn before it is read again: two steps for each entry drawn at most.
    assert sum(stop - begin for begin, _, stop in found) <= longest + 2 * more + 2 * period * len(found)


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 12))
def test_what_an_entry_is_given_does_not_depend_on_what_is_a_prompt(size: int, more: int, longest: int) -> None:
    begins = {}
    for begin, first, stop in windows(0, size + more, longest):
        begins.update(dict.fromkeys(range(first, stop), begin))
    for begin, first, stop in windows(size, size + more, longest):
        assert all(begins[t] == begin for t in range(first, stop))


def by_passes(model: SequenceModel, prompt: list[int], length: int, seed: int, number: int) -> list[int]:
    """Return what datum `number` is by whole passes over the last window, entry by entry."""
    T = model.event.numel
    noise = uniform_noise(seed, number, 1 + len(prompt) + length)[1:]
    x = list(prompt)
    while len(x) < len(noise):
        t = len(x)
        begin = 0 if t < T else math.ceil((t - T + 1) / (T - T // 2)) * (T - T // 2)
        row = torch.tensor([x[begin:] + [0] * (T - (t - begin))])
        p = torch.softmax(model(row)[0, t - begin], -1).cumsum(-1)
        x.append(int((p <= noise[t]).sum()))
    return x


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("prompt", [[], [1, 4], [2, 0, 1, 3, 4, 4, 1, 0, 2, 3, 1, 1, 4]])
def test_longer_than_the_context(positions: str, prompt: list[int]) -> None:
    model = lively("transformer", positions=positions)
    x = sample(model, 3, prompt=prompt, length=21, seed=5, batch_size=2)
    with torch.no_grad():
        assert x.tolist() == [by_passes(model, prompt, 21, 5, i) for i in range(3)]


@pytest.mark.parametrize(
    ("name", "options", "longest"),
    [
        ("transformer", {}, 8),
        ("transformer", {"window": 4}, None),
        ("transformer", {"window": 5}, 8),
        ("transformer", {"window": 4, "positions": "learned"}, 8),
        ("lstm-lm", {}, None),
        ("bytenet", {}, None),
        ("bytenet", {"max_dilation": 4}, 8),
    ],
)
def test_which_models_have_a_longest_sequence(name: str, options: dict[str, object], longest: int | None) -> None:
    assert lively(name, **options).longest == longest


def test_the_receptive_field_of_windows_is_what_they_read() -> None:
    model = lively("transformer", TIME.resized(20), window=4)
    assert model.receptive_field == 7
    x = torch.zeros(2, 20, dtype=torch.long)
    for place, seen in ((15 - 7, True), (15 - 8, False)):
        x[1] = 0
        x[1, place] = 3
        with torch.no_grad():
            raw = model(x)[:, 15]
        assert torch.allclose(raw[0], raw[1], atol=1e-12) is not seen


@pytest.mark.parametrize(("name", "options"), [("lstm-lm", {}), ("bytenet", {}), ("transformer", {"window": 3})])
def test_models_of_any_length_go_on_in_one_pass(name: str, options: dict[str, object]) -> None:
    model = lively(name, **options)
    longer = model.resized(40)
    assert torch.equal(sample(model, 3, length=40), sample(longer, 3))
    drawn = draw(model, 3, length=40, options=DrawOptions(method="parallel"))
    assert torch.equal(drawn.x, sample(longer, 3))
    assert drawn.event == TIME.resized(40)


@names
@pytest.mark.parametrize("size", [0, 5, 8, 13, 39])
def test_a_prompt_that_would_have_been_drawn_changes_nothing(name: str, size: int) -> None:
    model = lively(name)
    x = sample(model, 5, length=40, seed=2)
    for batch_size in (None, 2):
        given_each = sample(model, 5, prompt=x[:, :size], length=40 - size, seed=2, batch_size=batch_size)
        assert torch.equal(given_each, x)
    assert torch.equal(sample(model, 3, prompt=x[2, :size], length=40 - size, seed=2)[2], x[2])


def test_what_all_are_given_is_read_once() -> None:
    model = lively("lstm-lm")
    read: list[tuple[int, int]] = []
    step, prefill = model.step, model.prefill

    def stepped(state: State, previous: Tensor | None = None) -> Tensor:
        read.append((len(state.x), 1))
        return step(state, previous)

    def prefilled(state: State, values: Tensor, previous: Tensor | None = None) -> Tensor:
        read.append((len(state.x), values.shape[1]))
        return prefill(state, values, previous)

    model.step, model.prefill = stepped, prefilled  # type: ignore[method-assign,assignment]
    drawn = draw(model, 6, prompt=[1, 2, 3], length=4)
    assert read == [(1, 3)] + [(6, 1)] * 4
    assert drawn.calls == drawn.steps == 7
    read.clear()
    draw(model, 2, prompt=[[1, 2, 3], [1, 2, 4]], length=4)
    assert read == [(2, 3)] + [(2, 1)] * 4
    model.fused = False
    read.clear()
    draw(model, 6, prompt=[1, 2, 3], length=4)
    assert read == [(1, 1)] * 3 + [(6, 1)] * 4


def test_the_length_is_that_of_the_event_where_none_is_given() -> None:
    assert sample(lively("lstm-lm"), 2, prompt=[1, 2]).shape == (2, 10)
    assert sample(lively("lstm-lm"), 2, prompt=[]).shape == (2, 8)
    assert sample(create("fvsbn", Event.binary((6,))), 2, prompt=[1, 0]).shape == (2, 6)


@names
def test_what_follows_has_the_models_frequencies(name: str) -> None:
    event = Event.integers((4,), 3, ("time",))
    model = lively(name, event)
    states = torch.cartesian_prod(*[torch.arange(3)] * 2)
    x = torch.cat((torch.tensor([[2, 1]]).expand(9, -1), states), 1)
    with torch.no_grad():
        expected = 2000 * torch.softmax(model.log_prob(x), 0)
    found = sample(model, 2000, prompt=[2, 1], length=2)[:, 2:].long() @ torch.tensor([3, 1])
    assert chisquare(torch.bincount(found, minlength=9).numpy(), expected.numpy()).pvalue > 1e-4
    done = complete(model, torch.tensor([2, 1, 0, 0]), torch.tensor([True, True, False, False]), n=2000)
    assert done.method == ("exact (prefix)",)
    found = done.x[0, :, 2:].long() @ torch.tensor([3, 1])
    assert chisquare(torch.bincount(found, minlength=9).numpy(), expected.numpy()).pvalue > 1e-4


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": "text"}, "a prompt that is text is for models of text, this one is of 8 5 levels data"),
        ({"prompt": [1, 5]}, r"the prompt has values in \[1, 5\], expected integers in \[0, 4\]"),
        ({"prompt": [0.5]}, "expected integers"),
        ({"prompt": torch.zeros(3, 2)}, r"shape \(3, 2\), expected \(entries,\) for all data or \(2, entries\)"),
        ({"prompt": ["a"]}, "not made of numbers"),
        ({"length": 0}, "length is 0, expected at least 1"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        sample(lively("lstm-lm"), 2, **arguments)  # type: ignore[arg-type]


def test_models_that_cannot_go_on_from_a_prompt_say_so() -> None:
    bits = Event.binary((6,))
    with pytest.raises(Unsupported, match="another order"):
        sample(create("nade", bits, order_seed=2), 1, prompt=[1])
    with pytest.raises(Unsupported, match="another order: draw the rest of a datum with `complete`"):
        sample(create("made", bits, hidden=(8,), masks=2, orders="agnostic"), 1, prompt=[1])
    with pytest.raises(Unsupported, match="prompt: a vae draws a datum whole"):
        sample(create("vae", bits), 1, prompt=[1])
    with pytest.raises(InvalidInput, match="data of this fvsbn have 6 in all: give at most 5"):
        sample(create("fvsbn", bits), 1, prompt=[1] * 6)
    with pytest.raises(InvalidInput, match="leave the length out"):
        sample(create("fvsbn", bits), 1, prompt=[1], length=6)
    for arguments in ({"prompt": [1]}, {"length": 20}):
        with pytest.raises(Unsupported, match="method: what follows a prompt"):
            sample(lively("transformer"), 1, method="parallel", **arguments)  # type: ignore[arg-type]


# Text


def characters(length: int = 8) -> Event:
    return Event.tokens(length, TextEncoding.fit("character", [b"to be or not to be\n"]))


def test_a_text_is_encoded_as_the_models_is() -> None:
    for level in ("character", "byte", "bit", "subword", "word"):
        event = Event.tokens(16, TextEncoding.fit(level, [b"to be or not to be\n" * 3]))
        assert event.encoding is not None
        model = create("lstm-lm", event, width=4)
        for prompt in ("to be", b"to be"):
            x = sample(model, 2, prompt=prompt, length=16)
            assert x.dtype == event.dtype
            size = len(event.encoding.encode(b"to be"))
            assert [event.encoding.decode(row[:size]) for row in x] == [b"to be"] * 2
        assert torch.equal(sample(model, 2, prompt="", length=16), sample(model, 2))


def test_unknown_characters_are_refused_and_unknown_words_are_warned_of() -> None:
    with pytest.raises(InvalidInput, match=r"characters that the model does not know: 'R', 'É'\. It was trained"):
        encode_prompt(characters(), "Ro be É R")
    with pytest.raises(InvalidInput, match="and 5 more"):
        encode_prompt(characters(), "ABCDEFGHIJKLMNO")
    words = Event.tokens(4, TextEncoding.fit("word", [b"to be or not to be"], minimum=1))
    with pytest.warns(PromptWarning, match=r"words that the model does not know: 'see', '!'"):
        tokens = encode_prompt(words, "to see or not to see !")
    assert words.encoding is not None
    assert words.encoding.decode_text(tokens) == "to� or not to��"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(encode_prompt(Event.tokens(4, TextEncoding.fit("byte")), "É")) == 2


def test_a_prompt_must_be_utf8_where_characters_are_meant() -> None:
    with pytest.raises(InvalidInput, match="byte 2 of the prompt is 0xff"):
        encode_prompt(characters(), b"to\xffbe")
    with pytest.raises(InvalidInput, match="byte 2 of the prompt is 0xff"):
        encode_prompt(characters(), "to\udcffbe")
    with pytest.raises(InvalidInput, match="character 2 of the prompt is a surrogate"):
        encode_prompt(characters(), "to\ud800be")
    assert encode_prompt(Event.tokens(4, TextEncoding.fit("byte")), "a\udcff").tolist() == [97, 255]


def test_bits_are_drawn_by_whole_bytes() -> None:
    event = Event.tokens(16, TextEncoding.fit("bit"))
    model = create("transformer", event, width=8, layers=1, heads=2)
    assert sample(model, 1, prompt="ab", length=24).shape == (1, 40)
    assert all(begin % 8 == 0 for begin, _, _ in make_course(model, 1, "ab", 40).windows)
    with pytest.raises(InvalidInput, match=r"16 bits and 20 more are 36, expected whole bytes: draw 24"):
        sample(model, 1, prompt="ab", length=20)
    assert sample(model, 1, prompt=[0, 1, 1], length=5).shape == (1, 8)
