"""The settings of a training run."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ancestral.errors import InvalidInput, near_matches
from ancestral.models.base import Model, list_to_tuple

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "linear")
PRECISIONS = {"32": "32-true", "64": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
"""Fabric's plugin for each precision. In 64 the loop makes the model double; Fabric's own would round outputs to 32."""


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained; the first of `epochs`, `steps` and `minutes` to be reached ends the run.

    Args:
        epochs: passes over the training split; 20 where neither epochs, steps nor minutes is given.
        steps: optimizer steps.
        minutes: wall-clock minutes of training, resumed time included.
        batch_size: examples per step and process.
        optimizer: adam, adamw or sgd.
        learning_rate: peak learning rate.
        weight_decay: L2 penalty (adam, sgd) or decoupled decay (adamw).
        betas: decay rates of Adam's two moments; the first is sgd's momentum.
        schedule: constant; cosine or linear decay to zero at the end of the run.
        warmup_steps: steps over which the rate rises linearly from zero.
        ema: decay of the exponential moving average of the weights, which is then what is evaluated and saved; 0 for none.
        clip: largest norm of the gradient of a parameter group; 0 for no clipping.
        precision: 32, 64, bf16 or 16 (mixed, with a gradient scaler where needed).
        accumulate: batches whose gradients are averaged into one step.
        carry: text only: read it in as many places at once as a batch has data, each batch going on where the one before
            ended, with the state that the model was left in; else batches are drawn at random.
        patience: evaluations without improvement after which training stops; 0 for never.
        evaluate_every: epochs between evaluations on validation data.
        evaluate_limit: validation examples used, evenly spaced; 0 for all.
        samples: samples drawn for the picture at each evaluation; 0 for none.
        log_every: steps between rows in the logs.
        checkpoint_every: steps between checkpoints; 0 for at every evaluation.
        keep_checkpoints: checkpoints kept, the newest ones.
        start: model of the same name that training starts from, a run directory, a zoo name or a repository of the hub: its
            weights, and its options where none are given; fresh weights where None.
        seed: seed of everything random in the run.
        accelerator: auto, cpu, gpu ...
        devices: devices per node; under torchrun, the processes it started.
        nodes: number of machines.
        strategy: auto, ddp or fsdp.
        channels_last: keep convolution weights and images channels-last in memory.
        compile: compile the loss with torch.compile.
        loggers: any of csv, tensorboard, wandb.
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 100
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup_steps: int = 0
    ema: float = 0.0
    clip: float = 0.0
    precision: Literal["32", "64", "bf16", "16"] = "32"
    accumulate: int = 1
    carry: bool = False
    patience: int = 0
    evaluate_every: float = 1.0
    evaluate_limit: int = 0
    samples: int = 64
    log_every: int = 50
    checkpoint_every: int = 0
    keep_checkpoints: int = 2
    start: str | None = None
    seed: int = 0
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    channels_last: bool = False
    compile: bool = False
    loggers: tuple[str, ...] = ("csv", "tensorboard")

    def __post_init__(self) -> None:
        if self.epochs is None and self.steps is None and self.minutes is None:
            object.__setattr__(self, "epochs", 20)
        for name in ("betas", "loggers"):
            object.__setattr__(self, name, list_to_tuple(getattr(self, name)))
        choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": tuple(PRECISIONS)}
        for name, known in choices.items():
            value = str(getattr(self, name))
            object.__setattr__(self, name, value)
            if value not in known:
                raise InvalidInput(f"{name} is {value!r}, expected one of {', '.join(known)}")
        for name in self.loggers:
            if name not in ("csv", "tensorboard", "wandb"):
                raise InvalidInput(f"there is no logger {name!r}, expected csv, tensorboard or wandb")
        for name in ("epochs", "steps", "minutes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InvalidInput(f"{name} is {value}, expected a positive number")
        positive = (
            "batch_size",
            "learning_rate",
            "accumulate",
            "evaluate_every",
            "log_every",
            "keep_checkpoints",
            "devices",
            "nodes",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise InvalidInput(f"{name} is {getattr(self, name)}, expected a positive number")
        for name in (
            "weight_decay",
            "warmup_steps",
            "clip",
            "patience",
            "evaluate_limit",
            "samples",
            "checkpoint_every",
            "seed",
        ):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} is {getattr(self, name)}, expected zero or more")
        if not 0.0 <= self.ema < 1.0:
            raise InvalidInput(f"ema is {self.ema}, expected a decay in [0, 1), such as 0.999")

    @classmethod
    def for_model(cls, model: type[Model], **given: Any) -> "TrainConfig":
        """Return the settings that suit `model`, with those that are given in their place.

        Raises:
            InvalidInput: if a setting is unknown or out of range.
        """
        return cls.from_json({**model.training_defaults, **given})

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> "TrainConfig":
        """Return the settings of a JSON object; what it lacks keeps its default."""
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known:
                raise InvalidInput(
                    f"there is no training setting {name!r}.{near_matches(name, known)} See `ancestral fit --help`"
                )
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-able values."""
        return asdict(self)
