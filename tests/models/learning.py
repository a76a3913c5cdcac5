"""A bare training loop over the interface of models, for tests of what a model learns."""

import torch
from torch import Tensor

from ancestral.models import Model


def learn(
    model: Model,
    x: Tensor,
    condition: Tensor | None = None,
    *,
    steps: int,
    rate: float,
    batch: int = 100,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Model:
    """Train `model` on random batches of `x` with Adam, and return it in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    groups = model.parameter_groups()
    optimizers = {name: torch.optim.Adam(parameters, rate, betas=betas) for name, parameters in groups.items()}
    model.train()
    for step in range(steps):
        index = torch.randint(len(x), (batch,), generator=generator)
        for name in model.groups_at(step) or groups:
            optimizers[name].zero_grad()
            given = None if condition is None else condition[index]
            model.loss(x[index], given, group=name, generator=generator)["loss"].backward()
            optimizers[name].step()
            model.after_step(name)
    return model.eval()
