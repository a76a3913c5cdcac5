"""What a likelihood figure is: exact, a lower bound, an estimate, or none."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["exact", "lower bound", "estimate", "none"]


@dataclass(frozen=True)
class Likelihood:
    """The kind of a model's log-likelihood; it travels with every figure.

    Args:
        kind: "exact"; "lower bound" (in expectation, on log p); "estimate"; or "none".
        samples: number of samples per example behind a bound or an estimate.
        note: what else a reader must know, such as "uniform dequantization".

    >>> print(Likelihood("lower bound", samples=5000))
    lower bound (5000 samples)
    """

    kind: Kind
    samples: int | None = None
    note: str = ""

    def __str__(self) -> str:
        parts = []
        if self.samples is not None:
            parts.append(f"{self.samples} sample{'s' if self.samples != 1 else ''}")
        if self.note:
            parts.append(self.note)
        return f"{self.kind} ({', '.join(parts)})" if parts else self.kind


EXACT = Likelihood("exact")
NONE = Likelihood("none")
