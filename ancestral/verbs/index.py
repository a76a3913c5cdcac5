"""Index and search: binary codes of data in a file, and what is near a query among them."""

import inspect
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.coding.coder import model_key
from ancestral.data import Data, load
from ancestral.data.images import SUFFIXES
from ancestral.errors import InvalidInput
from ancestral.files import check_writable
from ancestral.layers.mlp import check_choice
from ancestral.models.base import Model
from ancestral.verbs.code_index import MAX_BITS, CodeIndex, Neighbour
from ancestral.verbs.codes import encoded, open_encoder
from ancestral.verbs.inputs import Named, Subject, batches, check_counts, count_batches, open_data, read_images, track

if TYPE_CHECKING:
    from PIL import Image

THRESHOLDS = ("own", "median")
"""Where a bit of a code begins to be 1."""
MAX_TEXT_BYTES = 16 * 2**20
_SHOWN = 60


@dataclass(frozen=True)
class Found:
    """What is near a query.

    Args:
        query: what was asked for.
        size: codes that there are.
        neighbours: the nearest first.
    """

    query: str
    size: int
    neighbours: list[Neighbour]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {"query": self.query, "size": self.size, "found": [vars(near) for near in self.neighbours]}


# Codes


def thresholds_of(model: Model, codes: Tensor, threshold: str | None = None) -> Tensor:
    """Return where each entry of a model's codes begins to be a bit that is 1, (code,).

    Args:
        model: the model.
        codes: of training data, (n, code).
        threshold: own, for models whose codes are trained to be bits (1/2 of probabilities), or median, over the training
            data; the first of these that the model has where None.

    Raises:
        InvalidInput: if there is no such threshold, or the model has none of its own.
    """
    own = getattr(model, "code_threshold", None)
    check_choice("threshold", threshold or "own", THRESHOLDS)
    if threshold == "own" and own is None:
        raise InvalidInput(f"codes of {model.name} have no threshold of their own: take median")
    if threshold != "median" and own is not None:
        return torch.full((codes.shape[1],), float(own))
    median = codes.float().median(0).values
    # Where the least value is that of most data, as 0 of sparse codes, a bit says that an entry is above it.
    above = torch.where(codes > codes.min(0).values, codes.float(), torch.inf).min(0).values
    least = codes.float().min(0).values
    return torch.where((median == least) & above.isfinite(), above, median)


def packed(codes: Tensor, thresholds: Tensor) -> NDArray[np.uint8]:
    """Return codes, (n, code), as bits, eight to a byte, the first one highest, (n, ceil(code / 8))."""
    return np.packbits((codes.float() >= thresholds).numpy(), axis=1)


def codes_of_split(subject: Subject, data: Data, split: str, limit: int | None = None, progress: bool = False) -> Tensor:
    """Return the codes of the first data of a split, or of all, (n, code), on the CPU."""
    part = data.split(split)
    parts: Iterable[tuple[Tensor, Tensor, Tensor | None]] = batches(part, subject.model, limit=limit)
    count = count_batches(part, subject.model, None, limit)
    return torch.cat([encoded(subject.model, x, None) for _, x, _ in track(parts, "encoding", count, progress=progress)])


def index(
    model: Named,
    data: Data | str | None = None,
    output: Path | str | None = None,
    *,
    split: str = "train",
    threshold: str | None = None,
    limit: int | None = None,
    progress: bool = False,
) -> CodeIndex:
    """Return an index of the binary codes of data.

    Args:
        model: a model with `encode` and without a condition, or its zoo name, run directory or hub repository.
        data: the data, their name or path; what the model was trained on where None.
        output: file to write; none where None.
        split: name of the split whose data are indexed.
        threshold: own or median; see `thresholds_of`. The median is over the split train, where the data have one.
        limit: data that are indexed, the first ones; all where None.
        progress: show a progress bar.

    Raises:
        Unsupported: if the model has no `encode`.
        InvalidInput: if it has a condition, the data do not fit, or the file cannot be written.

    References:
        Semantic Hashing (Salakhutdinov & Hinton, 2009), https://doi.org/10.1016/j.ijar.2008.11.006
    """
    if output is not None:
        check_writable(output)
    check_counts(limit=limit)
    subject = open_encoder(model)
    data = open_data(data, subject)
    codes = codes_of_split(subject, data, split, limit, progress)
    if codes.shape[1] > MAX_BITS:
        raise InvalidInput(
            f"codes of {subject.name} have {codes.shape[1]:,} entries, expected at most {MAX_BITS:,}: shorten them"
        )
    own = threshold != "median" and getattr(subject.model, "code_threshold", None) is not None
    training = codes if own or split == "train" or "train" not in data.splits else codes_of_split(subject, data, "train")
    thresholds = thresholds_of(subject.model, training, threshold)
    names = getattr(data.split(split), "names", None)
    made = CodeIndex(
        packed(codes, thresholds),
        codes.shape[1],
        thresholds.numpy(),
        () if names is None else list(names[: len(codes)]),
        subject.name,
        model_key(subject.model).hex(),
        data.name,
        split,
        json.loads(json.dumps(data.record.get("options") or {})),
    )
    if output is not None:
        made.save(output)
    return made


