import json

import pytest

from ancestral.data.material import Options, refuse_unused
from ancestral.errors import InvalidInput
from ancestral.event import Event


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": -0.1}, "validation= takes a fraction below 1 or a number of data, got -0.1"),
        ({"test": 1.5}, "test= takes a fraction below 1 or a number"),
        ({"limit": 0}, "limit= takes a positive number"),
        ({"buffer": 0}, "buffer= takes a positive number"),
        ({"length": 0}, "length= takes a positive number"),
        ({"vocabulary": -1}, "vocabulary= takes a positive number"),
        ({"levels": 1}, "levels= takes a number from 2 to 256"),
        ({"levels": 4, "binarize": 1}, "both binarize= and levels="),
        ({"binarize": "random"}, "threshold or 'dynamic', got 'random'"),
        ({"size": 0}, "size= takes a positive height and width"),
        ({"size": (1, 2, 3)}, "size= takes one number or a height and a width"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        Options(**options)


def test_given_options_are_json_that_makes_the_same_options():
    options = Options(condition=("a", "b"), size=(4, 5), event=Event.integers((2,), 3), validation=7, standardize=False)
    given = json.loads(json.dumps(options.given()))
    assert sorted(given) == ["condition", "event", "size", "standardize", "validation"]
    assert Options(**given).given() == given
    assert Options().given() == {}


def test_unused_options_are_named_with_those_that_are_used():
    with pytest.raises(InvalidInput, match=r"it takes no gray and no size: leave it out. It takes .*condition"):
        refuse_unused("it", Options(gray=True, size=3, seed=1), set())
