"""Mixing: how many steps the Markov chains of a model remember, and so what their samples are worth."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from ancestral.errors import Unsupported
from ancestral.models import registry
from ancestral.models.energy.chains import MarkovChain, autocorrelation_time
from ancestral.verbs.inputs import Named, check_counts, evaluating, open_model, track


@dataclass(frozen=True)
class Mixing:
    """What was seen of a model's chains.

    Args:
        model: the model's name.
        autocorrelation_time: of the chains' energy, in steps: so many steps are worth one independent draw.
        effective_sample_size: independent draws that all states of all chains are worth.
        window: the lag up to which correlations were summed, in steps.
        chains: number of chains.
        steps: steps of each that were looked at.
        burn_in: steps before these.
        trusted: whether there are as many steps as the time needs to be estimated: 50 times itself.
    """

    model: str
    autocorrelation_time: float
    effective_sample_size: float
    window: float
    chains: int
    steps: int
    burn_in: int
    trusted: bool

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        doubt = "" if self.trusted else f"; at least: {self.steps} steps are too few to tell, give more"
        return (
            f"{self.model}: autocorrelation time {self.autocorrelation_time:.1f} steps, {self.chains} chains of {self.steps}"
            f" steps are worth {self.effective_sample_size:.0f} independent draws{doubt}"
        )


def mixing(
    model: Named, chains: int = 20, steps: int = 1000, *, burn_in: int | None = None, seed: int = 0, progress: bool = False
) -> Mixing:
    """Run a model's chains, and return the autocorrelation time of their energy.

    The energy is one number of a state: chains that never leave a mode can have a short time by it, if modes are alike. Times
    are a lower bound on how long samples take to forget where they came from.

    Args:
        model: a model that is sampled by Markov chains, or its zoo name, run directory or hub repository.
        chains: number of chains, which run side by side.
        steps: steps of each that are looked at.
        burn_in: steps before these; as many as the model takes to a sample where None.
        seed: seed of the chains.
        progress: show a progress bar.

    Raises:
        Unsupported: if the model is not sampled by Markov chains.
        InvalidInput: for fewer than 4 steps.

    >>> from ancestral import Event
    >>> from ancestral.models import create
    >>> found = mixing(create("rbm", Event.binary((6,)), hidden=3), chains=10, steps=400, burn_in=10)
    >>> found.autocorrelation_time < 2.0, found.trusted
    (True, True)
    """
    check_counts(chains=chains, steps=steps)
    subject = open_model(model)
    chain = subject.model
    if not isinstance(chain, MarkovChain):
        able = [name for name in registry.names() if callable(getattr(registry.get(name), "chain_steps", None))]
        raise Unsupported(f"a {chain.name} is not sampled by Markov chains. Models that are: {', '.join(able)}")
    device = subject.model.device
    generator = torch.Generator(device=device).manual_seed(seed)
    before = int(getattr(chain, "gibbs_steps", 0)) if burn_in is None else burn_in
    with evaluating(subject.model):
        state = chain.chain_start(chains, generator)
        state = chain.chain_steps(state, before, generator) if before else state
        values = []
        for _ in track(range(steps), "mixing", steps, progress=progress):
            state = chain.chain_steps(state, 1, generator)
            values.append(chain.chain_value(state).double().cpu())
    time, window = autocorrelation_time(torch.stack(values, dim=1))
    return Mixing(subject.name, time, chains * steps / time, window, chains, steps, before, steps >= 50.0 * time)
