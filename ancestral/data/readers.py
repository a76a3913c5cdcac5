"""How a data set that has a name is read from its files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ancestral.data.audio import Sound
from ancestral.data.columnar import from_rows
from ancestral.data.files import parquet_rows, read_path, root
from ancestral.data.hub import hub_rows
from ancestral.data.material import Columns, Material, Options
from ancestral.data.mixtures import MIXTURES, SEED, draw_mixture
from ancestral.data.mnist_scenes import CHANNELS, Digits, caption_event, draw_scenes, encode_captions, stack_digits
from ancestral.data.pairs import LANGUAGES, Pairs, pairs_of_rows
from ancestral.data.shapes import FACTORS, render_shapes
from ancestral.data.text_files import Span, Text, read_text, text_of_rows
from ancestral.errors import InvalidInput


@dataclass(frozen=True)
class Known:
    """A data set with a name.

    Args:
        name: the name.
        about: one line: what it is and how it is split.
        event: the event, as text.
        read: gives its material.
        files: its files below the data folder; none for data that are embedded.
        aliases: other names.
        hub: its id on the hub, for when the files are absent.
        defaults: options that are part of what the name means.
    """

    name: str
    about: str
    event: str
    read: Callable[["Known", Options], Material | Text | Sound | Pairs]
    files: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    hub: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def paths(self) -> list[Path]:
        """Where its files are expected."""
        return [root() / file for file in self.files]

    @property
    def available(self) -> bool:
        """Whether it can be loaded without the network."""
        return all(path.exists() for path in self.paths)

    def material(self, options: Options) -> Material | Text | Sound | Pairs:
        """Read it.

        Raises:
            InvalidInput: if its files are absent and the hub does not have it, saying where they are expected.
        """
        if not self.available and self.hub is None:
            missing = next(path for path in self.paths if not path.exists())
            raise InvalidInput(
                f"the data set {self.name} is not here, expected {missing}: put it there, or set ANCESTRAL_DATA to the folder"
                " that has it (docs/data.md says where each data set comes from)"
            )
        material = self.read(self, options)
        return replace(material, what=self.name, about=self.about, record={"source": self.name, **material.record})


def digits(known: Known, options: Options) -> Material:
    """Return the digits that come with scikit-learn."""
    from sklearn.datasets import load_digits

    digits = load_digits()

    def column(name: str) -> Columns:
        if name != "label":
            raise InvalidInput(f"digits has no column {name!r} for condition=. It has: label")
        return {"train": digits.target}, [str(i) for i in range(10)]

    x = {"train": digits.images.astype(np.uint8)[:, None]}
    record = {"source": "sklearn.datasets.load_digits"}
    return Material(known.name, x, column=column, levels=17, held={"validation": 200, "test": 300}, record=record)


def shapes(known: Known, options: Options) -> Material:
    """Return pictures of shapes with their factors, rendered here."""
    pictures, factors = render_shapes()

    def column(name: str) -> Columns:
        if name not in factors:
            raise InvalidInput(f"shapes has no column {name!r} for condition=. It has: {', '.join(factors)}")
        return {"train": factors[name]}, list(FACTORS[name])

    x, held = {"train": pictures}, {"validation": 300.0, "test": 500.0}
    record = {"source": "ancestral.data.shapes.render_shapes"}
    return Material(known.name, x, column=column, levels=2, held=held, record=record)


def mixture(known: Known, options: Options) -> Material:
    """Return the mixture of Gaussians of a data set's name, drawn here; the record says where its modes are."""
    described = MIXTURES[known.name]
    x, modes = draw_mixture(described)

    def column(name: str) -> Columns:
        if name != "mode":
            raise InvalidInput(f"{known.name} has no column {name!r} for condition=. It has: mode")
        return modes, [str(i) for i in range(len(described.means))]

    record = {
        "source": "ancestral.data.mixtures.draw_mixture",
        "drawn_with_seed": SEED,
        "modes": {"means": [list(mean) for mean in described.means], "scale": described.scale},
    }
    return Material(known.name, dict(x), column=column, record=record)


def _mnist_digits(known: Known) -> tuple[dict[str, Digits], dict[str, Any]]:
    """Return MNIST's digits by split, validation being the last 10,000 of train, and the record of where they come from."""
    material = pictures(tail=10_000)(known, Options())
    labels, _ = material.column("label") if material.column else ({}, None)
    return {split: (x, labels[split]) for split, x in material.x.items()}, material.record


