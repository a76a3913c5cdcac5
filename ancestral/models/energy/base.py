"""What models with an unknown sum of states share: a log Z that is enumerated, or estimated once and kept with the weights."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import Unsupported
from ancestral.event import Event
from ancestral.likelihood import EXACT, NONE, Likelihood
from ancestral.models.base import Model
from ancestral.models.energy.annealing import AnnealingPath, LogPartition, annealed_log_weights, bennett, schedule

MAX_ENUMERATED = 20
"""Units of the smaller layer up to which log Z is summed over all of its states."""
CHUNK = 2**22
"""Activations held at once when states are enumerated."""
_PARTS = 1e9
"""Parts of a nat that a stored estimate is rounded to."""
_ROUGH_CHAINS = 100
"""Chains of the estimate of log Z at a validation, and their steps before they go back."""


class EnergyModel(Model):
    """A model with log p(v) = -F(v) - log Z, where log Z is one number.

    With few enough units log Z is enumerated. Otherwise it can be estimated (`ancestral partition`) and put with the weights,
    together with how it was made, by `set_partition`; it is an estimate of these weights, and used with no others.
    """

    family = "energy"
    partition: Tensor
    gibbs_steps: int
    """Steps of a chain to a sample."""
    annealing: int = 0
    """Distributions of the estimate of log Z at each validation."""

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__(event, condition)
        self._known: tuple[tuple[Tensor, ...], Tensor] | None = None
        self._rough: tuple[tuple[Tensor, ...], Tensor] | None = None
        # Whole numbers, so that no change of floating type rounds them: log Z and its standard error in parts of a nat,
        # chains (0 where there is no estimate), distributions, seed, and a digest of the weights that it is for.
        self.register_buffer("partition", torch.zeros(6, dtype=torch.int64))
        self.register_load_state_dict_post_hook(lambda module, keys: module.update_likelihood())  # type: ignore[no-untyped-call]

    # What a model says of its energy

    @abstractmethod
    def energy_parameters(self) -> Sequence[Tensor]:
        """Return the tensors that log Z is a function of."""

    @property
    @abstractmethod
    def enumerable(self) -> bool:
        """Whether log Z can be summed over all states."""

    @abstractmethod
    def enumerated_log_partition(self) -> Tensor:
        """Return log Z, nats, as a sum over all states of some units."""

    @abstractmethod
    def annealing_path(self, x: Tensor) -> AnnealingPath:
        """Return the path from independent units with the frequencies of data, (n, *event.shape), to the model."""

    @abstractmethod
    def chain_start(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the states that chains start from, (n, units), where units are those of the annealing path."""

    @abstractmethod
    def chain_steps(self, state: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the states after so many steps more, (n, units)."""

    @abstractmethod
    def chain_value(self, state: Tensor) -> Tensor:
        """Return the number by which states are watched, (n,): an energy, nats."""

    # Log Z

    def log_partition(self) -> Tensor:
        """Return log Z, nats: exact where it can be enumerated, else the estimate that is kept with the weights.

        Raises:
            Unsupported: if there is no estimate, or the weights have changed since it was made.
        """
        parameters = tuple(self.energy_parameters())
        if not (self.enumerable and torch.is_grad_enabled()) and self._known is not None:
            known, log_z = self._known
            # Compared by value: whatever changed the weights, a stale log Z is never used.
            if all(_identical(a, b) for a, b in zip(parameters, known, strict=True)):
                return log_z
        if self.enumerable:
            log_z = self.enumerated_log_partition()
        else:
            log_z = torch.tensor(self._estimate().value, dtype=self.dtype, device=self.device)
        self._known = tuple(p.detach().clone() for p in parameters), log_z.detach()
        return log_z

    def set_partition(self, estimate: LogPartition) -> None:
        """Keep an estimate of log Z with the weights that there are now; it is saved with them."""
        numbers = [round(estimate.value * _PARTS), round(estimate.standard_error * _PARTS)]
        numbers += [estimate.chains, estimate.distributions, estimate.seed, self._digest()]
        self.partition.copy_(torch.tensor(numbers))
        self._known = None
        self.update_likelihood()

    def kept_partition(self) -> LogPartition | None:
        """Return the estimate of log Z that is kept with these weights; None where there is none, or the weights changed."""
        value, error, chains, distributions, seed, digest = self.partition.tolist()
        if not chains or digest != self._digest():
            return None
        return LogPartition(value / _PARTS, error / _PARTS, chains, distributions, seed)

    def update_likelihood(self) -> None:
        """Say of the likelihood what it is with the weights that there are now."""
        estimate = None if self.enumerable else self.kept_partition()
        self.likelihood = EXACT if self.enumerable else NONE if estimate is None else self.likelihood_by(estimate)

    def likelihood_by(self, estimate: LogPartition) -> Likelihood:
        """Return what the likelihood is with an estimate of log Z."""
        note = f"log Z ± {estimate.standard_error:.2f} nats by AIS over {estimate.distributions} distributions"
        return Likelihood("estimate", samples=estimate.chains, note=note)

    def rough_log_partition(self, x: Tensor) -> Tensor:
        """Return an estimate of log Z, nats, for validation: 100 chains over `annealing` distributions, always the same noise.

        Half of the distributions are for the way to the model, half for the way back from states of its chains; each way alone
        would be off by nats, one too low and the other too high (`annealing.bennett`).

        Args:
            x: data, (n, *event.shape), that set what the chains start from, where these weights have no estimate yet.
        """
        parameters = tuple(self.energy_parameters())
        if self._rough is None or not all(_identical(a, b) for a, b in zip(parameters, self._rough[0], strict=True)):
            # Of thousands of small differences: in full precision, whatever validation runs in.
            with torch.autocast(self.device.type, enabled=False):
                generator = torch.Generator(device=self.device).manual_seed(0)
                path, steps = self.annealing_path(x), schedule(max(1, self.annealing // 2))
                there = annealed_log_weights(path, steps, _ROUGH_CHAINS, generator) - path.log_base
                start = self.chain_steps(self.near_model(x, _ROUGH_CHAINS, generator), _ROUGH_CHAINS, generator)
                back = annealed_log_weights(path, steps[::-1], _ROUGH_CHAINS, generator, start) - path.log_base
                log_z = torch.tensor(path.log_base + bennett(there, back), dtype=self.dtype, device=self.device)
            self._rough = tuple(p.detach().clone() for p in parameters), log_z
        return self._rough[1]

    def near_model(self, x: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Return states, (n, units), that are as close to the model's as can be had at once, given data of training."""
        return self.chain_start(n, generator)

    def _estimate(self) -> LogPartition:
        estimate = self.kept_partition()
        if estimate is not None:
            return estimate
        why = (
            "no estimate is kept with it" if not int(self.partition[2]) else "the weights have changed since it was estimated"
        )
        raise Unsupported(
            f"the partition function of this {self.name} is unknown: it has more than {MAX_ENUMERATED} units in its smaller"
            f" layer, and {why}; run `ancestral partition` on it to estimate log Z by annealed importance sampling, or use"
            " free_energy, -log p up to a constant, for differences"
        )

    def _digest(self) -> int:
        """Return 63 bits that tell weights from others, whatever floating type holds them."""
        digest = hashlib.sha256()
        for parameter in self.energy_parameters():
            digest.update(parameter.detach().double().cpu().numpy().tobytes())
        return int.from_bytes(digest.digest()[:8], "big") >> 1

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._known = self._rough = None  # another device or floating type
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


def enumerated(weight: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> Tensor:
    """Return log sum_{v, h} exp(b'v + c'h + h'Wv) of binary units, nats, as a sum over the states of the smaller layer.

    Args:
        weight: W, (hidden, visible).
        visible_bias: b, (visible,).
        hidden_bias: c, (hidden,).

    >>> enumerated(torch.zeros(3, 2), torch.zeros(2), torch.zeros(3)).exp().round()
    tensor(32.)
    """
    # Summing the other layer out of a state s of this one leaves exp(own's) prod(1 + exp(other + s W)).
    own, other, weight = visible_bias, hidden_bias, weight.T
    if len(hidden_bias) < len(visible_bias):
        own, other, weight = other, own, weight.T
    step = max(1, CHUNK // len(other))
    parts = [torch.logsumexp(s @ own + F.softplus(s @ weight + other).sum(1), dim=0) for s in states(len(own), own, step)]
    return torch.logsumexp(torch.stack(parts), dim=0)


def states(n: int, like: Tensor, step: int) -> Iterator[Tensor]:
    """Yield all states of `n` binary units, at most (step, n) at a time, of the type and on the device of a tensor.

    >>> [s.tolist() for s in states(2, torch.zeros(1), 3)]
    [[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0]]]
    """
    bits = torch.arange(n, device=like.device)
    for index in torch.arange(2**n, device=like.device).split(step):
        yield (index[:, None].bitwise_right_shift(bits) & 1).to(like.dtype)


def log_odds(x: Tensor) -> Tensor:
    """Return the log-odds, (d,), of binary data, (n, d), each counted as if one datum more had been 0 and one 1."""
    n = len(x)
    return torch.logit((x.sum(0) + 1.0) / (n + 2.0))


def _identical(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
