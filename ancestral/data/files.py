"""Files and folders to material: folders of images or sounds, parquet, npz, npy, CSV, text."""

import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data import cache
from ancestral.data.arrays import from_arrays
from ancestral.data.audio_files import SUFFIXES as SOUNDS
from ancestral.data.audio_files import find_sounds
from ancestral.data.columnar import Rows
from ancestral.data.images import SUFFIXES, find_images
from ancestral.data.material import SPLIT_NAMES, Material, Options
from ancestral.data.strokes import asks_drawing, from_drawing, from_strokes, holds_strokes
from ancestral.data.text_files import Text, read_text
from ancestral.errors import InvalidInput

TEXTS = (".txt", ".txt.gz")
"""Suffixes of text; beside files of other kinds such a file says something about those."""
FILES = (".parquet", ".npz", ".npy", ".csv", ".tsv", *TEXTS)
"""Suffixes that are read, in the order in which a name without a suffix is completed."""


def root() -> Path:
    """Return the folder in which data sets are looked for by name: `$ANCESTRAL_DATA`, or `data`."""
    return Path(os.environ.get("ANCESTRAL_DATA") or "data")


def below_root(name: str) -> Path | None:
    """Return the file or folder of that relative name, with or without its suffix, below the data folder."""
    if name.startswith(("/", "~")) or ".." in Path(name).parts:
        return None
    for spelled in dict.fromkeys((name, name.replace("-", "_"))):
        for path in [root() / spelled, *(root() / f"{spelled}{suffix}" for suffix in FILES)]:
            if path.exists():
                return path
    return None


def names_below_root(most: int = 10_000) -> list[str]:
    """Return the relative names, without suffix, of at most `most` files below the data folder."""
    names: set[str] = set()
    for i, path in enumerate(root().rglob("*")):
        if i == most:
            break
        if kind_of(path) in FILES:
            names.add(path.relative_to(root()).as_posix().removesuffix(kind_of(path)))
            names.add(path.parent.relative_to(root()).as_posix())
    return sorted(names - {"."})


def kind_of(path: Path) -> str:
    """Return the suffix that says what a file is.

    >>> kind_of(Path("a.b.npz")), kind_of(Path("novel.txt.gz"))
    ('.npz', '.txt.gz')
    """
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def read_path(path: Path, options: Options) -> Material | Rows | Text:
    """Return what a file or a folder holds: text, or rows where `datasets` reads it, else arrays.

    Raises:
        InvalidInput: if it holds nothing that is read, or cannot be read.
    """
    if path.is_dir():
        return _folder(path, options)
    if kind_of(path) not in FILES:
        if path.suffix.lower() in SUFFIXES:
            raise InvalidInput(f"{path} is one image, expected a folder of images: give its folder")
        if path.suffix.lower() in SOUNDS:
            return _media("audiofolder", {"data_files": {"train": [str(path)]}}, str(path), [path])
        known = ", ".join((*FILES, *sorted(SOUNDS)))
        raise InvalidInput(f"{path} is of a kind that is not read, expected one of {known} or a folder of images")
    if path.stat().st_size == 0:
        raise InvalidInput(f"{path} is empty (0 bytes), expected data: write it again")
    return _files({"train": [path]}, str(path), options)


def parquet_rows(files: Mapping[str, Sequence[Path]], what: str) -> Rows:
    """Return the rows of parquet files, by split."""
    flat = [path for paths in files.values() for path in paths]

    def opener() -> Mapping[str, Any]:
        import pyarrow
        from datasets import load_dataset

        for path in flat:
            try:
                pyarrow.parquet.read_schema(path)
            except (pyarrow.ArrowException, OSError) as error:
                raise InvalidInput(f"{path} cannot be read as parquet ({error}): write it again") from error
        names = {split: [str(path) for path in paths] for split, paths in files.items()}
        return load_dataset("parquet", data_files=names, streaming=True)

    return Rows(what, opener, {split: cache.stamp(paths) for split, paths in files.items()}, files=flat)


