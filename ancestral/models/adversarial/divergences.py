"""The f-divergences of f-GANs: for each one f, its conjugate, the output activation of a critic, and the best critic."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.mlp import check_choice

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Divergence:
    r"""D_f(P || Q) = E_q[f(p / q)] = sup_T E_p[T] - E_q[f*(T)], with f*(t) = sup_{u >= 0} ut - f(u), and T = g_f(V).

    P is the data's distribution and Q the generator's. The best T is f'(p / q). V is what a critic puts out, any number.

    Args:
        name: as a person writes it, with its parameter.
        f: convex, of u > 0, with f(1) = 0, or its value there (`offset`).
        derivative: f', the best T as a function of p / q.
        conjugate: f*, of t in its domain.
        activation: g_f, an increasing map of all numbers into the domain of f*.
        conjugate_of_output: f*(g_f(v)), finite for any v of moderate size.
        upper: upper end of the domain of f*, which has no lower end.
        threshold: f'(1): T above it says that a datum is more likely under P.
        offset: f(1), which is D_f(P || P).

    >>> kl = divergence("kl")
    >>> kl.conjugate(torch.tensor([1.0])), kl.threshold
    (tensor([1.]), 1.0)
    """

    name: str
    f: Function
    derivative: Function
    conjugate: Function
    activation: Function
    conjugate_of_output: Function
    upper: float
    threshold: float
    offset: float = 0.0

    def best_output(self, ratio: Tensor) -> Tensor:
        """Return the best critic's T for p / q."""
        return self.derivative(ratio)

    def bound(self, on_data: Tensor, on_samples: Tensor) -> Tensor:
        """Return the mean of g_f(V) over data less the mean of f*(g_f(V)) over samples, at most D_f in expectation.

        Args:
            on_data: V of draws from P, of any shape.
            on_samples: V of draws from Q, of any shape.
        """
        return self.activation(on_data).mean() - self.conjugate_of_output(on_samples).mean()


def _identity(v: Tensor) -> Tensor:
    return v


def _below(upper: float) -> Function:
    """Return v -> upper - exp(-v)."""
    return lambda v: upper - torch.exp(-v)


TOTAL_VARIATION = Divergence(
    "total-variation",
    f=lambda u: 0.5 * (u - 1.0).abs(),
    derivative=lambda u: 0.5 * torch.sign(u - 1.0),
    conjugate=lambda t: t.clamp(min=-0.5),
    activation=lambda v: 0.5 * torch.tanh(v),
    conjugate_of_output=lambda v: 0.5 * torch.tanh(v),
    upper=0.5,
    threshold=0.0,
)
KL = Divergence(
    "kl",
    f=lambda u: u * torch.log(u),
    derivative=lambda u: 1.0 + torch.log(u),
    conjugate=lambda t: torch.exp(t - 1.0),
    activation=_identity,
    conjugate_of_output=lambda v: torch.exp(v - 1.0),
    upper=math.inf,
    threshold=1.0,
)
REVERSE_KL = Divergence(
    "reverse-kl",
    f=lambda u: -torch.log(u),
    derivative=lambda u: -1.0 / u,
    conjugate=lambda t: -1.0 - torch.log(-t),
    activation=_below(0.0),
    conjugate_of_output=lambda v: v - 1.0,
    upper=0.0,
    threshold=-1.0,
)
PEARSON = Divergence(
    "pearson",
    f=lambda u: (u - 1.0).square(),
    derivative=lambda u: 2.0 * (u - 1.0),
    # Below -2 the supremum is at u = 0.
    conjugate=lambda t: 0.25 * t.clamp(min=-2.0).square() + t.clamp(min=-2.0),
    activation=_identity,
    conjugate_of_output=lambda v: 0.25 * v.clamp(min=-2.0).square() + v.clamp(min=-2.0),
    upper=math.inf,
    threshold=0.0,
)
NEYMAN = Divergence(
    "neyman",
    f=lambda u: (1.0 - u).square() / u,
    derivative=lambda u: 1.0 - u**-2,
    conjugate=lambda t: 2.0 - 2.0 * torch.sqrt(1.0 - t),
    activation=_below(1.0),
    conjugate_of_output=lambda v: 2.0 - 2.0 * torch.exp(-0.5 * v),
    upper=1.0,
    threshold=0.0,
)
SQUARED_HELLINGER = Divergence(
    "squared-hellinger",
    f=lambda u: (torch.sqrt(u) - 1.0).square(),
    derivative=lambda u: 1.0 - u**-0.5,
    conjugate=lambda t: t / (1.0 - t),
    activation=_below(1.0),
    conjugate_of_output=lambda v: torch.expm1(v),
    upper=1.0,
    threshold=0.0,
)


def omega(x: Tensor) -> Tensor:
    """Return the w > 0 with w + log w = x, which is Lambert's W of exp(x), for x of any size.

    >>> omega(torch.tensor([1.0]))
    tensor([1.])
    """
    with torch.no_grad():
        # Newton's method for y = log w, from above or below; it doubles its digits at each step.
        y = torch.where(x > 1.0, torch.log(x.clamp(min=1.0)), x)
        for _ in range(6):
            y = y - (torch.exp(y) + y - x) / (torch.exp(y) + 1.0)
    # Two more steps that are differentiated: the first and second derivatives at the root are then exact.
    for _ in range(2):
        y = y - (torch.exp(y) + y - x) / (torch.exp(y) + 1.0)
    return torch.exp(y)


