"""The partition function of an energy model: log Z, estimated by annealed importance sampling and kept with the weights."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ancestral.data import Data
from ancestral.errors import InvalidInput, Unsupported
from ancestral.models import registry, store
from ancestral.models.energy.annealing import LogPartition, annealed_log_weights, bennett, log_mean, schedule
from ancestral.models.energy.base import EnergyModel
from ancestral.verbs.inputs import Named, batches, check_counts, evaluating, open_data, open_model, track
from ancestral.zoo import find


@dataclass(frozen=True)
class Partition:
    """log Z of a model, with what is needed to read it.

    Args:
        model: the model's name.
        log_z: the estimate, nats.
        standard_error: of `log_z`, by the spread of the chains' weights, nats.
        low: log(Z_hat - 3 standard errors of Z_hat), nats; None where that is not positive.
        high: log(Z_hat + 3 standard errors of Z_hat), nats.
        chains: independent chains.
        distributions: steps from the base distribution to the model's.
        seed: seed of the chains.
        exact: log Z as a sum over all states, where the model is small enough.
        seconds: time it took.
        both: log Z by both ways together (`ancestral.models.energy.annealing.bennett`), nats; None where it was not asked for.
        reverse: log Z by as many chains that go back from samples of the model, nats: an upper bound in expectation, as
            `log_z` is a lower one, as far as these are samples of the model; None where it was not asked for.
    """

    model: str
    log_z: float
    standard_error: float
    low: float | None
    high: float
    chains: int
    distributions: int
    seed: int
    exact: float | None = None
    seconds: float = 0.0
    reverse: float | None = None
    both: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        low = "-inf" if self.low is None else f"{self.low:.2f}"
        exact = "" if self.exact is None else f"; exact {self.exact:.4f}"
        back = "" if self.reverse is None else f"; back from samples {self.reverse:.4f}, both {self.both:.4f}"
        return (
            f"{self.model}: log Z {self.log_z:.4f} ± {self.standard_error:.4f} nats (3 standard errors of Z: {low} to"
            f" {self.high:.2f}), estimate ({self.chains} chains, {self.distributions} distributions){exact}{back}"
        )


def partition(
    model: Named,
    data: Data | str | None = None,
    *,
    chains: int = 100,
    distributions: int = 20_000,
    split: str = "train",
    limit: int | None = None,
    reverse: bool = False,
    keep: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Partition:
    """Estimate log Z of an energy model by annealed importance sampling, and keep it with the weights.

    Chains start from independent units with the frequencies of the data, and go through distributions between these and the
    model. The mean of their weights is Z in expectation; the logarithm of an estimate is low on average, so that likelihoods
    by it are high, by half its variance where it is small. Its standard error is that of the weights that were seen: chains
    that all miss a mode say nothing of it. More distributions help more than more chains.

    Where the model came from a folder, the estimate is written into its model.safetensors, so that `log_prob` and `evaluate`
    are estimates from there on. The data set what the chains start from, and nothing else.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        data: data, their name or path; what the model was trained on where None.
        chains: number of independent chains.
        distributions: number of steps from the base distribution to the model.
        split: name of the split that sets the base distribution.
        limit: data of it that are read, the first ones; all where None.
        reverse: also go back from samples of the model, which takes as long again. Where both ways agree, log Z is between
            them; where they do not, neither is to be trusted: the chains miss modes, or the samples do.
        keep: put the estimate with the weights, of the model and of the folder that it came from.
        seed: seed of the chains.
        progress: show a progress bar.

    Raises:
        Unsupported: if the model has no partition function to estimate.
        InvalidInput: if there is no such model or split, or they do not fit.

    References:
        On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov & Murray, 2008),
        https://doi.org/10.1145/1390156.1390266
        Accurate and Conservative Estimates of MRF Log-likelihood using Reverse Annealing (Burda et al., 2015),
        https://arxiv.org/abs/1412.8566, for the way back; there from data, for the marginal of the annealing.
    """
    began = time.perf_counter()
    check_counts(chains=chains, distributions=distributions, limit=limit)
    if chains < 2:
        raise InvalidInput(f"chains is {chains}, expected at least 2: the standard error is from what they differ by")
    subject = open_model(model)
    energy = subject.model
    if not isinstance(energy, EnergyModel):
        able = [name for name in registry.names() if issubclass(registry.get(name), EnergyModel)]
        raise Unsupported(f"a {energy.name} has no partition function to estimate. Models that have: {', '.join(able)}")
    part = open_data(data, subject).split(split)
    x = torch.cat([x for _, x, _ in batches(part, energy, limit=limit, seed=seed)])
    with evaluating(energy):
        generator = torch.Generator(device=energy.device).manual_seed(seed)
        path = energy.annealing_path(x)
        steps: Iterator[float] = track(schedule(distributions), "annealing", distributions + 1, progress=progress)
        weights = annealed_log_weights(path, steps, chains, generator)
        value, error = log_mean(weights)
        if not math.isfinite(value):
            raise InvalidInput(f"{subject.name} has a log Z of {value}: its weights are not usable, train it again")
        back, both = None, None
        if reverse:
            start = energy.chain_steps(energy.chain_start(chains, generator), energy.gibbs_steps, generator)
            steps = track(schedule(distributions)[::-1], "going back", distributions + 1, progress=progress)
            returned = annealed_log_weights(path, steps, chains, generator, start)
            back = 2.0 * path.log_base - log_mean(returned)[0]
            both = path.log_base + bennett(weights - path.log_base, returned - path.log_base)
        exact = float(energy.enumerated_log_partition()) if energy.enumerable else None
    estimate = LogPartition(value, error, chains, distributions, seed)
    if keep:
        energy.set_partition(estimate)
        if isinstance(model, str | os.PathLike):
            write_partition(energy, find(model))
    return Partition(
        model=subject.name,
        log_z=value,
        standard_error=error,
        low=_shifted(value, -3.0 * error),
        high=_shifted(value, 3.0 * error) or value,
        chains=chains,
        distributions=distributions,
        seed=seed,
        exact=exact,
        seconds=time.perf_counter() - began,
        reverse=back,
        both=both,
    )


def write_partition(model: EnergyModel, folder: Path) -> None:
    """Put the estimate of log Z that a model keeps into the folder that it was loaded from; the weights there stay."""
    store.replace_tensor("partition", model.partition, folder / store.WEIGHTS)


def _shifted(log_value: float, share: float) -> float | None:
    """Return the log of a value moved by a share of it; None where that is not positive."""
    return log_value + float(torch.log1p(torch.tensor(share, dtype=torch.float64))) if share > -1.0 else None
