"""MAF: five layers of masked networks over the same rows, beside nflows, zuko and plain torch; sampling as well."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.models.flows.maf import MAF
from benchmarks.harness import SCORE, TRAIN, Clock, Contender, Measure, Settings, Table, bare, fitted, now, ours
from benchmarks.made import PlainMADE

FEATURES, LAYERS, BATCH = 43, 5, 512
SAMPLE = Measure(f"sampling of {BATCH} rows, ms", rate=False, scale=BATCH, unit=1e3)
MEASURES = {"train": TRAIN, "score": SCORE, "sample": SAMPLE}
"""What is timed of flows of tables."""


def rows(settings: Settings) -> Tensor:
    """Random rows of a table, (n, 43)."""
    return torch.randn(1024 if settings.tiny else 20_480, FEATURES)


def _hidden(settings: Settings) -> tuple[int, int]:
    return (8, 8) if settings.tiny else (512, 512)


def drawing(contender: Contender, model: nn.Module, settings: Settings, draw: Callable[[], Tensor]) -> Contender:
    """Return a contender that is also timed while it draws `BATCH` rows."""

    @torch.no_grad()
    def sample(n: int) -> float:
        model.eval()
        began = now()
        for _ in range(n):
            with settings.autocast():
                draw()
        return now() - began

    return replace(contender, clocks={**contender.clocks, "sample": Clock(sample, BATCH)})


def of_nflows(flow: Any, settings: Settings) -> Contender:
    """Return a flow of nflows as a contender."""
    contender = bare(flow, rows(settings), BATCH, settings, lambda x: -flow.log_prob(x).mean(), flow.log_prob)
    return drawing(contender, flow, settings, lambda: flow.sample(BATCH))


def of_zuko(flow: Any, settings: Settings) -> Contender:
    """Return a flow of zuko as a contender."""

    def log_prob(x: Tensor) -> Tensor:
        made: Tensor = flow().log_prob(x)
        return made

    contender = bare(flow, rows(settings), BATCH, settings, lambda x: -log_prob(x).mean(), log_prob)
    return drawing(contender, flow, settings, lambda: flow().sample((BATCH,)))


def _our(settings: Settings, norm: str = "none") -> MAF:
    return MAF(Event.real((FEATURES,)), layers=LAYERS, hidden=_hidden(settings), norm=norm)


def _fitted(settings: Settings) -> Contender:
    model = _our(settings)
    return drawing(fitted(model, rows(settings), BATCH, settings), model, settings, lambda: model.sample(BATCH))


def _ours(norm: str = "none") -> Callable[[Settings], Contender]:
    def build(settings: Settings) -> Contender:
        model = _our(settings, norm)
        return drawing(ours(model, rows(settings), BATCH, settings), model, settings, lambda: model.sample(BATCH))

    return build


def _plain(settings: Settings) -> Contender:
    networks = nn.ModuleList(PlainMADE(FEATURES, _hidden(settings), 2) for _ in range(LAYERS))

    def log_prob(x: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        for network in networks:
            shift, log_scale = network(x).float().chunk(2, dim=1)
            x = ((x - shift) * torch.exp(log_scale)).flip(1)
            total = total + log_scale.sum(1)
        return total - 0.5 * (x.square().sum(1) + FEATURES * math.log(2.0 * math.pi))

    return bare(networks, rows(settings), BATCH, settings, lambda x: -log_prob(x).mean(), log_prob)


def _nflows(settings: Settings) -> Contender:
    from nflows.flows.autoregressive import MaskedAutoregressiveFlow

    # A block without a residual has one hidden layer, after one of its own.
    flow = MaskedAutoregressiveFlow(FEATURES, _hidden(settings)[0], LAYERS, num_blocks_per_layer=1, use_residual_blocks=False)
    return of_nflows(flow, settings)


def _zuko(settings: Settings) -> Contender:
    import zuko

    return of_zuko(zuko.flows.MAF(FEATURES, transforms=LAYERS, hidden_features=_hidden(settings)), settings)


TABLE = Table(
    "maf",
    "MAF",
    MEASURES,
    {
        "real D=43, 5 layers, hidden 512-512, batches of 512": {
            "ancestral": _fitted,
            "ancestral, bare loop": _ours(),
            "ancestral with ActNorm, bare loop": _ours("actnorm"),
            "plain torch, bare loop": _plain,
            "nflows MaskedAutoregressiveFlow": _nflows,
            "zuko MAF": _zuko,
        }
    },
)
