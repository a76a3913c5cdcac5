import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ancestral.data import TokenSplit, cache, load, text_files
from ancestral.data.text import LENGTH
from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.training.config import TrainConfig
from ancestral.training.sampler import Feed

from .conftest import contents, equal_splits, pictures, save_pictures

LEVELS = ("bit", "byte", "character", "word", "subword")
TEXT = "".join(f"{i} times {i} is {i * i}: «naïve» counting, 猫.\n" for i in range(400)).encode()


@pytest.fixture
def novel(folder):
    (folder / "novel.txt").write_bytes(TEXT)
    return folder / "novel.txt"


@pytest.fixture
def here(own_folders, real_data, monkeypatch):
    """The real data, in place of a test's own folder."""
    monkeypatch.setenv("ANCESTRAL_DATA", str(real_data))

    def needs(name):
        if not (real_data / name).is_dir():
            pytest.skip(f"{name} is not in the data folder")

    return needs


# A text as data


@pytest.mark.parametrize("level", LEVELS)
def test_data_are_windows_of_tokens(novel, level):
    data = load(novel, level=level, length=16)
    encoding = data.event.encoding
    assert data.event == Event.tokens(16, encoding)
    assert encoding.level == level
    for name, split in data.splits.items():
        x, condition = split.batch(torch.arange(len(split)))
        assert condition is None
        assert x.dtype == data.event.dtype
        data.event.check(x)
        assert torch.equal(x.flatten(), split.tokens[: len(split) * 16].to(x.dtype))
        assert data.record["splits"][name] == len(split) == len(split.tokens) // 16
        assert data.record["tokens"][name] == len(split.tokens)
        assert data.record["bytes"][name] == split.bytes
        assert data.record["unknown_nats"][name] == split.unknown_nats
    known = [encoding.decode(split.tokens) for split in data.splits.values() if split.unknown_nats == 0.0]
    assert all(part in TEXT for part in known)
    assert level in ("word", "character") or b"".join(known) == TEXT


@pytest.mark.parametrize("level", LEVELS)
def test_name_and_options_of_a_record_give_the_same_splits(novel, level):
    options = {"vocabulary": 300} if level in ("word", "subword") else {}
    data = load(novel, level=level, length=24, test=500, **options)
    record = json.loads(json.dumps(data.record))
    assert equal_splits(data, load(data.name, **record["options"]))


def test_defaults_are_bytes(novel):
    assert load(novel).event == Event.tokens(LENGTH, TextEncoding.fit("byte"))


def test_the_vocabulary_is_that_of_train_alone(folder):
    for name, text in (("train", "abc abc"), ("valid", "abd"), ("test", "xyz é")):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    data = load(folder, level="character", length=3)
    assert data.event.encoding.vocabulary == " abc"
    assert data.record["unknown_nats"] == pytest.approx(
        {"train": 0.0, "validation": math.log(1_112_064), "test": 4 * math.log(1_112_064)}
    )
    assert load(folder, level="subword", length=2, vocabulary=300).event.levels == 258  # two letters, then all three


def test_words_may_stand_between_spaces(novel):
    pieces = load(novel, level="word", words="spaces", length=8, vocabulary=5000).event.encoding.vocabulary
    assert "\n" in pieces
    assert " counting," in pieces
    assert " counting" in load(novel, level="word", length=8).event.encoding.vocabulary


@pytest.mark.parametrize("level", LEVELS)
def test_a_text_encoded_in_pieces_is_the_same(novel, level, monkeypatch):
    whole = load(novel, level=level, length=16)
    monkeypatch.setattr(text_files, "CHUNK", 701)
    monkeypatch.setenv("XDG_CACHE_HOME", str(novel.parent / "other cache"))
    pieces = load(novel, level=level, length=16)
    assert equal_splits(whole, pieces)
    assert pieces.record["unknown_nats"] == pytest.approx(whole.record["unknown_nats"])


def test_tokens_are_made_once(novel, monkeypatch):
    data = load(novel, level="word", length=16)
    monkeypatch.setattr(TextEncoding, "fit", lambda *args, **kwargs: pytest.fail("it was made again"))
    assert equal_splits(data, load(novel, level="word", length=16))
    assert load(novel, level="word", length=4).event.shape == (4,)


def test_a_changed_file_is_read_again(novel):
    before = load(novel, length=16)
    novel.write_bytes(TEXT[:-1000])
    assert load(novel, length=16).record["bytes"] != before.record["bytes"]


@pytest.mark.parametrize("level", ["byte", "word"])
def test_texts_of_any_size_are_memory_mapped(novel, level):
    data = load(novel, level=level, length=16)
    files = {str(file.resolve()) for file in cache.folder().rglob("*.npy")}
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(".npy")}
    assert len(files & mapped) == 3
    again = np.concatenate([np.load(file) for file in sorted(files)])
    assert torch.equal(torch.cat([split.tokens for split in data.splits.values()]), torch.from_numpy(again))


