"""Generative moment matching network: a generator without a critic, trained on the maximum mean discrepancy."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_choice
from ancestral.models.adversarial.generation import GeneratorModel
from ancestral.models.adversarial.networks import make_generator
from ancestral.models.registry import register

STATISTICS = ("root", "biased", "unbiased")
"""Estimates of the discrepancy: the square root of the V-statistic, the V-statistic, the U-statistic."""


def gaussian_kernels(x: Tensor, y: Tensor, bandwidths: Sequence[float]) -> Tensor:
    r"""Return k(x_i, y_j) = sum_s exp(-||x_i - y_j||^2 / (2 s^2)), s the bandwidths.

    Args:
        x: (n, d).
        y: (m, d).
        bandwidths: in the unit of the data.

    Returns:
        (n, m).

    >>> gaussian_kernels(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [0.0, 2.0]]), (1.0, 2.0))
    tensor([[2.0000, 0.7419]])
    """
    squares = x.square().sum(1)[:, None] + y.square().sum(1) - 2.0 * x @ y.T  # (n, m)
    squares = squares.clamp(min=0.0)  # of a point and itself rounding may leave less
    return torch.stack([torch.exp(squares * (-0.5 / s**2)) for s in bandwidths]).sum(0)


def squared_mmd(x: Tensor, y: Tensor, bandwidths: Sequence[float], *, unbiased: bool = False) -> Tensor:
    r"""Return MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), k as in `gaussian_kernels`, estimated from samples.

    The V-statistic counts pairs of a sample with itself: it is never negative, and too large by about
    (E k(x, x) - E k(x, x')) / n + the same of y. The U-statistic leaves them out and is unbiased.

    Args:
        x: (n, d).
        y: (m, d).
        bandwidths: in the unit of the data.
        unbiased: whether to leave out pairs of a sample with itself; n and m are then at least 2.

    Returns:
        A scalar.

    References:
        A Kernel Two-Sample Test (Gretton, Borgwardt, Rasch, Scholkopf & Smola, 2012),
        https://jmlr.org/papers/v13/gretton12a.html, eqs. 3 and 5.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0]])
    >>> [round(float(squared_mmd(x, y, (1.0,), unbiased=unbiased)), 4) for unbiased in (False, True)]
    [0.0, -0.3935]
    """
    xx, yy, xy = (gaussian_kernels(a, b, bandwidths) for a, b in ((x, x), (y, y), (x, y)))
    if not unbiased:
        return xx.mean() + yy.mean() - 2.0 * xy.mean()
    within = [(k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    return within[0] + within[1] - 2.0 * xy.mean()


@register("gmmn")
class GMMN(GeneratorModel):
    r"""min_G MMD(data, G(z)), z uniform on [-1, 1]^latent: samples shall have all moments of data that a kernel sees.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), x data, y samples, k a sum of Gaussian kernels of several bandwidths. It is
    0 for equal distributions and no others. There is no critic and no game: one loss, which a batch of data and as many
    samples estimate. It feels each mode by its weight in the batch, so batches are large.

    Args:
        event: what a datum is.
        condition: None; moments of what depends on a condition are not matched.
        latent: length of z.
        network: mlp; conv, by DCGAN's rules; residual; or auto, conv for images of at least 8 x 8 and mlp else.
        hidden: mlp only: units of each hidden layer, input first.
        channels: conv and residual only: channels of each size, the largest first.
        activation: mlp only: nonlinearity.
        generator_normalization: batch, virtual-batch or none; auto is batch, and none for mlp.
        bandwidths: standard deviation of each kernel, in units of sqrt(numel) on the scale of `Event.to_network`: 1 is about
            the distance of a standardized datum from the mean.
        statistic: root, sqrt(MMD^2) from all pairs, whose gradient stays large near the end; biased, MMD^2 from all pairs;
            unbiased, MMD^2 without pairs of a datum with itself.

    Raises:
        InvalidInput: if an option is out of range, or does not fit the others.

    References:
        Generative Moment Matching Networks (Li, Swersky & Zemel, 2015), https://arxiv.org/abs/1502.02761. There pixels are in
        [0, 1] and bandwidths 2, 5, 10, 20, 40 and 80 on MNIST; the defaults are these in the unit here, 2 * 2 / sqrt(784) and
        so on. The variant in the code space of an autoencoder is not part of this model.
        Training generative neural networks via Maximum Mean Discrepancy optimization (Dziugaite, Roy & Ghahramani, 2015),
        https://arxiv.org/abs/1505.03906, for the unbiased statistic as a loss.

    >>> model = GMMN(Event.real((2,)), latent=2, hidden=(8,))
    >>> model.sample(3).shape
    torch.Size([3, 2])
    """

    summary = "generator that matches the moments of data, without a critic"
    reference = "Li et al. 2015"
    conditional = False
    training_defaults: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "batch_size": 500}
    examples = (
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "latent": 2, "hidden": (8,)},
        {"event": Event.integers((1, 2, 2), 5), "latent": 2, "hidden": (8, 8), "statistic": "unbiased"},
        {"event": Event.binary((5,)), "latent": 3, "hidden": (), "bandwidths": (0.3, 1.0), "statistic": "biased"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 10,
        network: str = "mlp",
        hidden: Sequence[int] = (64, 256, 256, 1024),
        channels: Sequence[int] = (64, 128, 256),
        activation: str = "relu",
        generator_normalization: str = "auto",
        bandwidths: Sequence[float] = (1 / 7, 5 / 14, 5 / 7, 10 / 7, 20 / 7, 40 / 7),
        statistic: str = "root",
    ) -> None:
        super().__init__(event, condition, latent=latent)
        check_choice("statistic", statistic, STATISTICS)
        if not bandwidths or not all(0.0 < s < math.inf for s in bandwidths):
            raise InvalidInput(
                f"bandwidths are positive numbers in units of sqrt(numel), got {tuple(bandwidths)}: give one or more"
            )
        self.statistic = statistic
        self.scales = tuple(s * math.sqrt(event.numel) for s in bandwidths)
        self.generator = make_generator(
            event,
            condition,
            latent,
            network=network,
            hidden=hidden,
            channels=channels,
            activation=activation,
            normalization=generator_normalization,
        )

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        uniform = torch.rand(n, self.latent, dtype=self.dtype, device=self.device, generator=generator)
        return 2.0 * uniform - 1.0

    def of_normal(self, u: Tensor) -> Tensor:
        return torch.erf(u / math.sqrt(2.0))  # twice the distribution function, less 1

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        if len(x) < 2:
            raise InvalidInput(f"moments are of at least 2 data in a batch, got {len(x)}: raise --train.batch_size")
        real = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        fake = self.generate(self.noise(len(x), generator))  # (b, d)
        # Differences of means of kernels need more digits than bf16 has.
        with torch.autocast(real.device.type, enabled=False):
            discrepancy = squared_mmd(real, fake, self.scales, unbiased=self.statistic == "unbiased")
            if self.statistic == "root":
                discrepancy = discrepancy.clamp(min=1e-12).sqrt()
        return {"loss": discrepancy}