def _jeffrey_conjugate(t: Tensor) -> Tensor:
    w = omega(1.0 - t)
    return w + 1.0 / w + t - 2.0


JEFFREY = Divergence(
    "jeffrey",
    f=lambda u: (u - 1.0) * torch.log(u),
    derivative=lambda u: torch.log(u) + 1.0 - 1.0 / u,
    conjugate=_jeffrey_conjugate,
    activation=_identity,
    conjugate_of_output=_jeffrey_conjugate,
    upper=math.inf,
    threshold=0.0,
)


def _weighted_jensen_shannon(pi: float, name: str) -> Divergence:
    """Return pi KL(P || M) + (1 - pi) KL(Q || M), M = pi P + (1 - pi) Q."""
    other, top = 1.0 - pi, -pi * math.log(pi)
    return Divergence(
        name,
        f=lambda u: pi * u * torch.log(u) - (other + pi * u) * torch.log(other + pi * u),
        derivative=lambda u: pi * (torch.log(u) - torch.log(other + pi * u)),
        conjugate=lambda t: other * (math.log(other) - torch.log(-torch.expm1((t - top) / pi))),
        activation=lambda v: top - pi * F.softplus(-v),
        conjugate_of_output=lambda v: other * (math.log(other) + F.softplus(v)),
        upper=top,
        threshold=0.0,
    )


JENSEN_SHANNON = _weighted_jensen_shannon(0.5, "jensen-shannon")
GAN = Divergence(
    "gan",
    f=lambda u: u * torch.log(u) - (u + 1.0) * torch.log(u + 1.0),
    derivative=lambda u: torch.log(u) - torch.log(u + 1.0),
    conjugate=lambda t: -torch.log(-torch.expm1(t)),
    activation=lambda v: -F.softplus(-v),
    conjugate_of_output=lambda v: F.softplus(v),
    upper=0.0,
    threshold=-math.log(2.0),
    offset=-2.0 * math.log(2.0),
)


def _alpha(alpha: float, name: str) -> Divergence:
    """Return (E_q[(p / q)^alpha] - 1) / (alpha (alpha - 1))."""
    slope = alpha - 1.0  # f* is a power of 1 + slope t
    power = alpha / slope

    def conjugate(t: Tensor) -> Tensor:
        # Above 1, where 1 + slope t < 0, the supremum is at u = 0.
        return ((1.0 + slope * t).clamp(min=0.0) ** power - 1.0) / alpha

    def output(v: Tensor) -> Tensor:
        # 1 + slope g_f(v) = (1 - alpha) softplus(-v), by its logarithm: softplus underflows, its logarithm does not.
        log_softplus = torch.where(v > 15.0, -v, torch.log(F.softplus(-v.clamp(max=15.0))))
        return (torch.exp(power * (math.log(-slope) + log_softplus)) - 1.0) / alpha

    above = alpha > 1.0
    return Divergence(
        name,
        f=lambda u: (u**alpha - 1.0 - alpha * (u - 1.0)) / (alpha * slope),
        derivative=lambda u: (u**slope - 1.0) / slope,
        conjugate=conjugate,
        activation=_identity if above else lambda v: -1.0 / slope - F.softplus(-v),
        conjugate_of_output=conjugate if above else output,
        upper=math.inf if above else -1.0 / slope,
        threshold=0.0,
    )


PLAIN = {
    row.name: row
    for row in (
        TOTAL_VARIATION,
        KL,
        REVERSE_KL,
        PEARSON,
        NEYMAN,
        SQUARED_HELLINGER,
        JEFFREY,
        JENSEN_SHANNON,
        GAN,
    )
}
"""The divergences without a parameter, by name."""
NAMES = (*PLAIN, "weighted-jensen-shannon", "alpha")
"""Names of all divergences; the last two take a parameter: "weighted-jensen-shannon=0.3" (pi) and "alpha=2"."""


@functools.cache
def divergence(name: str) -> Divergence:
    """Return a row of the table.

    Args:
        name: one of `NAMES`; "weighted-jensen-shannon=PI", PI in (0, 1), by default 0.5; "alpha=A", A neither 0 nor 1, by
            default 0.5.

    Raises:
        InvalidInput: for an unknown name, with near matches, or a parameter that is no number or out of range.

    References:
        f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization (Nowozin, Cseke & Tomioka, 2016),
        https://arxiv.org/abs/1606.00709, Tables 1, 2 and 6. Where a row differs from theirs, `docs/adversarial.md` derives it.

    >>> divergence("alpha=2").upper
    inf
    """
    stem, _, written = name.partition("=")
    check_choice("f-divergence", stem, NAMES)
    if stem in PLAIN:
        if written:
            raise InvalidInput(f"the divergence {stem} has no parameter, got {name!r}: write {stem}")
        return PLAIN[stem]
    try:
        value = float(written or "0.5")
    except ValueError:
        raise InvalidInput(f"{stem} takes a number after the sign =, got {name!r}: write such as {stem}=0.5") from None
    if stem == "alpha":
        if value in (0.0, 1.0):
            limit = "reverse-kl" if value == 0.0 else "kl"
            raise InvalidInput(
                f"the alpha-divergence divides by alpha (alpha - 1), got {name!r}: its limit there is {limit}, take that"
            )
        if not math.isfinite(value):
            raise InvalidInput(f"alpha needs a finite number, got {name!r}")
        return _alpha(value, name)
    if not 0.0 < value < 1.0:
        raise InvalidInput(f"weighted-jensen-shannon needs a weight of the data between 0 and 1, got {name!r}")
    return _weighted_jensen_shannon(value, name)
