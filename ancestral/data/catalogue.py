"""The data sets that have a name: where their files lie, how they are split, and what is said of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral.data.columnar import from_rows
from ancestral.data.files import parquet_rows, read_path, root
from ancestral.data.hub import hub_rows
from ancestral.data.material import Columns, Material, Options
from ancestral.errors import InvalidInput


class Listed(NamedTuple):
    """One line of `ancestral data`: a name, what it is, whether it can be loaded without the network, and its event."""

    name: str
    about: str
    available: bool
    event: str


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
    read: Callable[["Known", Options], Material]
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

    def material(self, options: Options) -> Material:
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


def find(name: str) -> Known | None:
    """Return the data set of that name or alias; case, and hyphen or underscore, do not matter."""
    wanted = _plain(name)
    return next((known for known in KNOWN if wanted in map(_plain, (known.name, *known.aliases))), None)


def known() -> list[Listed]:
    """Return the data sets that have a name, with one line about each.

    >>> [(entry.name, entry.event) for entry in known()][0]
    ('digits', '1x8x8 17 levels')
    """
    return [Listed(entry.name, entry.about, entry.available, entry.event) for entry in KNOWN]


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


# Readers


def _digits(known: Known, options: Options) -> Material:
    from sklearn.datasets import load_digits

    digits = load_digits()

    def column(name: str) -> Columns:
        if name != "label":
            raise InvalidInput(f"digits has no column {name!r} for condition=. It has: label")
        return {"train": digits.target}, [str(i) for i in range(10)]

    x = {"train": digits.images.astype(np.uint8)[:, None]}
    record = {"source": "sklearn.datasets.load_digits"}
    return Material(known.name, x, column=column, levels=17, held={"validation": 200, "test": 300}, record=record)


def _binarized_mnist(known: Known, options: Options) -> Material:
    material = _file(known, options)
    return replace(
        material, x={split: x.reshape(-1, 1, 28, 28) for split, x in material.x.items()}, axes=("channel", "height", "width")
    )


def _file(known: Known, options: Options) -> Material:
    material = read_path(known.paths[0], options)
    return material if isinstance(material, Material) else from_rows(material, options)


def _pictures(
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


# The catalogue

_MNIST = ("mnist/train.parquet", "mnist/test.parquet")


def _binary(folder: str, name: str, variables: int, about: str) -> Known:
    file = f"{folder}/{name}.npz"
    return Known(_plain(name), about, f"{variables} binary", _file, (file,), (f"{folder}/{name}",))


def _density(name: str, variables: int, what: str) -> Known:
    return _binary(
        "binary20", name, variables, f"{what}: one of the 20 binary density sets, with their train, validation and test"
    )


def _nade(name: str, variables: int, what: str, split: str = "with the splits of the NADE and MADE papers") -> Known:
    return _binary("binary_nade", name, variables, f"{what}: one of the NADE sets, {split}")


def _uci(name: str, columns: int, what: str) -> Known:
    about = f"{what}: UCI regression table, density over all {columns} columns; test is its first standard test split"
    return Known(f"uci/{name}", about, f"{columns} real", _file, (f"uci/{name}.npz",))


_NO_TEST = "whose file lacks the published test split, so that one is drawn from train: not comparable with published figures"

KNOWN: tuple[Known, ...] = (
    Known(
        "digits",
        "scikit-learn's handwritten digits, 8x8, embedded; a fixed random split; condition: label",
        "1x8x8 17 levels",
        _digits,
    ),
    Known(
        "mnist",
        "MNIST, 8-bit; validation is the last 10,000 of the 60,000 training images; condition: label",
        "1x28x28 256 levels",
        _pictures(tail=10_000),
        _MNIST,
        hub="ylecun/mnist",
    ),
    Known(
        "binarized-mnist",
        "MNIST in its fixed binarization (Larochelle; Salakhutdinov & Murray), rows grouped by digit; no labels",
        "1x28x28 binary",
        _binarized_mnist,
        ("binarized_mnist/binarized_mnist.npz",),
        ("binarized_mnist/binarized_mnist",),
    ),
    Known(
        "dynamic-mnist",
        "MNIST binarized anew at each reading, P(1) = x/255; validation (last 10,000) and test drawn once; not comparable with"
        " the fixed binarization; condition: label",
        "1x28x28 binary",
        _pictures(tail=10_000),
        _MNIST,
        hub="ylecun/mnist",
        defaults={"binarize": "dynamic"},
    ),
    Known(
        "cifar10",
        "CIFAR-10, 8-bit colour; validation is the last 5,000 of the 50,000 training images; condition: label",
        "3x32x32 256 levels",
        _pictures("img", tail=5_000),
        ("cifar10/train.parquet", "cifar10/test.parquet"),
        ("cifar-10",),
        hub="uoft-cs/cifar10",
    ),
    Known(
        "omniglot",
        "Omniglot characters at 28x28, ink is 1; train is the background set, test the evaluation set; condition: label",
        "1x28x28 binary",
        _pictures(invert=True),
        ("omniglot/train.parquet", "omniglot/test.parquet"),
    ),
    Known(
        "frey-faces",
        "Frey faces, 1,965 video frames of one face, gray; a fixed random split of 1,565, 200 and 200",
        "1x28x20 256 levels",
        _pictures(held={"validation": 200, "test": 200}),
        ("frey_faces/train.parquet",),
    ),
    Known(
        "olivetti",
        "Olivetti faces, 10 images of each of 40 people, gray; a fixed random split; condition: label (the person)",
        "1x64x64 256 levels",
        _pictures(),
        ("olivetti/train.parquet",),
    ),
    Known(
        "yale-faces",
        "Yale faces, 15 people under 11 conditions, gray; a fixed random split; condition: condition, subject",
        "1x64x64 256 levels",
        _pictures(),
        ("yale_faces/train.parquet",),
    ),
    _density("nltcs", 16, "NLTCS, disability survey"),
    _density("msnbc", 17, "MSNBC, page categories visited"),
    _density("kdd", 64, "KDD Cup 2000, shop visits"),
    _density("baudio", 100, "Audio, music preferences"),
    _density("jester", 100, "Jester, jokes liked"),
    _density("bnetflix", 100, "Netflix, films liked"),
    _density("accidents", 111, "Accidents, traffic reports"),
    _density("tretail", 135, "Retail, market baskets"),
    _density("pumsb_star", 163, "Pumsb-star, census"),
    _density("dna", 180, "DNA, splice junctions"),
    _density("kosarek", 190, "Kosarek, news clicks"),
    _density("msweb", 294, "MSWeb, site areas visited"),
    _density("plants", 69, "Plants, where they grow"),
    _density("book", 500, "Book, books bought"),
    _density("tmovie", 500, "EachMovie, films seen"),
    _density("cwebkb", 839, "WebKB, words of pages"),
    _density("cr52", 889, "Reuters-52, words of news"),
    _density("c20ng", 910, "20 Newsgroups, words of posts"),
    _density("bbc", 1058, "BBC, words of news"),
    _density("ad", 1556, "Ad, advertisements on pages"),
    _nade("mushrooms", 112, "Mushrooms, their properties"),
    _nade("nips", 500, "NIPS, words of papers 0 to 12"),
    _nade("dna_made", 180, "DNA, splice junctions (not the split of the set dna)"),
    _nade("moviereview", 1001, "Movie reviews, words and opinion"),
    _nade("adult", 123, "Adult, census", _NO_TEST),
    _nade("connect4", 126, "Connect-4, positions", _NO_TEST),
    _uci("bostonHousing", 14, "Boston housing"),
    _uci("concrete", 9, "Concrete strength"),
    _uci("energy", 9, "Energy efficiency of buildings"),
    _uci("kin8nm", 9, "Kinematics of a robot arm"),
    _uci("naval-propulsion-plant", 18, "Naval propulsion (two columns are constant)"),
    _uci("power-plant", 5, "Combined cycle power plant"),
    _uci("protein-tertiary-structure", 10, "Protein structure"),
    _uci("wine-quality-red", 12, "Red wine quality"),
    _uci("yacht", 7, "Yacht hydrodynamics"),
)
