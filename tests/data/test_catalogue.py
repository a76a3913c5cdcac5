import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ancestral.data import catalogue, known, load
from ancestral.errors import InvalidInput

from .conftest import contents, equal_splits

DOCS = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    """A cache that the tests of this module share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def here(own_folders, real_data, caches, monkeypatch):
    """The real data, in place of a test's own folder."""
    monkeypatch.setenv("ANCESTRAL_DATA", str(real_data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))


def available(names):
    return [name for name in names if catalogue.find(name).available]


# Without any file


def test_digits_are_embedded_and_split_once_and_for_all():
    data = load("digits", condition="label")
    assert str(data.event) == "1x8x8 17 levels"
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 1297, "validation": 200, "test": 300}
    x, labels = contents(data, "test")
    assert hashlib.sha256(x.numpy().tobytes()).hexdigest()[:16] == "4ade356712b4479a"
    assert torch.bincount(labels, minlength=10).min() >= 20
    assert equal_splits(data, load(data.name, **data.record["options"]))
    with pytest.raises(InvalidInput, match=r"digits has no column 'lable' for condition=. It has: label"):
        load("digits", condition="lable")


def test_listing_has_one_line_each():
    entries = known()
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.about
        assert "\n" not in entry.about
        assert entry.event
    assert {entry.name for entry in entries if entry.available} == {"digits", "shapes", "ring", "grid"}


@pytest.mark.parametrize("name", ["nltcs", "binary20/nltcs", "Frey_Faces", "binary_nade/dna_made", "uci/bostonhousing"])
def test_names_may_be_spelled_in_several_ways(name):
    assert catalogue.find(name) is not None


def test_absent_files_say_where_they_belong(tmp_path):
    with pytest.raises(
        InvalidInput, match=r"the data set omniglot is not here, expected .*omniglot/train.parquet: put it there"
    ):
        load("omniglot")
    with pytest.raises(InvalidInput, match=r"no data set 'ylecun/mnist' here .*HF_HUB_OFFLINE.* put its files under .*mnist"):
        load("mnist")


def test_a_meaning_of_a_name_cannot_be_changed():
    with pytest.raises(InvalidInput, match=r"dynamic-mnist has its own binarize= \(dynamic\): leave it out"):
        load("dynamic-mnist", binarize=128)


def test_every_name_is_in_the_docs_with_its_event():
    rows = {cells[1].strip(" `"): line for line in DOCS.read_text().splitlines() if len(cells := line.split("|")) > 4}
    for entry in known():
        assert entry.name in rows, f"{entry.name} is not in a table of docs/data.md"
        assert entry.event in rows[entry.name]


# With the files


def names():
    slow = {"cifar10": [pytest.mark.slow]}  # its 60,000 images are decoded first
    return [pytest.param(entry.name, marks=slow.get(entry.name, [])) for entry in known()]


