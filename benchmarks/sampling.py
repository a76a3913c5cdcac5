"""Sampling by steps, beside recomputing the whole image for each pixel with the same weights."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from ancestral.event import Event
from ancestral.layers.kernels import COMPILED
from ancestral.models import create
from ancestral.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from ancestral.models.base import Model
from ancestral.verbs.inputs import rounded
from benchmarks import page

LAYERS, CHANNELS, SIDE = 10, 128, 28
BATCHES = (1, 16, 64)
SIDES = (16, 32, 64, 128)


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return the tables: speed by batch size, and cost by image size."""
    torch.manual_seed(0)
    return [_by_batch(tiny, repeats), _by_size(tiny)]


def _model(side: int, tiny: bool, layers: int = LAYERS) -> GatedPixelCNN:
    size = {"channels": 8, "layers": 2} if tiny else {"channels": CHANNELS, "layers": layers}
    model = create(
        "gated-pixelcnn", Event.binary((1, side, side)), skip=True, head_channels=32, vertical_residual=False, **size
    )
    if not isinstance(model, GatedPixelCNN):
        raise TypeError(f"gated-pixelcnn is a {type(model).__name__}")
    model.fused_least = 0  # type: ignore[misc]
    return model.eval()


def _seconds(run: Callable[[], Any], repeats: int = 1) -> float:
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _peak(threads: int) -> float:
    """Return the operations a second of a large float32 product, which is what a sampler could reach at most."""
    torch.set_num_threads(threads)
    a = torch.randn(1024, 1024)
    a @ a
    return 2 * 1024**3 / _seconds(lambda: a @ a, 9)


def _operations(model: GatedPixelCNN) -> float:
    """Return the multiplications and additions for each pixel of one image: two for each weight of a convolution."""
    return 2.0 * sum(p.numel() for name, p in model.named_parameters() if p.dim() == 4)


@torch.no_grad()
def _by_batch(tiny: bool, repeats: int) -> dict[str, Any]:
    side = 6 if tiny else SIDE
    model, rows = _model(side, tiny), []
    for batch in BATCHES:
        threads = 1 if batch == 1 else 2  # a second thread costs more than it gives at batch size 1
        peak = _peak(threads)
        x = torch.zeros(batch, 1, side, side)
        model(x)
        naive = _seconds(lambda x=x: model(x), repeats) * side * side  # type: ignore[misc]
        kinds: list[tuple[str, Model]] = [("float32", model)]
        if batch > 1 and (tiny or page.machine()["bfloat16"]):
            kinds.append(("bfloat16", rounded(model, "bfloat16")))
        for kind, each in kinds:
            for fused in (False, True) if COMPILED else (False,):
                each.fused = fused  # type: ignore[assignment]
                each.sample(1)
                steps = _seconds(lambda batch=batch, each=each: each.sample(batch), repeats if batch == 1 else 1)  # type: ignore[misc]
                share = f"{_operations(model) * batch * side * side / steps / peak:.0%}" if kind == "float32" else ""
                way = "a row in one call" if fused else "one by one"
                speed = [f"{steps:.3g}", f"{naive / steps:.0f}x", f"{1e3 * steps / side**2:.3g}"]
                rows.append([f"{batch}", f"{threads}", kind, way, f"{naive:.3g}", *speed, share])
    return {
        "title": f"Gated PixelCNN, {LAYERS} layers of {CHANNELS} channels, {side} x {side}",
        "header": [
            "batch",
            "threads",
            "type of steps",
            "pixels",
            "whole image for each pixel, s",
            "steps, s",
            "ratio",
            "ms a pixel",
            "share of the peak",
        ],
        "rows": rows,
        "notes": [
            "The first is the median of passes over the whole image, times the number of pixels; the second a whole sample."
            " The peak is of a product of two matrices of side 1,024 in float32, in the same run with as many threads."
            " Its share counts each weight at each pixel, also what would read outside the image, which steps leave out."
            " Steps in bfloat16 (`--weights bfloat16`, where the CPU has instructions for it) are beside passes in float32."
            " A row in one call: by a loop that numba compiles, which `sample` takes by itself where there is enough to draw."
        ],
    }


@torch.no_grad()
def _by_size(tiny: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    rows = []
    for side in SIDES[:2] if tiny else SIDES:
        model = _model(side, tiny, layers=4)
        steps = _seconds(lambda model=model: model.sample(1))  # type: ignore[misc]
        rows.append([f"{side} x {side}", f"{steps:.3g}", f"{1e3 * steps / side**2:.3g}"])
    return {
        "title": f"Cost of one image by its size: 4 layers of {CHANNELS} channels, batch 1, 1 thread",
        "header": ["pixels", "steps, s", "ms a pixel"],
        "rows": rows,
        "notes": ["The cost of a pixel does not depend on how many there are: that of an image grows as their number."],
    }
