"""Spline flow: five autoregressive layers of rational-quadratic splines over the same rows, beside nflows and zuko."""

from torch import nn

from ancestral.event import Event
from ancestral.models.flows.spline_flow import SplineFlow
from benchmarks.harness import Contender, Settings, Table, fitted, ours
from benchmarks.maf import BATCH, FEATURES, LAYERS, MEASURES, drawing, of_nflows, of_zuko, rows

BINS, BOUND = 8, 5.0


def _hidden(settings: Settings) -> tuple[int, int]:
    return (8, 8) if settings.tiny else (256, 256)


def _our(settings: Settings) -> SplineFlow:
    return SplineFlow(
        Event.real((FEATURES,)),
        kind="autoregressive",
        layers=LAYERS,
        hidden=_hidden(settings),
        bins=BINS,
        bound=BOUND,
        orders="reversed",
        norm="none",
    )


def _fitted(settings: Settings) -> Contender:
    model = _our(settings)
    return drawing(fitted(model, rows(settings), BATCH, settings), model, settings, lambda: model.sample(BATCH))


def _ours(settings: Settings) -> Contender:
    model = _our(settings)
    return drawing(ours(model, rows(settings), BATCH, settings), model, settings, lambda: model.sample(BATCH))


def _nflows(settings: Settings) -> Contender:
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.transforms import CompositeTransform, ReversePermutation
    from nflows.transforms.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressiveTransform as Splines

    layers: list[nn.Module] = []
    for _ in range(LAYERS):
        layers.append(ReversePermutation(FEATURES))
        # A block without a residual has one hidden layer, after one of its own.
        layers.append(
            Splines(
                FEATURES,
                _hidden(settings)[0],
                num_bins=BINS,
                tails="linear",
                tail_bound=BOUND,
                num_blocks=1,
                use_residual_blocks=False,
            )
        )
    return of_nflows(Flow(CompositeTransform(layers), StandardNormal([FEATURES])), settings)


def _zuko(settings: Settings) -> Contender:
    import zuko

    # Its splines reach from -5 to 5.
    flow = zuko.flows.NSF(FEATURES, transforms=LAYERS, bins=BINS, hidden_features=_hidden(settings))
    return of_zuko(flow, settings)


TABLE = Table(
    "spline_flow",
    "Spline flow",
    MEASURES,
    {
        "real D=43, 5 layers of 8 bins, hidden 256-256, batches of 512": {
            "ancestral": _fitted,
            "ancestral, bare loop": _ours,
            "nflows": _nflows,
            "zuko NSF": _zuko,
        }
    },
)
