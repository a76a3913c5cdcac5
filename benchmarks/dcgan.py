"""DCGAN and WGAN-GP on random images of MNIST's size: training steps of the library's loop beside the shortest loop."""

from typing import Any

import torch
from torch import Tensor

from ancestral.event import Event
from ancestral.models import create
from ancestral.models.base import Model
from benchmarks.harness import Build, Contender, Measure, Settings, Table, fitted, looped

EVENT = Event.integers((1, 28, 28), 256, ("channel", "height", "width"))
BATCH, IMAGES = 64, 6_400
MODELS: dict[str, dict[str, Any]] = {
    "dcgan": {"channels": (64, 128)},
    "wgan-gp": {"network": "conv", "channels": (64, 128), "critic_steps": 5},
}


def images(settings: Settings) -> Tensor:
    """Random images, (n, 1, 28, 28)."""
    return torch.randint(0, 256, (2 * BATCH if settings.tiny else IMAGES, *EVENT.shape)).to(EVENT.dtype)


def _our(name: str, settings: Settings) -> Model:
    torch.manual_seed(0)
    return create(name, EVENT, **{**MODELS[name], **({"channels": (4, 8)} if settings.tiny else {})})


def _fitted(name: str) -> Build:
    def build(settings: Settings) -> Contender:
        return fitted(_our(name, settings), images(settings), BATCH, settings)

    return build


def _bare(name: str) -> Build:
    def build(settings: Settings) -> Contender:
        model = _our(name, settings)
        optimizers = {
            group: torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999), fused=True)
            for group, parameters in model.parameter_groups().items()
        }
        taken = 0

        def update(rows: Tensor) -> None:
            nonlocal taken
            for group in model.groups_at(taken) or optimizers:
                with settings.autocast():
                    loss = model.loss(rows, group=group)["loss"]
                model.zero_grad(set_to_none=True)
                loss.backward()
                optimizers[group].step()
                model.after_step(group)
            taken += 1

        return looped(model, images(settings), BATCH, settings, update)

    return build


TABLE = Table(
    "dcgan",
    "DCGAN and WGAN-GP",
    {"train": Measure("training, examples/s")},
    {
        f"{name}, channels {'-'.join(map(str, MODELS[name]['channels']))}, 28x28, batches of {BATCH}": {
            "ancestral": _fitted(name),
            "ancestral, bare loop": _bare(name),
        }
        for name in MODELS
    },
)
