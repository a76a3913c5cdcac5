"""Documents: columns or files of text to counts of the words of the training documents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ancestral.data import cache
from ancestral.data.assemble import assemble, split_rows
from ancestral.data.base import Data
from ancestral.data.columnar import TEXT_TYPES, Rows
from ancestral.data.material import ANY_SOURCE, SPLIT_NAMES, Columns, Material, Options, canonical_splits, refuse_unused
from ancestral.encoding.bag import WORDS, BagOfWords
from ancestral.errors import InvalidInput, near_matches
from ancestral.event import Event

if TYPE_CHECKING:
    import pandas

ANY_DOCUMENTS = (ANY_SOURCE - {"binarize", "levels", "standardize"}) | {"bag", "vocabulary", "strip"}
"""Options that every set of documents takes."""
SUFFIX = ".txt"
"""Suffix of a document that is a file of its own."""

SHOWN = 80
"""Letters of a document that name it."""
Cells = dict[str, list[Any]]
"""Cells of a column by split."""


@dataclass
class Documents:
    """Documents by split.

    Args:
        what: what to call the source in errors.
        texts: by split, the documents.
        column: gives the cells of a column to condition on, and the names of its classes where the source has them.
        takes: options that the source takes besides those that all documents take.
        strip: parts of a document that are left out where nothing is asked for.
        about: one line: what it is.
        record: JSON-able facts: where it came from.
    """

    what: str
    texts: dict[str, list[str]]
    column: Callable[[str], tuple[Cells, list[str] | None]] | None = None
    takes: set[str] = field(default_factory=set)
    strip: tuple[str, ...] = ()
    about: str = ""
    record: dict[str, Any] = field(default_factory=dict)


def wanted(options: Options) -> bool:
    """Return whether documents are asked for: by bag=, or by an event of them."""
    return options.bag or (isinstance(options.event, Event) and options.event.bag is not None)


# Sources


def documents_of_rows(rows: Rows, options: Options, text: str | None = None) -> Documents:
    """Return columns of text, joined by line ends, as documents.

    Args:
        rows: the rows.
        options: what was asked for.
        text: the columns where none are asked for, such as "title,text"; the only one of text where None.

    Raises:
        InvalidInput: if there is no such column, it holds something else, or there are several and none is asked for.
    """
    kinds = {name: getattr(feature, "dtype", None) in TEXT_TYPES for name, feature in rows.features.items()}
    columns = _text_columns(kinds, options.text or text, rows.what)
    cells = {split: [list(rows.cells(split, name)) for name in columns] for split in rows.splits}
    texts = canonical_splits({split: _joined(found) for split, found in cells.items()})

    def column(name: str) -> tuple[Cells, list[str] | None]:
        rows.require(name, "condition")
        names = getattr(rows.features[name], "names", None)
        return canonical_splits({split: list(rows.cells(split, name)) for split in rows.splits}), names

    return Documents(rows.what, texts, column, {"text"} | (rows.takes - {"stream", "buffer"}), record=rows.record)


def documents_of_frames(frames: Mapping[str, "pandas.DataFrame"], options: Options, what: str) -> Documents:
    """Return columns of text of tables, by split, as documents; see `documents_of_rows`.

    Raises:
        InvalidInput: as `documents_of_rows` does.
    """
    by_split = canonical_splits({split: frame.rename(columns=str) for split, frame in frames.items()})
    first = next(iter(by_split.values()))
    kinds = {str(name): bool(first[name].map(lambda cell: isinstance(cell, str)).any()) for name in first.columns}
    columns = _text_columns(kinds, options.text, what)
    tables = {split: frame.astype(object).where(frame.notna(), None) for split, frame in by_split.items()}
    texts = {split: _joined([table[name].tolist() for name in columns]) for split, table in tables.items()}

    def column(name: str) -> tuple[Cells, list[str] | None]:
        if name not in kinds:
            raise InvalidInput(f"{what} has no column {name!r}.{near_matches(name, kinds)} It has: {', '.join(kinds)}")
        return {split: table[name].tolist() for split, table in tables.items()}, None

    return Documents(what, texts, column, {"text"})


def documents_of_folder(folder: Path) -> Documents:
    """Return the text files of a folder and its folders as documents.

    Folders called train, validation or test are splits. The folder that a file lies in, below these, is its label.

    Args:
        folder: the folder.

    Raises:
        InvalidInput: if there are none, one is not UTF-8, or some lie in the folder of a split and some do not.
    """
    paths = sorted(path for path in folder.rglob(f"*{SUFFIX}") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise InvalidInput(f"the folder {folder} holds no documents, expected files of {SUFFIX}: give a folder that does")
    texts: dict[str, list[str]] = {}
    labels: Cells = {}
    for path in paths:
        above = path.relative_to(folder).parts[:-1]
        split = SPLIT_NAMES.get(above[0].lower(), "") if above else ""
        label = "/".join(above[1:] if split else above)
        try:
            texts.setdefault(split, []).append(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{path} is not UTF-8 (byte {error.start}): repair it, or move it away") from error
        labels.setdefault(split, []).append(label)
    if "" in texts and len(texts) > 1:
        raise InvalidInput(
            f"the folder {folder} holds documents in folders of splits, and {len(texts['']):,} others: move those into one"
        )

    def column(name: str) -> tuple[Cells, list[str] | None]:
        if name != "label":
            raise InvalidInput(f"documents in folders have a label, got condition={name!r}: give label")
        return canonical_splits({split or "train": cells for split, cells in labels.items()}), None

    found = canonical_splits({split or "train": some for split, some in texts.items()})
    return Documents(f"the folder {folder}", found, column, record=cache.describe(paths))


def _text_columns(kinds: Mapping[str, bool], asked: str | None, what: str) -> list[str]:
    """Return the columns of text that are asked for, or the only one."""
    holding = [name for name, holds in kinds.items() if holds]
    if asked is None:
        if len(holding) != 1:
            raise InvalidInput(
                f"{what} has {len(holding) or 'no'} columns of text{', choose with text=, of ' if holding else ''}"
                f"{', '.join(holding)}; several are joined, as title,text"
            )
        return holding
    for name in asked.split(","):
        if name not in holding:
            raise InvalidInput(
                f"{what} has no column of text {name!r} for text=.{near_matches(name, holding)} It has:"
                f" {', '.join(holding) or 'none'}"
            )
    return asked.split(",")


def _joined(columns: Sequence[Sequence[Any]]) -> list[str]:
    """Return the cells of each row joined by line ends; what is absent is empty."""
    return ["\n".join("" if cell is None else str(cell) for cell in row) for row in zip(*columns, strict=True)]


# Data


def assemble_documents(name: str, documents: Documents, options: Options) -> Data:
    """Return the data set that `options` ask for: counts of the most frequent words of what is left for training.

    Raises:
        InvalidInput: if the vocabulary is empty, a split is empty, or an option does not fit.
    """
    what = documents.what
    refuse_unused(what, options, documents.takes, ANY_DOCUMENTS)
    asked = options.event
    if asked is not None and not (isinstance(asked, Event) and asked.bag is not None):
        raise InvalidInput(f"event= is {asked}, but {what} is documents: give Event.documents, or leave it out")
    material = Material(
        what,
        {split: np.arange(len(texts)) for split, texts in documents.texts.items()},
        takes=documents.takes | ANY_DOCUMENTS,
        column=_column(documents),
        about=documents.about,
        record=documents.record,
    )
    bag = None if asked is None else asked.bag
    if bag is None:
        base, index = split_rows(material.x, material, options)[0]["train"]
        training = (documents.texts[base][i] for i in index.tolist())
        strip = documents.strip if options.strip is None else tuple(part for part in options.strip.split(",") if part)
        bag = BagOfWords.fit(training, options.vocabulary or WORDS, strip)
    elif options.vocabulary is not None or options.strip is not None:
        raise InvalidInput("event= has a vocabulary: leave vocabulary= and strip= out")
    count = sum(map(len, documents.texts.values()))
    cache.require_memory(count * len(bag.words), what, "read fewer documents, or count fewer words with vocabulary=")
    counts = {split: bag.counts(texts) for split, texts in documents.texts.items()}
    names = {split: [bag.beginning(text, SHOWN) for text in texts] for split, texts in documents.texts.items()}
    event = Event.documents(bag)
    options = replace(options, event=None if asked is None else event)
    data = assemble(name, replace(material, x=counts, event=event, names=names), options)
    empty = {split: int((part.x.amax(1) == 0).sum()) for split, part in data.splits.items() if hasattr(part, "x")}
    data.record["vocabulary"] = len(bag.words)
    data.record["without_known_words"] = empty
    data.record["preprocessing"] = [
        f"counts of the {len(bag.words)} most frequent words of train, English stop words left out, at most 255 each",
        *([f"left out of each document: {', '.join(bag.strip)}"] if bag.strip else []),
    ]
    return data


def _column(documents: Documents) -> Callable[[str], Columns]:
    def column(name: str) -> Columns:
        if documents.column is None:
            raise InvalidInput(f"{documents.what} has no columns to condition on: leave condition= out")
        cells, names = documents.column(name)
        for split, found in cells.items():
            if None in found:
                raise InvalidInput(
                    f"column {name!r} of {documents.what} is empty in row {found.index(None)} of {split}: fill it or"
                    " drop the row"
                )
        return {split: _array(found) for split, found in cells.items()}, names

    return column


def _array(cells: list[Any]) -> NDArray[Any]:
    if not any(isinstance(cell, list | tuple | np.ndarray) for cell in cells):
        return np.asarray(cells)
    found = np.empty(len(cells), object)  # lists of different lengths, which are no axis
    for i, cell in enumerate(cells):
        found[i] = [str(each) for each in cell]
    return found
