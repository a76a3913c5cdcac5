import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as Pillow

from ancestral.data import load
from ancestral.errors import InvalidInput
from ancestral.event import Event

from .conftest import contents, equal_splits, pictures


@pytest.fixture
def images(folder):
    """A parquet file of 60 images with labels, in two row groups, and what it holds."""
    rows = {"image": [Pillow.fromarray(a) for a in pictures(60)], "label": [i % 3 for i in range(60)]}
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b", "c"])})
    Dataset.from_dict(rows, features).to_parquet(folder / "train.parquet", batch_size=30)
    return folder / "train.parquet"


def read(data, batch_size=8, **options):
    return [(x.clone(), c) for x, c in data.streams["train"].batches(batch_size, **options)]


def test_train_is_streamed_and_the_rest_held(images):
    data = load(images, stream=True, condition="label", validation=10, test=6, buffer=16)
    assert data.event == Event.integers((1, 6, 5), 256)
    assert data.condition == Event.label(3)
    assert list(data.splits) == ["validation", "test"]
    assert np.array_equal(contents(data, "validation")[0][:, 0].numpy(), pictures(60)[:10])
    assert contents(data, "test")[1].tolist() == [i % 3 for i in range(10, 16)]
    rows = {a.tobytes(): i for i, a in enumerate(pictures(60))}
    seen = []
    for x, labels in read(data, 4):
        for image, label in zip(x, labels, strict=True):
            index = rows[image.numpy().tobytes()]
            assert int(label) == index % 3
            seen.append(index)
    assert sorted(seen) == list(range(16, 60))
    assert seen != sorted(seen)


def test_the_order_is_decided_by_seed_and_epoch(images):
    data = load(images, stream=True, validation=0, test=0, buffer=16)

    def order(**options):
        return torch.cat([x for x, _ in read(data, **options)])

    assert torch.equal(order(seed=1, epoch=1), order(seed=1, epoch=1))
    assert not torch.equal(order(seed=1, epoch=1), order(seed=1, epoch=2))
    assert not torch.equal(order(seed=1, epoch=1), order(seed=2, epoch=1))


def test_processes_and_resumption(images):
    data = load(images, stream=True, validation=0, test=0, buffer=16)
    whole = [x for x, _ in read(data, 8)]
    parts = [[x for x, _ in read(data, 4, rank=rank, world=2)] for rank in (0, 1)]
    assert all(torch.equal(torch.cat(pair), x) for pair, x in zip(zip(*parts, strict=True), whole, strict=True))
    resumed = [x for x, _ in read(data, 8, skip=3)]
    assert all(torch.equal(a, b) for a, b in zip(resumed, whole[3:], strict=True))


def test_options_apply_to_streams_as_to_arrays(images):
    held = load(images, binarize=128, validation=0, test=0)
    streamed = load(images, stream=True, binarize=128, validation=0, test=0, buffer=1)
    assert streamed.event == held.event
    got = sorted(x.numpy().tobytes() for batch, _ in read(streamed, 4) for x in batch)
    assert got == sorted(x.numpy().tobytes() for x in contents(held, "train")[0])
    dynamic = load(images, stream=True, binarize="dynamic", buffer=4, validation=5, test=5)
    assert dynamic.event.is_binary
    one, two = ([x for x, _ in read(dynamic, 8, generator=torch.Generator().manual_seed(3))] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert equal_splits(dynamic, load(dynamic.name, **dynamic.record["options"]))


def test_limit_bounds_the_stream(images):
    data = load(images, stream=True, limit=12, validation=0, test=0)
    assert sum(len(x) for x, _ in read(data, 4)) == 12


def test_a_table_is_streamed_standardized_by_its_first_rows(folder):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(7, 2, 200), "b": rng.normal(size=200)})
    table.to_parquet(folder / "t.parquet")
    data = load(folder / "t.parquet", stream=True, buffer=50, validation=20, test=0)
    first = table.to_numpy()[20:70]
    assert np.allclose(data.event.loc, first.mean(0), rtol=1e-4)
    values = torch.cat([x for x, _ in read(data, 10)])
    assert np.allclose(np.sort(values[:, 0].numpy()), np.sort(table["a"].to_numpy()[20:].astype(np.float32)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 60, "test": 0}, "no rows left for train after the 60 held out"),
        ({"validation": 0.1}, "a stream's length is not known: give validation= as a number of rows, got 0.1"),
        ({"condition": "lable"}, "no column 'lable' .*Did you mean label"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(images, options, message):
    with pytest.raises(InvalidInput, match=message):
        load(images, stream=True, **options)


def test_classes_must_be_known_before(folder):
    pd.DataFrame({"a": [0.5] * 9, "k": list("abcabcabc")}).to_parquet(folder / "t.parquet")
    with pytest.raises(InvalidInput, match=r"classes of k in .* are not known before all is read"):
        load(folder / "t.parquet", stream=True, condition="k", validation=1, test=1)


def test_a_nan_in_a_stream_names_the_column(folder):
    pd.DataFrame({"a": [0.5] * 9 + [np.nan], "b": [1.0] * 10}).to_parquet(folder / "t.parquet")
    with pytest.raises(InvalidInput, match=r"column 'a' of .* holds an empty or NaN cell"):
        load(folder / "t.parquet", stream=True, validation=0, test=0)


def test_classes_out_of_range_and_missing_are_refused(folder):
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b"])})
    rows = {"image": [{"bytes": _png(a), "path": None} for a in pictures(8)], "label": [0, 1, 0, 1, 0, 1, 0, None]}
    Dataset.from_dict(rows, features).to_parquet(folder / "t.parquet")
    data = load(folder / "t.parquet", stream=True, condition="label", validation=1, test=1)
    with pytest.raises(InvalidInput, match=r"column 'label' of .* has values in \[-1, 1\], expected integers in \[0, 1\]"):
        read(data, 6)


def test_a_split_that_is_held_must_fit_in_memory(images):
    with pytest.raises(InvalidInput, match=r"the split 'validation' of .* has more than the 12 data that fit in memory="):
        load(images, stream=True, validation=20, test=0, memory=360 / 2**30)


def test_a_broken_image_is_met_when_it_is_read(folder):
    cells = [{"bytes": b"broken", "path": "x.png"}] * 3
    features = Features({"image": Image()})
    good = [{"bytes": _png(a), "path": None} for a in pictures(20)]
    Dataset.from_dict({"image": good + cells}, features).to_parquet(folder / "t.parquet")
    data = load(folder / "t.parquet", stream=True, validation=2, test=2, buffer=8)
    with pytest.raises(InvalidInput, match=r"x.png\) cannot be read as an image"):
        list(itertools.islice(data.streams["train"].batches(4, epochs=None), 10))


def _png(array):
    import io

    buffer = io.BytesIO()
    Pillow.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()
