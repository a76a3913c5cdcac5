"""Text as data: one long array of tokens for each split, and windows of it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ancestral.data import cache
from ancestral.data.base import Batch, Data, Split
from ancestral.data.material import Options, refuse_unused
from ancestral.data.text_files import Span, Text, hold_out
from ancestral.encoding import TextEncoding
from ancestral.encoding.base import encoding_class
from ancestral.errors import InvalidInput
from ancestral.event import Event

LENGTH = 256
"""Tokens of a datum where no number is asked for."""
ANY_TEXT = {"validation", "test", "event", "level", "length", "vocabulary", "words"}
"""Options that every text takes."""
_ENCODING_OPTIONS = ("level", "vocabulary", "words")


class TokenSplit:
    """A text as tokens; its data are the windows of it that follow one another.

    Args:
        tokens: (tokens,), the whole text.
        event: a window.
        size: bytes of the text.
        unknown_nats: what it costs to spell the unknown tokens of the text, in nats.
        moving: whether each window is moved on by a random number of tokens, less than a window has, where a batch is
            drawn with a generator: a pass over the windows sees each token about once, but not always in the same window.
        what: what to call the text in errors.

    Raises:
        InvalidInput: if the text is shorter than a window.

    >>> encoding = TextEncoding.fit("byte")
    >>> text = b"to be or not to be"
    >>> split = TokenSplit(torch.tensor(encoding.encode(text)), Event.tokens(4, encoding), len(text))
    >>> len(split), [encoding.decode(x) for x in split.batch(torch.tensor([0, 3]))[0]]
    (4, [b'to b', b' to '])
    """

    def __init__(
        self,
        tokens: Tensor,
        event: Event,
        size: int,
        unknown_nats: float = 0.0,
        *,
        moving: bool = False,
        what: str = "the text",
    ) -> None:
        self.length = event.numel
        if len(tokens) < self.length:
            raise InvalidInput(
                f"{what} has {len(tokens)} tokens, expected at least the {self.length} of a datum: pass a shorter length=, or"
                " give more text"
            )
        self.tokens = tokens
        self.bytes = size
        self.unknown_nats = unknown_nats
        self.moving = moving
        self._dtype = event.dtype
        self._period = 1 if event.encoding is None else event.encoding.period

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Batch:
        starts = indices * self.length
        if self.moving and generator is not None:
            places = self.length // self._period  # a byte is never cut between its bits
            drawn = torch.randint(places, indices.shape, generator=generator, device=generator.device)
            starts = (starts + drawn.cpu() * self._period).clamp(max=len(self.tokens) - self.length)
        windows = self.tokens[starts[:, None] + torch.arange(self.length)]  # (n, length)
        return windows.to(self._dtype), None


def assemble_text(name: str, text: Text, options: Options) -> Data:
    """Return the data set that `options` ask for, out of a text.

    The tokens are kept in the cache, made part by part and memory-mapped: none of it takes more memory as the text grows.

    Raises:
        InvalidInput: if a split is empty or too short, an option does not fit, or the text is not UTF-8 where it must be.
    """
    what = text.what
    refuse_unused(what, options, text.takes, ANY_TEXT)
    for split, span in text.splits.items():
        if not len(span):
            raise InvalidInput(f"the split {split!r} of {what} is empty (0 bytes), expected text: leave it out")
    asked = _asked_event(options, what)
    spans, held = hold_out(text, options)
    folder = _encoded(text, spans, options, None if asked is None else asked.encoding)
    facts = json.loads((folder / "facts.json").read_text())
    encoding = TextEncoding.from_json(facts["encoding"])
    length = options.length or (LENGTH if asked is None else asked.numel)
    if length % encoding.period:
        raise InvalidInput(f"length= takes a multiple of {encoding.period} at level {encoding.level!r}, got {length}")
    event = Event.tokens(length, encoding)

    files = {split: folder / f"{i}.npy" for i, split in enumerate(spans)}
    splits: dict[str, Split] = {}
    tokens = {}
    for split, path in files.items():
        found = torch.from_numpy(np.load(path, mmap_mode="c"))  # copy-on-write, so that torch may take it
        tokens[split] = len(found)
        splits[split] = TokenSplit(
            found,
            event,
            len(spans[split]),
            facts["unknown_nats"][split],
            moving=split == "train",
            what=f"the split {split!r} of {what}",
        )
    record = {
        **{key: value for key, value in text.record.items() if value is not None},
        "splits": {split: len(part) for split, part in splits.items()},
        "bytes": {split: len(span) for split, span in spans.items()},
        "tokens": tokens,
        "unknown_nats": facts["unknown_nats"],
        "held_out": held,
        "preprocessing": [f"tokens at level {encoding.level}, of {encoding.levels} levels"],
        "options": options.given(),
    }
    sizes = ", ".join(f"{split} {count:,}" for split, count in record["splits"].items())
    cut = f"; {' and '.join(held)} cut from the end of train" if held else ""
    return Data(name, event, splits, None, f"{text.about or f'{what}: {event}'} ({sizes}{cut})", record)


def _asked_event(options: Options, what: str) -> Event | None:
    """Return the event whose encoding is to be used, if one was given."""
    asked = options.event
    if asked is None:
        return None
    if not isinstance(asked, Event) or asked.encoding is None:
        raise InvalidInput(
            f"event= is {asked}, but {what} is text, which needs an Event with an encoding: give one, or level= and length="
        )
    for option in _ENCODING_OPTIONS:
        if getattr(options, option) is not None:
            raise InvalidInput(f"event= has an encoding, at level {asked.encoding.level!r}: leave {option}= out")
    return asked


def _encoded(text: Text, spans: Mapping[str, Span], options: Options, encoding: TextEncoding | None) -> Path:
    """Return a folder of the cache with the tokens of each split, and facts about them."""
    level = options.level or text.level
    words = text.words if options.words is None and level == "word" else options.words
    encoding_class(level)  # refuses a wrong name before anything is read
    chosen = {"level": level, "vocabulary": options.vocabulary, "words": words}
    key = {
        "tokens": [(split, cache.stamp([span.path]), span.start, span.stop) for split, span in spans.items()],
        "encoding": chosen if encoding is None else encoding.to_json(),
    }

    def build(into: Path) -> None:
        train = spans["train"].chunks()
        fitted = TextEncoding.fit(level, train, vocabulary=options.vocabulary, words=words) if encoding is None else encoding
        _encode(into, spans, fitted)

    try:
        return cache.entry(key, build)
    except InvalidInput as error:
        raise InvalidInput(f"{text.what}: {error}") from error


def _encode(into: Path, spans: Mapping[str, Span], encoding: TextEncoding) -> None:
    """Write the tokens of each split, in a type that torch computes with, and what spelling the unknown ones costs."""
    kind = np.uint8 if encoding.levels <= 256 else np.int32
    unknown_nats = {}
    for i, (split, span) in enumerate(spans.items()):
        unknown_nats[split] = 0.0
        with cache.ArrayWriter(into / f"{i}.npy", (), kind) as writer:
            for part in encoding.parts(span.chunks(), span.start):
                tokens = encoding.encode(part)
                writer.append(tokens)
                if encoding.unknown is not None and bool((tokens == encoding.unknown).any()):
                    unknown_nats[split] += encoding.unknown_nats(part)
    (into / "facts.json").write_text(json.dumps({"encoding": encoding.to_json(), "unknown_nats": unknown_nats}))
