"""MADE and the MADEs that a masked autoregressive flow is made of, beside zuko and plain torch."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.layers.masked import mask_by_degree
from ancestral.models.autoregressive.made import MADE
from benchmarks.harness import SCORE, TRAIN, Build, Contender, Settings, Table, bare, fitted, ours


def binary(settings: Settings) -> Tensor:
    """Random binarized images, (n, 784)."""
    n = 200 if settings.tiny else 20_000
    return (torch.rand(n, 784) < 0.2).to(torch.uint8)


def normal(features: int, settings: Settings) -> Tensor:
    """Random rows of a table, (n, features)."""
    return torch.randn(1024 if settings.tiny else 20_480, features)


class PlainMADE(nn.Module):
    """Masks multiplied into the weights of plain linear layers; the outputs of one parameter after those of another."""

    def __init__(self, features: int, hidden: Sequence[int], parameters: int) -> None:
        super().__init__()
        degrees = [torch.arange(1, features + 1)] + [torch.arange(n) % max(features - 1, 1) + 1 for n in hidden]
        sizes = (features, *hidden, parameters * features)
        self.layers = nn.ModuleList(nn.Linear(m, n) for m, n in itertools.pairwise(sizes))
        masks = [mask_by_degree(above, below) for below, above in itertools.pairwise(degrees)]
        masks.append(mask_by_degree(degrees[0], degrees[-1], strict=True).repeat(parameters, 1))
        for i, mask in enumerate(masks):
            self.register_buffer(f"mask_{i}", mask)

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = F.linear(torch.relu(x) if i else x, layer.weight * self.get_buffer(f"mask_{i}"), layer.bias)
        return x


def _plain_binary(settings: Settings) -> Contender:
    model = PlainMADE(784, _hidden(settings, 500), 1)

    def log_prob(x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(model(x).float(), x, reduction="none").sum(1)

    return bare(model, binary(settings).float(), 100, settings, lambda x: -log_prob(x).mean(), log_prob)


def _zuko_binary(settings: Settings) -> Contender:
    import zuko

    adjacency = torch.ones(784, 784, dtype=torch.bool).tril(-1)
    model = zuko.nn.MaskedMLP(adjacency, _hidden(settings, 500))

    def log_prob(x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(model(x).float(), x, reduction="none").sum(1)

    return bare(model, binary(settings).float(), 100, settings, lambda x: -log_prob(x).mean(), log_prob)


def _plain_gaussian(features: int) -> Build:
    def build(settings: Settings) -> Contender:
        model = PlainMADE(features, _hidden(settings, 512), 2)

        def log_prob(x: Tensor) -> Tensor:
            mean, log_scale = model(x).float().chunk(2, dim=1)
            z = (x - mean) * torch.exp(-log_scale)
            return -(0.5 * z.square() + log_scale).sum(1) - 0.918938533 * features

        return bare(model, normal(features, settings), 512, settings, lambda x: -log_prob(x).mean(), log_prob)

    return build


def _zuko_gaussian(features: int) -> Build:
    def build(settings: Settings) -> Contender:
        import zuko

        # One MaskedAutoregressiveTransform over a standard normal is a MADE with Gaussian conditionals.
        flow = zuko.flows.MAF(features, transforms=1, hidden_features=_hidden(settings, 512))

        def log_prob(x: Tensor) -> Tensor:
            return flow().log_prob(x)

        return bare(flow, normal(features, settings), 512, settings, lambda x: -log_prob(x).mean(), log_prob)

    return build


def _hidden(settings: Settings, units: int) -> tuple[int, int]:
    return (8, 8) if settings.tiny else (units, units)


def _our_binary(settings: Settings) -> MADE:
    return MADE(Event.binary((784,)), hidden=_hidden(settings, 500))


def _our_gaussian(features: int, settings: Settings) -> MADE:
    return MADE(Event.real((features,)), hidden=_hidden(settings, 512), components=1)


def _gaussian(features: int) -> dict[str, Build]:
    return {
        "ancestral": lambda s: fitted(_our_gaussian(features, s), normal(features, s), 512, s),
        "ancestral, bare loop": lambda s: ours(_our_gaussian(features, s), normal(features, s), 512, s),
        "plain torch, bare loop": _plain_gaussian(features),
        "zuko": _zuko_gaussian(features),
    }


TABLE = Table(
    "made",
    "MADE",
    {"train": TRAIN, "score": SCORE},
    {
        "binarized 784, hidden 500-500, batches of 100": {
            "ancestral": lambda s: fitted(_our_binary(s), binary(s), 100, s),
            "ancestral, bare loop": lambda s: ours(_our_binary(s), binary(s), 100, s),
            "plain torch, bare loop": _plain_binary,
            "zuko": _zuko_binary,
        },
        "real D=43, hidden 512-512, Gaussian, batches of 512": _gaussian(43),
        "real D=63, hidden 512-512, Gaussian, batches of 512": _gaussian(63),
    },
)
