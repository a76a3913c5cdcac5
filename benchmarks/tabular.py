"""Flows of the UCI tables beside zuko's and nflows' of the same layers and widths: test log-likelihoods after the same time.

python -m benchmarks.tabular [--seconds 60] [--tables yacht ...] [--models maf ...]

All train on the same arrays in the same loop: Adam, a rate that falls as a cosine of the time, the weights that are best on
validation. Time is that of the processor, so that what else a machine does takes it from nobody. What is recorded is passed
over, so that the work can be stopped and taken up again; `python docs/generate.py` makes the table.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ancestral.data import load
from ancestral.data.base import Data
from ancestral.event import Event
from ancestral.files import write_text
from ancestral.models import registry
from ancestral.models.base import count_parameters
from ancestral.recipe import read_recipe
from benchmarks import page

RECIPES = Path(__file__).resolve().parents[1] / "zoo" / "tabular-flows"
FIGURES = RECIPES / "figures.json"
TABLES = (
    "yacht", "energy", "bostonHousing", "concrete", "wine-quality-red", "power-plant", "kin8nm", "naval-propulsion-plant",
    "protein-tertiary-structure",
)  # fmt: skip
MODELS = ("maf", "spline-flow")
EVERY = 100
"""Steps between evaluations on validation."""
LogProb = Callable[[Tensor], Tensor]


# Contenders


def _ours(name: str, options: dict[str, Any], features: int) -> tuple[nn.Module, LogProb]:
    model = registry.create(name, Event.real((features,)), **options)
    return model, model.log_prob


def _zuko(name: str, options: dict[str, Any], features: int) -> tuple[nn.Module, LogProb]:
    import zuko

    shape = {"transforms": options["layers"], "hidden_features": options["hidden"]}
    # Its splines reach from -5 to 5.
    flow = zuko.flows.MAF(features, **shape) if name == "maf" else zuko.flows.NSF(features, bins=options["bins"], **shape)
    return flow, lambda x: flow().log_prob(x)


def _nflows(name: str, options: dict[str, Any], features: int) -> tuple[nn.Module, LogProb]:
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.transforms import CompositeTransform, ReversePermutation, autoregressive

    # A block without a residual has one hidden layer, after one of its own.
    shape = {"features": features, "hidden_features": options["hidden"][0], "num_blocks": 1, "use_residual_blocks": False}
    layers: list[nn.Module] = []
    for _ in range(options["layers"]):
        layers.append(ReversePermutation(features))
        if name == "maf":
            layers.append(autoregressive.MaskedAffineAutoregressiveTransform(**shape))
        else:
            spline = {"num_bins": options["bins"], "tails": "linear", "tail_bound": options["bound"]}
            layers.append(autoregressive.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(**shape, **spline))
    flow = Flow(CompositeTransform(layers), StandardNormal([features]))
    return flow, flow.log_prob


LIBRARIES = {"ancestral": _ours, "zuko": _zuko, "nflows": _nflows}


# Training


def standardized(data: Data) -> dict[str, Tensor]:
    """Return the splits, each (n, columns), with the mean and the deviation of train."""
    return {
        name: data.event.to_network(split.batch(torch.arange(len(split)))[0], torch.float32)
        for name, split in data.splits.items()
    }


def train(
    model: nn.Module, log_prob: LogProb, arrays: dict[str, Tensor], settings: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Train for so many seconds of the processor, leave the weights that are best on validation, and return what it took."""
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["learning_rate"], fused=True)
    x, batch = arrays["train"], settings["batch_size"]
    best, kept, stale, step = -math.inf, copy.deepcopy(model.state_dict()), 0, 0
    began = time.process_time()
    order, start = torch.randperm(len(x)), 0
    while (done := (time.process_time() - began) / seconds) < 1.0 and stale < settings["patience"]:
        if start + batch > len(x):
            order, start = torch.randperm(len(x)), 0
        rows = x.index_select(0, order[start : start + batch])
        start += batch
        for group in optimizer.param_groups:
            group["lr"] = settings["learning_rate"] * 0.5 * (1.0 + math.cos(math.pi * done))
        model.train()
        loss = -log_prob(rows).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        step += 1
        if step % EVERY == 0:
            value = float(scores(model, log_prob, arrays["validation"]).mean())
            stale = 0 if value > best else stale + 1
            if value > best:
                best, kept = value, copy.deepcopy(model.state_dict())
    if float(scores(model, log_prob, arrays["validation"]).mean()) > best:
        kept = model.state_dict()
    used = time.process_time() - began
    model.load_state_dict(kept)
    return {"steps": step, "seconds": used}


@torch.no_grad()
def scores(model: nn.Module, log_prob: LogProb, x: Tensor) -> Tensor:
    """Return the log-likelihood of each row, (n,), nats, in double precision."""
    model.eval()
    return torch.cat([log_prob(part).double() for part in x.split(4096)])


def contend(table: str, name: str, seconds: float) -> dict[str, Any]:
    """Train a model of each library on one table, and return their figures on test."""
    recipe = read_recipe(RECIPES / f"recipe-{name}.yaml")
    options = {key: value for key, value in recipe["model"].items() if key != "name"}
    sources = {key: value for key, value in recipe["data"].items() if key != "name"}
    data = load(f"uci/{table}", **sources)
    arrays = standardized(data)
    # What is small is seen whole at each step.
    settings = {**recipe["train"], "batch_size": min(recipe["train"]["batch_size"], len(arrays["train"]))}
    features = arrays["train"].shape[1]
    found: dict[str, Any] = {}
    rows: dict[str, Tensor] = {}
    for library, build in LIBRARIES.items():
        torch.manual_seed(0)
        try:
            model, log_prob = build(name, options, features)
        except ImportError as reason:
            print(f"{table}, {name}, {library}: skipped, {reason}", flush=True)
            continue
        took = train(model, log_prob, arrays, settings, seconds)
        rows[library] = scores(model, log_prob, arrays["test"])
        found[library] = {
            "parameters": count_parameters(model.parameters()), **took, **_mean(rows[library]),
            "validation": float(scores(model, log_prob, arrays["validation"]).mean()),
            "ahead": _mean(rows["ancestral"] - rows[library]),
        }  # fmt: skip
        print(f"{table}, {name}, {library}: {found[library]['mean']:.3f} after {took['steps']} steps", flush=True)
    about = {key: data.record[key] for key in ("columns", "dropped", "splits")}
    return {**about, "seconds": seconds, "libraries": found}


def _mean(values: Tensor) -> dict[str, float]:
    return {"mean": float(values.mean()), "standard_error": float(values.std() / math.sqrt(len(values)))}


def main() -> None:
    """Train what is asked for and not recorded."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.tabular", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="+", default=TABLES, choices=TABLES)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the processor, for each model of each library")
    parser.add_argument("--output", type=Path, default=FIGURES, help="where figures are recorded")
    given = parser.parse_args()
    torch.set_num_threads(1)
    empty = {"machine": page.machine(), "figures": {}}
    recorded = json.loads(given.output.read_text(encoding="utf-8")) if given.output.is_file() else empty
    for table in given.tables:
        for name in given.models:
            if f"{table}/{name}" not in recorded["figures"]:
                recorded["figures"][f"{table}/{name}"] = contend(table, name, given.seconds)
                write_text(given.output, json.dumps(recorded, indent=2) + "\n")


if __name__ == "__main__":
    main()
