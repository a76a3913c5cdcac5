"""The training loop: steps, precision, clipping, averaging, evaluation, checkpoints and stopping."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from ancestral.data.base import Batch, Data
from ancestral.errors import InvalidInput
from ancestral.files import write_text
from ancestral.models import store
from ancestral.models.base import Model
from ancestral.training import checkpoint as checkpoints
from ancestral.training import state
from ancestral.training.carry import Carry
from ancestral.training.checkpoint import Checkpoint
from ancestral.training.config import TrainConfig
from ancestral.training.divergence import Watch
from ancestral.training.ema import EMA
from ancestral.training.report import Report
from ancestral.training.run import Run
from ancestral.training.sampler import Feed, read, shard
from ancestral.training.setup import StopSignal, make_optimizer

AGREE_EVERY = 10
"""Steps between the moments at which several processes agree on what one of them alone knows: the time, a signal."""


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped by a signal, after saving; `path` is the run directory to resume."""

    def __init__(self, path: Path, step: int) -> None:
        super().__init__(f"stopped at step {step} and saved; go on with: ancestral fit --resume {path}")
        self.path = path


class Training:
    """One run, from its first step or from a checkpoint to its end."""

    def __init__(self, fabric: Fabric, model: Model, data: Data, path: Path, config: TrainConfig, progress: bool) -> None:
        self.fabric, self.data, self.path, self.config = fabric, data, path, config
        self.progress = progress and fabric.is_global_zero
        self.sharded = config.strategy == "fsdp"
        self.validation = data.splits.get("validation")
        if self.validation is not None and len(self.validation) < fabric.world_size:
            raise InvalidInput(
                f"{data.name} has {len(self.validation)} validation examples, fewer than the {fabric.world_size} processes"
            )
        self.feed = Feed(data, config, fabric.device, fabric.global_rank, fabric.world_size)
        self.carry = Carry(model) if config.carry else None
        model.train()
        if config.precision == "64":
            model.double()
        if config.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Sharded weights serve training alone: evaluation and sampling use a whole copy.
        self.whole = copy.deepcopy(model).to(fabric.device) if self.sharded else model
        self._loss: Callable[..., dict[str, Tensor]] = model.loss
        self.wrapped: Any = None
        if fabric.world_size == 1 and not self.sharded:
            # Without peers Fabric's wrapper adds nothing but time: autocast and scaling are called directly.
            fabric.to_device(model)
        else:
            self.wrapped = fabric.setup_module(model)
            self.wrapped.mark_forward_method("loss")
            self._loss = self.wrapped.loss
        # Sharding replaces the parameters: only now are they what the optimizers will change.
        self.groups = {name: list(ps) for name, ps in model.parameter_groups().items()}
        self.optimizers: dict[str, Any] = {
            name: fabric.setup_optimizers(make_optimizer(config, ps)) for name, ps in self.groups.items()
        }
        self.model = model
        self.factors = {name: model.learning_rate_factor(name) for name in self.groups}
        if config.compile:
            self._loss = torch.compile(self._loss)
        self.ema = EMA(self.model, config.ema) if config.ema else None
        self.generator = torch.Generator(device=fabric.device).manual_seed(config.seed * 1_000_003 + fabric.global_rank)
        self.steps_per_epoch = self.feed.steps_per_epoch
        self.evaluate_steps = max(1, round(config.evaluate_every * self.steps_per_epoch))
        # One of several processes that stops alone would leave the others waiting: they look together.
        at_once = fabric.device.type == "cpu" and fabric.world_size == 1
        self.watch = Watch(path, self.steps_per_epoch, at_once=at_once)
        self.step = 0
        self.best = math.inf
        self.stale = 0
        self.elapsed = 0.0
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        # In full precision Fabric's context does nothing but take time.
        self._autocast = fabric.autocast if config.precision in ("bf16", "16") else nullcontext
        self.stop = StopSignal()

    # The run

    def run(self, saved: Checkpoint | None = None) -> Run:
        """Train to the end, from a checkpoint where there is one."""
        devices = [self.fabric.device] if self.fabric.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), self.stop.watched():
            # Dropout and the like draw from the global generators.
            torch.manual_seed(self.config.seed * 1_000_003 + 1 + self.fabric.global_rank)
            if saved is not None:
                self._restore(saved)
            self.report = Report(self.path, self.config, self.fabric, self.step, self.progress)
            if saved is None and self.fabric.is_global_zero:
                self._write_config()
            try:
                self._train()
            finally:
                self.report.close()
                if self.carry is not None:
                    self.carry.end()
        return Run(self.path)

    def _train(self) -> None:
        self._began = time.monotonic() - self.elapsed
        total = self._total_steps()
        self.report.start(total, self.config.minutes, self.step)
        log_every, checkpoint_every = self.config.log_every, self.config.checkpoint_every
        batches = self.feed.batches(self.step, self.generator)
        finished = self._finished(total)
        while not finished:
            self._training_step(batches)
            self.step += 1
            if self.step % log_every == 0:
                self._log()
            finished = self._finished(total)
            evaluated = finished or self.step % self.evaluate_steps == 0
            if evaluated:
                self._log()
                finished = self._evaluate() or finished
            if finished or (self.step % checkpoint_every == 0 if checkpoint_every else evaluated):
                self._checkpoint()
            if self._agree(self.stop.received):
                if not finished:
                    self._checkpoint()
                    raise TrainingInterrupted(self.path, self.step)
                break
            self.report.advance(self.step, self.elapsed)
        self.report.finish(self.step)

    def _training_step(self, batches: Iterator[Batch]) -> None:
        fabric, config = self.fabric, self.config
        # Every group sees the same batches, so that one step consumes one set of data whatever it updates.
        micro = [next(batches) for _ in range(config.accumulate)]
        if self.carry is not None:
            self.carry.follow(len(micro[0][0]), anew=self.step % self.steps_per_epoch == 0)
        rate = self._learning_rate()
        for name in self.model.groups_at(self.step) or self.groups:
            optimizer = self.optimizers[name]
            for i, (x, condition) in enumerate(micro):
                last = i == len(micro) - 1
                sync = nullcontext() if last or self.wrapped is None else fabric.no_backward_sync(self.wrapped)
                with sync:
                    with self._autocast():
                        values = self._loss(x, condition, group=name, generator=self.generator)
                    self.watch.see(self.step, values)
                    loss = values["loss"]
                    fabric.backward(loss / len(micro) if len(micro) > 1 else loss)
                self._collect(name, values)
            if config.clip:
                fabric.clip_gradients(self.model, optimizer, max_norm=config.clip, error_if_nonfinite=False)
            for group in optimizer.param_groups:
                group["lr"] = rate * self.factors[name]
            optimizer.step()
            # Backward of one group leaves gradients in the others: clear them all before the next.
            for other in self.optimizers.values():
                other.zero_grad(set_to_none=True)
            self.model.after_step(name)
        if self.ema is not None:
            self.ema.update()
        self.elapsed = time.monotonic() - self._began

    def _collect(self, group: str, values: dict[str, Tensor]) -> None:
        prefix = "" if len(self.groups) == 1 else f"{group}/"
        for key, value in values.items():
            name = prefix + key
            if name in self.sums:
                self.sums[name] += value.detach()
                self.counts[name] += 1
            else:
                # Sums of half-precision losses need more digits than their terms have.
                self.sums[name] = value.detach().clone() if value.dtype.itemsize >= 4 else value.detach().float()
                self.counts[name] = 1

    # Limits

    def _total_steps(self) -> int | None:
        limits = [self.config.steps] if self.config.steps else []
        if self.config.epochs:
            limits.append(self.config.epochs * self.steps_per_epoch)
        return min(limits) if limits else None

    def _finished(self, total: int | None) -> bool:
        if total is not None and self.step >= total:
            return True
        if self.config.minutes is None:
            return False
        return self._agree(self.elapsed >= 60.0 * self.config.minutes)

    def _agree(self, flag: bool) -> bool:
        """Let the first process decide what depends on its clock or its signals."""
        if self.fabric.world_size == 1:
            return flag
        # A collective at each step would cost more than it gains.
        return self.step % AGREE_EVERY == 0 and bool(self.fabric.broadcast(flag))

    def _learning_rate(self) -> float:
        config = self.config
        done = 0.0
        total = self._total_steps()
        if total:
            done = self.step / total
        if config.minutes:
            done = max(done, self.elapsed / (60.0 * config.minutes))
        done = min(done, 1.0)
        rate = config.learning_rate
        if config.warmup_steps and self.step < config.warmup_steps:
            rate *= (self.step + 1) / config.warmup_steps
        if config.schedule == "cosine":
            rate *= 0.5 * (1.0 + math.cos(math.pi * done))
        elif config.schedule == "linear":
            rate *= 1.0 - done
        return rate

    # Evaluation and logs

    def _log(self) -> None:
        if not self.sums:
            return
        self._check_losses()
        names = sorted(self.sums)
        means = torch.stack([self.sums[n] / self.counts[n] for n in names])
        if self.fabric.world_size > 1:
            means = self.fabric.all_reduce(means, reduce_op="mean")  # type: ignore[assignment]
        values = dict(zip(names, means.tolist(), strict=True))
        self.sums, self.counts = {}, {}
        self.report.log(self.step, self.step / self.steps_per_epoch, self.elapsed, "train", values, rate=self._learning_rate())

    def _check_losses(self) -> None:
        """Raise, in all processes alike, if a loss or a term since the last log is not finite."""
        if self.sums:
            total = torch.stack([value.double() for value in self.sums.values()]).sum()
            if self.fabric.world_size > 1:
                total = self.fabric.all_reduce(total, reduce_op="sum")  # type: ignore[assignment]
            self.watch.check(total)

    def _evaluate(self) -> bool:
        """Measure on validation, keep the best weights, draw samples; return whether patience is over."""
        with self.ema.applied() if self.ema else nullcontext(), self.carry.paused() if self.carry else nullcontext():
            weights = state.model_state(self.model)
            if self.sharded:
                self.whole.load_state_dict(weights)
            self.whole.eval()
            values = self._measure()
            monitored = values.get(self.model.monitor)
            self.watch.check_figures(self.step, values)
            improved = monitored is None or monitored < self.best
            if improved:
                self.stale = 0
                self.best = self.best if monitored is None else monitored
            else:
                self.stale += 1
            epoch = self.step / self.steps_per_epoch
            if improved:
                self.watch.check_weights(self.step, self.model, weights)
            if self.fabric.is_global_zero:
                if improved:
                    store.save_weights(weights, self.path / store.WEIGHTS)
                self.report.evaluation(self.whole, self.step, epoch, self.elapsed, values, improved)
            self.model.train()
        return bool(self.config.patience) and self.stale >= self.config.patience

    @torch.no_grad()
    def _measure(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        sums: dict[str, Tensor] = {}
        # A generator of its own: evaluating more or less often leaves the training as it is.
        generator = torch.Generator(device=self.fabric.device).manual_seed(self.config.seed + self.fabric.global_rank)
        available, limit = len(self.validation), self.config.evaluate_limit
        n = min(limit, available) if limit else available
        for indices in shard(available, self.config.batch_size, self.fabric.global_rank, self.fabric.world_size, limit):
            x, condition = self.feed.arrange(read(self.validation, indices, generator, self.fabric.device))
            with self._autocast():
                measured = self.whole.measures(x, condition, generator=generator)
            for name, value in measured.items():
                total = value.double().sum()
                sums[name] = sums[name] + total if name in sums else total
        names = sorted(sums)
        totals = torch.stack([sums[name] for name in names])
        if self.fabric.world_size > 1:
            totals = self.fabric.all_reduce(totals, reduce_op="sum")  # type: ignore[assignment]
        return {name: value / n for name, value in zip(names, totals.tolist(), strict=True)}

    # Checkpoints

    def _checkpoint(self) -> None:
        self._check_losses()
        weights = state.model_state(self.model)
        self.watch.check_weights(self.step, self.model, weights)
        tensors = {f"model.{k}": v for k, v in weights.items()}
        scalars: dict[str, Any] = {
            "step": self.step,
            "best": self.best if math.isfinite(self.best) else None,
            "stale": self.stale,
            "elapsed": self.elapsed,
            "counts": self.counts,
            "optimizers": {},
        }
        for name, optimizer in self.optimizers.items():
            parts, rest = state.optimizer_state(optimizer.optimizer)
            tensors.update({f"optimizer.{name}.{k}": v for k, v in parts.items()})
            scalars["optimizers"][name] = rest
        if self.ema is not None:
            tensors.update({f"ema.{k}": state.gather(v) for k, v in self.ema.state().items()})
            scalars["ema_updates"] = self.ema.updates
        tensors.update({f"sums.{k}": v for k, v in self.sums.items()})
        scaler = getattr(self.fabric._strategy.precision, "scaler", None)
        if scaler is not None:
            scalars["scaler"] = scaler.state_dict()
        mine = {"random": state.random_state(self.generator), "carried": self.carry.state() if self.carry else {}}
        everyone: list[Any] = [mine]
        if self.fabric.world_size > 1:
            everyone = [None] * self.fabric.world_size
            torch.distributed.all_gather_object(everyone, mine)
        for rank, parts in enumerate(everyone):
            tensors.update({f"{name}.{rank}.{k}": v for name, part in parts.items() for k, v in part.items()})
        if self.fabric.is_global_zero:
            self.report.sync()
            checkpoints.save(self.path / "checkpoints", self.step, Checkpoint(tensors, scalars), self.config.keep_checkpoints)
        self.fabric.barrier()

    def _restore(self, saved: Checkpoint) -> None:
        scalars, device = saved.scalars, self.fabric.device
        weights = saved.part("model")
        store.check_tensors(self.model, weights, f"the checkpoint of {self.path}")
        state.load_model_state(self.model, weights)
        for name, optimizer in self.optimizers.items():
            parts, rest = saved.part(f"optimizer.{name}"), scalars["optimizers"].get(name, {})
            state.load_optimizer_state(optimizer.optimizer, parts, rest)
        if self.ema is not None:
            self.ema.load(saved.part("ema"), scalars["ema_updates"])
        self.sums = {k: v.to(device) for k, v in saved.part("sums").items()}
        self.counts = dict(scalars["counts"])
        self.step, self.stale, self.elapsed = scalars["step"], scalars["stale"], scalars["elapsed"]
        self.best = math.inf if scalars["best"] is None else scalars["best"]
        scaler = getattr(self.fabric._strategy.precision, "scaler", None)
        if scaler is not None and "scaler" in scalars:
            scaler.load_state_dict(scalars["scaler"])
        mine = saved.part(f"random.{self.fabric.global_rank}")
        # With more processes than before, the new ones start from their seeds.
        if mine:
            state.load_random_state(self.generator, mine)
        if self.carry is not None:
            self.carry.load(saved.part(f"carried.{self.fabric.global_rank}"))

    def _write_config(self) -> None:
        record = {"name": self.data.name, "about": self.data.about, "record": self.data.record}
        record["splits"] = {name: len(split) for name, split in self.data.splits.items() if hasattr(split, "__len__")}
        description = {**store.describe(self.model), "data": record, "training": self.config.to_json()}
        write_text(self.path / store.CONFIG, json.dumps(description, indent=2) + "\n")
