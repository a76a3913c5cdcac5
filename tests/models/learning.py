"""What tests of models share: a bare training loop, parameters moved from where they start, a flow's change of variables."""

from typing import TypeVar

import torch
from torch import Tensor

from ancestral.models import Model
from ancestral.models.flows.base import FlowModel

AnyModel = TypeVar("AnyModel", bound=Model)


def generator(seed: int = 0) -> torch.Generator:
    """Return a source of randomness."""
    return torch.Generator().manual_seed(seed)


def moved(model: AnyModel, by: float = 0.2) -> AnyModel:
    """Return `model` in double precision and evaluation mode, its parameters moved by noise of standard deviation `by`."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(by * torch.randn(p.shape, generator=generator(3)))
    return model.double().eval()


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


def check_change_of_variables(model: FlowModel, condition: Tensor) -> None:
    """Fail unless `inverse` undoes `transform`, and its log-determinant is that of its Jacobian.

    Args:
        model: in double precision and evaluation mode, moved from the identity.
        condition: of two data, (2, *condition.shape).
    """
    numel = model.event.numel
    u = torch.randn(2, *model.event.shape, dtype=torch.float64, generator=generator())
    z, log_det = model.transform(u, condition)
    assert z.shape == (2, numel)
    torch.testing.assert_close(model.inverse(z, condition), u, rtol=1e-9, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(lambda v: model.transform(v, condition[:1])[0][0], u[:1])
    expected = torch.linalg.slogdet(jacobian.reshape(numel, numel)).logabsdet
    torch.testing.assert_close(log_det[0], expected, rtol=1e-9, atol=1e-9)
