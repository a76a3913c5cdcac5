import hashlib

import numpy as np
import pytest
import torch

from ancestral.data import load, mnist_scenes
from ancestral.data.mnist_scenes import (
    COLOURS,
    LENGTH,
    RELATIONS,
    SCENE_LABELS,
    SCENES,
    STACKED,
    WORDS,
    caption_event,
    caption_labels,
    draw_scenes,
    encode_captions,
    is_unseen,
    recoloured,
    stack_digits,
)
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.sample import conditions_for

from .conftest import contents, equal_splits

FEW = {"train": 200, "validation": 100, "test": 100, "unseen": 100}


@pytest.fixture
def digits(monkeypatch):
    """Pictures of ten digits in each split: digit d of split s is of the one grey level 10 d + s + 1."""
    monkeypatch.setattr(mnist_scenes, "SCENES", FEW)
    monkeypatch.setattr(mnist_scenes, "STACKED", {"train": 300, "validation": 100, "test": 100})

    def one(split):
        levels = (10 * np.arange(10) + split + 1).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (10, 1, 28, 28)), np.arange(10)

    return {name: one(i) for i, name in enumerate(("train", "validation", "test"))}


def kinds(caption):
    """The colours and digits that a caption names."""
    words = caption.split()
    return [(words[i - 1], word) for i, word in enumerate(words) if word in WORDS]


def test_channels_are_the_digits_of_the_label_and_of_the_same_split(digits):
    for i, (x, labels) in enumerate(stack_digits(digits).values()):
        assert x.shape[1:] == (3, 28, 28)
        assert (x == (10 * labels + i + 1)[:, :, None, None]).all()
        assert len(np.unique(labels @ [100, 10, 1])) > len(x) * 0.8  # digits of the channels are drawn independently


def test_scenes_show_what_their_captions_say(digits):
    source = {"train": 0, "validation": 1, "test": 2, "unseen": 2}
    for split, (x, captions) in draw_scenes(digits).items():
        for picture, caption in zip(x, captions, strict=True):
            named = kinds(caption)
            boxes = []
            for colour, digit in named:
                lit = np.array(COLOURS[colour], bool)
                level = 10 * WORDS.index(digit) + source[split] + 1
                found = (picture[lit] == level).all(0) & ~picture[~lit].any(0)
                assert found.any(), (split, caption)
                boxes.append(np.argwhere(found))
            if len(named) == 1:
                assert len(boxes[0]) == (28 if "large" in caption else 14) ** 2
            elif named[0] != named[1]:
                relation = next(relation for relation in RELATIONS if f" {relation} " in caption)
                axis = 0 if relation in ("above", "below") else 1
                first, second = (box[:, axis] for box in boxes)
                before, after = (first, second) if relation in ("above", "left of") else (second, first)
                assert before.max() < after.min(), caption
            assert (picture.any(0)).sum() == sum(map(len, boxes)) / (2 if len(named) == 2 and named[0] == named[1] else 1)


def test_held_out_kinds_are_in_every_unseen_scene_and_in_no_other(digits):
    names = list(COLOURS)
    for split, (_, captions) in draw_scenes(digits).items():
        for caption in captions:
            held = [is_unseen(names.index(colour), WORDS.index(digit)) for colour, digit in kinds(caption)]
            assert any(held) == (split == "unseen"), caption
    # Every digit and every colour is held out somewhere, and seen elsewhere.
    table = np.array([[is_unseen(colour, digit) for digit in range(10)] for colour in range(4)])
    assert (table.sum(0) == 1).all()
    assert (table.sum(1) >= 2).all()


def test_labels_are_what_captions_say_whichever_digit_they_name_first():
    assert caption_labels("a small white zero") == (0, 3, 0, 4, 10)
    assert caption_labels("a red three above a blue five") == (2, 0, 3, 2, 5)
    assert caption_labels("a red three below a blue five") == (2, 2, 5, 0, 3)
    assert caption_labels("a red three left of a blue five") == (3, 0, 3, 2, 5)
    assert caption_labels("a red three right of a blue five") == (3, 2, 5, 0, 3)