def _folder(path: Path, options: Options) -> Material | Rows | Text:
    found = sorted(p for p in path.iterdir() if kind_of(p) in FILES and p.is_file() and not p.name.startswith("."))
    for builder, media in (("imagefolder", find_images(path)), ("audiofolder", find_sounds(path))):
        if media and not any(p.suffix == ".parquet" for p in found):
            return _media(builder, {"data_dir": str(path)}, f"the folder {path}", media)
    found = [p for p in found if kind_of(p) not in TEXTS] or found
    if not found:
        raise InvalidInput(
            f"the folder {path} holds no data, expected images ({', '.join(sorted(SUFFIXES))}), sounds"
            f" ({', '.join(sorted(SOUNDS))}) or files of {', '.join(FILES)}: give a folder that does"
        )
    kinds = {kind_of(p) for p in found}
    if len(kinds) > 1:
        raise InvalidInput(
            f"the folder {path} holds files of several kinds ({', '.join(sorted(kinds))}): give one of its files"
        )
    if kinds == {".npy"}:
        return _files({"train": found}, str(path), options)
    by_split: dict[str, list[Path]] = {}
    for file in found:
        by_split.setdefault(split_of(file), []).append(file)
    if "" in by_split and len(by_split) > 1:
        raise InvalidInput(
            f"the folder {path} holds files with a split in their name and files without, such as {by_split[''][0].name}: move"
            " or rename those"
        )
    files = {split or "train": paths for split, paths in by_split.items()}
    return _files(files, str(path), options)


def split_of(path: Path) -> str:
    """Return the split that a file's name speaks of; empty if none.

    >>> split_of(Path("train-00000-of-00002.parquet")), split_of(Path("a_valid.csv")), split_of(Path("data.npz"))
    ('train', 'validation', '')
    """
    words = re.split(r"[^a-zA-Z]+", path.stem.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "")


def _media(builder: str, where: Mapping[str, Any], what: str, files: Sequence[Path]) -> Rows:
    def opener() -> Mapping[str, Any]:
        from datasets import load_dataset

        return load_dataset(builder, **where, streaming=True)

    return Rows(what, opener, cache.stamp(files), holds_images=builder == "imagefolder", files=files)


def _files(files: dict[str, list[Path]], what: str, options: Options) -> Material | Rows | Text:
    suffix = kind_of(next(iter(files.values()))[0])
    flat = [path for paths in files.values() for path in paths]
    if suffix in TEXTS:
        return read_text(files, what)
    if suffix == ".parquet":
        return parquet_rows(files, what)
    if suffix in (".csv", ".tsv"):
        from ancestral.data import tables  # pandas takes half a second to import

        for path in flat:
            cache.require_memory(path.stat().st_size * 4, str(path), "store it as parquet and read it with stream=True")
        material = tables.from_frames({split: tables.read_csv(paths) for split, paths in files.items()}, what, options)
    elif suffix == ".npz":
        if len(flat) > 1:
            raise InvalidInput(
                f"{what} holds {len(flat)} npz files, expected one with the arrays train, valid and test: give one file"
            )
        material = _npz(flat[0], options)
    elif asks_drawing(options):
        if len(flat) > 1:
            raise InvalidInput(f"{what} holds {len(flat)} npy files, expected one drawing: put several into an .npz file")
        material = from_drawing(read_npy(flat[0]), what, options)
    else:
        material = from_arrays({"x" if len(flat) == 1 else path.stem: read_npy(path) for path in flat}, what)
    material.record = {**material.record, **cache.describe(flat)}
    return material


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array of an .npy file, memory-mapped.

    Raises:
        InvalidInput: if it holds Python objects, or is no .npy file.
    """
    try:
        # Mapped copy-on-write, so that torch may take it; nothing is written back.
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInput(
            f"{path} is not an .npy file of numbers ({error}): save it with numpy.save, without objects"
        ) from error


def read_numbers(path: Path) -> Tensor:
    """Return the numbers of an .npy file as a tensor, memory-mapped where torch has their type.

    Raises:
        InvalidInput: if it holds something else, or is no .npy file.
    """
    array = read_npy(path)
    if array.dtype.kind not in "biuf":
        raise InvalidInput(
            f"{path} holds {array.dtype.name} of shape {array.shape}, expected numbers: save whole or real ones"
        )
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file, having looked at their sizes first.

    Raises:
        InvalidInput: if it holds Python objects, claims more than the memory there is, or is no .npz file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(info.file_size for info in archive.infolist())
        cache.require_memory(claimed, str(path), "store its arrays as .npy files, which are memory-mapped")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except InvalidInput:
        raise
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"{path} is not an .npz file of numbers ({error}): save it with numpy.savez, without objects"
        ) from error


def _npz(path: Path, options: Options) -> Material:
    arrays = read_npz(path)
    if {"data", "test_index_split0"} <= set(arrays):
        from ancestral.data import tables

        return tables.from_regression(arrays, str(path), options)
    if holds_strokes(arrays):
        return from_strokes(arrays, str(path), options)
    return from_arrays(arrays, str(path))
