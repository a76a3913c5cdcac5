"""RealNVP: five affine couplings over the same rows, beside nflows, normflows, zuko and plain torch."""

import math

import torch
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.models.flows.realnvp import RealNVP
from benchmarks.harness import SCORE, TRAIN, Contender, Settings, Table, bare, fitted, ours

FEATURES, COUPLINGS, BATCH = 43, 5, 512
SPLITS = ("channel", "channel_inv")
"""normflows' names of a coupling that is given the first half, and one that is given the second."""


def rows(settings: Settings) -> Tensor:
    """Random rows of a table, (n, 43)."""
    return torch.randn(1024 if settings.tiny else 20_480, FEATURES)


def _hidden(settings: Settings) -> int:
    return 8 if settings.tiny else 512


def _our(settings: Settings, norm: str = "none") -> RealNVP:
    return RealNVP(Event.real((FEATURES,)), couplings=COUPLINGS, hidden=(_hidden(settings),) * 2, norm=norm)


class PlainRealNVP(nn.Module):
    """Couplings in plain torch: each changes one half of the entries, given the other."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.half = FEATURES // 2 + 1
        self.networks = nn.ModuleList()
        for i in range(COUPLINGS):
            given = self.half if i % 2 == 0 else FEATURES - self.half
            layers = (nn.Linear(given, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
            self.networks.append(nn.Sequential(*layers, nn.Linear(hidden, 2 * (FEATURES - given))))

    def log_prob(self, x: Tensor) -> Tensor:
        a, b = x[:, : self.half], x[:, self.half :]
        total: Tensor | float = 0.0
        for network in self.networks:
            log_scale, shift = network(a).float().chunk(2, dim=1)
            log_scale = torch.tanh(log_scale)
            a, b = b * torch.exp(log_scale) + shift, a
            total = total + log_scale.sum(1)
        squares = a.square().sum(1) + b.square().sum(1)
        return total - 0.5 * (squares + FEATURES * math.log(2.0 * math.pi))


def _plain(settings: Settings) -> Contender:
    model = PlainRealNVP(_hidden(settings))
    return bare(model, rows(settings), BATCH, settings, lambda x: -model.log_prob(x).mean(), model.log_prob)


def _nflows(settings: Settings) -> Contender:
    from nflows.flows.realnvp import SimpleRealNVP

    # One residual block has two hidden layers, after one of its own: a product of 512 x 512 more than the others.
    flow = SimpleRealNVP(FEATURES, _hidden(settings), COUPLINGS, num_blocks_per_layer=1)
    return bare(flow, rows(settings), BATCH, settings, lambda x: -flow.log_prob(x).mean(), flow.log_prob)


def _normflows(settings: Settings) -> Contender:
    import normflows

    hidden, given = _hidden(settings), FEATURES // 2 + 1
    layers: list[nn.Module] = []
    for i in range(COUPLINGS):
        first = given if i % 2 == 0 else FEATURES - given
        network = normflows.nets.MLP([first, hidden, hidden, 2 * (FEATURES - first)])
        layers.append(normflows.flows.AffineCouplingBlock(network, scale_map="exp", split_mode=SPLITS[i % 2]))
    flow = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(FEATURES, trainable=False), layers)
    return bare(flow, rows(settings), BATCH, settings, lambda x: -flow.log_prob(x).mean(), flow.log_prob)


def _zuko(settings: Settings) -> Contender:
    import zuko

    flow = zuko.flows.NICE(FEATURES, transforms=COUPLINGS, hidden_features=(_hidden(settings),) * 2)

    def log_prob(x: Tensor) -> Tensor:
        return flow().log_prob(x)

    return bare(flow, rows(settings), BATCH, settings, lambda x: -log_prob(x).mean(), log_prob)


TABLE = Table(
    "realnvp",
    "RealNVP",
    {"train": TRAIN, "score": SCORE},
    {
        "real D=43, 5 affine couplings, hidden 512-512, batches of 512": {
            "ancestral": lambda s: fitted(_our(s), rows(s), BATCH, s),
            "ancestral, bare loop": lambda s: ours(_our(s), rows(s), BATCH, s),
            "ancestral with ActNorm, bare loop": lambda s: ours(_our(s, "actnorm"), rows(s), BATCH, s),
            "plain torch, bare loop": _plain,
            "nflows SimpleRealNVP": _nflows,
            "normflows": _normflows,
            "zuko NICE": _zuko,
        }
    },
)
