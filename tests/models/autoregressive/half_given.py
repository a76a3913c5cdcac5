"""What tests of many steps in one call share: draws of which about half are given, and steps taken in both ways."""

import torch

from ancestral.distributions import Sharpening
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.models.autoregressive.fused import FusedModel
from ancestral.models.autoregressive.state import State


def half_given(model: AutoregressiveModel, n: int, seed: int, temperature: float = 1.0) -> Draws:
    """Return draws for n data from noise that the seed says, which also says what is given; their log p is summed up."""
    generator = torch.Generator().manual_seed(seed)
    numel, levels = model.event.numel, model.event.levels or 0
    return Draws(
        EntryValue(model.head, Sharpening(temperature)),
        torch.rand(n, numel, 1, generator=generator, dtype=torch.float64),
        torch.randint(levels, (n, numel), generator=generator),
        torch.rand(numel, generator=generator) < 0.5,
        scored=True,
    )


def take_in_both_ways(model: FusedModel, state: State, draws: Draws, first: int, second: int) -> None:
    """Take the steps up to `first` in one call, those up to `second` one by one, and the rest in one call."""
    if first:
        model.run_fused(state, draws, first)
    model.fused = False
    model.run(state, draws, second)
    if second < model.event.numel:
        model.run_fused(state, draws, model.event.numel)
