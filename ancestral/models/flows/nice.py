"""NICE: couplings that add, and one scaling: the first flow of couplings."""

from collections.abc import Sequence

import torch

from ancestral.event import Event
from ancestral.layers.couplings import ElementwiseCoupling, Halves
from ancestral.layers.elementwise import Shift
from ancestral.layers.invertible import Chain, Permutation
from ancestral.layers.mlp import MLP, check_sizes
from ancestral.layers.norms import ActNorm
from ancestral.models.flows.base import FlowModel
from ancestral.models.registry import register


@register("nice")
class NICE(FlowModel):
    r"""log p(x | c) = log N(z; 0, I) + sum_d s_d, z_d = (h_d - m_d) exp(s_d), h by couplings y_2 = x_2 + network(x_1, c).

    Each coupling adds to half of the entries what a network computes from the others, which leaves volumes as they are;
    halves are the even and the odd entries, by turns. Volumes change in one place: the scaling at the end.

    Discrete data are dequantized and mapped to the real line, as in every `FlowModel`: `log_prob` is then a lower bound in
    expectation, exact for real data.

    Args:
        event: what a datum is; at least 2 entries.
        condition: what the networks are also given; None for none.
        couplings: their number.
        hidden: units of each hidden layer of each network.
        activation: their nonlinearity, one of `ACTIVATIONS`.
        alpha: discrete events only: distance from 0 and 1 of the logit's argument, in [0, 0.5).

    Raises:
        InvalidInput: if an option is out of range, or the event has a single entry.

    References:
        NICE: Non-linear Independent Components Estimation (Dinh, Krueger & Bengio, 2015), https://arxiv.org/abs/1410.8516.
        There z is logistic for some data; here it is normal, the scaling starts at what standardizes the first batch
        (`ActNorm`), and discrete data pass a logit.

    >>> model = NICE(Event.real((3,)), couplings=2, hidden=(8,))
    >>> x = torch.randn(5, 3)
    >>> torch.allclose(model.decode(model.encode(x)), x, atol=1e-5)
    True
    """

    summary = "couplings that add, and one scaling: exact densities of real data, sampling in one pass"
    reference = "Dinh et al. 2015"
    examples = (
        {"event": Event.real((2,), loc=(1.0, -1.0), scale=(2.0, 0.5)), "couplings": 2, "hidden": (8,)},
        {"event": Event.real((3,)), "condition": Event.label(2), "couplings": 2, "hidden": (8,), "activation": "tanh"},
        {"event": Event.integers((4,), 3), "couplings": 2, "hidden": (4,), "alpha": 0.0},
        {"event": Event.binary((1, 2, 2)), "couplings": 3, "hidden": (6,)},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        couplings: int = 4,
        hidden: Sequence[int] = (512, 512),
        activation: str = "relu",
        alpha: float = 0.05,
    ) -> None:
        super().__init__(event, condition, alpha)
        check_sizes("couplings", (couplings,))
        order = torch.cat((torch.arange(0, event.numel, 2), torch.arange(1, event.numel, 2)))
        halves = [Halves(event.numel, flip=i % 2 == 1) for i in range(couplings)]
        layers = [
            ElementwiseCoupling(MLP(parts.given, hidden, parts.changed, activation, condition), parts, Shift())
            for parts in halves
        ]
        self.stages.append(Chain(Permutation(order), *layers, ActNorm(event.numel)))
