"""MAF: a stack of masked autoregressive networks, each of which whitens the entries given those before."""

from collections.abc import Sequence

from ancestral.event import Event
from ancestral.layers.autoregressive import Autoregressive
from ancestral.layers.elementwise import Affine
from ancestral.layers.masked import MaskedMLP
from ancestral.layers.mlp import check_sizes
from ancestral.models.flows.base import FlowModel, stacked
from ancestral.models.registry import register


@register("maf")
class MAF(FlowModel):
    r"""log p(x | c) = log N(z; 0, I) + log |det dz/dx|; z by layers y_d = (x_d - m_d) exp(s_d), (m_d, s_d) of x_{<d} and c.

    m and s are the outputs of a masked network (see `MaskedMLP`), so that a density costs one pass of each layer. Between
    layers the entries change their order, since those that come first in a layer are given little.

    A sample goes entry by entry through each layer. Each hidden unit is computed once, when the last entry that it sees is
    known, so that a sample costs about as many products as a density, in D steps for each layer.

    Discrete data are dequantized and mapped to the real line, as in every `FlowModel`: `log_prob` is then a lower bound in
    expectation, exact for real data.

    Args:
        event: what a datum is; at least 2 entries.
        condition: what the networks are also given; None for none.
        layers: autoregressive layers.
        hidden: units of each hidden layer of each of them.
        activation: their nonlinearity, one of `ACTIVATIONS`.
        orders: between layers the entries are reversed ("reversed"), in turn reversed and shuffled ("random"), or mixed by a
            learned linear map ("linear").
        order_seed: seed of random orders.
        norm: "actnorm" or "batchnorm" before each layer, or "none".
        alpha: discrete events only: distance from 0 and 1 of the logit's argument, in [0, 0.5).

    Raises:
        InvalidInput: if an option is out of range, or the event has a single entry.

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios, Pavlakou & Murray, 2017),
        https://arxiv.org/abs/1705.07057. There batch normalization stands between layers, here by default ActNorm (Kingma &
        Dhariwal, 2018), which leaves each datum's density its own; and |s| is bounded here, softly, by 8.

    >>> import torch
    >>> model = MAF(Event.real((3,)), layers=2, hidden=(8,))
    >>> x = torch.randn(5, 3)
    >>> torch.allclose(model.decode(model.encode(x)), x, atol=1e-5)
    True
    """

    summary = "stack of masked autoregressive networks: exact densities in one pass, sampling entry by entry"
    reference = "Papamakarios et al. 2017"
    examples = (
        {"event": Event.real((2,), loc=(1.0, -1.0), scale=(2.0, 0.5)), "layers": 2, "hidden": (8,)},
        {"event": Event.real((3,)), "condition": Event.label(2), "layers": 2, "hidden": (8, 6), "activation": "elu"},
        {"event": Event.integers((4,), 3), "layers": 2, "hidden": (6,), "orders": "random", "alpha": 0.0},
        {"event": Event.binary((1, 2, 2)), "condition": Event.label(3), "layers": 2, "hidden": (6,), "norm": "none"},
        {"event": Event.real((2,)), "layers": 2, "hidden": (8,), "norm": "batchnorm"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        layers: int = 5,
        hidden: Sequence[int] = (256, 256),
        activation: str = "relu",
        orders: str = "reversed",
        order_seed: int = 0,
        norm: str = "actnorm",
        alpha: float = 0.05,
    ) -> None:
        super().__init__(event, condition, alpha)
        check_sizes("layers", (layers,))
        tau = Affine()
        networks = [MaskedMLP(event.numel, hidden, tau.values, activation, condition) for _ in range(layers)]
        transforms = [Autoregressive(network, tau) for network in networks]
        self.stages.append(stacked(transforms, event.numel, orders, order_seed, norm))
