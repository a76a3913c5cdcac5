"""WaveNet of the paper's size: samples a second by recomputing, by steps and by many steps in one call, beside a peer.

r9y9/wavenet_vocoder is not in the package index: WAVENET_VOCODER names the folder that holds its source.
"""

import copy
import importlib
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ancestral.distributions import Sharpening
from ancestral.event import Event
from ancestral.layers.kernels import COMPILED, HALVES
from ancestral.models import create
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.models.autoregressive.fused import FUSED_ROWS
from ancestral.models.autoregressive.wavenet import WaveNet
from ancestral.pcm import PCM
from benchmarks.harness import AbsentError

SIZE = {"channels": 32, "skip": 256, "sets": 3, "max_dilation": 512}
TINY = {"channels": 4, "skip": 8, "sets": 1, "max_dilation": 4}
BATCHES = (1, 16)
LEVELS = 256
Run = Callable[[int], None]
"""Draws so many samples of each stream."""


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return the table: samples a second of all streams together, by wall clock and by processor time."""
    torch.set_num_threads(1)
    rows, notes = [], []
    for batch in BATCHES:
        ways, absent = _ways(batch, tiny)
        notes += [note for note in absent if note not in notes]
        speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, (run, steps) in ways.items():  # in turn, so that a drift of the machine's speed meets all
                wall, busy = time.perf_counter(), time.process_time()
                run(steps)
                wall, busy = time.perf_counter() - wall, time.process_time() - busy
                speeds[name].append((batch * steps / wall, batch * steps / max(busy, 1e-9)))
        steps_alone = statistics.median(busy for _, busy in speeds["steps, one by one"])
        for name, measured in speeds.items():
            wall, busy = (statistics.median(column) for column in zip(*measured, strict=True))
            rows.append([f"{batch}", name, f"{wall:,.0f}", f"{busy:,.0f}", f"{busy / steps_alone:.3g}x"])
    return [
        {
            "title": "WaveNet, 30 layers of 32 channels, 256 skip channels, 256 levels, float32, 1 thread unless named",
            "header": ["batch", "way", "samples/s", "samples/s of processor time", "steps, one by one, are 1x"],
            "rows": rows,
            "notes": [
                "Samples of all streams together, drawn with the softmax. Processor time leaves out what other programs"
                " take of a shared core; ratios are of its medians. Recomputing is a pass over the receptive field for each"
                " sample.",
                *notes,
            ],
        }
    ]


@torch.no_grad()
def _ways(batch: int, tiny: bool) -> tuple[dict[str, tuple[Run, int]], list[str]]:
    """Return what draws, with the steps that are timed, each run once, and why others are left out."""
    torch.manual_seed(0)
    model = create("wavenet", Event.audio(64 if tiny else 4000, PCM(16000, LEVELS)), None, **(TINY if tiny else SIZE)).eval()
    if not isinstance(model, WaveNet):
        raise TypeError("wavenet is a WaveNet")
    window = torch.randint(LEVELS, (batch, model.receptive_field))
    reading = model.resized(model.receptive_field)

    @torch.no_grad()
    def recompute(steps: int) -> None:
        for _ in range(steps):
            model.head(reading(window)[:, -1]).draw()

    def by_steps(fused: bool, model: WaveNet = model, threads: int = 1) -> Run:
        def run(steps: int) -> None:
            torch.set_num_threads(threads)
            state = model.init_state(batch)
            draws = Draws(EntryValue(model.head, Sharpening()), torch.rand(batch, model.event.numel, 1, dtype=torch.float64))
            if fused:
                model.run_fused(state, draws, steps)
            else:
                model.fused = False
                model.run(state, draws, steps)
            torch.set_num_threads(1)

        return torch.no_grad()(run)

    short, long = (2, 16) if tiny else (1, 200)
    ways: dict[str, tuple[Run, int]] = {"recomputing": (recompute, short), "steps, one by one": (by_steps(False), long)}
    absent = []
    if COMPILED:
        many = 16 if tiny else 2000 // (1 if batch == 1 else 4)
        ways["many steps in one call (numba)"] = (by_steps(True), many)
        if batch >= 2 * FUSED_ROWS:
            ways["many steps in one call (numba), 2 threads"] = (by_steps(True, threads=2), many)
        if HALVES:
            ways["many steps in one call, weights of half precision"] = (
                by_steps(True, copy.deepcopy(model).half().float()),
                many,
            )
    else:
        absent.append("Left out: many steps in one call: numba is not installed; pip install ancestral[fast].")
    try:
        ways["r9y9/wavenet_vocoder, incremental_forward"] = (_vocoder(batch, tiny), long)
    except AbsentError as reason:
        absent.append(f"Left out: r9y9/wavenet_vocoder: {reason}.")
    for run, steps in ways.values():
        run(min(2, steps))
    return ways, absent


def _vocoder(batch: int, tiny: bool) -> Run:
    folder = os.environ.get("WAVENET_VOCODER")
    if not folder or not (Path(folder) / "wavenet_vocoder").is_dir():
        raise AbsentError("WAVENET_VOCODER names no folder with its source")
    sys.path.insert(0, folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = importlib.import_module("wavenet_vocoder").WaveNet
            sizes = (1, 3, 4, 8) if tiny else (3, 30, 32, 256)
            stacks, layers, channels, skip = sizes
            model = made(
                out_channels=LEVELS,
                layers=layers,
                stacks=stacks,
                residual_channels=channels,
                gate_channels=2 * channels,
                skip_out_channels=skip,
                kernel_size=2,
                dropout=0.0,
                cin_channels=-1,
                gin_channels=-1,
                scalar_input=False,
            ).eval()
            model.remove_weight_norm_() if hasattr(model, "remove_weight_norm_") else model.make_generation_fast_()
    except Exception as error:  # whatever fails in a peer is a reason to leave it out
        raise AbsentError(f"it cannot be built: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    start = torch.zeros(batch, LEVELS, 1)
    start[:, LEVELS // 2] = 1.0

    @torch.no_grad()
    def run(steps: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.incremental_forward(test_inputs=start, T=steps, softmax=True, quantize=True)

    return run