# Windows


def count(n, length=4, encoding="byte", **options):
    encoding = TextEncoding.fit(encoding)
    return TokenSplit(torch.arange(n).to(torch.int32), Event.tokens(length, encoding), n, **options)


def test_windows_follow_one_another():
    split = count(11)
    assert len(split) == 2
    assert split.batch(torch.tensor([1, 0]))[0].tolist() == [[4, 5, 6, 7], [0, 1, 2, 3]]
    assert len(count(4)) == 1
    with pytest.raises(
        InvalidInput, match="the text has 3 tokens, expected at least the 4 of a datum: pass a shorter length="
    ):
        count(3)


def test_only_moving_windows_move_and_only_with_a_generator():
    generator = torch.Generator().manual_seed(0)
    still, moving = count(200), count(200, moving=True)
    fixed = still.batch(torch.arange(50))[0]
    assert torch.equal(still.batch(torch.arange(50), generator)[0], fixed)
    assert torch.equal(moving.batch(torch.arange(50))[0], fixed)
    moved = moving.batch(torch.arange(50), generator)[0]
    shift = moved[:, 0].int() - fixed[:, 0].int()
    assert shift[:-1].unique().tolist() == [0, 1, 2, 3]
    assert int(shift[-1]) == 0  # the last window has nowhere to go
    assert torch.equal(moved - moved[:, :1], fixed - fixed[:, :1])


def test_moving_windows_see_each_token_about_once_in_a_pass():
    split, generator = count(256, moving=True), torch.Generator().manual_seed(0)
    seen = sum(torch.bincount(split.batch(torch.arange(64), generator)[0].flatten(), minlength=256) for _ in range(400)) / 400
    assert torch.allclose(seen[4:-8], torch.ones(244), atol=0.2)


def test_bytes_are_never_cut_between_their_bits():
    split = count(240, 16, "bit", moving=True)
    starts = torch.cat([split.batch(torch.arange(15), torch.Generator().manual_seed(seed))[0][:, 0] for seed in range(9)])
    assert starts.unique().tolist() == list(range(0, 232, 8))


