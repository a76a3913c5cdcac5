"""What a source gives before it is split: arrays by the source's own splits, and what may be asked of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.pcm import MAX_LEVELS

Values = TypeVar("Values")
Columns = tuple[dict[str, NDArray[Any]], list[str] | None]
"""A column's values by split, and the names of its classes where the source has them."""

ANY_SOURCE = {
    "condition", "validation", "test", "seed", "limit", "event", "binarize", "levels", "standardize", "memory",
}  # fmt: skip
"""Options that every source but a text takes."""
IMAGE_OPTIONS = {"gray", "size", "image"}
"""Options that image files take besides."""
STREAM_OPTIONS = {"stream", "buffer"}
"""Options that sources of rows take besides."""
HUB_OPTIONS = {"subset", "revision"}
"""Options that name a part and a version of a data set of the hub."""
SPLIT_NAMES = {
    "train": "train", "training": "train", "valid": "validation", "val": "validation", "dev": "validation",
    "validation": "validation", "test": "test", "testing": "test",
}  # fmt: skip
"""How sources spell the three splits."""


@dataclass(frozen=True)
class Options:
    """What a person can ask of a data set; `load` says what each means."""

    condition: str | Sequence[str] | None = None
    validation: float | None = None
    test: float | None = None
    seed: int = 0
    limit: int | None = None
    event: Any = None
    binarize: float | str | None = None
    levels: int | None = None
    gray: bool = False
    size: int | Sequence[int] | None = None
    image: str | None = None
    columns: Sequence[str] | None = None
    continuous: bool = False
    standardize: bool = True
    subset: str | None = None
    revision: str | None = None
    stream: bool = False
    buffer: int = 10_000
    memory: float = 2.0
    level: str | None = None
    length: int | None = None
    vocabulary: int | None = None
    words: str | None = None
    text: str | None = None
    rate: int | None = None
    mono: bool = False
    crop: bool = False
    audio: str | None = None
    languages: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.event, dict):
            object.__setattr__(self, "event", Event.from_json(self.event))
        for name in ("validation", "test"):
            share = getattr(self, name)
            if share is not None and (share < 0 or (share >= 1 and share != int(share))):
                raise InvalidInput(f"{name}= takes a fraction below 1 or a number of data, got {share}")
        for name in ("limit", "buffer", "length", "vocabulary", "rate"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise InvalidInput(f"{name}= takes a positive number, got {count}")
        if self.levels is not None and not 2 <= self.levels <= MAX_LEVELS:
            raise InvalidInput(f"levels= takes a number from 2 to 256, of sound to {MAX_LEVELS}, got {self.levels}")
        if self.binarize is not None and self.levels is not None:
            raise InvalidInput("got both binarize= and levels=: give one of them")
        if isinstance(self.binarize, str) and self.binarize != "dynamic":
            raise InvalidInput(f"binarize= takes a threshold or 'dynamic', got {self.binarize!r}")
        if self.image_size and min(self.image_size) < 1:
            raise InvalidInput(f"size= takes a positive height and width, got {self.size}")

    @property
    def image_size(self) -> tuple[int, int] | None:
        """The (height, width) asked for; one number is both."""
        if self.size is None:
            return None
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2:
            raise InvalidInput(f"size= takes one number or a height and a width, got {self.size}")
        return (int(size[0]), int(size[1]))

    @property
    def condition_columns(self) -> list[str]:
        """The columns that the condition is made of."""
        if self.condition is None:
            return []
        return [self.condition] if isinstance(self.condition, str) else list(self.condition)

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, as JSON-able values."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        if isinstance(self.event, Event):
            values["event"] = self.event.to_json()
        return {key: list(value) if isinstance(value, list | tuple) else value for key, value in values.items()}


@dataclass
class Material:
    """Arrays by split, as a source holds them.

    Args:
        what: what to call the source in errors.
        x: by split, (n, ...).
        takes: options that the source takes besides those that every source takes.
        column: gives a column to condition on, by its name; None where there are none.
        condition: values of the condition by split, where reading the source has already told it from x.
        sentences: events of the columns whose cells are sentences of tokens, by name.
        levels: number of values that an entry of x takes, where the source knows; None to look.
        axes: names of x's axes, where the source knows.
        groups: by split, the recording that each datum was cut from, (n,), numbers from 0: data of one are held out together,
            in their order; None where data have nothing to do with each other.
        sizes: by split, how many entries of each datum were recorded, (n,), the others being padding; None where all were.
        held: number of data to hold out as validation and test where the source has no such split and none is asked for.
        steps: what was done to the values while reading, in words.
        invert: exchange low and high values (omniglot's black ink on white paper).
        event: what a datum is, where the source knows; then none can be asked for.
        rounded: whether offsets of drawings were rounded to whole numbers, which reading them undoes.
        about: one line: what it is.
        record: JSON-able facts: where it came from.
    """

    what: str
    x: dict[str, NDArray[Any]]
    takes: set[str] = field(default_factory=set)
    column: Callable[[str], Columns] | None = None
    condition: dict[str, NDArray[Any]] | None = None
    sentences: dict[str, Event] = field(default_factory=dict)
    levels: int | None = None
    axes: tuple[str, ...] = ()
    groups: dict[str, NDArray[np.int64]] | None = None
    sizes: dict[str, NDArray[np.int64]] | None = None
    held: dict[str, float] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    invert: bool = False
    event: Event | None = None
    rounded: bool = False
    about: str = ""
    record: dict[str, Any] = field(default_factory=dict)


def refuse_unused(what: str, options: Options, takes: set[str], always: set[str] = ANY_SOURCE) -> None:
    """Raise if an option was given that the source has no use for.

    Args:
        what: what to call the source.
        options: what was asked for.
        takes: options that this source takes.
        always: options that all sources of its kind take.

    Raises:
        InvalidInput: naming the options that it takes.
    """
    unused = sorted(set(options.given()) - always - takes)
    if unused:
        raise InvalidInput(
            f"{what} takes no {' and no '.join(unused)}: leave it out. It takes {', '.join(sorted(always | takes))}"
        )


def canonical_splits(values: dict[str, Values]) -> dict[str, Values]:
    """Return `values` with the splits named train, validation, test, in that order, others after them.

    >>> import numpy as np
    >>> list(canonical_splits({"val": np.ones(1), "extra": np.ones(1), "train": np.ones(1)}))
    ['train', 'validation', 'extra']
    """
    named = {SPLIT_NAMES.get(key.lower(), key): value for key, value in values.items()}
    order = [key for key in ("train", "validation", "test") if key in named]
    return {key: named[key] for key in [*order, *(key for key in named if key not in order)]}
