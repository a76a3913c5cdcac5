"""What a likelihood figure is: exact, a lower bound, an estimate, or none."""

from dataclasses import dataclass
from typing import Literal, get_args

from ancestral.errors import InvalidInput

Kind = Literal["exact", "lower bound", "estimate", "none"]
"""Exact; a lower bound in expectation; an estimate of unknown direction; or no likelihood."""


@dataclass(frozen=True)
class Likelihood:
    """The kind of a model's log-likelihood; it travels with every figure.

    Args:
        kind: "exact"; "lower bound" (in expectation, on log p); "estimate"; or "none".
        samples: number of samples per example behind a bound or an estimate; an estimate says it always.
        note: what else a reader must know, such as "uniform dequantization".

    Raises:
        InvalidInput: if the parts contradict each other.

    >>> print(Likelihood("lower bound", samples=5000))
    lower bound (5000 samples)
    """

    kind: Kind
    samples: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        kinds = get_args(Kind)
        if self.kind not in kinds:
            raise InvalidInput(f"there is no kind of likelihood {self.kind!r}, expected one of {', '.join(kinds)}")
        if self.kind == "estimate" and self.samples is None:
            raise InvalidInput("an estimate needs the number of samples behind it, got none: say how many")
        if self.samples is not None and self.kind in ("exact", "none"):
            raise InvalidInput(f"a likelihood that is {self.kind} takes no samples, got {self.samples}: leave them out")
        if self.samples is not None and self.samples < 1:
            raise InvalidInput(f"a {self.kind} needs at least 1 sample, got {self.samples}")

    def __str__(self) -> str:
        parts = []
        if self.samples is not None:
            parts.append(f"{self.samples} sample{'s' if self.samples != 1 else ''}")
        if self.note:
            parts.append(self.note)
        return f"{self.kind} ({', '.join(parts)})" if parts else self.kind


EXACT = Likelihood("exact")
"""The likelihood of models that compute log p itself."""
NONE = Likelihood("none")
"""Of models that have none."""
