import math

import numpy as np
import pytest
import torch

from ancestral.data import load
from ancestral.data.mixtures import GRID, RING
from ancestral.errors import InvalidInput

from .conftest import contents, equal_splits


def test_modes_lie_where_the_papers_say():
    assert len(RING.means) == 8
    assert RING.scale == 0.01
    assert [math.hypot(*mean) for mean in RING.means] == pytest.approx([1.0] * 8)
    assert RING.means[0] == (1.0, 0.0)
    assert len(set(GRID.means)) == 25
    assert GRID.scale == 0.05
    assert {value for mean in GRID.means for value in mean} == {-4.0, -2.0, 0.0, 2.0, 4.0}


@pytest.mark.parametrize(("name", "mixture"), [("ring", RING), ("grid", GRID)])
def test_data_are_of_the_mixture_that_the_record_describes(name, mixture):
    data = load(name, condition="mode")
    described = data.record["modes"]
    assert described == {"means": [list(mean) for mean in mixture.means], "scale": mixture.scale}
    assert data.condition.levels == len(mixture.means)
    for split in data.splits:
        x, modes = contents(data, split)
        noise = (x.double() - torch.tensor(described["means"], dtype=torch.float64)[modes]) / described["scale"]
        n = len(x)
        assert noise.mean(0).abs().max() < 5 / n**0.5
        assert (noise.var(0) - 1).abs().max() < 5 * (2 / n) ** 0.5
        share = torch.bincount(modes, minlength=len(mixture.means)) / n
        assert (share - 1 / len(mixture.means)).abs().max() < 5 * (1 / len(mixture.means) / n) ** 0.5
    assert equal_splits(data, load(data.name, **data.record["options"]))


def test_splits_are_drawn_apart():
    data = load("grid")
    train, test = (set(map(tuple, np.asarray(contents(data, split)[0]))) for split in ("train", "test"))
    assert not train & test


def test_another_column_is_refused():
    with pytest.raises(InvalidInput, match=r"ring has no column 'label' for condition=. It has: mode"):
        load("ring", condition="label")
