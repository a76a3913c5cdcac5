import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.data import load
from ancestral.data.arrays import describe, from_arrays
from ancestral.errors import InvalidInput
from ancestral.event import Event

from .conftest import contents, pictures

rng = np.random.default_rng(0)


def event_of(array, **options):
    return load(array, **options).event


# What kind of datum


@pytest.mark.parametrize(
    ("array", "event"),
    [
        (rng.random((20, 3)) > 0.5, Event.binary((3,))),
        ((rng.random((20, 3)) > 0.5).astype(np.int64), Event.binary((3,))),
        ((rng.random((20, 3)) > 0.5).astype(np.float64), Event.binary((3,))),
        (rng.random((20, 4, 5)) > 0.5, Event.binary((1, 4, 5))),
        (pictures(20), Event.integers((1, 6, 5), 256)),
        (pictures(20, (6, 5, 3)), Event.integers((3, 6, 5), 256)),
        (pictures(20, (6, 5, 1)), Event.integers((1, 6, 5), 256)),
        (pictures(20, (3, 6, 5)), Event.integers((3, 6, 5), 256)),
        (pictures(20, (4, 4, 4)) > 127, Event.binary((4, 4, 4), ("depth", "height", "width"))),
        (pictures(20, (7,)), Event.integers((7,), 256)),
        (np.arange(40).reshape(20, 2) % 17, Event.integers((2,), 17)),
        (np.arange(20) % 2 == 0, Event.binary((1,))),
    ],
)
def test_discrete_events_are_inferred(array, event):
    assert event_of(array) == event


def test_floats_are_real_and_standardized_over_train():
    x = rng.normal([3.0, -200.0], [2.0, 1e-3], (500, 2))
    data = load(x, validation=0, test=0)
    assert data.event.levels is None
    assert np.allclose(data.event.loc, x.mean(0), rtol=1e-5)
    assert np.allclose(data.event.scale, x.std(0), rtol=1e-2)  # float32 has few digits at -200
    plain = load(x, standardize=False)
    assert plain.event == Event.real((2,))
    assert torch.equal(contents(plain, "train")[0], contents(load(x), "train")[0])


def test_standardization_sees_train_alone():
    x = rng.normal(size=(100, 1))
    data = load(x)
    train = contents(data, "train")[0].double()
    assert data.event.loc[0] == pytest.approx(float(train.mean()), rel=1e-5)
    assert data.event.loc[0] != pytest.approx(float(x.mean()), rel=1e-5)


def test_a_constant_column_is_fine():
    x = np.stack([rng.normal(size=50), np.full(50, 1e6 + 0.1)], axis=1)
    data = load(x)
    assert data.event.scale[1] == 1.0
    assert torch.isfinite(data.event.to_network(contents(data, "train")[0])).all()


@pytest.mark.parametrize(
    ("asked", "event"),
    [
        ("binary", Event.binary((2,))),
        (7, Event.integers((2,), 7)),
        ("7", Event.integers((2,), 7)),
        ("real", Event.real((2,))),
        (Event.real((2,), scale=(2.0, 2.0)), Event.real((2,), scale=(2.0, 2.0))),
        (Event.integers((2,), 3).to_json(), Event.integers((2,), 3)),
    ],
)
def test_the_event_can_be_said(asked, event):
    assert event_of(np.arange(40).reshape(20, 2) % 2, event=asked, standardize=False) == event


@pytest.mark.parametrize("asked", ["integer", 1, True, 2.5, "-3"])
def test_a_word_that_is_no_event_is_refused(asked):
    with pytest.raises(InvalidInput, match=r"event= takes 'binary', 'real', a number of levels from 2, or an Event"):
        load(np.zeros((20, 2)), event=asked)


def test_an_event_of_another_shape_is_refused():
    with pytest.raises(InvalidInput, match=r"event= is of shape \(3,\), but the array is of shape \(2,\)"):
        load(np.zeros((20, 2)), event=Event.real((3,)))


def test_integers_out_of_a_byte_must_be_said_to_be_something():
    x = np.arange(40).reshape(20, 2) * 10
    with pytest.raises(InvalidInput, match=r"integers in \[0, 390\], expected 0 to 255: pass event='real'"):
        load(x)
    assert event_of(x, event="real").levels is None
    assert event_of(x, event=391) == Event.integers((2,), 391)


@pytest.mark.parametrize("asked", ["binary", 5])
def test_values_outside_the_support_are_refused(asked):
    with pytest.raises(
        InvalidInput, match=r"the split 'train' of the array has values in \[0, 6\], expected integers in \[0, "
    ):
        load(np.arange(70).reshape(70, 1) % 7, event=asked)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_refused(bad):
    x = rng.normal(size=(30, 2))
    x[:, 1] = bad
    with pytest.raises(InvalidInput, match=r"NaN or infinite values, expected finite numbers"):
        load(x)


