"""DCGAN and WGAN-GP on random images of MNIST's size: the library's loop, the shortest loop, and torchgan's trainer."""

import contextlib
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.models import create
from ancestral.models.base import Model, count_parameters
from benchmarks.harness import (
    WARM_UP_STEPS,
    AbsentError,
    Build,
    Clock,
    Contender,
    Measure,
    Settings,
    Table,
    fitted,
    looped,
    now,
)

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


class _TimedBatches:
    """Batches for a trainer that asks for them; notes when it does, so that a step lies between two requests."""

    def __init__(self, x: Tensor, steps: int) -> None:
        self.x, self.steps, self.batch_size = x, steps, BATCH
        self.times: list[float] = []

    def __iter__(self) -> Iterator[Tensor]:
        rows = torch.randperm(len(self.x))
        for step in range(self.steps):
            self.times.append(now())
            start = step % (len(self.x) // BATCH) * BATCH
            yield self.x.index_select(0, rows[start : start + BATCH])


def _torchgan() -> types.ModuleType:
    source = os.environ.get("TORCHGAN")
    if not source:
        raise AbsentError("TORCHGAN is not set to the folder of its source (github.com/torchgan/torchgan)")
    if not (Path(source) / "torchgan").is_dir():
        raise AbsentError(f"TORCHGAN is {source}, which holds no torchgan")
    sys.path.insert(0, source)
    # It draws pictures at the end of an epoch by torchvision, which has no build for this torch; steps do without.
    sys.modules.setdefault("torchvision", types.ModuleType("torchvision"))
    import torchgan

    return torchgan


def _peer(name: str) -> Build:
    """Return torchgan's trainer and losses over the same networks, fed images on their scale."""

    def build(settings: Settings) -> Contender:
        peer: Any = _torchgan()
        if settings.precision != "float32":
            raise AbsentError("it has no bfloat16")
        model: Any = _our(name, settings)
        x = EVENT.to_network(images(settings), torch.float32)

        class Generator(peer.models.Generator):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__(model.latent)
                self.network = model.generator

            def forward(self, z: Tensor) -> Tensor:
                return torch.tanh(self.network(z)).view(-1, *EVENT.shape)

        class Discriminator(peer.models.Discriminator):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__(EVENT.shape[0])
                self.network = model.critic

            def forward(self, y: Tensor) -> Tensor:
                v: Tensor = self.network(y.flatten(1))
                return v

        class Trainer(peer.trainer.Trainer):  # type: ignore[misc]
            def save_model(self, epoch: int, save_items: Any = None) -> None:
                """Save nothing: what comes after the last step is not timed."""

        def losses() -> list[nn.Module]:
            if name == "dcgan":
                return [peer.losses.MinimaxGeneratorLoss(nonsaturating=True), peer.losses.MinimaxDiscriminatorLoss()]
            return [
                peer.losses.WassersteinGeneratorLoss(),
                peer.losses.WassersteinDiscriminatorLoss(),
                peer.losses.WassersteinGradientPenalty(),
            ]

        adam = {"name": torch.optim.Adam, "args": {"lr": 2e-4, "betas": (0.5, 0.999), "fused": True}}

        def train(n: int) -> float:
            batches = _TimedBatches(x, WARM_UP_STEPS + n + 1)
            with contextlib.ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
                trainer = Trainer(
                    {
                        "generator": {"name": Generator, "optimizer": adam},
                        "discriminator": {"name": Discriminator, "optimizer": adam},
                    },
                    losses(),
                    device=torch.device("cpu"),
                    ncritic=MODELS[name].get("critic_steps", 1),
                    epochs=1,
                    checkpoints=str(folder / "models" / "gan"),
                    recon=str(folder / "images"),
                )
                trainer.logger.logger_end_epoch.clear()
                trainer(batches)
            return batches.times[WARM_UP_STEPS + n] - batches.times[WARM_UP_STEPS]

        return Contender(count_parameters(model.parameters()), {"train": Clock(train, BATCH)})

    return build


TABLE = Table(
    "dcgan",
    "DCGAN and WGAN-GP",
    {"train": Measure("training, examples/s")},
    {
        f"{name}, channels {'-'.join(map(str, MODELS[name]['channels']))}, 28x28, batches of {BATCH}": {
            "ancestral": _fitted(name),
            "ancestral, bare loop": _bare(name),
            "torchgan": _peer(name),
        }
        for name in MODELS
    },
)
