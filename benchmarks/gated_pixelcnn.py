"""Gated PixelCNN: training, scoring, and sampling with and without reuse, beside pytorch-generative.

pytorch-generative is not in the package index: PYTORCH_GENERATIVE names the folder that holds its source.
"""

import os
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from benchmarks.harness import SCORE, TRAIN, AbsentError, Build, Clock, Contender, Measure, Settings, Table, bare, fitted, ours

BATCH, HEAD = 16, 32


def images(settings: Settings) -> Tensor:
    """Random binary images, (n, 1, 28, 28); of 8 x 8 where tiny."""
    side = 8 if settings.tiny else 28
    return (torch.rand(4 * BATCH if settings.tiny else 64 * BATCH, 1, side, side) < 0.2).to(torch.uint8)


def _our(layers: int, channels: int, settings: Settings) -> GatedPixelCNN:
    side = 8 if settings.tiny else 28
    # The peer has kernels of 3 x 3, skip connections, a plain vertical stack and no embedding of positions.
    options: dict[str, Any] = {"layers": layers, "channels": channels, "kernel": 3, "head_channels": HEAD}
    options |= {"skip": True, "vertical_residual": False, "positions": False}
    return GatedPixelCNN(Event.binary((1, side, side)), **options)


def _sampling(model: GatedPixelCNN) -> dict[str, Clock]:
    """Return clocks for one pixel of 1 and of 16 images, from what is cached and with the whole network anew."""
    numel = model.event.numel

    def cached(batch: int) -> Callable[[int], float]:
        def run(n: int) -> float:
            model.eval()
            generator = torch.Generator().manual_seed(0)
            began = time.perf_counter()
            for _ in range(n):
                model.sample(batch, generator=generator)
            return time.perf_counter() - began

        return run

    @torch.no_grad()
    def anew(n: int) -> float:
        model.eval()
        state = model.init_state(1)
        began = time.perf_counter()
        for i in range(n):
            state.t = i % numel
            model.head(AutoregressiveModel.advance(model, state, None)).draw()
        return time.perf_counter() - began

    return {"sample1": Clock(cached(1), numel), "sample16": Clock(cached(16), numel), "anew": Clock(anew, 1)}


def _fitted(layers: int, channels: int) -> Build:
    return lambda s: fitted(_our(layers, channels, s), images(s), BATCH, s, channels_last=True)


def _bare(layers: int, channels: int) -> Build:
    def build(settings: Settings) -> Contender:
        model = _our(layers, channels, settings)
        contender = ours(model, images(settings), BATCH, settings)
        # Sampling in bf16 is slower at small batches and gives other probabilities: it stays in full precision.
        steps = _sampling(model) if settings.precision == "float32" else {}
        return replace(contender, clocks={**contender.clocks, **steps})

    return build


def _peer_class() -> type[nn.Module]:
    source = os.environ.get("PYTORCH_GENERATIVE")
    if not source:
        raise AbsentError(
            "PYTORCH_GENERATIVE is not set to the folder of its source (github.com/EugenHotaj/pytorch-generative)"
        )
    if not (Path(source) / "pytorch_generative").is_dir():
        raise AbsentError(f"PYTORCH_GENERATIVE is {source}, which holds no pytorch_generative")
    sys.path.insert(0, source)
    # Its package imports data sets and a trainer, for which torchvision would be needed, and the model would not.
    stubs = {f"pytorch_generative.{name}": types.ModuleType(name) for name in ("colab_utils", "datasets", "debug", "trainer")}
    with mock.patch.dict(sys.modules, stubs):
        from pytorch_generative.models.autoregressive.gated_pixel_cnn import GatedPixelCNN as Peer
    return Peer


def _peer(layers: int, channels: int, memory_format: torch.memory_format) -> Build:
    def build(settings: Settings) -> Contender:
        model = _peer_class()(n_gated=layers, gated_channels=channels, head_channels=HEAD).to(memory_format=memory_format)
        x = images(settings).float()

        def log_prob(rows: Tensor) -> Tensor:
            raw = model(rows.contiguous(memory_format=memory_format))
            return -F.binary_cross_entropy_with_logits(raw.float(), rows, reduction="none").flatten(1).sum(1)

        contender = bare(model, x, BATCH, settings, lambda rows: -log_prob(rows).mean(), log_prob)
        if settings.precision != "float32":
            return contender

        def pixels(batch: int) -> Callable[[int], float]:
            @torch.no_grad()
            def run(n: int) -> float:
                # What each pixel of its sample() costs: the network over the whole image, and a draw.
                model.eval()
                canvas = -torch.ones(batch, *x.shape[1:])
                began = time.perf_counter()
                for i in range(n):
                    row, column = divmod(i % x[0].numel(), x.shape[3])
                    canvas[:, :, row, column] = torch.bernoulli(torch.sigmoid(model(canvas)[:, :, row, column]))
                return time.perf_counter() - began

            return run

        steps = {"sample1": Clock(pixels(1), 1), "sample16": Clock(pixels(16), 1)}
        return replace(contender, clocks={**contender.clocks, **steps})

    return build


def _group(layers: int, channels: int) -> dict[str, Build]:
    return {
        "ancestral": _fitted(layers, channels),
        "ancestral, bare loop": _bare(layers, channels),
        "pytorch-generative, contiguous": _peer(layers, channels, torch.contiguous_format),
        "pytorch-generative, channels-last": _peer(layers, channels, torch.channels_last),
    }


TABLE = Table(
    "gated_pixelcnn",
    "Gated PixelCNN",
    {
        "train": TRAIN,
        "score": SCORE,
        "sample1": Measure("sampling, ms/pixel, 1 image", rate=False, unit=1e3),
        "sample16": Measure("16 images", rate=False, unit=1e3),
        "anew": Measure("1 image, nothing reused", rate=False, unit=1e3),
    },
    {
        "binary 28x28, 8 layers of 32, batches of 16": _group(8, 32),
        "binary 28x28, 10 layers of 128, batches of 16": _group(10, 128),
    },
)
