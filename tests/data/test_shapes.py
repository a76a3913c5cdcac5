import hashlib

import numpy as np
import pytest
import torch

from ancestral.data import load
from ancestral.data.shapes import FACTORS, render_shapes
from ancestral.errors import InvalidInput


@pytest.fixture(scope="module")
def rendered():
    return render_shapes()


def test_every_combination_is_there_once_and_no_two_pictures_are_equal(rendered):
    x, factors = rendered
    table = np.stack(list(factors.values()), axis=1)
    assert len(np.unique(table, axis=0)) == len(table) == np.prod([len(values) for values in FACTORS.values()])
    assert len({picture.tobytes() for picture in x}) == len(x)


def test_pictures_are_the_same_on_every_machine(rendered):
    x, _ = rendered
    assert hashlib.sha256(x.tobytes()).hexdigest()[:16] == "938f98ee6f94f0f1"


def test_shapes_lie_whole_in_the_picture_where_their_factors_say(rendered):
    x, factors = rendered
    assert not x[:, :, [0, -1]].any()
    assert not x[:, :, :, [0, -1]].any()
    rows, columns = np.mgrid[:32, :32] + 0.5
    for name, position in (("x", columns), ("y", rows)):
        centre = (x[:, 0] * position).sum((1, 2)) / x.sum((1, 2, 3))
        places = np.linspace(9.5, 22.5, 8)[factors[name]]
        assert np.abs(centre - places).max() < 1.5
    area = x.sum((1, 2, 3))
    by_scale = [area[(factors["scale"] == s) & (factors["shape"] == 0)].mean() for s in range(4)]
    np.testing.assert_allclose(by_scale, [(1.5 * r) ** 2 for r in (5, 6, 7, 8)], rtol=0.05)


def test_as_data_with_any_factors_as_conditions():
    data = load("shapes", condition=["shape", "x"])
    assert data.condition.classes == (3, 8)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2272, "validation": 300, "test": 500}
    x, y = data.split("test").batch(torch.arange(5))
    data.event.check(x)
    data.condition.check(y)
    assert load("shapes", condition="shape").record["classes"] == ["square", "ellipse", "heart"]
    with pytest.raises(InvalidInput, match=r"shapes has no column 'colour' for condition=. It has: shape, scale"):
        load("shapes", condition="colour")
