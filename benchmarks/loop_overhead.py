"""Microseconds that the training loop adds to a step of a bare torch loop, logging and metrics on.

The model is a 32-64-64-10 classifier with batches of 32 and Adam, small enough that overhead shows. Both loops
index the same tensors and run in turn, so that a drift of the machine's speed meets both.

    python benchmarks/loop_overhead.py --steps 4000 --repeats 7
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.data.base import ArraySplit, Data
from ancestral.event import Event
from ancestral.models.base import Model
from ancestral.training import TrainConfig, fit


class Classifier(Model):
    """The smallest model that the loop can train."""

    name, family, summary, reference, monitor = "classifier", "benchmark", "a classifier", "", "loss"

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__(event, condition)
        self.network = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def loss(self, x, condition=None, *, group="model", generator=None) -> dict[str, Tensor]:
        return {"loss": F.cross_entropy(self.network(x), condition)}


def bare(x: Tensor, y: Tensor, steps: int, fused: bool) -> float:
    model = Classifier(Event.real((32,)), Event.label(10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    began = time.perf_counter()
    per_epoch = len(x) // 32
    for step in range(steps):
        if step % per_epoch == 0:
            permutation = torch.randperm(len(x))
        start = step % per_epoch * 32
        indices = permutation[start : start + 32]
        loss = F.cross_entropy(model.network(x[indices]), y[indices])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - began) / steps


def ours(x: Tensor, y: Tensor, steps: int) -> float:
    data = Data("random", Event.real((32,)), {"train": ArraySplit(x, y)}, Event.label(10))
    model = Classifier(data.event, data.condition)
    config = TrainConfig(steps=steps, batch_size=32, samples=0, evaluate_every=1e9)
    with tempfile.TemporaryDirectory() as folder:
        run = fit(model, data, Path(folder) / "run", config, progress=True)
        metrics = run.metrics
    # From the first to the last row of the log: start-up and the final files are not steps.
    rows = metrics[metrics["metric"] == "loss"]
    first, last = rows.iloc[0], rows.iloc[-1]
    return float(last["seconds"] - first["seconds"]) / float(last["step"] - first["step"])


def measure(steps: int, repeats: int) -> dict[str, float]:
    """Return microseconds per step by contender, medians, and the median overhead of the pairs."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 32, generator=generator)
    y = torch.randint(10, (20_000,), generator=generator)
    times: dict[str, list[float]] = {"bare": [], "bare, fused Adam": [], "ancestral": []}
    for _ in range(repeats):
        times["bare"].append(bare(x, y, steps, fused=False))
        times["bare, fused Adam"].append(bare(x, y, steps, fused=True))
        times["ancestral"].append(ours(x, y, steps))
    medians = {name: 1e6 * statistics.median(values) for name, values in times.items()}
    overheads = [1e6 * (a - b) for a, b in zip(times["ancestral"], times["bare, fused Adam"], strict=True)]
    medians["overhead over bare, fused Adam (median of pairs)"] = statistics.median(overheads)
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    medians = measure(arguments.steps, arguments.repeats)
    if arguments.json:
        print(json.dumps(medians))
        return
    for name, value in medians.items():
        print(f"{name:50s} {value:8.1f} us/step")


if __name__ == "__main__":
    main()
