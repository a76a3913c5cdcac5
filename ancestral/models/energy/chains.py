"""Markov chains of energy models: how they are run and read, how long they remember, and parallel tempering."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.models.energy.annealing import BipartitePath


@runtime_checkable
class MarkovChain(Protocol):
    """A model that is sampled by Markov chains: what they are at after any number of steps is no exact draw."""

    def chain_start(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the states that `n` chains start from, (n, units)."""
        ...

    def chain_steps(self, state: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the states after so many steps more, (n, units)."""
        ...

    def chain_value(self, state: Tensor) -> Tensor:
        """Return the number by which a state is watched, (n,), such as an energy."""
        ...


def autocorrelation_time(series: Tensor, window: float = 5.0) -> tuple[float, float]:
    r"""Return the integrated autocorrelation time of chains, tau = 1 + 2 sum_{t >= 1} rho_t, and the lag it is summed to.

    n values of a chain are worth n / tau independent ones for a mean. The sum ends at the first lag M >= window tau(M), as
    later terms are noise. Deviations are from the mean of all chains, so that chains which stay apart have a long memory.

    Args:
        series: values, (chains, steps), a step apart.
        window: lags that are summed, in units of tau.

    Raises:
        InvalidInput: if there are fewer than 4 steps.

    References:
        Monte Carlo Methods in Statistical Mechanics (Sokal, 1997), https://doi.org/10.1007/978-1-4899-0319-8_6

    >>> tau, _ = autocorrelation_time(torch.randn(20, 2000, generator=torch.Generator().manual_seed(0)))
    >>> round(tau, 1)
    1.0
    """
    series = series.double()
    steps = series.shape[1]
    if steps < 4:
        raise InvalidInput(f"got {steps} steps of chains, expected at least 4 to tell their memory from")
    centred = series - series.mean()
    # Correlations of all lags at once, by the power spectrum; zeros keep the end of a chain from meeting its start.
    spectrum = torch.fft.rfft(centred, n=2 * steps).abs().square()
    sums = torch.fft.irfft(spectrum, n=2 * steps)[:, :steps].sum(0)  # (steps,)
    covariance = sums / torch.arange(steps, 0, -1, dtype=torch.float64)
    if float(covariance[0]) <= 0.0:
        return float(steps), float(steps - 1)  # nothing ever moved
    tau = 1.0 + 2.0 * (covariance[1:] / covariance[0]).cumsum(0)  # (steps - 1,), by the last lag
    lags = torch.arange(1, steps)
    enough = (lags >= window * tau).nonzero()
    last = int(enough[0]) if len(enough) else steps - 2
    return max(float(tau[last]), 1.0), float(last + 1)


class Tempering:
    r"""Chains at several inverse temperatures t, which exchange states: those at t < 1 mix fast, and pass on what they find.

    Chains at t have the distribution of a `BipartitePath`. After each step neighbours i and j exchange their states with the
    probability that leaves both distributions as they are, min(1, f_i(v_j) f_j(v_i) / (f_i(v_i) f_j(v_j))).

    Args:
        path: to the model, from a base in which all units are independent.
        temperatures: number of inverse temperatures, even from 1 to 0.

    References:
        Tempered Markov Chain Monte Carlo for Training of Restricted Boltzmann Machines (Desjardins et al., 2010),
        https://proceedings.mlr.press/v9/desjardins10a.html
    """

    def __init__(self, path: BipartitePath, temperatures: int) -> None:
        self.path = path
        self.inverse = torch.linspace(1.0, 0.0, temperatures, dtype=path.weight.dtype, device=path.weight.device)

    @torch.no_grad()
    def steps(self, replicas: Tensor, steps: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return replicas, (temperatures, chains, visible), the model's first, and the share of exchanges that were made.

        The second has a share for each pair of neighbours, (temperatures - 1,), mean over steps and chains.
        """
        made = torch.zeros(len(self.inverse) - 1, dtype=replicas.dtype, device=replicas.device)
        t = self.inverse[:, None, None]
        for step in range(steps):
            replicas, logits = self.path.step(replicas, t, generator)
            # Even pairs and odd pairs take turns, as a replica can take part in one exchange at a time.
            for first in (step % 2, 1 - step % 2):
                replicas, logits, accepted = self._exchange(replicas, logits, first, generator)
                made[first::2] += accepted / steps
        return replicas, made

    def _exchange(
        self, replicas: Tensor, logits: Tensor, first: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        pairs = torch.arange(first, len(self.inverse) - 1, 2, device=replicas.device)
        own, other = self.inverse[pairs, None], self.inverse[pairs + 1, None]
        energies = [self.path.log_value(replicas[i], logits[i], t) for t in (own, other) for i in (pairs, pairs + 1)]
        gain = energies[1] + energies[2] - energies[0] - energies[3]  # (pairs, chains)
        noise = torch.rand(gain.shape, dtype=gain.dtype, device=gain.device, generator=generator)
        swap = noise.log() < gain
        order = torch.arange(len(self.inverse), device=replicas.device)[:, None].repeat(1, replicas.shape[1])
        order[pairs] += swap.long()
        order[pairs + 1] -= swap.long()
        chains = torch.arange(replicas.shape[1], device=replicas.device)
        return replicas[order, chains], logits[order, chains], swap.to(replicas.dtype).mean(1)
