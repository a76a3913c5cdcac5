"""Annealed importance sampling: the likelihood of a decoder, with bounds from both sides on data that it drew itself."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.errors import InvalidInput
from ancestral.layers.mlp import check_choice
from ancestral.verbs.decoders import Decoder, open_decoder
from ancestral.verbs.inputs import Named, check_counts, evaluating, first_data, open_data, open_model, track

SCHEDULES = ("sigmoid", "linear")
"""How inverse temperatures go from 0 to 1; sigmoid spends more of them near both ends."""
SLOPE = 4.0
"""The sigmoid is taken from -4 to 4."""
ACCEPTED = 0.65
"""Share of proposals that step sizes are adapted to."""
START = 0.2
"""Step size that is begun with."""
GAIN = 0.3
"""By how much a step size changes at a temperature, in log, for each unit that the share is off."""
SIGMAS = tuple(0.01 * 2.0 ** (i / 2) for i in range(12))
"""Standard deviations that are tried on validation data, on the scale of `Event.dequantize`."""
CHOOSING = {"steps": 100, "chains": 2, "limit": 50}
"""How each of them is tried."""


@dataclass(frozen=True)
class Annealed:
    """A likelihood by annealed importance sampling, with what says how far it can be trusted.

    Args:
        model: the model's name.
        data: name of the data.
        split: the split that was read.
        kind: "lower bound": stochastic; true in expectation, and within e^k with probability 1 - e^-k.
        observation: the distribution of data given a code, and what the figure is a density or a probability of.
        nats: the mean over data of the lower bound on log p.
        standard_error: of it, over data.
        count: data.
        lower: the same for data that the model drew itself.
        upper: their upper bound, from chains that go back from the codes that they were drawn from.
        gap: upper - lower, the mean: by how much the bounds are apart, at most, where the model is right.
        gap_error: its standard error, over data.
        simulated: data that the model drew.
        steps: temperatures.
        chains: of each datum.
        leapfrogs: steps along the gradient in a proposal.
        schedule: of the temperatures.
        accepted: share of proposals that were accepted on the split.
    """

    model: str
    data: str
    split: str
    kind: str
    observation: str
    nats: float
    standard_error: float | None
    count: int
    lower: float
    upper: float
    gap: float
    gap_error: float | None
    simulated: int
    steps: int
    chains: int
    leapfrogs: int
    schedule: str
    accepted: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        gap = "" if self.gap_error is None else f" ± {self.gap_error:.2f}"
        return (
            f"{self.model} on {self.data} ({self.split}, {self.count} data): log p {self.nats:.2f}{error} nats, stochastic"
            f" {self.kind}\n{self.observation}\n{self.chains} chains of {self.steps} temperatures ({self.schedule}),"
            f" {self.leapfrogs} leapfrog steps, {self.accepted:.0%} accepted\non {self.simulated} data that the model drew:"
            f" between {self.lower:.2f} and {self.upper:.2f}, gap {self.gap:.2f}{gap}"
        )


def ais(
    model: Named,
    data: Data | str | None = None,
    split: str = "test",
    *,
    observation: str = "auto",
    sigma: float | None = None,
    steps: int = 1000,
    chains: int = 16,
    leapfrogs: int = 10,
    schedule: str = "sigmoid",
    limit: int | None = 100,
    simulated: int = 20,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Annealed:
    """Bound log p(x) = log of the integral of p(x | z) p(z) dz by annealed importance sampling, for a decoder.

    Chains of codes start at draws from p(z), and go through distributions proportional to p(z) p(x | z)^b, b rising to 1, by
    Hamiltonian Monte Carlo. Step sizes are adapted beforehand, at each temperature, in a run of its own, and then kept: the
    weights of the chains stay unbiased.

    Args:
        model: the model, or its zoo name, run directory or hub repository: a latent variable model whose codes are real, or a
            generator of noise, such as a GAN.
        data: the data; what the model was trained on where None.
        split: name of the split.
        observation: p(x | z): "own", the model's own head; "gaussian", N(G(z), sigma^2) around the mean that the decoder
            gives, on the scale of `Event.dequantize`; "auto", the first where the model has one.
        sigma: of the Gaussian; chosen on validation data, of a few values, where None.
        steps: temperatures.
        chains: of each datum.
        leapfrogs: steps along the gradient in each proposal.
        schedule: of the temperatures, one of `SCHEDULES`.
        limit: data used, the first ones; all where None.
        simulated: data that are drawn from the model, on which bounds from both sides are compared.
        batch_size: data whose chains run at once; so many that they fit into memory where None.
        seed: seed of the chains, of noise that dequantizes, and of what is drawn.
        progress: show a progress bar.

    Raises:
        Unsupported: if the model is none of a real code.
        InvalidInput: if an option is out of range.

    References:
        On the Quantitative Analysis of Decoder-Based Generative Models (Wu, Burda, Salakhutdinov & Grosse, 2017),
        https://arxiv.org/abs/1611.04273. There step sizes are adapted while the weights are collected, and 10,000
        temperatures are used.
        Sandwiching the marginal likelihood using bidirectional Monte Carlo (Grosse, Ghahramani & Adams, 2015),
        https://arxiv.org/abs/1511.02543, for the gap.
    """
    check_counts(steps=steps, chains=chains, leapfrogs=leapfrogs, limit=limit, simulated=simulated, batch_size=batch_size)
    check_choice("schedule", schedule, SCHEDULES)
    if sigma is not None and not 0.0 < sigma < math.inf:
        raise InvalidInput(f"sigma is {sigma}, expected a positive standard deviation, such as 0.1")
    subject = open_model(model)
    data = open_data(data, subject)
    decoder = open_decoder(subject, observation, sigma)
    annealer = Annealer(schedule_of(schedule, steps), chains, leapfrogs, batch_size, seed, progress)
    with evaluating(subject.model):
        if decoder.sigma is not None and sigma is None:
            decoder = replace(decoder, sigma=choose_sigma(decoder, data, schedule, leapfrogs, seed))
        x, condition = first_data(data, split, limit, seed)
        found, accepted = annealer.forward(decoder, decoder.prepared(x, seed), condition)
        rows = torch.randint(len(x), (simulated,), generator=torch.Generator().manual_seed(seed))
        given = None if condition is None else condition[rows]
        generator = torch.Generator(device=subject.model.device).manual_seed(seed + 1)
        z, drawn = decoder.simulated(simulated, given, generator)
        lower, _ = annealer.forward(decoder, drawn, given)
        upper = annealer.backward(decoder, drawn, given, z)
    gap = upper - lower
    return Annealed(
        model=subject.name,
        data=data.name,
        split=split,
        kind="lower bound",
        observation=decoder.described,
        nats=float(found.mean()),
        standard_error=_error(found),
        count=len(found),
        lower=float(lower.mean()),
        upper=float(upper.mean()),
        gap=float(gap.mean()),
        gap_error=_error(gap),
        simulated=simulated,
        steps=steps,
        chains=chains,
        leapfrogs=leapfrogs,
        schedule=schedule,
        accepted=accepted,
    )


def choose_sigma(
    decoder: Decoder,
    data: Data,
    schedule: str = "sigmoid",
    leapfrogs: int = 10,
    seed: int = 0,
    sigmas: Sequence[float] = SIGMAS,
) -> float:
    """Return the standard deviation, of some, under which the first validation data are likeliest, by short chains."""
    x, condition = first_data(data, "validation", CHOOSING["limit"], seed)
    x = decoder.prepared(x, seed)
    annealer = Annealer(schedule_of(schedule, CHOOSING["steps"]), CHOOSING["chains"], leapfrogs, None, seed)
    found = [float(annealer.forward(replace(decoder, sigma=sigma), x, condition)[0].mean()) for sigma in sigmas]
    return sigmas[max(range(len(sigmas)), key=found.__getitem__)]


def _error(values: Tensor) -> float | None:
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None


def schedule_of(name: str, steps: int) -> Tensor:
    """Return inverse temperatures from 0 to 1, (steps + 1,), in double precision.

    >>> schedule_of("linear", 2).tolist(), [round(b, 3) for b in schedule_of("sigmoid", 4).tolist()]
    ([0.0, 0.5, 1.0], [0.0, 0.105, 0.5, 0.895, 1.0])
    """
    line = torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)
    if name == "linear":
        return line
    curve = torch.sigmoid(SLOPE * (2.0 * line - 1.0))
    return (curve - curve[0]) / (curve[-1] - curve[0])


@dataclass
class Annealer:
    """Chains of codes through temperatures, by Hamiltonian Monte Carlo.

    Args:
        betas: inverse temperatures, (steps + 1,), from 0 to 1.
        chains: of each datum.
        leapfrogs: steps along the gradient in each proposal.
        batch_size: data whose chains run at once; so many that they fit into memory where None.
        seed: seed of the chains.
        progress: show a progress bar of the temperatures of each batch.
    """

    betas: Tensor
    chains: int
    leapfrogs: int
    batch_size: int | None = None
    seed: int = 0
    progress: bool = False

    @torch.no_grad()
    def forward(self, decoder: Decoder, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, float]:
        """Return a stochastic lower bound on log p of data, (n,), nats, on the CPU; and the share of proposals accepted.

        The mean over chains of their weights is an unbiased estimate of p(x), so that its log lies below in expectation.

        Args:
            decoder: the model of data given codes.
            x: data as `Decoder.prepared` gives them, (n, ...).
            condition: (n, *condition.shape), where the model has one.
        """
        bounds, shares = [], []
        for part, given, generator in self._parts(decoder, x, condition):
            sizes = self._adapted(decoder, part, given, generator)
            chain = _Chain(decoder, *_repeated(part, given, self.chains), generator)
            z = chain.prior()
            weights = torch.zeros(len(z), dtype=torch.float64, device=z.device)
            for t in self._tracked(range(1, len(self.betas)), "annealing"):
                weights += float(self.betas[t] - self.betas[t - 1]) * chain.log_likelihood(z)
                z, accepted = chain.step(z, float(self.betas[t]), sizes[t], self.leapfrogs)
                shares.append(float(accepted.mean()))
            bounds.append(_log_mean(weights, self.chains))
        return torch.cat(bounds).cpu(), sum(shares) / len(shares)

    @torch.no_grad()
    def backward(self, decoder: Decoder, x: Tensor, condition: Tensor | None, z: Tensor) -> Tensor:
        """Return a stochastic upper bound on log p of data, (n,), nats, on the CPU.

        The data were drawn from the model, so that the codes that they were drawn from are exact draws from p(z | x). Chains
        from there, back to p(z), have weights whose mean is an unbiased estimate of 1 / p(x).

        Args:
            decoder: the model of data given codes.
            x: data that `Decoder.simulated` drew, (n, ...).
            condition: (n, *condition.shape), where the model has one.
            z: their codes, (n, latent).
        """
        bounds, done = [], 0
        for part, given, generator in self._parts(decoder, x, condition):
            sizes = self._adapted(decoder, part, given, generator)
            chain = _Chain(decoder, *_repeated(part, given, self.chains), generator)
            codes, done = z[done : done + len(part)].repeat_interleave(self.chains, dim=0), done + len(part)
            weights = torch.zeros(len(codes), dtype=torch.float64, device=codes.device)
            for t in self._tracked(range(len(self.betas) - 1, 0, -1), "going back"):
                codes, _ = chain.step(codes, float(self.betas[t]), sizes[t], self.leapfrogs)
                weights -= float(self.betas[t] - self.betas[t - 1]) * chain.log_likelihood(codes)
            bounds.append(-_log_mean(weights, self.chains))
        return torch.cat(bounds).cpu()

    def _tracked(self, steps: range, what: str) -> Iterator[int]:
        return track(steps, what, len(steps), progress=self.progress)

    def _parts(
        self, decoder: Decoder, x: Tensor, condition: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor | None, torch.Generator]]:
        size = self.batch_size or max(1, decoder.rows // self.chains)
        generator = torch.Generator(device=decoder.device).manual_seed(self.seed)
        given = [None] * len(x) if condition is None else list(condition.split(size))
        for part, one in zip(x.split(size), given, strict=False):
            yield part.to(decoder.device), None if one is None else one.to(decoder.device), generator

    def _adapted(self, decoder: Decoder, x: Tensor, condition: Tensor | None, generator: torch.Generator) -> list[Tensor]:
        """Return a step size for each datum at each temperature, (n chains,) each, from one chain of its own."""
        chain = _Chain(decoder, x, condition, generator)
        z = chain.prior()
        log_size = torch.full((len(x),), math.log(START), dtype=torch.float64, device=z.device)
        sizes = [log_size.exp()]
        for t in range(1, len(self.betas)):
            z, accepted = chain.step(z, float(self.betas[t]), log_size.exp(), self.leapfrogs)
            log_size = log_size + GAIN * (accepted - ACCEPTED)
            sizes.append(log_size.exp())
        return [size.repeat_interleave(self.chains) for size in sizes]


def _repeated(x: Tensor, condition: Tensor | None, chains: int) -> tuple[Tensor, Tensor | None]:
    return x.repeat_interleave(chains, 0), None if condition is None else condition.repeat_interleave(chains, 0)


def _log_mean(weights: Tensor, chains: int) -> Tensor:
    return torch.logsumexp(weights.view(-1, chains), dim=1) - math.log(chains)


class _Chain:
    """Codes of rows of data, and their moves.

    Args:
        decoder: the model of data given codes.
        x: data, (rows, ...).
        condition: (rows, *condition.shape), or None.
        generator: source of randomness.
    """

    def __init__(self, decoder: Decoder, x: Tensor, condition: Tensor | None, generator: torch.Generator) -> None:
        self.decoder, self.x, self.condition, self.generator = decoder, x, condition, generator

    def prior(self) -> Tensor:
        """Return draws from p(z), (rows, latent)."""
        return self.decoder.draw_prior(len(self.x), self.condition, self.generator)

    def log_likelihood(self, z: Tensor) -> Tensor:
        """Return log p(x | z), (rows,), in double precision."""
        return self.decoder.log_likelihood(self.x, z, self.condition).double()

    def _energy(self, z: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """Return -log p(z) - beta log p(x | z), (rows,), and its gradient, (rows, latent)."""
        with torch.enable_grad():
            z = z.detach().requires_grad_(True)
            prior = self.decoder.log_prior(z, self.condition).double()
            energy = -prior - beta * self.decoder.log_likelihood(self.x, z, self.condition).double()
            (gradient,) = torch.autograd.grad(energy.sum(), z)
        return energy.detach(), gradient

    def step(self, z: Tensor, beta: float, size: Tensor, leapfrogs: int) -> tuple[Tensor, Tensor]:
        """Return codes after a move that leaves p(z) p(x | z)^beta as it is, and how likely each was to be accepted.

        Args:
            z: (rows, latent).
            beta: inverse temperature.
            size: of the leapfrog steps, (rows,).
            leapfrogs: their number.
        """
        step = size.to(z.dtype)[:, None]
        p = torch.randn(z.shape, dtype=z.dtype, device=z.device, generator=self.generator)
        energy, gradient = self._energy(z, beta)
        start = energy + 0.5 * p.double().square().sum(1)
        proposed = z
        for _ in range(leapfrogs):
            p = p - 0.5 * step * gradient
            proposed = proposed + step * p
            energy, gradient = self._energy(proposed, beta)
            p = p - 0.5 * step * gradient
        change = start - energy - 0.5 * p.double().square().sum(1)
        # A path that left all bounds is refused.
        chance = torch.where(change.isfinite(), change.clamp(max=0.0).exp(), torch.zeros_like(change))
        drawn = torch.rand(len(z), dtype=torch.float64, device=z.device, generator=self.generator)
        return torch.where((drawn < chance)[:, None], proposed, z), chance
