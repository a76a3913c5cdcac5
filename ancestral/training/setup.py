"""What a run needs before its first step: Fabric, optimizers, and a watch on signals."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from lightning.fabric import Fabric

from ancestral.training import state
from ancestral.training.config import PRECISIONS, TrainConfig


def make_fabric(config: TrainConfig) -> Fabric:
    """Return a launched Fabric: devices, strategy and precision as the settings say."""
    # torchrun says how many processes it started on this machine.
    devices = max(config.devices, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    strategy: Any = config.strategy
    if strategy == "ddp" or (strategy == "auto" and devices * config.nodes > 1):
        from lightning.fabric.strategies.ddp import DDPStrategy

        # A step of one parameter group leaves the others without gradients.
        strategy = DDPStrategy(find_unused_parameters=True)
    elif strategy == "fsdp":
        from lightning.fabric.strategies.model_parallel import ModelParallelStrategy

        # Fabric's strategy of the name "fsdp" is the older FSDP, which needs a GPU.
        strategy = ModelParallelStrategy(
            parallelize_fn=state.shard, data_parallel_size=devices * config.nodes, tensor_parallel_size=1
        )
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=devices,
        num_nodes=config.nodes,
        strategy=strategy,
        precision=PRECISIONS[config.precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def make_optimizer(config: TrainConfig, parameters: Sequence[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of one group of parameters."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=config.betas[0], weight_decay=decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, betas=config.betas, weight_decay=decay, fused=True)


class StopSignal:
    """Notes Ctrl-C and SIGTERM, so that the current step can end and be saved; a second one stops at once."""

    def __init__(self) -> None:
        self.received = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch for the time of the context; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            if self.received:
                raise KeyboardInterrupt
            self.received = True

        previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
