"""Draws of which about half are given: what tests of many steps in one call compare with single steps."""

import torch

from ancestral.distributions import Sharpening
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import Draws, EntryValue


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
