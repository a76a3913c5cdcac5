"""The data sets that have a name: where their files lie, how they are split, and what is said of them."""

from typing import NamedTuple

from ancestral.data.readers import (
    Known,
    binarized_mnist,
    digit_scenes,
    digits,
    enwik8,
    file,
    mixture,
    multi30k,
    penn_treebank,
    pictures,
    shapes,
    spoken_digits,
    stacked_mnist,
    tinyshakespeare,
)


class Listed(NamedTuple):
    """One line of `ancestral data`: a name, what it is, whether it can be loaded without the network, and its event."""

    name: str
    about: str
    available: bool
    event: str


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


# The catalogue

_MNIST = ("mnist/train.parquet", "mnist/test.parquet")


def _binary(folder: str, name: str, variables: int, about: str) -> Known:
    path = f"{folder}/{name}"
    return Known(_plain(name), about, f"{variables} binary", file, (f"{path}.npz",), (path,))


def _density(name: str, variables: int, what: str) -> Known:
    return _binary(
        "binary20", name, variables, f"{what}: one of the 20 binary density sets, with their train, validation and test"
    )


def _nade(name: str, variables: int, what: str, split: str = "with the splits of the NADE and MADE papers") -> Known:
    return _binary("binary_nade", name, variables, f"{what}: one of the NADE sets, {split}")


def _uci(name: str, columns: int, what: str) -> Known:
    about = f"{what}: UCI regression table, density over all {columns} columns; test is its first standard test split"
    return Known(f"uci/{name}", about, f"{columns} real", file, (f"uci/{name}.npz",))


_NO_TEST = "whose file lacks the published test split, so that one is drawn from train: not comparable with published figures"