def test_recoloured_scenes_have_every_digit_in_every_colour_and_labels_that_say_so(digits):
    pictures, captions = draw_scenes(digits)["train"]
    x, labels = torch.from_numpy(pictures), torch.tensor([caption_labels(caption) for caption in captions])
    painted, told = recoloured(x, labels)
    assert torch.equal(painted.amax(1), x.amax(1))
    assert torch.equal(told[:, ::2], labels[:, ::2])  # layout and digits
    assert torch.equal(told[:, 3] == len(COLOURS), labels[:, 3] == len(COLOURS))
    lit = torch.tensor(list(COLOURS.values())).bool()
    for picture, (layout, first, _, second, _) in zip(painted, told.tolist(), strict=True):
        halves = picture.split(16, 1 if layout == 2 else 2) if layout > 1 else (picture,)
        for half, colour in zip(halves, (first, second), strict=False):
            assert torch.equal(half.flatten(1).any(1), lit[colour])
    pairs = {*zip(told[:, 1].tolist(), told[:, 2].tolist(), strict=True)}
    assert len(pairs) > 30  # more than the 30 kinds that are seen
    again = recoloured(x, labels)
    assert torch.equal(painted, again[0])
    assert torch.equal(told, again[1])


def test_captions_are_sentences_of_a_closed_vocabulary(digits):
    event = caption_event()
    for _, captions in draw_scenes(digits).values():
        tokens = encode_captions(captions, event)
        event.check(tokens)
        assert not (tokens == event.encoding.unknown).any()
        assert [event.encoding.decode_text(event.until_end(row)) for row in tokens] == captions
    longest = "a red three left of a blue seven"
    assert len(longest.split()) == LENGTH
    assert event.encoding.decode_text(encode_captions([longest], event)[0]) == longest


@pytest.fixture
def here(own_folders, real_data, tmp_path, monkeypatch):
    if not (real_data / "mnist").is_dir():
        pytest.skip("mnist is not in the data folder")
    monkeypatch.setenv("ANCESTRAL_DATA", str(real_data))


def test_captioned_scenes_are_the_same_on_every_machine(here):
    data = load("digit-scenes", condition="caption")
    assert {name: len(split) for name, split in data.splits.items()} == SCENES
    assert data.condition == caption_event()
    x, captions = contents(data, "unseen")
    data.condition.check(captions)
    digest = hashlib.sha256(x.numpy().tobytes() + captions.numpy().tobytes()).hexdigest()[:16]
    assert digest == "47e29bc1033d4332"
    assert equal_splits(data, load(data.name, **data.record["options"]))
    labelled = load("digit-scenes", condition=list(SCENE_LABELS))
    assert labelled.condition.classes == (4, 4, 10, 5, 11)
    row = captions[7]
    said = caption_labels(data.condition.encoding.decode_text(data.condition.until_end(row)))
    assert labelled.split("unseen").batch(torch.tensor([7]))[1][0].tolist() == list(said)
    with pytest.raises(InvalidInput, match=r"digit-scenes has no column 'label' for condition=. It has: caption, layout"):
        load("digit-scenes", condition="label")
    with pytest.raises(InvalidInput, match=r"caption of digit-scenes is a condition by itself, got condition=caption, x"):
        load("digit-scenes", condition=["caption", "x"])


def test_stacked_mnist_has_1000_modes_and_is_the_same_on_every_machine(here):
    data = load("stacked-mnist", condition="label")
    assert {name: len(split) for name, split in data.splits.items()} == STACKED
    x, labels = contents(data, "test")
    assert hashlib.sha256(x.numpy().tobytes()).hexdigest()[:16] == "1b70d72ed3b9d56f"
    assert len(torch.unique(data.splits["train"].condition)) == 1000
    parts = load("stacked-mnist", condition=["red", "green", "blue"])
    assert parts.condition.classes == (10, 10, 10)
    assert torch.equal(contents(parts, "test")[1] @ torch.tensor([100, 10, 1]), labels.long())


def test_a_model_given_captions_draws_for_the_text_of_one():
    event = caption_event()
    model = create("gan", Event.real((2,)), event, latent=2, hidden=(4,))
    caption = "a red three left of a blue seven"
    assert torch.equal(conditions_for(model, 2, caption), encode_captions([caption] * 2, event))
    with pytest.raises(InvalidInput, match=r"sentence 1 of 1 has 9 tokens, the model reads 8 at most"):
        conditions_for(model, 2, f"{caption} a")
