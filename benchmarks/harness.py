"""One harness for all tables: contenders in processes of their own, timed in turn, each with its peak memory.

A table has groups of contenders that do the same work. Every contender is built in a process of its own, so that its
memory is its own; all of them wait, and in each repeat they run one after another, so that a drift of the machine's
speed meets all. Ratios are taken repeat by repeat, and their median is what counts.
"""

import contextlib
import importlib
import math
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ancestral.data.base import ArraySplit, Data
from ancestral.models.base import Model, count_parameters
from ancestral.training import TrainConfig, fit

WARM_UP_STEPS = 2
"""Steps of a run of the training loop before the clock starts."""


class AbsentError(Exception):
    """A contender cannot run here; the message is the reason, printed in its place."""


@dataclass(frozen=True)
class Settings:
    """What all contenders of a run share.

    Args:
        precision: float32, or bfloat16 for autocast.
        threads: threads of torch.
        seconds: how long one timing lasts at least.
        repeats: timings of each contender.
        tiny: smallest sizes, to see that a script runs.
        processor: count seconds of the processor, not of the wall: for one thread, on a machine that is shared.
    """

    precision: str = "float32"
    threads: int = 1
    seconds: float = 1.0
    repeats: int = 5
    tiny: bool = False
    processor: bool = False

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context that computes in this precision."""
        return torch.autocast("cpu", torch.bfloat16) if self.precision == "bfloat16" else contextlib.nullcontext()


@dataclass(frozen=True)
class Clock:
    """One thing to time: `run(n)` does it n times and returns the seconds; once is `items` examples, rows or pixels."""

    run: Callable[[int], float]
    items: int


@dataclass(frozen=True)
class Contender:
    """A model that is ready to run: its number of parameters, and clocks by the table's measures."""

    parameters: int
    clocks: dict[str, Clock]


Build = Callable[[Settings], Contender]


@dataclass(frozen=True)
class Measure:
    """How a measure is shown: items per second, or seconds of `scale` items.

    Args:
        title: what is measured, with its unit.
        rate: show items per second.
        scale: items whose time is shown, where `rate` is False.
        unit: how many of the shown unit make a second.
    """

    title: str
    rate: bool = True
    scale: int = 1
    unit: float = 1.0


@dataclass(frozen=True)
class Table:
    """A table: measures, and groups of contenders by name, whose first one is the real training loop."""

    name: str
    title: str
    measures: dict[str, Measure]
    groups: dict[str, dict[str, Build]] = field(default_factory=dict)


TRAIN, SCORE = Measure("training, examples/s"), Measure("scoring, rows/s")


# Loops

_clock = time.perf_counter


def now() -> float:
    """Return seconds since some moment, of the clock that this process measures with."""
    return _clock()


def bare(
    model: nn.Module,
    x: Tensor,
    batch: int,
    settings: Settings,
    loss: Callable[[Tensor], Tensor],
    log_prob: Callable[[Tensor], Tensor] | None = None,
) -> Contender:
    """Return a contender that trains in the shortest loop there is, and scores batches in order.

    Args:
        model: the module.
        x: the data, as this model takes them.
        batch: examples per step.
        settings: precision.
        loss: from a batch to what is minimised.
        log_prob: from a batch to its log-probabilities; None where the model has none.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def update(rows: Tensor) -> None:
        with settings.autocast():
            value = loss(rows)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    return looped(model, x, batch, settings, update, log_prob)


def looped(
    model: nn.Module,
    x: Tensor,
    batch: int,
    settings: Settings,
    update: Callable[[Tensor], None],
    log_prob: Callable[[Tensor], Tensor] | None = None,
) -> Contender:
    """Return a contender that takes steps in the shortest loop there is; arguments as of `bare`.

    Args:
        model: the module.
        x: the data, as this model takes them.
        batch: examples per step.
        settings: precision.
        update: takes a step on a batch.
        log_prob: from a batch to its log-probabilities; None where the model has none.
    """

    def train(n: int) -> float:
        model.train()
        permutation = torch.randperm(len(x))
        per_epoch = len(x) // batch
        began = now()
        for step in range(n):
            start = step % per_epoch * batch
            update(x.index_select(0, permutation[start : start + batch]))
        return now() - began

    clocks = {"train": Clock(train, batch)}
    if log_prob is not None:
        clocks["score"] = scoring(model, x, batch, settings, log_prob)
    return Contender(count_parameters(model.parameters()), clocks)


def scoring(model: nn.Module, x: Tensor, batch: int, settings: Settings, log_prob: Callable[[Tensor], Tensor]) -> Clock:
    """Return the clock of log-probabilities."""

    @torch.no_grad()
    def score(n: int) -> float:
        model.eval()
        per_epoch = len(x) // batch
        began = now()
        for step in range(n):
            start = step % per_epoch * batch
            with settings.autocast():
                log_prob(x[start : start + batch])
        return now() - began

    return Clock(score, batch)


def ours(model: Model, x: Tensor, batch: int, settings: Settings) -> Contender:
    """Return a contender that trains a model of this project in a bare loop."""
    return bare(model, x, batch, settings, lambda rows: model.loss(rows)["loss"], model.log_prob)


class _TimedSplit(ArraySplit):
    """Notes when each batch is asked for: between two requests lies one whole step of the loop, logs and bar included."""

    def __init__(self, x: Tensor) -> None:
        super().__init__(x)
        self.times: list[float] = []

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor | None]:
        self.times.append(now())
        return super().batch(indices, generator)


def fitted(
    model: Model,
    x: Tensor,
    batch: int,
    settings: Settings,
    log_prob: Callable[[Tensor], Tensor] | None = None,
    **options: Any,
) -> Contender:
    """Return a contender that trains with `ancestral.training.fit`, with its logs, bar, card and checkpoint.

    Start-up and the final files are not steps, and are not timed.

    Args:
        model: the model.
        x: data.
        batch: examples per step.
        settings: precision.
        log_prob: from a batch to what scores it; the model's own where None, and nothing where it has none.
        options: more training settings.
    """
    precision = "bf16" if settings.precision == "bfloat16" else "32"

    def train(n: int) -> float:
        split = _TimedSplit(x)
        config = TrainConfig(
            steps=WARM_UP_STEPS + n + 1, batch_size=batch, samples=0, evaluate_every=1e9, precision=precision, **options
        )
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            stack.enter_context(contextlib.redirect_stderr(stack.enter_context(Path(os.devnull).open("w"))))
            fit(model, Data("random", model.event, {"train": split}), Path(folder) / "run", config)
        return split.times[WARM_UP_STEPS + n] - split.times[WARM_UP_STEPS]

    clocks = {"train": Clock(train, batch)}
    if log_prob is not None or model.can("log_prob"):
        clocks["score"] = scoring(model, x, batch, settings, log_prob or model.log_prob)
    return Contender(count_parameters(model.parameters()), clocks)


# Processes


def run(table: Table, settings: Settings, only: str = "") -> list[dict[str, Any]]:
    """Time the contenders of a table whose group's name contains `only`, and return its groups as JSON objects."""
    # Processes are forked from one that has imported everything and done nothing: quick to start, and clean.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.harness", "ancestral.models"])
    results = []
    for group, builds in table.groups.items():
        if only not in group:
            continue
        print(f"{table.name}: {group}, {settings.precision}", file=sys.stderr, flush=True)
        contenders = {name: _Remote(context, table.name, group, name, settings) for name in builds}
        try:
            results.append({"group": group, "contenders": _time(contenders, table, settings)})
        finally:
            for contender in contenders.values():
                contender.close()
    return results


