import math

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.verbs.latents import Traversal
from ancestral.verbs.moments import correlations, moments

EVENT = Event.real((1, 41, 41))


def stroke(slant, width):
    """A Gaussian blob of deviations 6 along rows' axis and `width` across, sheared to the right upwards by `slant`."""
    y, x = torch.meshgrid(*[torch.arange(41.0) - 20.0] * 2, indexing="ij")
    return torch.exp(-0.5 * (y / 6.0) ** 2 - 0.5 * ((x + slant * y) / width) ** 2)[None]


@pytest.mark.parametrize(("slant", "width"), [(0.0, 2.0), (0.5, 1.5), (-0.4, 3.0)])
def test_slant_and_width_are_those_that_a_stroke_was_drawn_with(slant, width):
    found = moments(stroke(slant, width)[None], EVENT)[0]
    assert found[0] == pytest.approx(slant, abs=0.02)
    assert found[1] == pytest.approx(width, rel=0.02)


def test_two_pixels_by_hand():
    x = torch.zeros(1, 1, 3, 4)
    x[0, 0, 0, 3] = x[0, 0, 2, 1] = 2.0  # upper right, lower left: 2 to the right over 2 upwards
    assert moments(x, Event.integers((1, 3, 4), 3)).tolist() == [[1.0, 0.0]]
    x = torch.zeros(1, 1, 3, 4)
    x[0, 0, 1, 0] = x[0, 0, 1, 2] = 1.0  # one row: no slant, one pixel off the centre
    assert moments(x, Event.binary((1, 3, 4))).tolist() == [[0.0, 1.0]]


def test_black_images_have_neither():
    assert moments(torch.zeros(2, 1, 3, 3), Event.binary((1, 3, 3))).tolist() == [[0.0, 0.0]] * 2
    assert moments(torch.full((1, 1, 3, 3), -2.5), Event.real((1, 3, 3))).tolist() == [[0.0, 0.0]]


def test_a_latent_that_shears_goes_with_slant_and_one_that_widens_with_width():
    steps = torch.linspace(-1.0, 1.0, 7)
    rows = [[stroke(0.3 * t + base, 2.0) for t in steps] for base in (-0.2, 0.4)]  # rows differ in their own slant
    rows += [[stroke(0.1, 2.0 - 0.5 * t) for t in steps]]
    found = Traversal(torch.stack([torch.stack(row) for row in rows]), (4, 4, 7), steps.repeat(3, 1))
    told = correlations(found, EVENT)
    assert list(told) == [4, 7]
    assert told[4]["slant"] > 0.99
    assert told[7]["width"] < -0.99


def test_a_latent_that_changes_nothing_has_no_correlation():
    same = stroke(0.2, 2.0).expand(1, 5, 1, 41, 41)
    told = correlations(Traversal(same, (0,), torch.linspace(-1, 1, 5)[None]), EVENT)
    assert told == {0: {"slant": 0.0, "width": 0.0}}
    assert not math.isnan(told[0]["slant"])


def test_other_data_than_images_are_refused():
    with pytest.raises(InvalidInput, match=r"slant and width are of images"):
        moments(torch.zeros(2, 4), Event.real((4,)))
