"""Monotone splines of rational functions: flexible functions of one entry with an exact inverse."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.mlp import check_sizes

SMALLEST = 1e-3
"""Least share of the interval that a bin takes, and least derivative at a knot."""


class RationalQuadratic:
    r"""y = y_k + h_k (s_k u^2 + d_k u v) / (s_k + (d_{k+1} + d_k - 2 s_k) u v), u = (x - x_k) / w_k, v = 1 - u.

    On each of K bins of [-bound, bound], of width w_k, height h_k and slope s_k = h_k / w_k, it is a ratio of two quadratic
    polynomials, increasing, with derivatives d_k at the knots (x_k, y_k). Outside y = x, and at the ends the derivative is 1.
    w and h, which sum to 2 bound, and d come from `raw`: K widths, K heights and K - 1 derivatives, each by a map that gives
    the identity where raw is 0.

    The inverse is the root of a quadratic polynomial. Rounding never makes it fail: the discriminant is kept from being
    negative, and u in [0, 1].

    Args:
        bins: K, at least 1 and at most 1000.
        bound: half of the length of the interval, above 0.

    Raises:
        InvalidInput: for an option out of its range.

    References:
        Neural Spline Flows (Durkan, Bekasov, Murray & Papamakarios, 2019), https://arxiv.org/abs/1906.04032.

    >>> spline = RationalQuadratic(bins=4)
    >>> x, raw = torch.tensor([-5.0, 0.5, 2.9]), torch.randn(3, spline.values)
    >>> y, log_det = spline.forward(x, raw)
    >>> torch.allclose(spline.inverse(y, raw), x, atol=1e-5)
    True
    """

    def __init__(self, bins: int = 8, bound: float = 3.0) -> None:
        check_sizes("bins", (bins,))
        if bins * SMALLEST > 1.0:
            raise InvalidInput(
                f"bins is {bins}, expected at most {round(1.0 / SMALLEST)}: each takes {SMALLEST:g} of the interval"
            )
        if not 0.0 < bound < math.inf:
            raise InvalidInput(f"bound is {bound}, expected a finite number above 0, such as 3")
        self.bins, self.bound = bins, bound
        self.values = 3 * bins - 1

    def _knots(self, raw: Tensor) -> Tensor:
        """Return knots from -bound to bound, (..., bins + 1)."""
        shares = SMALLEST + (1.0 - SMALLEST * self.bins) * torch.softmax(raw, dim=-1)
        inner = 2.0 * self.bound * torch.cumsum(shares[..., :-1], dim=-1) - self.bound
        return F.pad(F.pad(inner, (1, 0), value=-self.bound), (0, 1), value=self.bound)

    def _bin(self, at: Tensor, raw: Tensor, inverse: bool) -> tuple[Tensor, ...]:
        """Return of the bin that holds each of `at`: left x and y, width, height, and derivatives left and right."""
        widths, heights, derivatives = raw.split((self.bins, self.bins, self.bins - 1), dim=-1)
        x, y = self._knots(widths), self._knots(heights)  # (..., bins + 1)
        # At the ends, and where raw is 0, the derivative is 1.
        inner = SMALLEST + F.softplus(derivatives + math.log(math.expm1(1.0 - SMALLEST)))
        d = F.pad(inner, (1, 1), value=1.0)
        k = (at[..., None] >= (y if inverse else x)[..., 1:-1]).sum(-1, keepdim=True)  # (..., 1), from 0 to bins - 1

        def pick(values: Tensor) -> tuple[Tensor, Tensor]:
            return values.gather(-1, k)[..., 0], values.gather(-1, k + 1)[..., 0]

        (left, right), (low, high) = pick(x), pick(y)
        return left, low, right - left, high - low, *pick(d)

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.abs() <= self.bound
        # What is outside takes an end's place, so that no branch that is not taken gives NaN to gradients.
        at = x.clamp(-self.bound, self.bound)
        left, low, w, h, d0, d1 = self._bin(at, raw, inverse=False)
        u = ((at - left) / w).clamp(0.0, 1.0)
        v, slope = 1.0 - u, h / w
        denominator = slope + (d1 + d0 - 2.0 * slope) * u * v
        y = low + h * (slope * u.square() + d0 * u * v) / denominator
        numerator = d1 * u.square() + 2.0 * slope * u * v + d0 * v.square()
        log_det = 2.0 * torch.log(slope) + torch.log(numerator) - 2.0 * torch.log(denominator)
        return torch.where(inside, y, x), torch.where(inside, log_det, 0.0)

    def inverse(self, y: Tensor, raw: Tensor) -> Tensor:
        inside = y.abs() <= self.bound
        at = y.clamp(-self.bound, self.bound)
        left, low, w, h, d0, d1 = self._bin(at, raw, inverse=True)
        slope, above = h / w, at - low
        bend = above * (d1 + d0 - 2.0 * slope)
        a, b, c = h * (slope - d0) + bend, h * d0 - bend, -slope * above
        root = torch.sqrt((b.square() - 4.0 * a * c).clamp(min=torch.finfo(y.dtype).tiny))
        # b may be of either sign, the sum of b and the root is not: it is 0 at most where bins have no height.
        u = (2.0 * c / (-b - root)).clamp(0.0, 1.0)
        return torch.where(inside, left + u * w, y)
