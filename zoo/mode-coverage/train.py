"""Train GANs on mixtures of known modes, and record how many of these their samples find.

    python zoo/mode-coverage/train.py [--data NAME ...] [--objectives NAME ...] [--regularisers LIST ...] [--seeds N]

What is recorded is passed over, so that the work can be stopped and taken up again; weights are not kept. Each objective is
trained as it is and with a penalty on the critic's gradients at the data (r1), or with what its paper asks for. The settings
are the same for all, and were chosen for `non-saturating` with r1 on seeds that are not among those recorded.
"""

import argparse
import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import torch

from ancestral.files import write_text
from ancestral.models.adversarial.divergences import NAMES as DIVERGENCES
from ancestral.models.adversarial.objectives import TABLE
from ancestral.verbs.fit import fit
from ancestral.verbs.modes import modes

HERE = Path(__file__).resolve().parent
FIGURES = HERE / "figures.json"

DATA = ("ring", "grid")
PARAMETRIC = ("weighted-jensen-shannon", "alpha")
OBJECTIVES = (*TABLE, *(name for name in DIVERGENCES if name not in PARAMETRIC), "alpha=-1", "alpha=0.5", "alpha=2")
REGULARISERS = ("", "r1=0.05")
"""Each a list as `--model.regularisers` takes it, its parts joined by +."""
MODEL: dict[str, Any] = {"latent": 2, "hidden": (128, 128)}
TRAIN: dict[str, Any] = {
    "steps": 10_000,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "betas": (0.5, 0.99),
    "schedule": "linear",
    "ema": 0.999,
    "evaluate_every": 1000,
    "evaluate_limit": 100,
    "samples": 0,
    "loggers": ("csv",),
}


def train(data: str, objective: str, regularisers: str, seed: int, runs: Path) -> dict[str, Any]:
    """Train one GAN, and return how its samples lie over the modes.

    Args:
        data: ring or grid.
        objective: name of an objective.
        regularisers: names with weights, joined by +, or nothing.
        seed: seed of weights, data and draws.
        runs: where the run is kept until it is measured.
    """
    folder = runs / f"{data}-{objective}-{regularisers or 'plain'}-{seed}"
    parts = tuple(part for part in regularisers.split("+") if part)
    run = fit(
        "gan",
        data,
        output=folder,
        model_options={**MODEL, "objective": objective, "regularisers": parts},
        train={**TRAIN, "seed": seed},
        overwrite=True,
        progress=False,
    )
    found = modes(run.model(), data, seed=seed).to_json()
    seconds = float(run.metrics["seconds"].max())
    shutil.rmtree(folder)
    kept = ("found", "modes", "high_quality", "kl", "count", "expected")
    return {**{key: found[key] for key in kept}, "seconds": round(seconds, 1)}


def main() -> None:
    """Train what is asked for and not recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=DATA)
    parser.add_argument("--objectives", nargs="*", default=OBJECTIVES)
    parser.add_argument("--regularisers", nargs="*", default=REGULARISERS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/mode-coverage"))
    given = parser.parse_args()
    empty: dict[str, Any] = {"steps": TRAIN["steps"], "threads": torch.get_num_threads(), "figures": {}}
    recorded = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else empty
    for seed, objective, regularisers, data in product(range(given.seeds), given.objectives, given.regularisers, given.data):
        name = f"{data}/{objective}/{regularisers or 'plain'}/{seed}"
        if name not in recorded["figures"]:
            recorded["figures"][name] = found = train(data, objective, regularisers, seed, given.output)
            write_text(FIGURES, json.dumps(recorded, indent=1) + "\n")
            quality = found["high_quality"]
            print(f"{name}: {found['found']} of {found['modes']} modes, {quality:.1%} of high quality", flush=True)


if __name__ == "__main__":
    main()
