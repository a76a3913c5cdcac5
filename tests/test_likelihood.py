"""Kinds of likelihood and how they read."""

import pytest

from ancestral.errors import InvalidInput
from ancestral.likelihood import EXACT, NONE, Likelihood


@pytest.mark.parametrize(
    ("likelihood", "text"),
    [
        (EXACT, "exact"),
        (NONE, "none"),
        (Likelihood("lower bound", samples=1), "lower bound (1 sample)"),
        (Likelihood("estimate", samples=10, note="annealed"), "estimate (10 samples, annealed)"),
        (Likelihood("lower bound", note="uniform dequantization"), "lower bound (uniform dequantization)"),
    ],
)
def test_how_it_reads(likelihood: Likelihood, text: str) -> None:
    assert str(likelihood) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "upper bound"}, "expected one of exact"),
        ({"kind": "estimate"}, "an estimate needs"),
        ({"kind": "lower bound", "samples": 0}, "at least 1"),
        ({"kind": "exact", "samples": 3}, "takes no samples"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Likelihood(**arguments)