# Queries


def search(
    index: CodeIndex | Path | str,
    query: str | Tensor,
    *,
    k: int | None = None,
    radius: int | None = None,
    model: Named | None = None,
) -> Found:
    """Return the data of an index whose codes are nearest to that of a query.

    Args:
        index: an index, or its file.
        query: a number of the index, the path of an image or a text file, or a text; or one datum, (*event.shape,).
        k: how many are returned; 10 where neither this nor `radius` is given.
        radius: return all within so many bits instead.
        model: the model of the index; the one that it names where None.

    Raises:
        InvalidInput: if there is no such datum, the text has no known word, or the model is not that of the index.
    """
    if k is not None and radius is not None:
        raise InvalidInput(f"got both k={k} and radius={radius}: give one of them")
    check_counts(k=k)
    if radius is not None and radius < 0:
        raise InvalidInput(f"radius is {radius}, expected a number of bits, 0 or more")
    found = index if isinstance(index, CodeIndex) else CodeIndex.load(index)
    code = _code_of(found, query, model)
    near = found.nearest(code, k or 10) if radius is None else found.within(code, radius)
    shown = "a datum" if isinstance(query, Tensor) else query if len(query) <= _SHOWN else f"{query[:_SHOWN]} ..."
    return Found(shown, len(found), near)


def _code_of(index: CodeIndex, query: str | Tensor, model: Named | None) -> NDArray[np.uint8]:
    """Return the code of a query, (bytes,)."""
    if isinstance(query, str) and query.strip().isdecimal():
        number = int(query)
        if number >= len(index):
            raise InvalidInput(f"the index has no number {number}, expected 0 to {len(index) - 1}")
        return index.codes[number]
    subject = open_encoder(index.model if model is None else model)
    if model_key(subject.model).hex() != index.key:
        raise InvalidInput(
            f"the index is of another model than {subject.name}, or of other weights: name its own, or index the data anew"
        )
    x = query[None] if isinstance(query, Tensor) else _read(query, subject.model)
    code = encoded(subject.model, x, None)
    if code.shape[1] != index.bits:
        raise InvalidInput(
            f"{subject.name} has codes of {code.shape[1]} entries, the index of {index.bits}: index the data anew"
        )
    return packed(code, torch.from_numpy(index.thresholds.copy()))[0]


def _read(query: str, model: Model) -> Tensor:
    """Return the datum that a text stands for: that of a file of this name, or the text itself, (1, *event.shape)."""
    path, event = Path(query), model.event
    is_file = "\n" not in query and len(query) < 4096 and "\0" not in query and path.is_file()
    if is_file and path.suffix.lower() in SUFFIXES:
        return read_images([path], event)
    if event.bag is None:
        raise InvalidInput(
            f"{query[:_SHOWN]!r} is no number of the index and no image file, and {model.name} is of {event} data: give one of"
            " these"
        )
    if is_file:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise InvalidInput(f"{path} has {path.stat().st_size:,} bytes, expected a text of at most {MAX_TEXT_BYTES:,}")
        query = path.read_text(encoding="utf-8", errors="replace")
    return torch.from_numpy(event.bag.known(query))[None]


def search_picture(index: CodeIndex, found: Found) -> "Image.Image":
    """Return what was found as a row of images, with the bits that differ below each.

    Args:
        index: the index, of images that can be loaded again.
        found: what was found in it.

    Raises:
        InvalidInput: if the data are no images, or nothing was found.
    """
    from ancestral.verbs.pictures import captioned_grid

    if index.data is None or index.split is None:
        raise InvalidInput("the index does not say what data it is of: leave the picture out")
    if not found.neighbours:
        raise InvalidInput("nothing was found that could be drawn: search in a larger radius")
    unknown = index.options.keys() - inspect.signature(load).parameters.keys()
    if unknown:
        raise InvalidInput(f"the index has the option {min(unknown)!r} of data, which there is not: leave the picture out")
    data = load(index.data, **index.options)
    if not data.event.is_image:
        raise InvalidInput(f"{index.data} are {data.event}, expected images: leave the picture out")
    part = data.split(index.split)
    numbers = [near.number for near in found.neighbours]
    if max(numbers) >= len(part):
        raise InvalidInput(f"{index.data} now has {len(part):,} data in {index.split}, fewer than when it was indexed")
    x, _ = part.batch(torch.tensor(numbers), torch.Generator().manual_seed(0))
    return captioned_grid(x, data.event, [str(near.distance) for near in found.neighbours], min(len(numbers), 10))