def stacked_mnist(known: Known, options: Options) -> Material:
    """Return pictures whose three channels are digits of MNIST."""
    digits, record = _mnist_digits(known)
    stacked = stack_digits(digits)

    def column(name: str) -> Columns:
        if name == "label":
            values = {split: labels @ np.array([100, 10, 1]) for split, (_, labels) in stacked.items()}
            return values, [f"{i:03d}" for i in range(1000)]
        if name not in CHANNELS:
            raise InvalidInput(f"{known.name} has no column {name!r} for condition=. It has: label, {', '.join(CHANNELS)}")
        channel = CHANNELS.index(name)
        return {split: labels[:, channel] for split, (_, labels) in stacked.items()}, [str(i) for i in range(10)]

    record = {**record, "drawn": "ancestral.data.mnist_scenes.stack_digits"}
    return Material(known.name, {split: x for split, (x, _) in stacked.items()}, column=column, levels=256, record=record)


def digit_scenes(known: Known, options: Options) -> Material:
    """Return scenes of one or two of MNIST's digits, with their captions."""
    digits, record = _mnist_digits(known)
    scenes, event = draw_scenes(digits), caption_event()

    def column(name: str) -> Columns:
        if name != "caption":
            raise InvalidInput(f"{known.name} has no column {name!r} for condition=. It has: caption")
        return {split: encode_captions(captions, event).numpy() for split, (_, captions) in scenes.items()}, None

    record = {**record, "drawn": "ancestral.data.mnist_scenes.draw_scenes"}
    x = {split: pictures for split, (pictures, _) in scenes.items()}
    return Material(known.name, x, column=column, sentences={"caption": event}, levels=256, record=record)


def binarized_mnist(known: Known, options: Options) -> Material:
    """Return the binary images of an .npz file of flat rows."""
    material = file(known, options)
    return replace(
        material, x={split: x.reshape(-1, 1, 28, 28) for split, x in material.x.items()}, axes=("channel", "height", "width")
    )


def file(known: Known, options: Options) -> Material:
    """Return the arrays of one .npz file."""
    return cast(Material, read_path(known.paths[0], options))


def pictures(
    image: str = "image", tail: int = 0, held: Mapping[str, float] | None = None, invert: bool = False
) -> Callable[[Known, Options], Material]:
    """Return a reader of parquet files, named by split, with a column of images.

    Args:
        image: the column.
        tail: number of images at the end of train that are the validation split; 0 for none.
        held: numbers to hold out where nothing is asked for.
        invert: exchange low and high values.
    """

    def read(known: Known, options: Options) -> Material:
        if known.available:
            rows = parquet_rows({path.stem: [path] for path in known.paths}, known.name)
        else:
            rows = hub_rows(known.hub or known.name, options, f"put its files under {known.paths[0].parent}")
        rows.holds_images = True
        material = from_rows(rows, replace(options, image=options.image or image))
        if tail:
            material = _tail_as_validation(material, tail)
        return replace(material, held=dict(held or {}), invert=invert)

    return read


def _tail_as_validation(material: Material, tail: int) -> Material:
    """Return `material` with the last `tail` data of train as its validation split."""

    def cut(values: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"train": values["train"][:-tail], "validation": values["train"][-tail:], "test": values["test"]}

    def column(name: str) -> Columns:
        values, names = material.column(name) if material.column else ({}, None)
        return cut(values), names

    return replace(material, x=cut(material.x), column=column)


def spoken_digits(known: Known, options: Options) -> Sound:
    """Return the free spoken digits, of 6,000 samples unless it is said otherwise."""
    rows = parquet_rows({path.stem: [path] for path in known.paths}, known.name)
    return Sound(known.name, rows, "audio", length=6000, aliases={"digit": "label"}, record=rows.record)


def enwik8(known: Known, options: Options) -> Text:
    """Return the beginning of the English Wikipedia's dump; it is modelled byte by byte."""
    return read_text({"train": known.paths}, known.name)


def tinyshakespeare(known: Known, options: Options) -> Text:
    """Return Shakespeare's plays with nanoGPT's train, and its validation in two halves: validation and test."""
    text = read_text({"train": known.paths}, known.name)
    whole = text.splits["train"]
    train, rest = whole.cut(int(0.9 * len(whole)))
    validation, test = rest.cut(rest.boundary(rest.start + len(rest) // 2))
    splits: dict[str, Span] = {"train": train, "validation": validation, "test": test}
    return replace(text, splits=splits, level="character")


def penn_treebank(known: Known, options: Options) -> Text:
    """Return the Penn Treebank's sentences one a line, a space before each word and line end, as in Mikolov's files."""
    rows = parquet_rows({path.stem: [path] for path in known.paths}, known.name)
    return replace(text_of_rows(rows, "sentence", " ", " \n"), takes=set(), level="word", words="spaces")


def multi30k(known: Known, options: Options) -> Pairs:
    """Return descriptions of images in English and German, aligned; from English into German where nothing is asked for."""
    rows = parquet_rows({path.stem: [path] for path in known.paths}, known.name)
    return pairs_of_rows(rows, options.languages or LANGUAGES)
