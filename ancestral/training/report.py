"""What a person sees of a run: progress bar, metrics.csv, TensorBoard, pictures, and the card."""

import time
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ancestral.errors import Unsupported
from ancestral.files import write_text
from ancestral.models.base import Model, count_parameters
from ancestral.training.config import TrainConfig
from ancestral.training.run import MetricsFile, Run
from ancestral.verbs import pictures

REFRESH_SECONDS = 0.25


def use(cls: type[Model], path: Path) -> list[str]:
    """Return commands that a finished run of a model is worth: what it is for, if that is not samples."""
    commands = [f"ancestral evaluate {path} --split test"]
    if cls.can("sample"):
        commands.append(f"ancestral sample {path} -n 64 -o samples.png")
    elif cls.can("encode"):
        commands.append(f"ancestral probe {path} -o probe.png")
    return commands


class Report:
    """Everything a run writes beside its weights; silent on all processes but the first.

    Args:
        path: the run directory.
        config: settings.
        fabric: the run's Fabric.
        step: step from which the run starts or goes on; later rows of an interrupted run are dropped.
        progress: show the progress bar.
    """

    def __init__(self, path: Path, config: TrainConfig, fabric: Fabric, step: int, progress: bool) -> None:
        self.path, self.config, self.active = path, config, fabric.is_global_zero
        self._bar: Progress | None = None
        self._console = Console(stderr=True)
        self._minutes: float | None = None
        self._shown = 0.0
        self._last: dict[str, float] = {}
        self._warned: list[str] = []
        self._loggers: list[Any] = []
        self._csv: MetricsFile | None = None
        self._monitor: str | None = None
        self._drawn = self._drawing = 0.0
        if not self.active:
            return
        self._csv = MetricsFile(path / "metrics.csv", step) if "csv" in config.loggers else None
        if "tensorboard" in config.loggers:
            from tensorboardX import SummaryWriter

            self._loggers.append(SummaryWriter(str(path / "tensorboard"), purge_step=step + 1, write_to_disk=True))
        if "wandb" in config.loggers:
            from ancestral.training.wandb_logger import WandbLogger

            self._loggers.append(WandbLogger(path))
        if progress:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[loss]}"),
                console=self._console,
                refresh_per_second=1.0 / REFRESH_SECONDS,
            )

    def start(self, total: int | None, minutes: float | None, step: int) -> None:
        """Show the bar."""
        self._minutes = minutes
        if self._bar is not None:
            # A run limited by time shows its steps without an end, and the time it has.
            limit = f" for {minutes:g} min" if minutes else ""
            self._task = self._bar.add_task(f"training{limit}", total=total, completed=step, loss="")
            self._bar.start()

    def advance(self, step: int, elapsed: float) -> None:
        """Move the bar; cheap enough for every step."""
        if self._bar is not None and elapsed - self._shown > REFRESH_SECONDS:
            self._shown = elapsed
            self._bar.update(self._task, completed=step)

    def log(
        self, step: int, epoch: float, elapsed: float, split: str, values: dict[str, float], rate: float | None = None
    ) -> None:
        """Write one set of metrics to every log."""
        if not self.active:
            return
        written = {**values, "learning_rate": rate} if rate is not None else values
        if self._csv is not None:
            self._csv.write(step, epoch, elapsed, split, written)
        for logger in self._loggers:
            for name, value in written.items():
                logger.add_scalar(f"{split}/{name}", value, step)
        self._last.update({f"{split} {name}": value for name, value in values.items()})
        if self._bar is not None:
            loss = "  ".join(f"{k.removeprefix('train ')} {v:.4g}" for k, v in self._last.items() if k.startswith("train "))
            self._bar.update(self._task, completed=step, loss=loss)

    def evaluation(
        self, model: Model, step: int, epoch: float, elapsed: float, values: dict[str, float], improved: bool
    ) -> None:
        """Log an evaluation, draw samples and the learning curve, and print one line."""
        self.log(step, epoch, elapsed, "validation", values)
        self._samples(model, step)
        self._monitor = model.monitor
        # Drawing takes a fraction of a second: at most a twentieth of the run goes into it.
        if time.monotonic() - self._drawn > 20.0 * self._drawing:
            self._curve()
        if self._bar is not None:
            shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items()) or "no validation split"
            # How many entries come before an end is not known here.
            if model.monitor == "nats" and "nats" in values and model.event.discrete and not model.event.end:
                shown += f" ({model.event.in_unit(values['nats']):.4f} {model.event.unit})"
            mark = " [green]best[/green]" if improved and values else ""
            line = f"step {step}  epoch {epoch:.4g}  {elapsed:.0f} s  validation {shown}{mark}"
            self._bar.console.print(line, soft_wrap=True, highlight=False)
        self._warn(model, step)
        self._card(model, step, elapsed, values)

    def _warn(self, model: Model, step: int) -> None:
        """Print what the model says has gone wrong, and has not said before."""
        for sentence in model.warnings_of(self._last):
            if sentence not in self._warned:
                self._warned.append(sentence)
                if self._bar is not None:
                    self._bar.console.print(f"[yellow]step {step}: {sentence}[/yellow]", soft_wrap=True, highlight=False)

    def _curve(self) -> None:
        """Draw the learning curve."""
        if self._csv is None:
            return
        began = time.monotonic()
        pictures.learning_curve(Run(self.path).metrics, self.path / "learning-curve.png", monitor=self._monitor or "nats")
        self._drawn = time.monotonic()
        self._drawing = self._drawn - began

    def _samples(self, model: Model, step: int) -> None:
        n = self.config.samples
        if not n:
            return
        # Samples have a generator of their own: drawing them leaves the training as it is.
        generator = torch.Generator(device=model.device).manual_seed(self.config.seed)
        condition = pictures.example_conditions(model.condition, n, model.device)
        try:
            x = model.sample(n, condition, generator=generator)
        except Unsupported:
            return
        picture = self.path / "samples" / f"step-{step:09d}.png"
        pictures.samples(model.event, x.cpu(), picture)
        pictures.samples(model.event, x.cpu(), self.path / "samples.png")

    def _reach(self, model: Model) -> list[str]:
        """Return the line of what an entry depends on, of models that hear sounds."""
        heard = getattr(model, "receptive_milliseconds", None)
        if heard is None:
            return []
        return [f"- receptive field: {getattr(model, 'receptive_field', 0):,} samples, {heard:.1f} ms"]

    def _card(self, model: Model, step: int, elapsed: float, values: dict[str, float]) -> None:
        config = Run(self.path).config
        lines = [
            f"# {config['model']['name']} on {config['data']['name']}",
            "",
            f"{type(model).summary}. {type(model).reference}.",
            "",
            f"- event: {model.event}" + (f", given {model.condition}" if model.condition else ""),
            *self._reach(model),
            f"- parameters: {count_parameters(model.parameters()):,}",
            f"- likelihood: {model.likelihood}",
            f"- data: {config['data'].get('about') or config['data']['name']}; splits {config['data'].get('splits')}",
            f"- last evaluation: step {step}, {elapsed / 60:.1f} minutes, "
            + (", ".join(f"validation {k} {v:.4f}" for k, v in values.items()) or "no validation split"),
            *(f"- warning: {sentence}" for sentence in self._warned),
            "",
            *(["![samples](samples.png)", ""] if type(model).can("sample") else []),
            "![learning curve](learning-curve.png)",
            "",
            "```sh",
            *use(type(model), self.path),
            f"ancestral fit --resume {self.path}",
            "```",
            "",
            "Model options:",
            "",
            *(f"- `{key}`: {value}" for key, value in config["model"]["options"].items()),
        ]
        write_text(self.path / "README.md", "\n".join(lines) + "\n")

    def sync(self) -> None:
        """Put the logs on disk; called before a checkpoint is written."""
        if self._csv is not None:
            self._csv.sync()

    def finish(self, step: int) -> None:
        """Complete the bar, and draw the whole learning curve."""
        if self._monitor is not None:
            self._curve()
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def close(self) -> None:
        """Close everything."""
        if self._bar is not None:
            self._bar.stop()
        if self._csv is not None:
            self._csv.close()
        for logger in self._loggers:
            logger.close()
