"""Distributions of single entries, in the terms of `torch.distributions`, drawn with a generator or from given noise."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, constraints

from ancestral.errors import Unsupported

_LOG_2PI = math.log(2.0 * math.pi)


def _wide(raw: Tensor) -> Tensor:
    return raw.float() if raw.dtype.itemsize < 4 else raw


def mixture_parameters(components: int) -> int:
    """Return the number of raw parameters of a mixture: weight, mean and scale each; a single component has no weight."""
    return 3 * components if components > 1 else 2


def _split_mixture(raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mixture logits, means and log scales, (..., components) each, for raw parameters, (..., parameters)."""
    if raw.shape[-1] != 2:
        logits, means, log_scales = _wide(raw).chunk(3, dim=-1)
        return logits, means, log_scales
    means, log_scales = _wide(raw).chunk(2, dim=-1)
    return torch.zeros_like(means), means, log_scales


def _sum_components(logits: Tensor, log_prob: Tensor) -> Tensor:
    """Return log sum_i pi_i p_i, (...), for mixture logits and log p_i, (..., components) each."""
    if log_prob.shape[-1] == 1:  # its weight is 1: the sum is the component, and takes longer than it
        return log_prob[..., 0]
    return torch.logsumexp(F.log_softmax(logits, dim=-1) + log_prob, dim=-1)


def _above_0(noise: Tensor) -> Tensor:
    """Return noise in [0, 1) as noise in (0, 1), for quantile functions that are infinite at 0."""
    return noise.clamp(min=torch.finfo(noise.dtype).eps / 4.0)


def _pick_component(noise: Tensor, logits: Tensor, means: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and log scale, (...), of the component that the first number of `noise`, (..., 2), stands for."""
    if logits.shape[-1] == 1:
        return means[..., 0], log_scales[..., 0]
    # NaN has no component: take one, for the value to be NaN.
    index = Categorical(logits).from_noise(noise[..., :1]).long().clamp(max=logits.shape[-1] - 1)[..., None]
    return means.gather(-1, index)[..., 0], log_scales.gather(-1, index)[..., 0]


class Output(Distribution):
    """A batch of univariate distributions, each of which can be drawn once.

    A draw is a function of uniform noise alone (`from_noise`), so that whoever keeps the noise can draw again, in
    another batch or another order.

    Parameters of 16 bits are widened to 32 first: under mixed precision a network gives bfloat16, whose 8 bits of
    mantissa would round the log-probability of an image by whole nats.

    Args:
        batch_shape: shape of the batch of distributions.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    noises: int = 1
    """Numbers of uniform noise that one draw takes."""
    logits: Tensor

    def __init__(self, batch_shape: torch.Size) -> None:
        super().__init__(batch_shape, validate_args=False)

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw one value from each distribution.

        Args:
            generator: source of randomness.

        Returns:
            (*batch_shape,), as floats.
        """
        # Mixtures have tails, which noise of 24 bits would cut off at 5 deviations.
        dtype = self.logits.dtype if self.noises == 1 else torch.float64
        shape = (*self.batch_shape, self.noises)
        return self.from_noise(torch.rand(shape, dtype=dtype, device=self.logits.device, generator=generator))

    def from_noise(self, noise: Tensor) -> Tensor:
        """Return the value that uniform noise stands for: draws of independent noise are independent draws.

        Args:
            noise: (*batch_shape, noises), floats in [0, 1); more digits than the parameters have are of use.

        Returns:
            (*batch_shape,), as floats of the parameters' type; never a value of probability 0. Where parameters are NaN,
            values mean nothing.
        """
        raise NotImplementedError

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability, or the log-density, of one value under each distribution.

        Args:
            value: (*batch_shape,), in the support, of any type.

        Returns:
            (*batch_shape,), nats.
        """
        raise NotImplementedError

    def log_pmf(self) -> Tensor:
        """Return the log-probability of every value; discrete outputs only.

        Returns:
            (*batch_shape, levels), nats.

        Raises:
            Unsupported: if the output is continuous.
        """
        raise Unsupported(
            f"{type(self).__name__} is continuous: it has a density (log_prob), not a table of probabilities; model integers"
        )

    def biased(self, bias: float) -> "Output":
        """Return the distributions with smaller deviations, and weights that are sharper; mixtures of Gaussians only.

        Args:
            bias: b of `Sharpening`, 0 or more.

        Raises:
            Unsupported: if the output is no such mixture.
        """
        raise Unsupported(
            f"a bias is for mixtures of Gaussians, such as handwriting-rnn's, and this is {type(self).__name__}: leave it out"
        )


class Bernoulli(Output):
    """P(x = 1) = sigmoid(logits).

    Args:
        logits: (*batch_shape,).

    >>> round(float(Bernoulli(torch.tensor(0.0)).log_prob(torch.tensor(1.0)).exp()), 6)
    0.5
    """

    support = constraints.boolean

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape)
        self.logits = _wide(logits)

    def log_prob(self, value: Tensor) -> Tensor:
        # log P(1) = logsigmoid(l), log P(0) = logsigmoid(-l): torch's cross-entropy rounds values near 0 to steps of 1e-7.
        return F.logsigmoid((2.0 * value.to(self.logits.dtype) - 1.0) * self.logits)

    def from_noise(self, noise: Tensor) -> Tensor:
        return (noise[..., 0] < torch.sigmoid(self.logits)).to(self.logits.dtype)

    def log_pmf(self) -> Tensor:
        return torch.stack((F.logsigmoid(-self.logits), F.logsigmoid(self.logits)), dim=-1)

    @property
    def mean(self) -> Tensor:
        """P(x = 1)."""
        return torch.sigmoid(self.logits)


