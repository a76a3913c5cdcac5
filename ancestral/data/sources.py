"""Names, paths and arrays to data sets: the one way in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ancestral.data import cache
from ancestral.data.arrays import from_arrays, to_numpy
from ancestral.data.assemble import assemble
from ancestral.data.audio import Sound, assemble_sound, sound_of_rows
from ancestral.data.base import Data
from ancestral.data.catalogue import KNOWN, find
from ancestral.data.columnar import Rows, from_rows
from ancestral.data.documents import (
    Documents,
    assemble_documents,
    documents_of_folder,
    documents_of_frames,
    documents_of_rows,
    wanted,
)
from ancestral.data.files import FILES, below_root, kind_of, names_below_root, read_path, root, split_of
from ancestral.data.hub import hub_rows, url_rows
from ancestral.data.material import Material, Options
from ancestral.data.pairs import Pairs, assemble_pairs, pairs_of_files, pairs_of_rows, parse_languages
from ancestral.data.streaming import stream_rows
from ancestral.data.text import assemble_text
from ancestral.data.text_files import Text, text_of_rows
from ancestral.errors import InvalidInput, near_matches


def load(
    source: Any,
    *,
    condition: str | Sequence[str] | None = None,
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    limit: int | None = None,
    event: Any = None,
    binarize: float | str | None = None,
    levels: int | None = None,
    gray: bool = False,
    size: int | Sequence[int] | None = None,
    image: str | None = None,
    columns: Sequence[str] | None = None,
    continuous: bool = False,
    standardize: bool = True,
    subset: str | None = None,
    revision: str | None = None,
    stream: bool = False,
    buffer: int = 10_000,
    memory: float = 2.0,
    level: str | None = None,
    length: int | None = None,
    vocabulary: int | None = None,
    words: str | None = None,
    text: str | None = None,
    rate: int | None = None,
    mono: bool = False,
    crop: bool = False,
    audio: str | None = None,
    languages: str | None = None,
    patches: int | None = None,
    patch_values: str | None = None,
    bag: bool = False,
    strip: str | None = None,
    labelled: int | None = None,
    label_seed: int = 0,
) -> Data:
    """Return a data set: its event, its splits, and a record with which it can be loaded again.

    A name is, in this order: a known name (`known()` lists them; write ./mnist for a folder of such a name); a path; a
    file or folder below `$ANCESTRAL_DATA`, with or without its suffix; an address such as s3://bucket/*.parquet; a data
    set of the Hugging Face hub. Splits of the source are kept. Where it has no validation or no test split, a tenth
    of train, drawn with `seed`, becomes one; of text, the last twentieth.

    Args:
        source: a name, a path, an array or tensor, (n, ...), a mapping of them (train, validation, test; or x and
            columns to condition on), or a data frame.
        condition: column to condition on, such as "label"; several columns of numbers make a vector, several of classes
            several labels.
        validation: share (below 1) or number of data (of text: bytes) to hold out; 0 for none. Only where the source has no
            such split.
        test: the same for test.
        seed: decides what is held out, what `limit` keeps, and what dynamic binarization draws once.
        limit: at most so many data of each split, drawn with `seed`; to try things out.
        event: what the data are, where it is not to be inferred: "binary", "real", a number of levels, or an `Event`;
            "drawing" for an .npy file of one drawing, points (dx, dy, pen lifted after); of
            text and of sound, an `Event` with an encoding or with PCM, such as that of a trained model.
        binarize: 1 where x is at least this, in the units of the data; or "dynamic": P(1) = x / (levels - 1), drawn anew
            at each reading of train and once for the other splits.
        levels: reduce to so many levels: floor(x * levels / 256). Of sound: levels of a sample, mu-law up to 256 (where None)
            and linear above; 65,536 are 16-bit samples as they are.
        gray: colour images to gray.
        size: bring images to this height and width (one number: both), with the Lanczos filter, cropped about the centre.
        image: column of images, where there are several.
        columns: columns of a table to model; all that are not conditioned on by default.
        continuous: tables: keep only columns that have a density, and undo the rounding of values that recur by noise, drawn
            once with `seed`; the record says which columns were dropped, and why.
        standardize: record mean and deviation of each entry of real data, over train, in the event (`loc`, `scale`):
            networks see standardized values, figures stay on the measure of the data.
        subset: configuration of a data set of the hub.
        revision: version (branch, tag or commit) of a data set of the hub.
        stream: read train in order, never held, through a shuffle buffer: `Data.streams`.
        buffer: number of rows in the shuffle buffer.
        memory: GiB that the data may take in memory; larger data are memory-mapped, and texts are always.
        level: what a token of text is: "word", "character", "subword", "byte" or "bit". Where None, what is usual for a
            known name, else "byte".
        length: number of tokens of a datum, a window of the text; 256 where None. Of sound: of samples; 8,192 where None. Of
            translations: of the longest sentence that is admitted; where None, one more than the longest has.
        vocabulary: number of words, subwords or characters that are known at most; see `TextEncoding.fit`. Of documents: of
            words that are counted; 2,000 where None.
        words: what a word is: "letters" or "spaces"; see `TextEncoding.fit`.
        text: column of text, of parquet files or a data set of the hub; of documents, several are joined: "title,text".
        rate: sound: bring all to so many samples per second; where None, all must be of one rate.
        mono: sound: average the channels; else there must be one.
        crop: sound: take only the beginning of recordings longer than `length`, one datum each; else they are cut into data
            that follow one another. What is shorter is padded with silence. Translations: cut sentences longer than
            `length`, which are refused else.
        audio: column of sounds, where there are several.
        languages: translations: from and into which language, such as "en-de": the suffixes of two text files with aligned
            lines (`load("my/corpus", languages="en-de")` reads my/corpus.en and my/corpus.de, or my/corpus/train.en and so
            on), or two columns. A datum is a translation, its condition the sentence.
        patches: images: square patches of so many pixels a side, cut at random places with `seed`, are the data: 20,000 from
            train, 2,000 from other splits. Those of one value are left out, and counted in the record.
        patch_values: "pixels" (where None), "contrast" (each less its mean and divided by its deviation), or "whitened" (of
            images whose amplitudes, which fall as 1 / frequency, were made flat).
        bag: documents: a datum is how often one has each of the most frequent words of train. A document is a row of a table,
            or a text file of a folder, in which the folders of files are their labels.
        strip: documents: parts of posts that are left out, as scikit-learn does: some of headers,footers,quotes.
        labelled: keep the labels of so many data of train, drawn evenly over the classes of the column `condition`; for
            models that learn from few labels. The condition is then the class and whether it is known, 0 or 1. Train holds
            each datum once without its label and as many labelled ones, in turn; other splits keep the labels that they have.
            A datum may come without one: -1, or empty text.
        label_seed: seed of the draw of labels.

    Returns:
        The data set.

    Raises:
        InvalidInput: if there is no such data set, or it cannot be used; the file, column or row is named.

    >>> data = load("digits", condition="label")
    >>> data.event, data.condition.levels, {name: len(split) for name, split in data.splits.items()}
    (Event(shape=(1, 8, 8), levels=17, ...), 10, {'train': 1297, 'validation': 200, 'test': 300})
    """
    options = Options(
        condition, validation, test, seed, limit, event, binarize, levels, gray, size, image, columns, continuous, standardize,
        subset, revision, stream, buffer, memory, level, length, vocabulary, words, text, rate, mono, crop, audio, languages,
        patches, patch_values,
        bag, strip,
        labelled, label_seed,
    )  # fmt: skip
    if isinstance(source, Path):
        source = str(source)
    if not isinstance(source, str):
        if stream:
            raise InvalidInput("stream=True is for files, addresses and the hub, got an array: leave it out")
        if wanted(options):
            return _documents_in_memory(source, options)
        return assemble("array", _in_memory(source, options), options)
    known = find(source)
    if known is None:
        return _named(source, options)
    clash = sorted(set(options.given()) & set(known.defaults))
    if clash:
        raise InvalidInput(f"{known.name} has its own {clash[0]}= ({known.defaults[clash[0]]}): leave it out")
    if stream:
        raise InvalidInput(f"{known.name} is held, not streamed: leave stream= out")
    data = _assembled(known.name, known.material(options), replace(options, **known.defaults))
    data.record["options"] = options.given()
    return data


def _assembled(name: str, found: Material | Rows | Text | Sound | Pairs | Documents, options: Options) -> Data:
    if isinstance(found, Rows) and wanted(options):
        found = documents_of_rows(found, options)
    if isinstance(found, Documents):
        return assemble_documents(name, found, options)
    if isinstance(found, Rows) and options.languages is not None:
        found = pairs_of_rows(found, options.languages)
    if isinstance(found, Pairs):
        return assemble_pairs(name, found, options)
    if isinstance(found, Rows) and options.text is None:
        found = sound_of_rows(found, options) or from_rows(found, options)
    elif isinstance(found, Rows):
        found = text_of_rows(found, options.text or "")
    if isinstance(found, Sound):
        return assemble_sound(name, found, options)
    return assemble_text(name, found, options) if isinstance(found, Text) else assemble(name, found, options)


def _in_memory(source: Any, options: Options) -> Material:
    """Return the material of an array, a mapping of arrays, or a data frame."""
    frames = dict(source) if isinstance(source, Mapping) else {"train": source}
    if any(type(value).__name__ == "DataFrame" for value in frames.values()):
        from ancestral.data.tables import from_frames  # pandas takes half a second to import

        material = from_frames(frames, "the data frame", options)
    elif isinstance(source, Mapping):
        material = from_arrays(source, "the mapping")
    else:
        material = from_arrays({"x": to_numpy(source, "the array")}, "the array")
    material.record["source"] = "memory"
    return material


def _documents_in_memory(source: Any, options: Options) -> Data:
    frames = dict(source) if isinstance(source, Mapping) else {"train": source}
    if not all(type(value).__name__ == "DataFrame" for value in frames.values()):
        raise InvalidInput("bag= takes tables with a column of text, got arrays: give data frames, files or a folder of texts")
    data = assemble_documents("array", documents_of_frames(frames, options, "the data frame"), options)
    data.record["source"] = "memory"
    return data


def _documents_of_path(path: Path, options: Options) -> Documents | None:
    """Return the documents of a folder of text files, or of tables; None where a path holds something else."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    tables = [file for file in files if kind_of(file) in (".csv", ".tsv")]
    if tables:
        from ancestral.data.tables import read_csv  # pandas takes half a second to import

        cache.require_memory(sum(file.stat().st_size for file in tables) * 4, str(path), "store it as parquet")
        by_split: dict[str, list[Path]] = {}
        for file in tables:
            by_split.setdefault((split_of(file) if len(tables) > 1 else "") or "train", []).append(file)
        found = documents_of_frames({split: read_csv(some) for split, some in by_split.items()}, options, str(path))
        found.record = cache.describe(tables)
        return found
    return None if any(kind_of(file) == ".parquet" for file in files) or path.is_file() else documents_of_folder(path)


