"""Sentences and their translations: aligned lines, from two files or two columns, to data of one event given another."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ancestral.data import cache
from ancestral.data.base import Batch, Data, Split
from ancestral.data.columnar import TEXT_TYPES, Rows
from ancestral.data.files import below_root
from ancestral.data.material import SPLIT_NAMES, Options, canonical_splits, refuse_unused
from ancestral.data.text_files import lines_of
from ancestral.encoding import TextEncoding
from ancestral.encoding.base import encoding_class
from ancestral.errors import InvalidInput
from ancestral.event import Event

LANGUAGES = "en-de"
"""From and into what is translated, where a known data set has both and nothing is asked for."""
LEVEL, VOCABULARY = "subword", 6000
"""What sentences are made of where nothing is asked for, and how many subwords both languages share."""
HELD = 0.05
"""Share of the pairs held out as validation, and as test, where the source has no such split and none is asked for."""
ANY_PAIRS = {"languages", "validation", "test", "seed", "limit", "event", "level", "vocabulary", "words", "length", "crop"}
"""Options that every set of translations takes."""
SHOWN = 5
"""Lines that an error names."""

Lines = list[str]


@dataclass
class Pairs:
    """Aligned lines by split.

    Args:
        what: what to call the source in errors.
        languages: from and into what is translated.
        splits: by split, sentences and their translations, none of them empty.
        takes: options that the source takes besides those that all translations take.
        stamp: JSON-able: what says that encoded sentences are still good.
        about: one line: what it is.
        record: JSON-able facts: where it came from.
    """

    what: str
    languages: tuple[str, str]
    splits: dict[str, tuple[Lines, Lines]]
    takes: set[str] = field(default_factory=set)
    stamp: Any = None
    about: str = ""
    record: dict[str, Any] = field(default_factory=dict)


class PairSplit:
    """Sentences and their translations as tokens: a datum is a translation, its condition the sentence.

    Args:
        sources: tokens of each sentence, one after another.
        targets: tokens of each translation.
        event: what both are, `Event.sentences`.
        lines: the sentences and their translations as text.
        unknown_nats: what it costs to spell the unknown tokens of the translations, in nats.
    """

    def __init__(
        self, sources: "Ragged", targets: "Ragged", event: Event, lines: tuple[Lines, Lines], unknown_nats: float = 0.0
    ) -> None:
        self.sources, self.targets, self.event, self.lines = sources, targets, event, lines
        self.unknown_nats = unknown_nats
        self.bytes = sum(len(line.encode()) for line in lines[1])

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def sizes(self) -> Tensor:
        """What batches of similar data are made by, (n,): the length of the translation, then that of the sentence.

        The second goes up where the first is even and down where it is odd, so that both differ little between neighbours.
        """
        target, source, bound = self.targets.lengths, self.sources.lengths, int(self.sources.lengths.max()) + 1
        return target * bound + torch.where(target % 2 == 0, source, bound - 1 - source)

    def tokens(self, count: int | None = None) -> int:
        """Return the tokens of the first `count` translations, or of all, each with its end symbol where it has one."""
        return int((self.targets.lengths[:count] + 1).clamp(max=self.event.numel).sum())

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Batch:
        return self.targets.padded(indices, self.event), self.sources.padded(indices, self.event)


class Ragged:
    """Sequences of any lengths, one after another in one array.

    Args:
        tokens: of all sequences.
        lengths: of each sequence, (n,).

    >>> event = Event.sentences(3, 10)
    >>> Ragged(torch.tensor([1, 2, 3]), torch.tensor([2, 1])).padded(torch.tensor([1, 0]), event)
    tensor([[ 3, 10, 10],
            [ 1,  2, 10]], dtype=torch.uint8)
    """

    def __init__(self, tokens: Tensor, lengths: Tensor) -> None:
        self.tokens, self.lengths = tokens, lengths
        self.starts = lengths.cumsum(0) - lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(self, indices: Tensor, event: Event) -> Tensor:
        """Return the sequences at `indices` as data of an event of sentences, cut to its bound, (n, *event.shape)."""
        places = torch.arange(event.numel)
        index = (self.starts[indices, None] + places).clamp(max=len(self.tokens) - 1)
        over = places >= self.lengths[indices, None]
        return self.tokens[index].long().masked_fill(over, event.end_symbol).to(event.dtype)


# Sources


def parse_languages(languages: str | None) -> tuple[str, str]:
    """Return from and into what is translated, of text such as "en-de".

    Raises:
        InvalidInput: if it names no two languages.

    >>> parse_languages("de-en")
    ('de', 'en')
    """
    source, dash, target = (languages or LANGUAGES).partition("-")
    if not (source and dash and target) or source == target:
        raise InvalidInput(f"languages= takes the one translated from and the one into, as en-de, got {languages!r}")
    return source, target


def pairs_of_rows(rows: Rows, languages: str | None) -> Pairs:
    """Return two columns of text, named by language, as translations.

    Raises:
        InvalidInput: if a column is missing or holds something else, or a cell is empty.
    """
    chosen = parse_languages(languages)
    for column in chosen:
        rows.require(column, "languages")
        kind = getattr(rows.features[column], "dtype", "something else")
        if kind not in TEXT_TYPES:
            raise InvalidInput(f"column {column!r} of {rows.what} holds {kind}, expected text: name others with languages=")
    splits = {}
    for split in rows.splits:
        both = [_clean(rows.cells(split, column), f"column {column!r} of {rows.what}, {split}") for column in chosen]
        splits[split] = (both[0], both[1])
    stamp = {"pairs of rows": rows.stamp, "columns": chosen}
    return Pairs(rows.what, chosen, canonical_splits(splits), set(), stamp, record=rows.record)


def pairs_of_files(name: str, languages: str) -> Pairs | None:
    """Return the translations in text files; None where `name` has none.

    Line i of NAME.en and line i of NAME.de belong together. Where NAME is a folder, its files are train.en, train.de and,
    where they are there, those of validation and test.

    Args:
        name: a path without the suffix, or a folder; below the data folder or not.
        languages: such as "en-de": the suffixes.

    Raises:
        InvalidInput: if one of two files is missing, they have different numbers of lines, or a line is empty.
    """
    chosen = parse_languages(languages)
    found: dict[str, list[Path]] = {}
    folder = Path(name).expanduser()
    folder = folder if folder.is_dir() else below_root(name) or folder
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.suffix[1:] in chosen and path.stem.lower() in SPLIT_NAMES:
                found.setdefault(path.stem, [path.with_name(f"{path.stem}.{language}") for language in chosen])
    elif any(Path(f"{folder}.{language}").is_file() for language in chosen):
        found["train"] = [Path(f"{folder}.{language}") for language in chosen]
    if not found:
        return None
    splits = {}
    for split, paths in found.items():
        for path in paths:
            if not path.is_file():
                other = next(p for p in paths if p != path)
                raise InvalidInput(f"there is {other}, but no file {path} with its translations: add it")
        both = [_clean(lines_of(path.read_bytes(), str(path)), str(path)) for path in paths]
        if len(both[0]) != len(both[1]):
            raise InvalidInput(
                f"{paths[0]} has {len(both[0]):,} lines, {paths[1]} {len(both[1]):,}, expected as many in both, where line i"
                " of one translates line i of the other: align them"
            )
        splits[split] = (both[0], both[1])
    files = [path for paths in found.values() for path in paths]
    return Pairs(name, chosen, canonical_splits(splits), set(), cache.stamp(files), record=cache.describe(files))


def _clean(cells: Iterator[Any] | Lines, what: str) -> Lines:
    """Return cells or lines without whitespace around them, and line breaks within them as spaces.

    Raises:
        InvalidInput: naming those that are empty.
    """
    lines = ["" if cell is None else " ".join(str(cell).splitlines()).strip() for cell in cells]
    empty = [i for i, line in enumerate(lines, 1) if not line]
    if not lines:
        raise InvalidInput(f"{what} is empty (0 lines), expected a sentence in each line: write it again")
    if empty:
        raise InvalidInput(
            f"{what} has {len(empty)} empty of {len(lines):,} lines{_named(empty)}, expected a sentence in each: fill them, or"
            " drop them and their translations"
        )
    return lines


def _named(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:SHOWN])) + (", ..." if len(lines) > SHOWN else "")
    return f" (line {shown})" if lines else ""


# Data


def assemble_pairs(name: str, pairs: Pairs, options: Options) -> Data:
    """Return the data set that `options` ask for, out of aligned lines.

    Raises:
        InvalidInput: if a sentence is longer than the bound, an option does not fit, or a split is missing.
    """
    what = pairs.what
    refuse_unused(what, options, pairs.takes, ANY_PAIRS)
    asked = _asked_event(options, what)
    rows, held = _hold_out(pairs, options)
    folder = _encoded(pairs, options, rows["train"][1], None if asked is None else asked.encoding)
    facts = json.loads((folder / "facts.json").read_text())
    encoding = TextEncoding.from_json(facts["encoding"])
    both = {split: _load(folder, split) for split in pairs.splits}
    longest = max(int(side.lengths.max()) for sides in both.values() for side in sides)
    length = options.length or (longest + 1 if asked is None else asked.numel)
    if longest > length and not options.crop:
        _refuse_long(pairs, both, length, longest if asked is None else None)
    event = Event.sentences(length, encoding)
    splits: dict[str, Split] = {}
    for split, (base, index) in rows.items():
        sources, targets = (_some(side, index) for side in both[base])
        lines = tuple([side[i] for i in index.tolist()] for side in pairs.splits[base])
        unknown = sum(encoding.unknown_nats(line.encode()) for line in lines[1]) if encoding.unknown is not None else 0.0
        splits[split] = PairSplit(sources, targets, event, (lines[0], lines[1]), unknown)
    cut = sum(int((side.lengths > length).sum()) for sides in both.values() for side in sides)
    record = {
        **{key: value for key, value in pairs.record.items() if value is not None},
        "languages": list(pairs.languages),
        "splits": {split: len(part) for split, part in splits.items()},
        "held_out": held,
        "preprocessing": [
            f"tokens at level {encoding.level}, of {encoding.levels} levels, the same in both languages",
            *([f"{cut} sentences cut to {length} tokens"] if cut else []),
        ],
        "options": options.given(),
    }
    sizes = ", ".join(f"{split} {count:,}" for split, count in record["splits"].items())
    drawn = f"; {' and '.join(held)} drawn from train with seed {options.seed}" if held else ""
    about = pairs.about or f"{what}: {event}, given the same in another language"
    return Data(name, event, splits, event, f"{about} ({sizes}{drawn})", record)


def _asked_event(options: Options, what: str) -> Event | None:
    asked = options.event
    if asked is None:
        return None
    if not isinstance(asked, Event) or asked.encoding is None or not asked.end:
        raise InvalidInput(f"event= is {asked}, but {what} is sentences: give Event.sentences with an encoding, or level=")
    for option in ("level", "vocabulary", "words"):
        if getattr(options, option) is not None:
            raise InvalidInput(f"event= has an encoding, at level {asked.encoding.level!r}: leave {option}= out")
    return asked


def _hold_out(pairs: Pairs, options: Options) -> tuple[dict[str, tuple[str, Tensor]], dict[str, Any]]:
    """Return for each split where its pairs are and which they are, and a record of what was drawn from train."""
    rows = {split: (split, torch.arange(len(lines))) for split, (lines, _) in pairs.splits.items()}
    if "train" not in rows:
        raise InvalidInput(f"{pairs.what} has no split named train, but {', '.join(rows)}: name one so")
    generator = torch.Generator().manual_seed(options.seed)
    order = torch.randperm(len(rows["train"][1]), generator=generator)
    held: dict[str, Any] = {}
    for split in ("test", "validation"):
        asked = getattr(options, split)
        if split in pairs.splits:
            if asked is not None:
                raise InvalidInput(f"{pairs.what} has a split {split!r} of its own: leave {split}= out")
            continue
        share = HELD if asked is None else asked
        count = int(share) if share >= 1 else round(share * len(rows["train"][1]))
        if not count:
            continue
        if count >= len(order):
            raise InvalidInput(f"holding out {count} pairs for {split} leaves none of {len(order)} for train: hold out fewer")
        order, rows[split] = order[:-count], ("train", order[-count:].sort().values)
        held[split] = {"from": "train", "count": count, "seed": options.seed}
    if held:
        rows["train"] = ("train", order.sort().values)
    if options.limit is not None:
        for split, (base, index) in rows.items():
            some = torch.randperm(len(index), generator=torch.Generator().manual_seed(options.seed))[: options.limit]
            rows[split] = (base, index[some.sort().values])
    return canonical_splits(rows), canonical_splits(held)


def _encoded(pairs: Pairs, options: Options, train: Tensor, encoding: TextEncoding | None) -> Path:
    """Return a folder of the cache with the tokens of each split; a vocabulary is made of both sides of train."""
    level = options.level or LEVEL
    encoding_class(level)  # refuses a wrong name before anything is read
    vocabulary = VOCABULARY if level == "subword" and options.vocabulary is None else options.vocabulary
    words = options.words
    chosen = {"level": level, "vocabulary": vocabulary, "words": words, "of": [len(train), int(train.sum())]}
    key = {"pairs": pairs.stamp, "encoding": chosen if encoding is None else encoding.to_json()}

    def build(into: Path) -> None:
        fitted = encoding
        if fitted is None:
            chunks = ("".join(f"{side[i]}\n" for i in train.tolist()).encode() for side in pairs.splits["train"])
            fitted = TextEncoding.fit(level, chunks, vocabulary=vocabulary, words=words)
        for split, sides in pairs.splits.items():
            for i, lines in enumerate(sides):
                tokens, lengths = encode_lines(fitted, lines)
                np.save(into / f"{split}.{i}.npy", tokens)
                np.save(into / f"{split}.{i}.lengths.npy", lengths)
        (into / "facts.json").write_text(json.dumps({"encoding": fitted.to_json()}))

    try:
        return cache.entry(key, build)
    except InvalidInput as error:
        raise InvalidInput(f"{pairs.what}: {error}") from error


def encode_lines(encoding: TextEncoding, lines: Sequence[str]) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Return the tokens of all lines, one after another, and how many each has, (lines,).

    >>> encode_lines(TextEncoding.fit("byte"), ["ab", "c"])
    (array([97, 98, 99], dtype=uint8), array([2, 1]))
    """
    mark = encoding.encode(b"\n")
    kind = np.uint8 if encoding.levels <= 256 else np.int32
    tokens = encoding.encode("".join(f"{line}\n" for line in lines).encode())
    breaks = np.flatnonzero(tokens == mark[0])
    if len(mark) == 1 and len(breaks) == len(lines):  # else a line break is several tokens, or an unknown one
        return np.delete(tokens, breaks).astype(kind), np.diff(breaks, prepend=-1) - 1
    parts = [encoding.encode(line.encode()) for line in lines]
    return np.concatenate(parts).astype(kind), np.array([len(part) for part in parts])


def _load(folder: Path, split: str) -> tuple[Ragged, Ragged]:
    sides = [[torch.from_numpy(np.load(folder / f"{split}.{i}{part}.npy")) for part in ("", ".lengths")] for i in (0, 1)]
    return Ragged(*sides[0]), Ragged(*sides[1])


def _some(side: Ragged, index: Tensor) -> Ragged:
    """Return the sequences at `index`, which is sorted."""
    some = Ragged(side.tokens, side.lengths[index])
    some.starts = side.starts[index]
    return some


def _refuse_long(pairs: Pairs, both: Mapping[str, tuple[Ragged, Ragged]], length: int, longest: int | None) -> None:
    advice = "" if longest is None else f"length={longest + 1}, or "  # else a model is for that length
    for split, sides in both.items():
        for language, side in zip(pairs.languages, sides, strict=True):
            long = (side.lengths > length).nonzero()[:, 0] + 1
            if len(long):
                raise InvalidInput(
                    f"{len(long):,} of {len(side):,} sentences of {split} in {pairs.what} ({language}{_named(long.tolist())})"
                    f" have more than {length} tokens: pass {advice}crop=True to cut them"
                )