# What is an array


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8", "longdouble"])
def test_floats_of_every_type_are_stored_as_float32(dtype):
    x = rng.normal(size=(20, 2)).astype(dtype)
    data = load(x, validation=0, test=0)
    assert contents(data, "train")[0].dtype == torch.float32
    assert np.allclose(contents(data, "train")[0].numpy(), x.astype(np.float32))


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", ">u2", "uint32", "uint64"])
def test_integers_of_every_type_are_stored_as_bytes(dtype):
    x = (np.arange(40).reshape(20, 2) % 11).astype(dtype)
    data = load(x, validation=0, test=0)
    assert contents(data, "train")[0].dtype == torch.uint8
    assert np.array_equal(contents(data, "train")[0].numpy(), x)


def test_tensors_lists_and_reversed_views_are_arrays():
    x = pictures(20, (3,))
    expected = contents(load(x), "train")[0]
    for same in (torch.from_numpy(x), x[::-1].copy()[::-1], np.asfortranarray(x)):
        assert torch.equal(contents(load(same), "train")[0], expected)
    assert load([[1.5, 2.0]] * 10).event.shape == (2,)
    assert load(torch.randn(20, 2, dtype=torch.bfloat16, requires_grad=True)).event.levels is None


def test_the_array_is_copied():
    x = pictures(20, (3,))
    data = load(x, validation=0, test=0)
    before = contents(data, "train")[0].clone()
    x[:] = 0
    assert torch.equal(contents(data, "train")[0], before)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([["a"]] * 10), "holds <U1, expected numbers"),
        (np.array([{}, None]), "holds object, expected numbers"),
        (np.zeros(10, complex), "holds complex128, expected numbers"),
        (3.0, "is a single number"),
        ([[1], [1, 2]], "is ragged"),
        (np.zeros((0, 3)), "the split 'train' of the array is empty"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(array, message):
    with pytest.raises(InvalidInput, match=message):
        load(array)


# Named arrays


def test_splits_and_columns_are_found_by_name():
    arrays = {"X_train": pictures(9, (4,)), "y_train": np.arange(9) % 3, "X_test": pictures(3, (4,)), "y_test": np.arange(3)}
    data = load(arrays, condition="y", validation=0)
    assert list(data.splits) == ["train", "test"]
    assert data.condition == Event.label(3)
    assert contents(data, "test")[1].tolist() == [0, 1, 2]


def test_a_column_goes_with_its_rows_when_rows_are_drawn():
    x = np.arange(100)[:, None].repeat(2, 1)
    data = load({"x": x, "parity": np.array(["even", "odd"] * 50)}, condition="parity")
    assert data.record["classes"] == ["even", "odd"]
    for split in ("train", "validation", "test"):
        values, labels = contents(data, split)
        assert torch.equal(values[:, 0] % 2, labels)


def test_packed_bits_are_unpacked():
    bits = rng.random((10, 11)) > 0.5
    data = load({"train": np.packbits(bits, axis=1), "n_cols": 11}, validation=0, test=0)
    assert data.event == Event.binary((11,))
    assert np.array_equal(contents(data, "train")[0].numpy(), bits)
    voxels = load({"X_train": np.packbits(rng.random((10, 64)) > 0.5, axis=1), "shape": np.array([4, 4, 4])}, test=2)
    assert voxels.event == Event.binary((4, 4, 4), ("depth", "height", "width"))
    with pytest.raises(InvalidInput, match=r"expected packed bits: uint8 rows of 3 bytes for 17 bits"):
        load({"train": np.packbits(bits, axis=1), "n_cols": 17})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((3, 1)), "b": np.zeros((3, 1))}, "holds the arrays a, b, expected train, valid and test, or x"),
        ({}, r"holds the arrays \(none\)"),
        ({"train": np.zeros((9, 2)), "test": np.zeros((9, 3))}, r"differ in shape: .*expected one shape"),
        ({"train": np.zeros((9, 2)), "valid": np.zeros((0, 2))}, "the split 'validation' of the mapping is empty"),
        ({"test": np.zeros((9, 2))}, "has no split named train, but test"),
    ],
)
def test_names_that_make_no_sense_are_refused(arrays, message):
    with pytest.raises(InvalidInput, match=message):
        load(arrays)


def test_a_column_that_is_missing_names_those_there_are():
    arrays = {"x": np.zeros((9, 2)), "label": np.arange(9)}
    with pytest.raises(InvalidInput, match=r"no column 'lable' .* Did you mean label\? It has: label"):
        load(arrays, condition="lable")
    with pytest.raises(InvalidInput, match=r"9 data and 4 conditions"):
        load({**arrays, "label": np.arange(4)}, condition="label")


@given(st.permutations(["train", "val", "test", "other"]))
def test_splits_come_in_one_order(names):
    x = from_arrays({name: np.zeros((2, 1)) for name in names if name != "other"}, "it").x
    assert list(x) == ["train", "validation", "test"]


def test_a_large_array_is_looked_at_in_pieces(monkeypatch):
    monkeypatch.setattr("ancestral.data.arrays._SCAN", 8)
    x = np.zeros((100, 4))
    assert describe({"train": x}, None, None, (), "it")[1].is_binary
    x[99, 3] = 0.5
    assert describe({"train": x}, None, None, (), "it")[1].levels is None
