import numpy as np
import pytest

from ancestral.data.conditions import condition_of
from ancestral.data.material import Material
from ancestral.errors import InvalidInput
from ancestral.event import Event


def material(names=None, **columns):
    return Material("it", {"train": np.zeros((4, 1))}, column=lambda name: (columns[name], names))


def test_text_becomes_labels_in_one_order_over_all_splits():
    given = material(kind={"train": np.array(["b", "c", "b"]), "test": np.array(["a"])})
    values, event, names = condition_of(given, ["kind"])
    assert event == Event.label(3)
    assert names == ["a", "b", "c"]
    assert values["train"].tolist() == [1, 2, 1]
    assert values["test"].tolist() == [0]


def test_integers_are_numbered_from_zero():
    values, event, names = condition_of(material(drawer={"train": np.array([20, 3, 7])}), ["drawer"])
    assert event == Event.label(3)
    assert names == ["3", "7", "20"]
    assert values["train"].tolist() == [2, 0, 1]


def test_named_classes_keep_their_numbers_even_if_some_do_not_occur():
    values, event, names = condition_of(material(["x", "y", "z"], k={"train": np.array([2, 0])}), ["k"])
    assert event == Event.label(3)
    assert names == ["x", "y", "z"]
    assert values["train"].tolist() == [2, 0]
    with pytest.raises(InvalidInput, match=r"column 'k' of it has values in \[-1, 2\], expected classes 0 to 2"):
        condition_of(material(["x", "y", "z"], k={"train": np.array([2, -1])}), ["k"])


def test_floats_are_a_vector():
    given = material(a={"train": np.array([0.5, 1.0])}, b={"train": np.array([3, 4])})
    values, event, _ = condition_of(given, ["a", "b"])
    assert event == Event.real((2,))
    assert values["train"].tolist() == [[0.5, 3.0], [1.0, 4.0]]


def test_lists_and_nan_are_refused():
    with pytest.raises(InvalidInput, match=r"column 'k' of it holds lists"):
        condition_of(material(k={"train": np.zeros((2, 2), int)}), ["k"])
    with pytest.raises(InvalidInput, match=r"the condition of it holds 1 NaN"):
        condition_of(material(k={"train": np.array([np.nan, 1.0])}), ["k"])


def test_a_source_without_columns_says_so():
    with pytest.raises(InvalidInput, match=r"it has no columns to condition on, got condition=label: leave it out"):
        condition_of(Material("it", {}), ["label"])
