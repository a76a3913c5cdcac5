"""Deep energy model: a network is the energy, samples are Langevin dynamics, and a buffer keeps its chains."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import MLP, check_choice, check_sizes
from ancestral.likelihood import Likelihood
from ancestral.models.base import Model
from ancestral.models.registry import register

ACTIVATIONS = ("silu", "softplus", "elu", "tanh", "gelu")
"""Smooth ones: Langevin dynamics follows the gradient of the energy, and the Hyvärinen score its curvature."""


@register("deep-energy")
class DeepEnergy(Model):
    r"""p(v) = exp(-E(v)) / Z, E(v) = f(v) + ||v||^2 / (2 r^2), f a network.

    The quadratic term makes Z finite where f is bounded from below or grows slower. v is a datum as `Event.to_network` scales
    it; numbers of a discrete event are spread over their cells by uniform noise.

    Training descends mean E(data) - mean E(samples) + regularization (mean E(data)^2 + mean E(samples)^2) / 2. Samples are
    where chains of Langevin dynamics, v <- v - s^2 / 2 grad E(v) + s noise, are after some steps from states of a buffer of
    earlier samples, of which a share is put back to noise. Steps of a finite size have another distribution than p, and chains
    forget slowly: samples are no exact draws.

    There is no likelihood: `free_energy` gives -log p up to a constant, for ranks and differences. Validation minimises the
    Hyvärinen score, which is least for the true density whatever Z is.

    Args:
        event: a real or integer event.
        condition: must be None.
        hidden: units of each hidden layer of f.
        activation: silu, softplus, elu, tanh or gelu.
        radius: r, in units of v, whose entries are about 1 in size.
        step_size: s, in units of v.
        langevin_steps: steps to each negative sample.
        buffer: samples that are kept.
        fresh: share of the negative samples that start from noise, in [0, 1].
        regularization: weight of the squared energies, which keeps them near 0.
        sample_steps: steps to a sample, from the buffer.

    Raises:
        InvalidInput: if an option is out of range.

    References:
        Learning Deep Energy Models (Ngiam, Chen, Koh & Ng, 2011), https://icml.cc/2011/papers/557_icmlpaper.pdf. There the
        energy is a sum over the units of a top layer, and samples are from Hamiltonian dynamics.
        Implicit Generation and Modeling with Energy-Based Models (Du & Mordatch, 2019), https://arxiv.org/abs/1903.08689, for
        the buffer and the regularization. There the noise is smaller than the steps ask for, and networks have spectral norms.
        Estimation of Non-Normalized Statistical Models by Score Matching (Hyvärinen, 2005),
        https://jmlr.org/papers/v6/hyvarinen05a.html, for the score.

    >>> model = DeepEnergy(Event.real((2,)), hidden=(8,))
    >>> model.free_energy(torch.zeros(3, 2)).shape
    torch.Size([3])
    """

    family = "energy"
    summary = "density up to a constant by a network, sampled by Langevin dynamics"
    reference = "Du & Mordatch 2019"
    takes = ("integer", "real")
    conditional = False
    monitor = "hyvarinen"
    likelihood = Likelihood("none", note="log p up to a constant")
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100, "clip": 1.0}
    examples = (
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "hidden": (8,), "buffer": 50, "sample_steps": 5},
        {"event": Event.integers((1, 2, 2), 4), "hidden": (8, 8), "activation": "softplus", "buffer": 50, "sample_steps": 5},
    )

    chain: Tensor

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (256, 256),
        activation: str = "silu",
        radius: float = 3.0,
        step_size: float = 0.1,
        langevin_steps: int = 60,
        buffer: int = 10_000,
        fresh: float = 0.05,
        regularization: float = 0.0,
        sample_steps: int = 1000,
    ) -> None:
        super().__init__(event, condition)
        check_choice("activation", activation, ACTIVATIONS)
        counts = {"langevin_steps": langevin_steps, "buffer": buffer, "sample_steps": sample_steps}
        for what, count in counts.items():
            check_sizes(what, (count,))
        for what, value in {"radius": radius, "step_size": step_size}.items():
            if not 0.0 < value < math.inf:
                raise InvalidInput(f"{what} is {value}, expected a positive number")
        if not 0.0 <= fresh <= 1.0:
            raise InvalidInput(f"fresh is {fresh}, expected a share in [0, 1]")
        if regularization < 0.0:
            raise InvalidInput(f"regularization is {regularization}, expected at least 0")
        self.network = MLP(event.numel, tuple(hidden), 1, activation)
        self.network.layers[-1].register_parameter("bias", None)  # a constant of the energy is part of log Z
        self.radius, self.step_size, self.langevin_steps = radius, step_size, langevin_steps
        self.fresh, self.regularization, self.gibbs_steps = fresh, regularization, sample_steps
        # Saved with the weights: a resumed run goes on with its chains, and samples start from them.
        self.register_buffer("chain", torch.randn(buffer, event.numel))

    # The energy

    def energy(self, v: Tensor) -> Tensor:
        """Return E(v), (batch,), nats, for v, (batch, numel), on the scale of `Event.to_network`."""
        return self.network(v)[:, 0].to(self.dtype) + v.square().sum(1) / (2.0 * self.radius**2)

    def free_energy(self, x: Tensor) -> Tensor:
        """Return -log p(x) up to a constant, (batch,), nats, for data, (batch, *event.shape)."""
        return self.energy(self.event.to_network(x, self.dtype).flatten(1))

    def langevin(self, v: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """Return v, (batch, numel), after so many steps of Langevin dynamics."""
        v = v.detach()
        for _ in range(steps):
            with torch.enable_grad():
                v.requires_grad_()
                (slope,) = torch.autograd.grad(self.energy(v).sum(), v)
            noise = torch.randn(v.shape, dtype=v.dtype, device=v.device, generator=generator)
            v = v.detach() - 0.5 * self.step_size**2 * slope + self.step_size * noise
        return v.detach()

    # Chains

    def chain_start(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return states of the buffer, (n, numel)."""
        return self.chain[torch.randint(len(self.chain), (n,), device=self.device, generator=generator)].to(self.dtype)

    def chain_steps(self, state: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """Return states after so many steps of Langevin dynamics, (n, numel)."""
        return self.langevin(state, steps, generator)

    def chain_value(self, state: Tensor) -> Tensor:
        """Return the energy of states, (n,)."""
        return self.energy(state)

    # Primitives

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_condition(condition, n)
        v = self.langevin(self.chain_start(n, generator), self.gibbs_steps, generator)
        return self.event.from_network(v.view(n, *self.event.shape)).to(self.event.dtype)

    # Training

    def _spread(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return data on the scale of the network, (b, d), numbers spread over their cells."""
        v = self.event.to_network(x, self.dtype).flatten(1)
        if self.event.levels is None:
            return v
        noise = torch.rand(v.shape, dtype=v.dtype, device=v.device, generator=generator)
        return v + (2.0 * noise - 1.0) / (self.event.levels - 1)

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        v = self._spread(x, generator)
        chosen = torch.randint(len(self.chain), (len(v),), device=self.device, generator=generator)
        noise = torch.randn(v.shape, dtype=v.dtype, device=v.device, generator=generator)
        anew = torch.rand(len(v), 1, dtype=v.dtype, device=v.device, generator=generator) < self.fresh
        negative = self.langevin(torch.where(anew, noise, self.chain[chosen].to(v.dtype)), self.langevin_steps, generator)
        if self.training:
            self.chain[chosen] = negative.to(self.chain.dtype)
        energies = self.energy(torch.cat((v, negative)))
        positive, contrast = energies[: len(v)].mean(), energies[len(v) :].mean()
        size = energies.square().mean()
        return {
            "loss": positive - contrast + self.regularization * size,
            "energy": positive.detach(),
            "gap": (contrast - positive).detach(),
        }

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "hyvarinen", ||grad log p||^2 / 2 + trace of the Hessian of log p, by one random direction for each datum."""
        v = self._spread(x, generator)
        direction = torch.randn(v.shape, dtype=v.dtype, device=v.device, generator=generator)
        with torch.enable_grad():
            v = v.detach().requires_grad_()
            (score,) = torch.autograd.grad(-self.energy(v).sum(), v, create_graph=True)
            (curvature,) = torch.autograd.grad((score * direction).sum(), v)
        return {"hyvarinen": 0.5 * score.detach().square().sum(1) + (curvature * direction).sum(1)}
