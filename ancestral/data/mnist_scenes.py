"""Pictures put together of MNIST's digits: three as colour channels, or one or two in a scene that a caption describes."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data.pairs import Ragged, encode_lines
from ancestral.encoding import TextEncoding
from ancestral.encoding.pieces import WordEncoding
from ancestral.event import Event

Digits = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pictures of digits, (n, 1, 28, 28), and which digits they are, (n,)."""
SEED = 0
"""Of the draws."""

# Stacked MNIST

STACKED = {"train": 128_000, "validation": 10_000, "test": 10_000}
"""Data of each split."""
CHANNELS = ("red", "green", "blue")
"""What the digit of each channel is called."""


def stack_digits(digits: Mapping[str, Digits]) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Return pictures whose channels are three digits drawn at random: 1,000 modes, of about equal weight.

    Args:
        digits: by split; a split is made of the digits of the same split.

    Returns:
        By split, pictures, (n, 3, 28, 28), and the digit of each channel, (n, 3).

    References:
        Unrolled Generative Adversarial Networks (Metz et al., 2017), https://arxiv.org/abs/1611.02163, for the data. PacGAN
        (Lin et al., 2018), https://arxiv.org/abs/1712.04086, for their number; there training data are of all of MNIST's
        digits, test digits included.
    """
    rng = np.random.default_rng(SEED)
    stacked = {}
    for split, count in STACKED.items():
        x, labels = digits[split]
        chosen = rng.integers(len(x), size=(count, 3))
        stacked[split] = (np.asarray(x)[chosen, 0], labels[chosen])
    return stacked


# Scenes

SCENES = {"train": 40_000, "validation": 5_000, "test": 5_000, "unseen": 5_000}
"""Data of each split."""
SIDE, LARGE, SMALL = 32, 28, 14
"""Height and width of a scene, of a large digit and of a small one; two in a scene are small."""
PAIRS = 2.0 / 3.0
"""Probability that a scene has two digits."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1)}
"""Colours by name, and which channels they light."""
EXTENTS = ("small", "large")
"""Sizes of a digit that is alone."""
RELATIONS = ("above", "below", "left of", "right of")
"""Where the first of two digits is, seen from the second."""
LENGTH = 8
"""Words of the longest caption."""
_SPOKEN = ("a", "small", "large", *COLOURS, *WORDS, "above", "below", "left", "right", "of")


def caption_event() -> Event:
    """Return what a caption is: up to 8 words of a closed vocabulary, each with the space before it but the first.

    >>> print(caption_event())
    up to 8 word tokens, of 25 levels with the end
    """
    encoding = WordEncoding(("a", *(f" {word}" for word in _SPOKEN)), "letters", (0,) * 257)
    return Event.sentences(LENGTH, encoding)


def is_unseen(colour: int, digit: int) -> bool:
    """Return whether digits of a colour are held out of training: each digit is, in one of the four colours.

    >>> [WORDS[digit] for digit in range(10) if is_unseen(0, digit)]
    ['zero', 'four', 'eight']
    """
    return digit % len(COLOURS) == colour


def draw_scenes(digits: Mapping[str, Digits]) -> dict[str, tuple[NDArray[np.uint8], list[str]]]:
    """Return scenes of one or two digits, with captions such as "a large red three" or "a blue five left of a white one".

    A digit that is alone is large or small, wherever it has room; of two, both are small, each in its half, and where they are
    along the other axis is drawn. In train, validation and test no digit has the colour that is held out (`is_unseen`); in
    the split "unseen" one digit of each scene has it, the other one any colour. It is made of the digits of test.

    Args:
        digits: by split: train, validation and test.

    Returns:
        By split, pictures, (n, 3, 32, 32), and captions.
    """
    rng = np.random.default_rng(SEED)
    names = list(COLOURS)
    all_kinds = [(colour, digit) for colour in range(len(names)) for digit in range(10)]
    held = [kind for kind in all_kinds if is_unseen(*kind)]
    seen = [kind for kind in all_kinds if not is_unseen(*kind)]
    scenes = {}
    for split, count in SCENES.items():
        x, labels = digits["test" if split == "unseen" else split]
        small = _halved(x[:, 0])
        by_digit = [np.flatnonzero(labels == digit) for digit in range(10)]
        pictures = np.zeros((count, 3, SIDE, SIDE), np.uint8)
        captions = []
        for picture in pictures:
            pair = rng.random() < PAIRS
            held_out = int(rng.integers(1 + pair))
            things = []
            for place in range(1 + pair):
                kinds = seen if split != "unseen" else held if place == held_out else all_kinds
                colour, digit = kinds[int(rng.integers(len(kinds)))]
                row = by_digit[digit][int(rng.integers(len(by_digit[digit])))]
                things.append((row, colour, f"{names[colour]} {WORDS[digit]}"))
            if pair:
                relation = RELATIONS[int(rng.integers(len(RELATIONS)))]
                captions.append(f"a {things[0][2]} {relation} a {things[1][2]}")
                after = relation in ("below", "right of")
                for (row, colour, _), second in zip(things, (after, not after), strict=True):
                    along = int(rng.integers(3)) + second * SIDE // 2  # the halves do not overlap
                    across = int(rng.integers(5, 14))
                    top, left = (along, across) if relation in ("above", "below") else (across, along)
                    _paint(picture, small[row], colour, top, left)
            else:
                row, colour, what = things[0]
                extent = EXTENTS[int(rng.integers(2))]
                captions.append(f"a {extent} {what}")
                glyph = x[row, 0] if extent == "large" else small[row]
                top, left = rng.integers(SIDE - len(glyph) + 1, size=2).tolist()
                _paint(picture, glyph, colour, top, left)
        scenes[split] = (pictures, captions)
    return scenes