def test_windows_follow_the_generator_alone():
    split, before = count(200, moving=True), torch.random.get_rng_state()
    one, again, other = (split.batch(torch.arange(50), torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_train_moves_and_the_other_splits_do_not(novel):
    data = load(novel, length=16)
    assert {name: split.moving for name, split in data.splits.items()} == {"train": True, "validation": False, "test": False}


def test_training_goes_on_with_the_windows_it_would_have_seen(novel):
    data, config = load(novel, length=16), TrainConfig(batch_size=8, epochs=1)

    def feed(step, generator):
        return Feed(data, config, torch.device("cpu"), 0, 1).batches(step, generator)

    generator = torch.Generator().manual_seed(3)
    batches = feed(0, generator)
    for _ in range(5):
        next(batches)
    saved = generator.get_state()
    expected = [next(batches)[0] for _ in range(300)]  # over the end of an epoch
    resumed = feed(5, torch.Generator().set_state(saved))
    assert all(torch.equal(x, next(resumed)[0]) for x in expected)


# The encoding of a trained model, on another text


@pytest.mark.parametrize("as_json", [False, True])
def test_an_encoding_can_be_used_again(novel, folder, as_json):
    event = load(novel, level="character", length=16).event
    (folder / "other.txt").write_text("1 times 1 is Ω\n" * 50, encoding="utf-8")
    data = load(folder / "other.txt", event=event.to_json() if as_json else event)
    assert data.event == event
    assert data.event.encoding.decode_text(data.split("train").tokens).startswith("1 times 1 is \ufffd\n")
    assert data.split("train").unknown_nats > 0
    assert equal_splits(data, load(data.name, **json.loads(json.dumps(data.record["options"]))))
    assert load(folder / "other.txt", event=event, length=5).event == event.resized(5)


@pytest.mark.parametrize("option", [{"level": "byte"}, {"vocabulary": 9}, {"words": "spaces"}])
def test_an_encoding_is_not_asked_for_twice(novel, option):
    event = Event.tokens(16, TextEncoding.fit("byte"))
    with pytest.raises(InvalidInput, match=rf"event= has an encoding, at level 'byte': leave {next(iter(option))}= out"):
        load(novel, event=event, **option)


@pytest.mark.parametrize("event", ["binary", 256, Event.integers((16,), 256, ("time",))])
def test_text_needs_an_event_with_an_encoding(novel, event):
    with pytest.raises(InvalidInput, match=r"is text, which needs an Event with an encoding: give one, or level= and length="):
        load(novel, event=event)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "char"}, r"there is no level 'char'. Did you mean character\? Expected one of bit, byte, "),
        ({"level": "subword", "vocabulary": 100}, r"novel.txt: vocabulary= takes a number from 256, .* got 100"),
        ({"level": "byte", "vocabulary": 100}, r"novel.txt: the level 'byte' takes no vocabulary="),
        ({"words": "spaces"}, r"novel.txt: the level 'byte' takes no words="),
        ({"level": "word", "words": "blanks"}, r"words= takes letters or spaces, got 'blanks'"),
        ({"level": "bit", "length": 12}, r"length= takes a multiple of 8 at level 'bit', got 12"),
        ({"length": 100_000}, r"the split 'train' of .*novel.txt has \d+ tokens, expected at least the 100000 of a datum"),
        ({"length": 500, "test": 100}, r"the split 'test' of .*novel.txt has 1\d\d tokens, expected at least the 500"),
        ({"gray": True, "limit": 3}, r"novel.txt takes no gray and no limit: leave it out. It takes event, length, level, "),
        ({"condition": "label"}, r"takes no condition"),
        ({"text": "text"}, r"takes no text"),
        ({"stream": True}, r"is text, which is memory-mapped and not streamed"),
    ],
)
def test_options_that_do_not_fit_are_refused(novel, options, message):
    with pytest.raises(InvalidInput, match=message) as error:
        load(novel, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("option", [{"level": "byte"}, {"length": 8}, {"vocabulary": 9}, {"words": "spaces"}, {"text": "a"}])
def test_other_data_take_no_options_of_text(folder, option):
    save_pictures(folder / "images", pictures(20))
    np.savetxt(folder / "a.csv", np.random.default_rng(0).normal(size=(30, 2)), delimiter=",")
    for source in (folder / "a.csv", pictures(20), "digits"):
        with pytest.raises(InvalidInput, match=rf"takes no {next(iter(option))}: leave it out. It takes .*binarize"):
            load(source, **option)
    message = "has no column 'a' for text=" if "text" in option else f"takes no {next(iter(option))}: leave it out"
    with pytest.raises(InvalidInput, match=message):
        load(folder / "images", **option)


@pytest.mark.parametrize("level", ["character", "word"])
@pytest.mark.parametrize("place", [100, 24_000])
def test_the_byte_that_is_not_utf8_is_named(novel, level, place):
    novel.write_bytes((b"four " * 5000)[:place] + b"\xff" + (b"four " * 5000)[place:])
    with pytest.raises(InvalidInput, match=rf"novel.txt: byte {place} of the text is 0xff, .* pass level='byte'"):
        load(novel, level=level)
    assert load(novel).event.levels == 256


# Published facts


def test_ptb_has_the_published_counts(here):
    here("ptb")
    data = load("ptb")
    assert data.record["tokens"] == {"train": 929_589, "validation": 73_760, "test": 82_430}
    encoding = data.event.encoding
    assert len(encoding.vocabulary) == 10_000
    assert encoding.vocabulary[:4] == (" the", " <unk>", " \n", " N")
    assert set(data.record["unknown_nats"].values()) == {0.0}
    assert load("ptb", level="byte").record["bytes"] == data.record["bytes"]
    assert load("ptb", level="character").event.levels == 50 + 1


def test_tinyshakespeare_is_that_of_nanogpt(here):
    here("tinyshakespeare")
    data = load("tinyshakespeare", length=256)
    encoding = data.event.encoding
    assert encoding.level == "character"
    assert len(encoding.vocabulary) == 65
    assert encoding.vocabulary[:13] == "\n !$&',-.3:;?"
    tokens = data.record["tokens"]
    assert (tokens["train"], tokens["validation"] + tokens["test"]) == (1_003_854, 111_540)
    x, _ = data.split("train").batch(torch.arange(8))
    assert x.shape == (8, 256)
    assert encoding.decode(x[0]).startswith(b"First Citizen:\nBefore we proceed any further, hear me speak.")
    # As nanoGPT numbers characters: "First" is [18, 47, 56, 57, 58].
    assert x[0, :5].tolist() == [18, 47, 56, 57, 58]


def test_enwik8_is_whole_at_every_level(here):
    here("enwik8")
    data = load("enwik8")
    assert sum(data.record["bytes"].values()) == 3_500_000
    assert data.event.encoding.decode(data.split("train").tokens[:20]).startswith(b"<mediawiki xmlns=")
    assert load("enwik8", level="character").record["bytes"] == data.record["bytes"]
    assert all(len(contents(data, split)[0]) == len(data.split(split)) for split in data.splits)