@pytest.mark.parametrize("name", names())
def test_the_event_and_the_splits_are_those_that_are_told(here, name):
    if not catalogue.find(name).available:
        pytest.skip(f"{name} is not in the data folder")
    data = load(name)
    assert str(data.event) == catalogue.find(name).event
    assert list(data.splits) == ["train", "validation", "test", *(["unseen"] if name == "digit-scenes" else [])]
    row = next(line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    told = [int(count.replace(",", "")) for count in re.search(r"([\d,]+) / ([\d,]+) / ([\d,]+)", row).groups()]
    assert told == [len(split) for split in data.splits.values()][:3]
    for split in data.splits.values():
        x, condition = split.batch(torch.arange(8), torch.Generator().manual_seed(0))
        data.event.check(x)
        assert (condition is None) == (data.condition is None)
        if condition is not None:
            data.condition.check(condition)
    assert data.record["files" if name not in ("digits", "shapes", "ring", "grid") else "source"]
    assert equal_splits(data, load(data.name, **data.record["options"]))


def test_mnist_is_mnist(here):
    if not available(["mnist"]):
        pytest.skip("mnist is not in the data folder")
    data = load("mnist", condition="label")
    x, labels = contents(data, "test")
    assert torch.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert float(x.double().mean() / 255) == pytest.approx(0.13251, abs=1e-5)
    train = torch.cat([contents(data, "train")[1], contents(data, "validation")[1]])
    assert torch.bincount(train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    # The validation split is the end of the training file.
    assert np.array_equal(load("mnist").splits["validation"].x[-1], contents(data, "validation")[0][-1])


@pytest.mark.slow
def test_cifar10_is_cifar10(here):
    if not available(["cifar10"]):
        pytest.skip("cifar10 is not in the data folder")
    data = load("cifar10")
    x = torch.cat([contents(data, "train")[0], contents(data, "validation")[0]])
    content = x.permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    assert hashlib.sha256(content).hexdigest() == "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a"


def test_binarized_mnist_is_the_fixed_one(here):
    if not available(["binarized-mnist", "mnist"])[1:]:
        pytest.skip("mnist and binarized-mnist are not both in the data folder")
    data = load("binarized-mnist")
    means = [float(contents(data, split)[0].double().mean()) for split in ("train", "validation", "test")]
    assert means == pytest.approx([0.130562, 0.131127, 0.132512], abs=1e-6)
    # It is a draw of MNIST: pixel by pixel, the mean of the test images is the same within sampling error.
    fixed = contents(data, "test")[0].double().mean(0)
    gray = contents(load("mnist"), "test")[0].double().mean(0) / 255
    assert float((fixed - gray).abs().max()) < 5 * 0.5 / 10_000**0.5


def test_dynamic_mnist_is_drawn_anew_from_the_same_images(here):
    if not available(["dynamic-mnist"]):
        pytest.skip("mnist is not in the data folder")
    data = load("dynamic-mnist")
    rows = torch.arange(500)
    draws = [data.split("train").batch(rows, torch.Generator().manual_seed(i))[0] for i in range(40)]
    assert not torch.equal(draws[0], draws[1])
    mean = torch.stack(draws).double().mean(0)
    gray = load("mnist").split("train").batch(rows)[0].double() / 255
    assert float((mean - gray).abs().mean()) < 0.02
    assert equal_splits(data, load("dynamic-mnist"))


def test_omniglot_ink_is_one(here):
    if not available(["omniglot"]):
        pytest.skip("omniglot is not in the data folder")
    x = contents(load("omniglot"), "test")[0]
    assert x.unique().tolist() == [0, 1]
    assert float(x.double().mean()) < 0.25


def test_conditions_of_the_faces(here):
    if not available(["yale-faces"]):
        pytest.skip("yale-faces is not in the data folder")
    data = load("yale-faces", condition="condition")
    assert data.condition.levels == 11
    assert "glasses" in data.record["classes"]
    assert load("yale-faces", condition="subject").condition.levels == 15


def test_uci_tables_are_standardized_over_train(here):
    if not available(["uci/yacht"]):
        pytest.skip("uci/yacht is not in the data folder")
    data = load("uci/yacht")
    network = data.event.to_network(contents(data, "train")[0].double())
    assert torch.allclose(network.mean(0), torch.zeros(7, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(network.std(0, correction=0), torch.ones(7, dtype=torch.float64), atol=1e-5)
    given = load("uci/yacht", condition="features")
    assert given.event.shape == (1,)
    assert given.condition.shape == (6,)


def test_generic_names_below_the_data_folder(here, real_data):
    if not (real_data / "modelnet10_voxels").is_dir():
        pytest.skip("modelnet10_voxels is not in the data folder")
    data = load("modelnet10_voxels/modelnet10_32", condition="y")
    assert str(data.event) == "32x32x32 binary"
    assert not data.event.is_image
    assert data.condition.levels == 10
    with pytest.raises(InvalidInput, match=r"holds text alone: model it as such with text=, of sentence"):
        load("ptb/train")
    with pytest.raises(InvalidInput, match=r"is of 216 x 216 pixels, expected|is of mode|of \d+ x \d+ pixels, expected"):
        load("textures")