def _time(contenders: dict[str, "_Remote"], table: Table, settings: Settings) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name, contender in contenders.items():
        built = contender.ask("build")
        rows[name] = {"name": name, **{key: value for key, value in built.items() if key != "measures"}}
        if "skipped" in rows[name]:
            print(f"  {name}: skipped, {rows[name]['skipped']}", file=sys.stderr, flush=True)
    able = [name for name in contenders if "skipped" not in rows[name]]
    for measure in table.measures:
        having = [name for name in able if measure in contenders[name].measures]
        for name in having:
            contenders[name].ask("calibrate", measure)
        times: dict[str, list[float]] = {name: [] for name in having}
        for _ in range(settings.repeats):
            for name in having:
                times[name].append(contenders[name].ask("time", measure))
        for name in having:
            rows[name].setdefault("seconds", {})[measure] = times[name]
            if measure == "train":
                rows[name]["memory"] = contenders[name].ask("memory")
            print(
                f"  {name}: {measure} {1e6 * sorted(times[name])[len(times[name]) // 2]:.1f} us", file=sys.stderr, flush=True
            )
    return list(rows.values())


class _Remote:
    """A contender in a process of its own."""

    def __init__(self, context: Any, table: str, group: str, name: str, settings: Settings) -> None:
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, table, group, name, asdict(settings)), daemon=True)
        self._process.start()
        other.close()
        self.measures: list[str] = []

    def ask(self, *question: str) -> Any:
        """Send a question and return the answer; what fails there is raised here."""
        self._connection.send(question)
        kind, answer = self._connection.recv()
        if kind == "error":
            raise RuntimeError(f"a contender failed:\n{answer}")
        if question[0] == "build":
            self.measures = answer.get("measures", [])
        return answer

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()


def _serve(connection: Connection, table: str, group: str, name: str, settings: dict[str, Any]) -> None:
    """Answer questions about one contender until the other side closes."""
    import traceback

    global _clock
    given = Settings(**settings)
    _clock = time.process_time if given.processor else time.perf_counter
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    contender: Contender | None = None
    counts: dict[str, int] = {}
    start = 0.0
    while True:
        try:
            what, *arguments = connection.recv()
        except EOFError:
            return
        answer: Any = None
        try:
            if what == "build":
                start = peak_memory()
                try:
                    # What a contender prints while it starts is not part of the table.
                    with contextlib.redirect_stdout(sys.stderr):
                        contender = importlib.import_module(f"benchmarks.{table}").TABLE.groups[group][name](given)
                except (AbsentError, ImportError) as reason:
                    answer = {"skipped": str(reason)}
                else:
                    answer = {"parameters": contender.parameters, "measures": list(contender.clocks)}
            elif what == "memory":
                answer = peak_memory() - start
            else:
                assert contender is not None
                (measure,) = arguments
                clock = contender.clocks[measure]
                if what == "calibrate":
                    counts[measure] = _calibrate(clock, given.seconds)
                else:
                    answer = clock.run(counts[measure]) / (counts[measure] * clock.items)
            connection.send(("answer", answer))
        except Exception:
            connection.send(("error", traceback.format_exc()))


def _calibrate(clock: Clock, seconds: float) -> int:
    """Warm up, and return how many times a clock has to run to last `seconds`."""
    once = clock.run(1)
    if once < seconds:
        once = clock.run(3) / 3
    return max(1, math.ceil(seconds / once))


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's getrusage counts what the process was before it was replaced by this one; this does not.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
