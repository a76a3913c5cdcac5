"""Train every model of text at every level for as long, and record bits per byte of the test split.

    python zoo/text-levels/train.py [--data NAME ...] [--levels LEVEL ...] [--models MODEL ...] [-o runs/text-levels]

What is recorded is passed over, so that the work can be stopped and taken up again. Weights are not kept: a minute each is
enough to compare levels, and no more. The settings are the same for all; nothing is chosen by what comes out.
"""

import argparse
import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import torch

from ancestral.data import load
from ancestral.files import write_text
from ancestral.models.base import count_parameters
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.fit import fit

HERE = Path(__file__).resolve().parent
FIGURES = HERE / "figures.json"

DATA = ("tinyshakespeare", "ptb", "enwik8")
LEVELS = {"bit": 1024, "byte": 256, "character": 256, "subword": 128, "word": 64}
"""Tokens of a window: somewhat less than for as many bytes the more a token holds."""
MODELS: dict[str, dict[str, Any]] = {
    "lstm-lm": {"width": 256, "layers": 1},
    "bytenet": {"width": 192, "sets": 2, "max_dilation": 16},
    "transformer": {"width": 128, "layers": 4, "heads": 4},
    "sparse-transformer": {"width": 128, "layers": 4, "heads": 4},
}
TOKENS = 2048
"""Tokens of a batch."""
MINUTES = 1.0
TRAIN = {"minutes": MINUTES, "learning_rate": 3e-3, "warmup_steps": 20, "clip": 1.0, "evaluate_limit": 64, "samples": 0}


def train(data: str, level: str, model: str, runs: Path) -> dict[str, Any]:
    """Train one model at one level, and return its figures on test."""
    length = LEVELS[level]
    folder = runs / f"{data}-{level}-{model}"
    text = load(data, level=level, length=length)
    run = fit(
        model,
        text,
        output=folder,
        model_options=MODELS[model],
        train={**TRAIN, "batch_size": TOKENS // length},
        overwrite=True,
        progress=False,
    )
    trained = run.model()
    figure = evaluate(trained, text, split="test")
    steps = int(run.metrics["step"].max())
    shutil.rmtree(folder)
    kept = ("nats", "standard_error", "count", "kind", "perplexity", "bits_per_byte")
    found = {key: value for key, value in figure.to_json().items() if key in kept}
    return {**found, "levels": trained.event.levels, "parameters": count_parameters(trained.parameters()), "steps": steps}


def main() -> None:
    """Train what is asked for and not recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=DATA)
    parser.add_argument("--levels", nargs="*", default=tuple(LEVELS))
    parser.add_argument("--models", nargs="*", default=tuple(MODELS))
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/text-levels"))
    given = parser.parse_args()
    empty = {"minutes": MINUTES, "threads": torch.get_num_threads(), "figures": {}}
    recorded = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else empty
    for data, level, model in product(given.data, given.levels, given.models):
        name = f"{data}/{level}/{model}"
        if name not in recorded["figures"]:
            recorded["figures"][name] = found = train(data, level, model, given.output)
            write_text(FIGURES, json.dumps(recorded, indent=2) + "\n")
            print(f"{name}: {found['bits_per_byte']:.3f} bits/byte after {found['steps']} steps", flush=True)


if __name__ == "__main__":
    main()
