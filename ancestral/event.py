"""What a datum is, and everything that depends on the data's measure.

Scaling to network input, dequantization with its log-Jacobian, and the step from
nats to bits per dimension live here and nowhere else, so that figures of different
models on one `Event` are on one measure.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ancestral.encoding import BagOfWords, TextEncoding
from ancestral.encoding.bag import COUNT_LEVELS
from ancestral.errors import InvalidInput
from ancestral.pcm import PCM

IMAGE_AXES = ("channel", "height", "width")
SEQUENCE_AXES = ("time",)
DRAWING_AXES = ("point", "column")
WORD_AXES = ("word",)
PEN = ("down", "up", "over")
"""What the pen does after a point, by the level of its column."""


@dataclass(frozen=True)
class Event:
    """The description of one datum: its shape, its axes and its support.

    Use the constructors `binary`, `integers`, `real`, `tokens`, `sentences`, `drawing`, `audio`, `documents`, `label` and
    `labels`.

    Args:
        shape: shape of one datum, without the batch axis.
        levels: number of values an entry takes, {0, ..., levels - 1}; None for real entries.
        axes: name of each axis of `shape`; three axes default to channel, height, width.
        loc: real events only: one offset per entry (flattened), subtracted before a network.
        scale: real events only: one positive scale per entry (flattened).
        encoding: sequences of tokens only: what the tokens mean.
        pcm: sounds only: the rate of the samples, and the amplitudes that levels stand for.
        classes: several labels only: the number of classes of each.
        end: sequences only: whether the last level is an end symbol, after which every entry is one; see `sentences`. Of
            mixed columns, the last level of the last one: entries after it are zeros, in that column end symbols.
        columns: data of mixed columns only: levels of each column of the last axis, None for a real one; `levels` is None.
        bag: documents only: the words that are counted.

    Raises:
        InvalidInput: if the parts contradict each other.

    >>> event = Event.integers((1, 28, 28), levels=256)
    >>> event.numel, event.support
    (784, IntegerInterval(lower_bound=0, upper_bound=255))
    >>> round(event.bits_per_dim(784 * math.log(256)), 9)
    8.0
    """

    shape: tuple[int, ...]
    levels: int | None = None
    axes: tuple[str, ...] = ()
    loc: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    encoding: TextEncoding | None = None
    pcm: PCM | None = None
    classes: tuple[int, ...] | None = None
    end: bool = False
    columns: tuple[int | None, ...] | None = None
    bag: BagOfWords | None = None

    def __post_init__(self) -> None:
        # A frozen dataclass is normalized through object.__setattr__.
        try:
            object.__setattr__(self, "shape", tuple(operator.index(n) for n in self.shape))
            object.__setattr__(self, "levels", None if self.levels is None else operator.index(self.levels))
        except TypeError:
            raise InvalidInput(
                f"an event has a shape of whole numbers and a whole number of levels, got {self.shape!r} and {self.levels!r}"
            ) from None
        if any(n < 1 for n in self.shape):
            raise InvalidInput(f"an event's shape must be positive, got {self.shape}")
        if self.levels is not None and self.levels < 2:
            raise InvalidInput(f"an event needs at least 2 levels, got {self.levels}")
        object.__setattr__(self, "axes", tuple(self.axes) or _default_axes(len(self.shape)))
        if len(self.axes) != len(self.shape):
            raise InvalidInput(f"got {len(self.axes)} axis names {self.axes} for shape {self.shape}")
        if self.columns is not None:
            self._check_columns(self.columns)
        for name in ("loc", "scale"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, self._checked(name, getattr(self, name)))
        if self.scale is not None and min(self.scale) <= 0:
            raise InvalidInput(f"scale must be positive, got a smallest value of {min(self.scale):g}")
        if self.end and not (self.is_sequence and self.levels is not None) and not (self.columns and self.columns[-1]):
            raise InvalidInput(
                f"an end symbol is for sequences of whole numbers and for drawings, got axes {self.axes}: use Event.sentences"
                " or Event.drawing"
            )
        if self.encoding is not None and not (self.is_sequence and self.levels == self.encoding.levels + self.end):
            raise InvalidInput(
                f"an encoding of {self.encoding.levels} tokens needs an event of so many levels along the axis time, one more"
                f" with an end symbol, got {self.levels} levels and axes {self.axes}: use Event.tokens or Event.sentences"
            )
        if self.pcm is not None and self.levels != self.pcm.levels:
            raise InvalidInput(
                f"{self.pcm} need an event of so many levels, got {self.levels or 'a real one'}: use Event.audio"
            )
        if self.classes is not None and (
            self.shape != (len(self.classes),) or self.levels != max(self.classes) or min(self.classes) < 2
        ):
            raise InvalidInput(
                f"labels of {self.classes} classes need two classes or more and one entry each, got shape {self.shape} and"
                f" {self.levels} levels: use Event.labels"
            )
        if self.bag is not None and (self.shape != (len(self.bag.words),) or self.levels != COUNT_LEVELS):
            raise InvalidInput(
                f"counts of {len(self.bag.words)} words need an event of so many entries of {COUNT_LEVELS} levels, got shape"
                f" {self.shape} and {self.levels or 'no'} levels: use Event.documents"
            )

    def _check_columns(self, columns: tuple[int | None, ...]) -> None:
        fits = len(self.shape) == 2 and self.shape[-1] == len(columns) and self.levels is None
        if not fits or None not in columns or not any(columns) or any(n is not None and n < 2 for n in columns):
            raise InvalidInput(
                f"columns {columns} need an event of shape (rows, {len(columns)}), real and whole ones among them, these of"
                f" two levels or more; got shape {self.shape} and {self.levels} levels: use Event.drawing"
            )
        for values, rest in ((self.loc, 0.0), (self.scale, 1.0)):
            # zip stops at the shorter one: another length is refused later
            if any(n is not None and v != rest for v, n in zip(values or (), columns * self.shape[0], strict=False)):
                raise InvalidInput(f"columns of whole numbers are not scaled, got another loc or scale than {rest:g} for one")

    def _checked(self, name: str, values: Sequence[float]) -> tuple[float, ...]:
        if self.levels is not None:
            raise InvalidInput(f"{name} is for real events, got an event of {self.levels} levels")
        values = tuple(float(v) for v in values)
        bad = sum(not math.isfinite(v) for v in values)
        if len(values) != self.numel or bad:
            raise InvalidInput(f"{name} needs {self.numel} finite numbers, got {len(values)}, of which {bad} are not finite")
        return values

    # Constructors

    @classmethod
    def binary(cls, shape: Sequence[int], axes: Sequence[str] = ()) -> "Event":
        """An event whose entries are 0 or 1.

        >>> print(Event.binary((1, 28, 28)))
        1x28x28 binary
        """
        return cls(tuple(shape), 2, tuple(axes))

    @classmethod
    def integers(cls, shape: Sequence[int], levels: int, axes: Sequence[str] = ()) -> "Event":
        """An event whose entries are in {0, ..., levels - 1}.

        >>> Event.integers((3,), levels=17).dtype
        torch.uint8
        """
        return cls(tuple(shape), levels, tuple(axes))

    @classmethod
    def real(
        cls,
        shape: Sequence[int],
        loc: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        axes: Sequence[str] = (),
    ) -> "Event":
        """A real event; networks see (x - loc) / scale, figures stay on the measure of x.

        >>> Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 2.0)).to_network(torch.tensor([[3.0, 4.0]]))
        tensor([[1., 1.]])
        """
        return cls(
            tuple(shape), None, tuple(axes), None if loc is None else tuple(loc), None if scale is None else tuple(scale)
        )

    @classmethod
    def tokens(cls, length: int, encoding: TextEncoding) -> "Event":
        """A sequence of `length` tokens of text; `event.encoding` gives the text back.

        >>> event = Event.tokens(4, TextEncoding.fit("byte"))
        >>> print(event)
        4 byte tokens of 256 levels
        >>> event.encoding.decode(torch.tensor([116, 101, 120, 116]))
        b'text'
        """
        return cls((length,), encoding.levels, SEQUENCE_AXES, encoding=encoding)

    @classmethod
    def sentences(cls, length: int, symbols: "TextEncoding | int") -> "Event":
        """Sequences of up to `length` tokens, in one shape: the last level ends a sequence, and then fills it up.

        A sequence of `length` tokens has no end symbol: the bound ends it.

        Args:
            length: tokens of the longest sequence.
            symbols: what the tokens mean; their number, where they are no text.

        >>> encoding = TextEncoding.fit("byte")
        >>> event = Event.sentences(4, encoding)
        >>> print(event)
        up to 4 byte tokens, of 257 levels with the end
        >>> sentence = torch.tensor([104, 105, 256, 256])
        >>> event.check(sentence[None])
        >>> encoding.decode(event.until_end(sentence))
        b'hi'
        >>> event.check(torch.tensor([[104, 256, 105, 256]]))
        Traceback (most recent call last):
        ancestral.errors.InvalidInput: x has 1 of 1 sequences that go on after their end symbol (256), ...
        """
        encoding, count = (None, symbols) if isinstance(symbols, int) else (symbols, symbols.levels)
        return cls((length,), count + 1, SEQUENCE_AXES, encoding=encoding, end=True)

    @classmethod
    def drawing(cls, points: int, loc: Sequence[float] | None = None, scale: Sequence[float] | None = None) -> "Event":
        """Drawings of up to `points` points (dx, dy, pen), in one shape: offsets are real, the pen is 0, 1 or 2.

        The offset leads from the point before to this one; after it the pen stays down (0), is lifted (1), or the drawing is
        over (2), and all points that follow are (0, 0, 2). A drawing of `points` points may do without a 2: the bound ends it.
        log p is a density in the offsets, on their own scale, and a probability in the pen.

        Args:
            points: of the longest drawing.
            loc: of dx and dy, subtracted before a network; zeros where None.
            scale: of dx and dy, positive; ones where None.

        >>> event = Event.drawing(3)
        >>> print(event)
        drawings of up to 3 points
        >>> event.check(torch.tensor([[[1.5, 0.0, 0.0], [2.0, -1.0, 2.0], [0.0, 0.0, 2.0]]]))
        >>> event.check(torch.tensor([[[1.5, 0.0, 2.0], [2.0, -1.0, 0.0], [0.0, 0.0, 0.0]]]))
        Traceback (most recent call last):
        ancestral.errors.InvalidInput: x has 1 of 1 drawings that go on after they are over (pen 2), ...
        """
        offsets = None if loc is None else (*loc, 0.0) * points
        scales = None if scale is None else (*scale, 1.0) * points
        return cls((points, 3), None, DRAWING_AXES, offsets, scales, end=True, columns=(None, None, len(PEN)))

    @classmethod
    def audio(cls, length: int, pcm: PCM) -> "Event":
        """A sound of `length` samples; `event.pcm` gives amplitudes and the rate.

        >>> print(Event.audio(8000, PCM(16000)))
        8000 mu-law samples of 256 levels at 16000 Hz
        """
        return cls((length,), pcm.levels, SEQUENCE_AXES, pcm=pcm)

    @classmethod
    def documents(cls, bag: BagOfWords) -> "Event":
        """A document as how often it has each word, 255 times or more counted as 255; `event.bag` counts those of a text.

        >>> event = Event.documents(BagOfWords(("rose", "thorn")))
        >>> print(event)
        documents as counts of 2 words
        >>> event.bag.counts(["A rose."])
        array([[1, 0]], dtype=uint8)
        """
        return cls((len(bag.words),), COUNT_LEVELS, WORD_AXES, bag=bag)

    @classmethod
    def label(cls, classes: int) -> "Event":
        """A single class label in {0, ..., classes - 1}: what conditional models are conditioned on.

        >>> Event.label(10).check(torch.tensor([0, 9]))
        """
        return cls((), classes, ())

    @classmethod
    def labels(cls, classes: Sequence[int]) -> "Event":
        """Several class labels, label i in {0, ..., classes[i] - 1}: for models that are conditioned on more than one.

        >>> event = Event.labels((10, 6))
        >>> print(event)
        labels of 10 and 6 classes
        >>> event.check(torch.tensor([[9, 5]]))
        """
        return cls((len(classes),), max(classes, default=0), ("label",), classes=tuple(classes))

    # Facts

    @property
    def numel(self) -> int:
        """Number of entries (dimensions) of one datum."""
        return math.prod(self.shape)

    @property
    def discrete(self) -> bool:
        """Whether the entries are integers, so that probabilities and not densities are meant."""
        return self.levels is not None

    @property
    def is_binary(self) -> bool:
        """Whether every entry is 0 or 1."""
        return self.levels == 2

    @property
    def kind(self) -> str:
        """What entries are: binary, integer, real, or mixed, by column."""
        if self.columns is not None:
            return "mixed"
        return "real" if self.levels is None else "binary" if self.is_binary else "integer"

    @property
    def is_drawing(self) -> bool:
        """Whether the data are points of a pen; see `drawing`."""
        return self.axes == DRAWING_AXES and self.columns == (None, None, len(PEN))

    @property
    def is_image(self) -> bool:
        """Whether the axes are channel, height, width."""
        return self.axes == IMAGE_AXES

    @property
    def is_sequence(self) -> bool:
        """Whether the one axis is time, so that a datum could as well be longer or shorter."""
        return self.axes == SEQUENCE_AXES

    @property
    def unit(self) -> str:
        """What figures are in, beside nats per datum: bits of something, or nats of points.

        Bits for each sample of sounds, for each byte, character or other token of text, and for each entry (dimension) of
        anything else; of sentences for each token, ends counted; nats for each point of drawings.

        >>> Event.tokens(4, TextEncoding.fit("byte")).unit, Event.audio(8, PCM(8000)).unit, Event.drawing(3).unit
        ('bits/byte', 'bits/sample', 'nats/point')
        """
        if self.is_drawing:
            return "nats/point"
        if self.end:
            return "bits/token"
        if self.pcm is not None:
            return "bits/sample"
        return "bits/dim" if self.encoding is None else f"bits/{self.encoding.level}"

    @property
    def support(self) -> constraints.Constraint:
        """The support of one entry, in the terms of `torch.distributions.constraints`; of mixed columns, of a real one."""
        if self.levels is None:
            return constraints.real
        return constraints.boolean if self.levels == 2 else constraints.integer_interval(0, self.levels - 1)

    @property
    def dtype(self) -> torch.dtype:
        """The type in which data of this event are stored and samples are returned."""
        if self.levels is None:
            return torch.float32
        return torch.uint8 if self.levels <= 256 else torch.int64

    @property
    def end_symbol(self) -> int:
        """The level that ends a sequence; of a drawing, of its pen.

        Raises:
            InvalidInput: if the event has none.
        """
        if not self.end:
            raise InvalidInput(f"{self} has no end symbol: use Event.sentences")
        return ((self.levels if self.columns is None else self.columns[-1]) or 0) - 1

    def can_end(self, entry: int) -> bool:
        """Return whether an entry (flat index) can hold the end symbol."""
        return self.end and (self.columns is None or (entry + 1) % len(self.columns) == 0)

    def ended(self, like: Tensor) -> Tensor:
        """Return what entries are after an end, (numel,), of the type and device of `like`.

        >>> Event.drawing(2).ended(torch.zeros(1))
        tensor([0., 0., 2., 0., 0., 2.])
        """
        rest = torch.zeros(self.shape, dtype=like.dtype, device=like.device)
        (rest if self.columns is None else rest[:, -1]).fill_(self.end_symbol)
        return rest.flatten()

    def entry(self, index: int) -> "Event":
        """Return the event of a single entry (flat index), without scale and meaning.

        >>> print(Event.drawing(4).entry(0), "-", Event.drawing(4).entry(5))
        scalar real - scalar 3 levels
        """
        return Event((), self.levels if self.columns is None else self.columns[index % len(self.columns)])

    def lengths(self, x: Tensor) -> Tensor:
        """Return how many entries of each datum come before its end, (batch,); all of them where there is no end symbol.

        Args:
            x: data, (batch, *shape).

        >>> Event.sentences(3, 4).lengths(torch.tensor([[1, 4, 4], [1, 2, 3], [4, 4, 4]]))
        tensor([1, 3, 0])
        """
        if not self.end:
            return torch.full((len(x),), x[:1].numel() or self.numel, device=x.device)
        if self.columns is not None:
            points = (x[..., -1] != self.end_symbol).long().cumprod(1).sum(1)  # before the one that is the last
            return (points * len(self.columns) + len(self.columns) - 1).clamp(max=self.numel)
        return (x.flatten(1) != self.end_symbol).long().cumprod(1).sum(1)

    def counted(self, x: Tensor) -> Tensor:
        """Return how many entries of each datum its probability is of, (batch,): those up to its end symbol, and that.

        Args:
            x: data, (batch, *shape).

        >>> Event.sentences(3, 4).counted(torch.tensor([[1, 4, 4], [1, 2, 3], [4, 4, 4]]))
        tensor([2, 3, 1])
        """
        return (self.lengths(x) + 1).clamp(max=self.numel)

    def units(self, x: Tensor) -> Tensor:
        """Return how many of what `unit` is for each datum has, (batch,): entries up to its end, points of drawings.

        Args:
            x: data, (batch, *shape).

        >>> Event.drawing(3).units(torch.tensor([[[1.5, 0.0, 0.0], [2.0, -1.0, 2.0], [0.0, 0.0, 2.0]]]))
        tensor([2])
        """
        return self.counted(x) // self.shape[-1] if self.is_drawing else self.counted(x)

    def in_unit(self, nats: float, units: float | None = None) -> float:
        """Return the negative log-likelihood `nats` (per datum) in `unit`.

        Args:
            nats: mean over the data.
            units: mean of `units`; where None data have all entries.

        >>> round(Event.integers((3, 32, 32), 256).in_unit(3072 * math.log(256)), 9), Event.drawing(3).in_unit(6.0, 2.0)
        (8.0, 3.0)
        """
        if units is None:
            units = self.numel / self.shape[-1] if self.is_drawing else self.numel
        return nats / units / (1.0 if self.unit.startswith("nats") else math.log(2.0))

    def until_end(self, x: Tensor) -> Tensor:
        """Return the entries of one datum that come before its end, (entries,); all of them where it has none.

        Args:
            x: one datum, or the first entries of one, (entries,).
        """
        return x[: int(self.lengths(x[None])[0])]

    def closed(self, x: Tensor) -> Tensor:
        """Return `x` with each sequence filled up after its first end symbol; `x` itself where there is none.

        Args:
            x: (batch, *shape), values in the support of the entries.

        >>> Event.sentences(3, 4).closed(torch.tensor([[1, 4, 0]]))
        tensor([[1, 4, 4]])
        """
        if not self.end:
            return x
        if self.columns is not None:
            after = torch.arange(self.numel, device=x.device) >= self.counted(x)[:, None]
            return torch.where(after.view(x.shape), self.ended(x).view(self.shape), x)
        after = torch.arange(x.shape[1], device=x.device) >= self.lengths(x)[:, None]
        return x.masked_fill(after, self.end_symbol)

    def resized(self, length: int) -> "Event":
        """Return the same event with sequences of another length.

        Args:
            length: number of entries.

        Raises:
            InvalidInput: if it is no event of sequences, or the length is not positive.

        >>> Event.integers((256,), 65, ("time",)).resized(1000).shape
        (1000,)
        """
        if not self.is_sequence:
            raise InvalidInput(
                f"only a sequence, with the axis time, can have another length; got {self} with axes {self.axes}: load data"
                " of that shape"
            )
        return replace(self, shape=(length,))

    def __str__(self) -> str:
        entries = {None: "real", 2: "binary"}.get(self.levels, f"{self.levels} levels")
        if self.encoding is not None:
            entries = f"{self.encoding.level} tokens of {self.levels} levels"
        if self.is_drawing:
            return f"drawings of up to {self.shape[0]} points"
        if self.columns is not None:
            entries = f"of columns {', '.join('real' if n is None else f'{n} levels' for n in self.columns)}"
        if self.end and self.columns is None:
            what = "symbols" if self.encoding is None else f"{self.encoding.level} tokens"
            return f"up to {self.numel} {what}, of {self.levels} levels with the end"
        if self.pcm is not None:
            entries = str(self.pcm)
        if self.bag is not None:
            return f"documents as counts of {self.numel} words"
        if self.classes is not None:
            return f"labels of {' and '.join(map(str, self.classes))} classes"
        return f"{'x'.join(map(str, self.shape)) or 'scalar'} {entries}"

    # Checks

    def check(self, x: Tensor, what: str = "x") -> None:
        """Raise unless `x` holds data of this event.

        Looking at values waits for the device: training steps call `check_shape` alone.

        Args:
            x: data, (batch, *shape).
            what: what `x` is called in the message.

        Raises:
            InvalidInput: for another shape, a NaN or infinity, a value outside the support, or one after an end symbol.

        >>> Event.binary((2,)).check(torch.tensor([[0, 3]]))
        Traceback (most recent call last):
        ancestral.errors.InvalidInput: x has values in [0, 3], expected integers in [0, 1]: ...
        """
        self.check_shape(x, what)
        if x.numel() == 0:
            return
        if x.is_floating_point() and not bool(torch.isfinite(x).all()):
            count = int((~torch.isfinite(x)).sum())
            raise InvalidInput(
                f"{what} holds {count} NaN or infinite values, expected finite numbers: drop or impute them first"
            )
        if self.columns is not None:
            self._check_mixed(x, what, self.columns)
            return
        if self.levels is None:
            return
        low, high = float(x.min()), float(x.max())
        if low < 0 or high > self.levels - 1 or (x.is_floating_point() and not bool((x == x.round()).all())):
            raise InvalidInput(
                f"{what} has values in [{low:g}, {high:g}], expected integers in [0, {self.levels - 1}]:"
                " binarize, round or rescale the data, or train on an event that holds them"
            )
        if self.end:
            going_on = int((self.closed(x) != x).any(1).sum())
            if going_on:
                raise InvalidInput(
                    f"{what} has {going_on} of {len(x)} sequences that go on after their end symbol ({self.end_symbol}),"
                    " expected nothing but end symbols there: fill them up with it"
                )
        for i, classes in enumerate(self.classes or ()):
            if int(x[:, i].max()) >= classes:
                raise InvalidInput(
                    f"{what} has the label {int(x[:, i].max())} in place {i}, expected 0 to {classes - 1}: give one of those"
                )

    def _check_mixed(self, x: Tensor, what: str, columns: tuple[int | None, ...]) -> None:
        for i, levels in enumerate(columns):
            column = x[..., i]
            if levels is not None and not bool(((column == column.round()) & (column >= 0) & (column < levels)).all()):
                raise InvalidInput(
                    f"{what} has values in [{float(column.min()):g}, {float(column.max()):g}] in column {i}, expected integers"
                    f" in [0, {levels - 1}]: "
                    + ("the pen is down (0), up (1), or the drawing over (2)" if self.is_drawing else "round")
                )
        going_on = int((self.closed(x) != x).flatten(1).any(1).sum())
        if going_on:
            raise InvalidInput(
                f"{what} has {going_on} of {len(x)} drawings that go on after they are over (pen {self.end_symbol}), expected"
                " nothing but zeros and that pen there: fill them up so"
            )

    def check_shape(self, x: Tensor, what: str = "x") -> None:
        """Raise unless `x` has the shape (batch, *shape).

        Args:
            x: anything with a shape.
            what: what `x` is called in the message.

        Raises:
            InvalidInput: for another shape.
        """
        if x.dim() != len(self.shape) + 1 or tuple(x.shape[1:]) != self.shape:
            raise InvalidInput(
                f"{what} has shape {tuple(x.shape)}, expected {('batch', *self.shape)}: reshape it, or load data of this event"
            )

    # The data's measure

    def affine(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return loc and scale of real events, (*shape,) each, of the type and device of `like`: zeros and ones where none."""
        # Made once per type and device: a copy per training step costs more than the step's arithmetic.
        made: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = self.__dict__.setdefault("_made", {})
        key = (like.dtype, like.device)
        if key not in made:
            with torch.inference_mode(False):  # a tensor made in inference mode could not be used in training later
                loc = torch.tensor(self.loc or (0.0,) * self.numel, dtype=like.dtype, device=like.device)
                scale = torch.tensor(self.scale or (1.0,) * self.numel, dtype=like.dtype, device=like.device)
            made[key] = (loc.view(self.shape), scale.view(self.shape))
        return made[key]

    def log_scale(self, like: Tensor) -> Tensor:
        """Return log(scale) of each entry: what standardizing takes from the log-density of each.

        Args:
            like: a tensor of the wanted floating type and device.

        Returns:
            (*shape,), nats.
        """
        return torch.log(self.affine(like)[1])

    def to_network(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return `x` as network input: {0, 1} for binary, [-1, 1] for integer, standardized for real events.

        Args:
            x: data, (batch, *shape).
            dtype: floating type of the result; where omitted that of `x`, or the default type for whole numbers.

        Returns:
            (batch, *shape).

        >>> Event.integers((3,), 3).to_network(torch.tensor([[0, 1, 2]]))
        tensor([[-1.,  0.,  1.]])
        """
        x = x.to(dtype or (x.dtype if x.is_floating_point() else torch.get_default_dtype()))
        if self.levels is None:
            if self.loc is None and self.scale is None:
                return x
            loc, scale = self.affine(x)
            return (x - loc) / scale
        return x if self.levels == 2 else x * (2.0 / (self.levels - 1)) - 1.0

    def from_network(self, y: Tensor) -> Tensor:
        """Return the datum nearest to `y`, which is on the scale of `to_network`; the inverse of it on data.

        Args:
            y: (batch, *shape), floats.

        Returns:
            (batch, *shape); of type `dtype` for discrete events, of `y`'s own type for real ones.
        """
        if self.levels is None:
            loc, scale = self.affine(y)
            x = y * scale + loc
            for i, levels in enumerate(self.columns or ()):
                if levels is not None:
                    x[..., i] = x[..., i].round().clamp(0, levels - 1)
            return x
        value = y if self.levels == 2 else (y + 1.0) * ((self.levels - 1) / 2.0)
        return value.round().clamp(0, self.levels - 1).to(self.dtype)

    def dequantize(
        self,
        x: Tensor,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        r"""Map data to a continuous variable u and return it with the log-density correction.

        Discrete events: u = (x + n) / levels with n uniform on [0, 1), so that u is in [0, 1), and
        log P(x) >= E[log p(u)] - D log(levels).
        Real events: u = (x - loc) / scale, and log p(x) = log p(u) - sum(log scale).

        Args:
            x: data, (batch, *shape).
            generator: source of n.
            dtype: floating type of u, at least 32 bits; where omitted that of `x`, or the default type for whole numbers.
            noise: discrete events only: n, (batch, *shape), in (0, 1), instead of a draw; its own log-density is the caller's
                to subtract.

        Returns:
            u of shape (batch, *shape), and the correction to add to log p(u), (batch,), nats.

        References:
            A note on the evaluation of generative models (Theis, van den Oord & Bethge, 2016),
            https://arxiv.org/abs/1511.01844.

        >>> u, correction = Event.integers((2,), 4).dequantize(torch.tensor([[0, 3]]))
        >>> Event.integers((2,), 4).quantize(u), round(float(correction) / math.log(4), 4)
        (tensor([[0, 3]], dtype=torch.uint8), -2.0)
        """
        dtype = dtype or (x.dtype if x.is_floating_point() else torch.get_default_dtype())
        dtype = torch.promote_types(dtype, torch.float32)  # the noise is finer than 16 bits can tell
        if self.levels is None:
            log_scale = math.fsum(math.log(s) for s in self.scale or ())
            return self.to_network(x, dtype), torch.full((len(x),), -log_scale, dtype=dtype, device=x.device)
        if noise is None:
            noise = torch.rand(x.shape, dtype=dtype, device=x.device, generator=generator)
        # Rounding could carry a u at the very edge of its cell into the next one, and `quantize` would miss x:
        # keep the noise off the edges by what the sum, the quotient and `quantize`'s product can round.
        edge = min(2.0 * self.levels * torch.finfo(dtype).eps, 0.5)
        u = (x.to(dtype) + noise.clamp(edge, 1.0 - edge)) / self.levels
        return u, torch.full((len(x),), -self.numel * math.log(self.levels), dtype=dtype, device=x.device)

    def midpoint(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return the middle of the cell that `dequantize` draws u from: what has no noise, for codes.

        Args:
            x: data, (batch, *shape).
            dtype: floating type of the result; where omitted that of `x`, or the default type for whole numbers.

        Returns:
            (batch, *shape).

        >>> Event.integers((2,), 4).midpoint(torch.tensor([[0, 3]]))
        tensor([[0.1250, 0.8750]])
        """
        if self.levels is None:
            return self.to_network(x, dtype)
        dtype = dtype or (x.dtype if x.is_floating_point() else torch.get_default_dtype())
        return (x.to(dtype) + 0.5) / self.levels

    def continuous(self, y: Tensor) -> Tensor:
        """Return what is on the scale of `to_network` on that of `dequantize`; of data it gives the `midpoint`.

        Args:
            y: floats of any shape, between data or beyond them, too.

        >>> event = Event.integers((3,), 4)
        >>> event.continuous(event.to_network(torch.tensor([[0.0, 1.5, 3.0]])))
        tensor([[0.1250, 0.5000, 0.8750]])
        """
        if self.levels is None:
            return y
        x = y if self.levels == 2 else (y + 1.0) * ((self.levels - 1) / 2.0)
        return (x + 0.5) / self.levels

    def quantize(self, u: Tensor) -> Tensor:
        """Return the datum whose cell holds `u`: the inverse of `dequantize`.

        Args:
            u: (batch, *shape), floats; outside of [0, 1) the nearest cell is meant.

        Returns:
            (batch, *shape); of type `dtype` for discrete events, of `u`'s own type for real ones.
        """
        if self.levels is None:
            return self.from_network(u)
        return (u * self.levels).floor().clamp(0, self.levels - 1).to(self.dtype)

    def bits_per_dim(self, nats: float) -> float:
        """Return the negative log-likelihood `nats` (per datum) in bits per dimension (per entry).

        The figure is on the event's own measure: probabilities of whole numbers, densities of real ones.

        >>> round(Event.integers((3, 32, 32), 256).bits_per_dim(3072 * math.log(256)), 9)
        8.0
        """
        return nats / (self.numel * math.log(2.0))

    # JSON

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON-able values; `from_json` rebuilds it.

        >>> Event.binary((4,)).to_json()
        {'shape': [4], 'levels': 2, 'axes': ['feature']}
        """
        fields: dict[str, Any] = {"shape": list(self.shape), "levels": self.levels, "axes": list(self.axes)}
        if self.loc is not None:
            fields["loc"] = list(self.loc)
        if self.scale is not None:
            fields["scale"] = list(self.scale)
        if self.encoding is not None:
            fields["encoding"] = self.encoding.to_json()
        if self.pcm is not None:
            fields["pcm"] = self.pcm.to_json()
        if self.classes is not None:
            fields["classes"] = list(self.classes)
        if self.end:
            fields["end"] = True
        if self.columns is not None:
            fields["columns"] = list(self.columns)
        if self.bag is not None:
            fields["bag"] = self.bag.to_json()
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Event":
        """Rebuild an event from `to_json`'s values.

        Raises:
            InvalidInput: if they do not describe one.
        """
        try:
            return cls(
                tuple(fields["shape"]),
                fields["levels"],
                tuple(fields.get("axes", ())),
                fields.get("loc"),
                fields.get("scale"),
                TextEncoding.from_json(fields["encoding"]) if fields.get("encoding") is not None else None,
                PCM.from_json(fields["pcm"]) if fields.get("pcm") is not None else None,
                tuple(fields["classes"]) if fields.get("classes") is not None else None,
                _truth(fields.get("end", False)),
                tuple(fields["columns"]) if fields.get("columns") is not None else None,
                BagOfWords.from_json(fields["bag"]) if fields.get("bag") is not None else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"not the description of an event ({error}): {str(fields)[:200]}") from error


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"end is {value!r}, expected true or false")
    return value


def _default_axes(dimensions: int) -> tuple[str, ...]:
    if dimensions == 3:
        return IMAGE_AXES
    return ("feature",) if dimensions == 1 else tuple(f"axis{i}" for i in range(dimensions))