class Categorical(Output):
    """P(x = k) = softmax(logits)_k.

    Args:
        logits: (*batch_shape, levels).

    >>> Categorical(torch.zeros(4)).log_pmf().exp()
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape[:-1])
        self.logits = _wide(logits)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.logits.shape[-1] - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        flat = -F.cross_entropy(self.logits.reshape(-1, self.logits.shape[-1]), value.reshape(-1).long(), reduction="none")
        return flat.view(self.batch_shape)

    def from_noise(self, noise: Tensor) -> Tensor:
        # The first level whose cumulative probability is above the noise. Sums of floats may end above or below 1: noise
        # is stretched to their end, which the product of it and a number below 1 rounds to a number below. So a level
        # is found, and one that adds nothing to the sum is never the first above anything.
        sums = torch.softmax(self.logits, dim=-1).cumsum(-1, dtype=noise.dtype)
        level = torch.searchsorted(sums, noise * sums[..., -1:], right=True)
        return level[..., 0].to(self.logits.dtype)

    def log_pmf(self) -> Tensor:
        return F.log_softmax(self.logits, dim=-1)

    @property
    def mean(self) -> Tensor:
        """The expected level."""
        levels = torch.arange(self.logits.shape[-1], dtype=self.logits.dtype, device=self.logits.device)
        return (torch.softmax(self.logits, dim=-1) * levels).sum(-1)


class DiscretizedLogisticMixture(Output):
    r"""A mixture of logistics, integrated over the cell of each level.

    On the scale where the levels are spaced 2 / (levels - 1) over [-1, 1],
    P(x = k) = sum_i pi_i (sigmoid((x_k + h - mu_i) / s_i) - sigmoid((x_k - h - mu_i) / s_i)), h = 1 / (levels - 1),
    where the cells of the lowest and the highest level reach to minus and plus infinity.

    Args:
        raw: (*batch_shape, 3 * components): mixture logits, means, log scales; or (*batch_shape, 2): mean and log scale
            of a single component.
        levels: number of levels.

    References:
        PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications
        (Salimans et al., 2017), https://arxiv.org/abs/1701.05517. There the channels of a pixel share a mixture
        component; here each entry has a mixture of its own, so that every conditional is explicit. As there, log scales
        are bounded below by -7; with more than 256 levels by less, so that the bound is the same share of a level's width.

    >>> round(float(DiscretizedLogisticMixture(torch.zeros(6), levels=4).log_pmf().exp().sum()), 5)
    1.0
    """

    noises = 2  # the component, then its value
    MIN_LOG_SCALE = -7.0
    # Far beyond any fit; a cell of width exp(-MAX_LOG_SCALE) still has a logarithm in float32.
    MAX_LOG_SCALE = 50.0

    def __init__(self, raw: Tensor, levels: int) -> None:
        super().__init__(raw.shape[:-1])
        self.levels = levels
        self.logits, self.means, log_scales = _split_mixture(raw)
        lowest = self.MIN_LOG_SCALE - max(0.0, math.log((levels - 1) / 255))
        self.log_scales = log_scales.clamp(lowest, self.MAX_LOG_SCALE)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.levels - 1)

    def _component_log_prob(self, value: Tensor) -> Tensor:
        half = 1.0 / (self.levels - 1)
        value = value.to(self.means.dtype)[..., None]
        centered = value * (2.0 * half) - 1.0 - self.means
        inverse = torch.exp(-self.log_scales)
        upper, lower = inverse * (centered + half), inverse * (centered - half)
        # log(sigmoid(a) - sigmoid(b)) = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(b - a)): stable at both tails.
        width = (2.0 * half) * inverse
        inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        outer = torch.where(value < 0.5, F.logsigmoid(upper), inner)
        return torch.where(value > self.levels - 1.5, F.logsigmoid(-lower), outer)

    def log_prob(self, value: Tensor) -> Tensor:
        return _sum_components(self.logits, self._component_log_prob(value))

    def from_noise(self, noise: Tensor) -> Tensor:
        mean, log_scale = _pick_component(noise, self.logits, self.means, self.log_scales)
        y = mean + torch.exp(log_scale) * torch.logit(_above_0(noise[..., 1]))
        return ((y + 1.0) * ((self.levels - 1) / 2.0)).round().clamp(0, self.levels - 1).to(mean.dtype)

    def log_pmf(self) -> Tensor:
        # The terms of `log_prob` as probabilities, sigmoid(a) sigmoid(-b) (1 - exp(b - a)), each of which keeps its digits:
        # one exponential for each edge of a level.
        dtype, half = self.means.dtype, 1.0 / (self.levels - 1)
        edges = torch.arange(1, self.levels, dtype=dtype, device=self.means.device) * (2.0 * half) - 1.0 - half
        # Bounded, for no exponential to be infinite: a probability this small is made up for below.
        bound = -0.9 * math.log(torch.finfo(dtype).tiny)
        inverse = torch.exp(-self.log_scales)
        widths, weights = -torch.expm1(-(2.0 * half) * inverse), torch.softmax(self.logits, dim=-1)
        first, inner, last = (edges.new_zeros(()) for _ in range(3))
        for mean, scale, width, weight in zip(
            *(t.unsqueeze(-2).unbind(-1) for t in (self.means, inverse, widths, weights)), strict=True
        ):  # (..., 1) each
            ratio = torch.exp(((mean - edges) * scale).clamp(-bound, bound))  # (..., levels - 1)
            below = 1.0 / (1.0 + ratio)
            above = ratio * below
            first = first + weight * below[..., :1]
            inner = torch.addcmul(inner, below[..., 1:] * above[..., :-1], weight * width)
            last = last + weight * above[..., -1:]
        pmf = torch.cat((first, inner, last), dim=-1)  # (..., levels)
        found = pmf.log()
        lost = (pmf < torch.finfo(dtype).tiny ** 0.8) & ~pmf.isnan()
        if bool(lost.any()):
            place = lost.nonzero(as_tuple=True)
            raw = torch.cat((self.logits, self.means, self.log_scales), dim=-1)[place[:-1]]
            found[place] = DiscretizedLogisticMixture(raw, self.levels).log_prob(place[-1])
        return found

    @property
    def mean(self) -> Tensor:
        """The expected level."""
        levels = torch.arange(self.levels, dtype=self.means.dtype, device=self.means.device)
        return (self.log_pmf().exp() * levels).sum(-1)


class GaussianMixture(Output):
    r"""A mixture of Gaussians over a real entry: p(x) = sum_i pi_i N(x; mu_i, s_i^2).

    Args:
        raw: (*batch_shape, 3 * components): mixture logits, means, log standard deviations; or (*batch_shape, 2): mean
            and log standard deviation of a single component. Log deviations are bounded below, so that no component
            can shrink onto a datum without end.
        bounded: whether log deviations are bounded here, by -7; else by whoever made them.

    References:
        Mixture Density Networks (Bishop, 1994), https://publications.aston.ac.uk/id/eprint/373/.

    >>> round(float(GaussianMixture(torch.zeros(3)).log_prob(torch.tensor(0.0))), 4)
    -0.9189
    """

    support = constraints.real
    noises = 2  # the component, then its value
    MIN_LOG_SCALE = -7.0

    def __init__(self, raw: Tensor, bounded: bool = True) -> None:
        super().__init__(raw.shape[:-1])
        self.logits, self.means, log_scales = _split_mixture(raw)
        self.log_scales = log_scales.clamp(min=self.MIN_LOG_SCALE) if bounded else log_scales

    def log_prob(self, value: Tensor) -> Tensor:
        z = (value[..., None] - self.means) * torch.exp(-self.log_scales)
        component = -0.5 * (z * z + _LOG_2PI) - self.log_scales
        return _sum_components(self.logits, component)

    def from_noise(self, noise: Tensor) -> Tensor:
        mean, log_scale = _pick_component(noise, self.logits, self.means, self.log_scales)
        return mean + torch.exp(log_scale) * torch.special.ndtri(_above_0(noise[..., 1])).to(mean.dtype)

    def biased(self, bias: float) -> "GaussianMixture":
        weights = (self.logits * (1.0 + bias),) if self.logits.shape[-1] > 1 else ()
        return GaussianMixture(torch.cat((*weights, self.means, self.log_scales - bias), dim=-1), bounded=False)

    @property
    def mean(self) -> Tensor:
        """The expected value."""
        return (torch.softmax(self.logits, dim=-1) * self.means).sum(-1)