KNOWN: tuple[Known, ...] = (
    Known(
        "digits",
        "scikit-learn's handwritten digits, 8x8, embedded; a fixed random split; condition: label",
        "1x8x8 17 levels",
        digits,
    ),
    Known(
        "shapes",
        "squares, ellipses and hearts of known factors, rendered here as dSprites are; a fixed random split; condition: shape,"
        " scale, rotation, x, y",
        "1x32x32 binary",
        shapes,
    ),
    Known(
        "ring",
        "8 Gaussians of deviation 0.01 on a circle of radius 1, drawn here; each split drawn by itself; condition: mode",
        "2 real",
        mixture,
    ),
    Known(
        "grid",
        "25 Gaussians of deviation 0.05 on a grid from -4 to 4, drawn here; each split drawn by itself; condition: mode",
        "2 real",
        mixture,
    ),
    Known(
        "mnist",
        "MNIST, 8-bit; validation is the last 10,000 of the 60,000 training images; condition: label",
        "1x28x28 256 levels",
        pictures(tail=10_000),
        _MNIST,
        hub="ylecun/mnist",
    ),
    Known(
        "binarized-mnist",
        "MNIST in its fixed binarization (Larochelle; Salakhutdinov & Murray), rows grouped by digit; no labels",
        "1x28x28 binary",
        binarized_mnist,
        ("binarized_mnist/binarized_mnist.npz",),
        ("binarized_mnist/binarized_mnist",),
    ),
    Known(
        "dynamic-mnist",
        "MNIST binarized anew at each reading, P(1) = x/255; validation (last 10,000) and test drawn once; not comparable with"
        " the fixed binarization; condition: label",
        "1x28x28 binary",
        pictures(tail=10_000),
        _MNIST,
        hub="ylecun/mnist",
        defaults={"binarize": "dynamic"},
    ),
    Known(
        "stacked-mnist",
        "three random digits of MNIST as channels, 1,000 modes; each split of the digits of MNIST's split; condition: label"
        " (the three digits as a number), red, green, blue",
        "3x28x28 256 levels",
        stacked_mnist,
        _MNIST,
        hub="ylecun/mnist",
    ),
    Known(
        "digit-scenes",
        "scenes of one or two coloured digits of MNIST with captions; each split of the digits of MNIST's split; the split"
        " unseen has digits in colours held out of the others, of test digits; condition: caption",
        "3x32x32 256 levels",
        digit_scenes,
        _MNIST,
        hub="ylecun/mnist",
    ),
    Known(
        "cifar10",
        "CIFAR-10, 8-bit colour; validation is the last 5,000 of the 50,000 training images; condition: label",
        "3x32x32 256 levels",
        pictures("img", tail=5_000),
        ("cifar10/train.parquet", "cifar10/test.parquet"),
        ("cifar-10",),
        hub="uoft-cs/cifar10",
    ),
    Known(
        "omniglot",
        "Omniglot characters at 28x28, ink is 1; train is the background set, test the evaluation set; condition: label",
        "1x28x28 binary",
        pictures(invert=True),
        ("omniglot/train.parquet", "omniglot/test.parquet"),
    ),
    Known(
        "frey-faces",
        "Frey faces, 1,965 video frames of one face, gray; a fixed random split of 1,565, 200 and 200",
        "1x28x20 256 levels",
        pictures(held={"validation": 200, "test": 200}),
        ("frey_faces/train.parquet",),
    ),
    Known(
        "olivetti",
        "Olivetti faces, 10 images of each of 40 people, gray; a fixed random split; condition: label (the person)",
        "1x64x64 256 levels",
        pictures(),
        ("olivetti/train.parquet",),
    ),
    Known(
        "yale-faces",
        "Yale faces, 15 people under 11 conditions, gray; a fixed random split; condition: condition, subject",
        "1x64x64 256 levels",
        pictures(),
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
    Known(
        "tinyshakespeare",
        "Shakespeare's plays, 1.1 MB; train is nanoGPT's (the first 90%), validation and test are the halves of nanoGPT's"
        " validation; by characters unless level= says otherwise",
        "256 character tokens of 66 levels",
        tinyshakespeare,
        ("tinyshakespeare/input.txt",),
    ),
    Known(
        "enwik8",
        "the first 3.5 MB (not 100 MB) of an English Wikipedia dump; test is the last 5%, validation the 5% before it; by"
        " bytes unless level= says otherwise",
        "256 byte tokens of 256 levels",
        enwik8,
        ("enwik8/enwik8_bytes_0_3500000.gz",),
    ),
    Known(
        "ptb",
        "Penn Treebank, Mikolov's version and splits; by words, the ends of lines among them, unless level= says otherwise",
        "256 word tokens of 10001 levels",
        penn_treebank,
        ("ptb/train.parquet", "ptb/validation.parquet", "ptb/test.parquet"),
        ("penn-treebank",),
    ),
    Known(
        "multi30k",
        "Multi30k, descriptions of images in English and their German translations; test is the 2016 test set; into German by"
        " subwords, 6,000 for both languages, unless languages= and level= say otherwise",
        "up to 59 subword tokens, of 6001 levels with the end",
        multi30k,
        ("multi30k/train.parquet", "multi30k/validation.parquet", "multi30k/test.parquet"),
    ),
    Known(
        "kanji-strokes",
        "10,000 kanji of few points as strokes of a pen (KanjiVG), 600 for validation, 500 for test",
        "drawings of up to 88 points",
        file,
        ("strokes/short_kanji.npz",),
    ),
    Known(
        "omniglot-strokes",
        "Omniglot's characters as strokes of a pen, 30,000, 1,000 for validation, 1,000 for test",
        "drawings of up to 157 points",
        file,
        ("strokes/omniglot_strokes.npz",),
    ),
    Known(
        "fsdd",
        "free spoken digits, 6 speakers at 8 kHz, mu-law, the first 0.75 s; test is recordings 0 to 4 of each digit and"
        " speaker, validation drawn from train; condition: label (the digit), speaker",
        "6000 mu-law samples of 256 levels at 8000 Hz",
        spoken_digits,
        ("fsdd/train.parquet", "fsdd/test.parquet"),
        ("free-spoken-digits",),
        defaults={"crop": True},
    ),
)
