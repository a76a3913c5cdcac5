"""Restricted Boltzmann machine over real data: Gaussian visible units, binary hidden ones."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.layers.mlp import check_choice
from ancestral.likelihood import Likelihood
from ancestral.models.energy.annealing import AnnealingPath, BipartitePath, coins
from ancestral.models.energy.base import CHUNK, MAX_ENUMERATED, states
from ancestral.models.energy.rbm import RBM
from ancestral.models.registry import register

VARIANCES = ("unit", "learned")
_LOG_2PI = math.log(2.0 * math.pi)


@register("gaussian-rbm")
class GaussianRBM(RBM):
    r"""p(v) = exp(-F(v)) / Z, F(v) = sum_i (v_i - b_i)^2 / (2 s_i^2) - sum_j log(1 + exp(c_j + W_j (v / s))).

    Given the hidden units v is Gaussian, N(b + s W'h, s^2), so that p(v) is a mixture of 2^hidden Gaussians of one covariance,
    whose means are sums of the same vectors. v is a datum as `Event.to_network` scales it, standardized; the density is that
    of the data.

    With at most 20 hidden units Z is a sum over their states, and the likelihood exact; otherwise as for `rbm`. Validation
    measures the squared error of the mean of p(v | h), or the nats where Z is known or `annealing` is given.

    Args:
        event: a real event.
        condition: must be None.
        hidden: hidden units.
        cd_steps: k, steps of Gibbs sampling to each negative sample.
        persistent: go on from the chains of the last update instead of the data.
        chains: number of persistent chains.
        temperatures: inverse temperatures of parallel tempering, as of `rbm`.
        gibbs_steps: steps of Gibbs sampling to a sample, from the persistent chains or from N(0, 1).
        annealing: distributions of an estimate of log Z at each validation; 0 for none.
        variance: s of each visible unit: "unit", 1, or "learned", as log s.

    Raises:
        InvalidInput: if an option is out of range, or the event is not real.

    References:
        Reducing the Dimensionality of Data with Neural Networks (Hinton & Salakhutdinov, 2006),
        https://doi.org/10.1126/science.1127647, with unit variance.
        Improved Learning of Gaussian-Bernoulli Restricted Boltzmann Machines (Cho, Ilin & Raiko, 2011),
        https://doi.org/10.1007/978-3-642-21735-7_2, for the learned variance, of which the weights here are the energy's
        per s and not per s^2.

    >>> model = GaussianRBM(Event.real((1,)), hidden=4)
    >>> x = torch.linspace(-20.0, 20.0, 4001)[:, None]
    >>> round(float(model.log_prob(x).exp().sum().detach()) * 0.01, 4)
    1.0
    """

    summary = "energy over real data with a layer of binary hidden units: a mixture of exponentially many Gaussians"
    reference = "Hinton & Salakhutdinov 2006"
    takes = ("real",)
    monitor = "reconstruction"
    likelihood = Likelihood(
        "none", note=f"exact with at most {MAX_ENUMERATED} hidden units, an estimate once log Z is estimated"
    )
    examples = (
        {"event": Event.real((2,)), "hidden": 3, "gibbs_steps": 20},
        {
            "event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)),
            "hidden": 3,
            "variance": "learned",
            "persistent": True,
            "chains": 8,
            "temperatures": 3,
            "gibbs_steps": 20,
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: int = 500,
        cd_steps: int = 1,
        persistent: bool = False,
        chains: int = 100,
        temperatures: int = 1,
        gibbs_steps: int = 1000,
        annealing: int = 0,
        variance: str = "unit",
    ) -> None:
        super().__init__(
            event,
            condition,
            hidden=hidden,
            cd_steps=cd_steps,
            persistent=persistent,
            chains=chains,
            temperatures=temperatures,
            gibbs_steps=gibbs_steps,
            annealing=annealing,
        )
        check_choice("variance", variance, VARIANCES)
        self.log_scale = nn.Parameter(torch.zeros(event.numel)) if variance == "learned" else None
        if self.enumerable:
            self.monitor = "nats"

    # The energy and its conditionals

    @property
    def scale(self) -> Tensor:
        """s, (numel,), on the scale of `Event.to_network`."""
        return torch.ones_like(self.visible_bias) if self.log_scale is None else self.log_scale.exp()

    def _hidden_logits(self, v: Tensor) -> Tensor:
        return super()._hidden_logits(v / self.scale)

    def _visible_mean(self, h: Tensor) -> Tensor:
        return self.visible_bias + self.scale * F.linear(h, self.weight.T).to(self.dtype)  # (b, d)

    def _free_energy(self, v: Tensor) -> Tensor:
        squares = ((v - self.visible_bias) / self.scale).square().sum(1)
        # The Jacobian of `Event.to_network` makes it an energy of the data.
        return 0.5 * squares - F.softplus(self._hidden_logits(v)).sum(1) + self._log_jacobian

    @property
    def _log_jacobian(self) -> float:
        return math.fsum(math.log(s) for s in self.event.scale or ())

    def _fresh(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(n, self.event.numel, dtype=self.dtype, device=self.device, generator=generator)

    def _draw_visible(self, h: Tensor, generator: torch.Generator | None) -> Tensor:
        return self._visible_mean(h) + self.scale * self._fresh(len(h), generator)

    def visible_given_hidden(self, h: Tensor) -> Tensor:
        return self._visible_mean(h.to(self.dtype)).view(-1, *self.event.shape)

    # Log Z

    @property
    def enumerable(self) -> bool:
        return self.hidden <= MAX_ENUMERATED

    def energy_parameters(self) -> tuple[Tensor, ...]:
        return *super().energy_parameters(), *(() if self.log_scale is None else (self.log_scale,))

    def enumerated_log_partition(self) -> Tensor:
        # Given h the integral over v is a Gaussian's: c'h + sum_i ((W'h)_i^2 / 2 + (W'h)_i b_i / s_i + log(s_i sqrt(2 pi))).
        log_scales = self.scale.log().sum() + 0.5 * self.event.numel * _LOG_2PI
        step, parts = max(1, CHUNK // self.event.numel), []
        for h in states(self.hidden, self.weight, step):  # (step, hidden)
            shift = h @ self.weight  # (step, d)
            exponent = h @ self.hidden_bias + 0.5 * shift.square().sum(1) + shift @ (self.visible_bias / self.scale)
            parts.append(torch.logsumexp(exponent, dim=0))
        return torch.logsumexp(torch.stack(parts), dim=0) + log_scales

    @torch.no_grad()
    def annealing_path(self, x: Tensor) -> AnnealingPath:
        return self._path(self._visible(x).mean(0))

    def _path(self, base: Tensor) -> BipartitePath:
        parts = (self.weight, self.visible_bias, self.hidden_bias, base, self.scale)
        return GaussianPath(*(part.detach() for part in parts))

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "reconstruction", ||v - E[v | h]||^2 with h drawn from p(h | v), and "nats" as `rbm` does."""
        v = self._visible(x)
        mean = self._visible_mean(coins(self._hidden_logits(v), generator))
        return {**self._nats(x), "reconstruction": (v - mean).square().sum(1)}


class GaussianPath(BipartitePath):
    r"""f_t(v) = exp(-sum_i ((1 - t)(v_i - a_i)^2 + t (v_i - b_i)^2) / (2 s_i^2)) prod_j (1 + exp(t (c_j + W_j (v / s)))).

    Args:
        weight: W, (hidden, visible).
        visible_bias: b, (visible,).
        hidden_bias: c, (hidden,).
        base: a, (visible,), such as the mean of the training data.
        scale: s, (visible,).
    """

    def __init__(self, weight: Tensor, visible_bias: Tensor, hidden_bias: Tensor, base: Tensor, scale: Tensor) -> None:
        super().__init__(weight, visible_bias, hidden_bias, base)
        self.scale = scale
        self.transposed = (weight / scale).T.contiguous()  # of v to hidden units
        self.weight = weight * scale  # of hidden units to the mean of v
        self.difference = (visible_bias - base) / scale.square()
        self.offset = float(((base.square() - visible_bias.square()) / (2.0 * scale.square())).sum())
        self.log_base = float(scale.double().log().sum()) + 0.5 * len(scale) * _LOG_2PI + self.log_hidden_base

    def _draw_base(self, chains: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn(chains, len(self.base), dtype=self.base.dtype, device=self.base.device, generator=generator)
        return self.base + self.scale * noise

    def log_ratio(self, state: tuple[Tensor, Tensor], before: float, after: float) -> Tensor:
        return super().log_ratio(state, before, after) + (after - before) * self.offset

    def _write_visible(self, v: Tensor, mean: Tensor, noise: Tensor, generator: torch.Generator) -> None:
        torch.addcmul(mean, noise.normal_(generator=generator), self.scale, out=v)

    def log_value(self, v: Tensor, logits: Tensor, t: Tensor) -> Tensor:
        return super().log_value(v, logits, t) + t * self.offset

    def draw_visible(self, h: Tensor, t: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean = torch.lerp(self.base, self.bias, t) + t * (h @ self.weight)
        noise = torch.empty_like(mean).normal_(generator=generator)
        return mean + self.scale * noise