def _named(name: str, options: Options) -> Data:
    """Return the data set of a name that is not a known one."""
    if not name.strip():
        raise InvalidInput("the name of the data is empty, expected a name or a path: `ancestral data` lists what there is")
    pairs = None if options.languages is None else pairs_of_files(name, options.languages)
    if pairs is not None and not options.stream:
        return assemble_pairs(name, pairs, options)
    path = Path(name).expanduser()
    found = path if path.exists() else below_root(name)
    rows: Rows | Material | Text | Documents
    if found is not None:
        rows = (_documents_of_path(found, options) if wanted(options) else None) or read_path(found, options)
        source = str(found.resolve())
        if options.languages is not None and not isinstance(rows, Rows):
            one, other = parse_languages(options.languages)
            raise InvalidInput(
                f"{name} holds no translations, expected files such as train.{one} and train.{other}, or columns {one} and"
                f" {other}: give their folder or file, or leave languages= out"
            )
    elif "://" in name:
        rows, source = url_rows(name, options), name
    else:
        if path.is_absolute() or name.startswith((".", "~")) or kind_of(path) in FILES:
            raise InvalidInput(f"there is no file or folder {name}: {_advice(name)}")
        rows, source = hub_rows(name, options, _advice(name)), f"hub: {name}"
    if options.stream:
        if options.languages is not None:
            raise InvalidInput(f"{name} is to be read as translations, which are held and not streamed: leave stream= out")
        if (
            not isinstance(rows, Rows)
            or options.text is not None
            or wanted(options)
            or sound_of_rows(rows, options) is not None
        ):
            text = isinstance(rows, Text) or options.text is not None or wanted(options)
            kind = "an array file" if isinstance(rows, Material) else "text" if text else "sound"
            raise InvalidInput(f"{name} is {kind}, which is memory-mapped and not streamed: leave stream= out")
        data = stream_rows(name, rows, options)
    else:
        data = _assembled(name, rows, options)
    data.record["source"] = source
    if isinstance(rows, Rows) and rows.revision is not None:
        data.record["options"]["revision"] = rows.revision  # what the hub has may change
    return data


def _advice(name: str) -> str:
    """Say what to do about a name that is not found."""
    names = [*(entry.name for entry in KNOWN), *names_below_root()]
    return (
        "check the name (`ancestral data` lists what there is), or set ANCESTRAL_DATA to the folder that has it (now"
        f" {root()}).{near_matches(name, dict.fromkeys(names))}"
    )