def encode_captions(captions: Sequence[str], event: Event) -> Tensor:
    """Return captions as data of `caption_event`, (n, length).

    >>> encode_captions(["a red two"], caption_event()).tolist()
    [[0, 4, 10, 24, 24, 24, 24, 24]]
    """
    tokens, lengths = encode_lines(event.encoding or TextEncoding.fit("byte"), captions)
    return Ragged(torch.from_numpy(tokens), torch.from_numpy(lengths)).padded(torch.arange(len(captions)), event)


SCENE_LABELS = {
    "layout": ("small", "large", "one above the other", "side by side"),
    "first_colour": tuple(COLOURS),
    "first_digit": WORDS,
    "second_colour": (*COLOURS, "none"),
    "second_digit": (*WORDS, "none"),
}
"""What a caption says, as labels: the first digit is the upper or the left one, whichever the caption names first."""


def caption_labels(caption: str) -> tuple[int, ...]:
    """Return the labels of what a caption says, in the order of `SCENE_LABELS`; captions of the same scene have the same.

    >>> caption_labels("a red two below a blue one") == caption_labels("a blue one above a red two")
    True
    >>> caption_labels("a large green seven")
    (1, 1, 7, 4, 10)
    """
    words, colours = caption.split(), list(COLOURS)
    things = [(colours.index(words[i - 1]), WORDS.index(word)) for i, word in enumerate(words) if word in WORDS]
    if len(things) == 1:
        return (EXTENTS.index(words[1]), *things[0], len(colours), len(WORDS))
    first, second = reversed(things) if "below" in words or "right" in words else things
    return (2 if "above" in words or "below" in words else 3, *first, *second)


def recoloured(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return scenes with each digit in a colour drawn anew from all four, whichever digit it is, and their labels.

    Who is to tell digits in colours that are held out must not learn that a digit never has them.

    Args:
        x: scenes, (n, 3, 32, 32).
        labels: of `caption_labels`, (n, 5).
    """
    table = torch.tensor(list(COLOURS.values()), dtype=x.dtype)
    drawn = torch.randint(len(COLOURS), (len(x), 2), generator=torch.Generator().manual_seed(SEED))
    second = (torch.arange(SIDE) >= SIDE // 2).view(1, SIDE)
    shape = (len(x), SIDE, SIDE)
    # Of two digits each is in its half; one that is alone has all of the scene.
    lower = (labels[:, 0] == 2).view(-1, 1, 1) & second.view(1, SIDE, 1)
    right = (labels[:, 0] == 3).view(-1, 1, 1) & second.view(1, 1, SIDE)
    place = (lower | right).expand(shape).flatten(1).long()
    colour = drawn.gather(1, place).view(shape)  # of each pixel
    painted = x.amax(1, keepdim=True) * table[colour].permute(0, 3, 1, 2)
    told = labels.clone()
    told[:, 1] = drawn[:, 0]
    told[:, 3] = torch.where(labels[:, 3] < len(COLOURS), drawn[:, 1], labels[:, 3])
    return painted, told


def _halved(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures, (n, 28, 28), of half the height and width: rounded means of 2 x 2 pixels, the same on every machine."""
    sums = x.reshape(len(x), SMALL, 2, SMALL, 2).astype(np.uint16).sum((2, 4))
    return ((sums + 2) // 4).astype(np.uint8)


def _paint(picture: NDArray[np.uint8], glyph: NDArray[np.uint8], colour: int, top: int, left: int) -> None:
    """Put a digit, (side, side), into a picture, (3, 32, 32)."""
    lit = np.array(list(COLOURS.values())[colour], np.uint8)
    picture[:, top : top + len(glyph), left : left + len(glyph)] = lit[:, None, None] * glyph
