"""Neural spline flow: couplings or autoregressive layers whose function of one entry is a monotone spline."""

from collections.abc import Sequence

from ancestral.event import Event
from ancestral.layers.autoregressive import Autoregressive
from ancestral.layers.couplings import ElementwiseCoupling, Halves
from ancestral.layers.invertible import Invertible
from ancestral.layers.masked import MaskedMLP
from ancestral.layers.mlp import MLP, check_choice, check_sizes
from ancestral.layers.splines import RationalQuadratic
from ancestral.models.flows.base import FlowModel, stacked
from ancestral.models.registry import register

KINDS = ("coupling", "autoregressive")


@register("spline-flow")
class SplineFlow(FlowModel):
    r"""log p(x | c) = log N(z; 0, I) + log |det dz/dx|; z by layers y_d = g(x_d; raw_d), g a rational-quadratic spline.

    raw_d, the places of the spline's knots and its derivatives there, is computed from other entries: from one half of the
    entries by a network ("coupling"; a sample costs one pass as well), or from all entries before d by a masked network
    ("autoregressive"; a sample goes entry by entry, as in `maf`). One spline can have several modes where the affine function
    of RealNVP and MAF keeps one. Outside [-bound, bound] it is the identity.

    Discrete data are dequantized and mapped to the real line, as in every `FlowModel`: `log_prob` is then a lower bound in
    expectation, exact for real data.

    Args:
        event: what a datum is; at least 2 entries.
        condition: what the networks are also given; None for none.
        kind: "coupling" or "autoregressive".
        layers: layers of splines.
        hidden: units of each hidden layer of each network.
        activation: their nonlinearity, one of `ACTIVATIONS`.
        bins: of a spline.
        bound: half of the length of the interval that bins divide.
        orders: between layers the entries are reversed ("reversed"), in turn reversed and shuffled ("random"), or mixed by a
            learned linear map ("linear").
        order_seed: seed of random orders.
        norm: "actnorm" or "batchnorm" before each layer, or "none".
        alpha: discrete events only: distance from 0 and 1 of the logit's argument, in [0, 0.5).

    Raises:
        InvalidInput: if an option is out of range, or the event has a single entry.

    References:
        Neural Spline Flows (Durkan, Bekasov, Murray & Papamakarios, 2019), https://arxiv.org/abs/1906.04032. There
        networks are residual, with batch normalization inside, and linear maps by LU factors (`orders="linear"`) stand before
        all layers, here ActNorm (Kingma & Dhariwal, 2018) and, by default, orders; images are flattened here.

    >>> import torch
    >>> model = SplineFlow(Event.real((3,)), layers=2, hidden=(8,))
    >>> x = torch.randn(5, 3)
    >>> torch.allclose(model.decode(model.encode(x)), x, atol=1e-4)
    True
    """

    summary = "couplings or autoregressive layers of monotone rational-quadratic splines: exact densities of real data"
    reference = "Durkan et al. 2019"
    examples = (
        {"event": Event.real((2,), loc=(1.0, -1.0), scale=(2.0, 0.5)), "layers": 2, "hidden": (8,), "bins": 4},
        {
            "event": Event.real((3,)),
            "condition": Event.label(2),
            "kind": "autoregressive",
            "layers": 2,
            "hidden": (8, 6),
            "bins": 3,
            "orders": "random",
        },
        {"event": Event.integers((4,), 3), "layers": 2, "hidden": (6,), "bins": 3, "norm": "none", "alpha": 0.0},
        {"event": Event.real((2,)), "layers": 2, "hidden": (8,), "bins": 3, "orders": "linear"},
        {"event": Event.binary((1, 2, 2)), "kind": "autoregressive", "layers": 1, "hidden": (6,), "bins": 2, "bound": 5.0},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        kind: str = "coupling",
        layers: int = 6,
        hidden: Sequence[int] = (128, 128),
        activation: str = "relu",
        bins: int = 8,
        bound: float = 3.0,
        orders: str = "random",
        order_seed: int = 0,
        norm: str = "actnorm",
        alpha: float = 0.05,
    ) -> None:
        super().__init__(event, condition, alpha)
        check_choice("kind", kind, KINDS)
        check_sizes("layers", (layers,))
        spline = RationalQuadratic(bins, bound)

        def layer() -> Invertible:
            if kind == "autoregressive":
                return Autoregressive(MaskedMLP(event.numel, hidden, spline.values, activation, condition), spline)
            parts = Halves(event.numel, flip=False)
            network = MLP(parts.given, hidden, spline.values * parts.changed, activation, condition)
            return ElementwiseCoupling(network, parts, spline)

        self.stages.append(stacked([layer() for _ in range(layers)], event.numel, orders, order_seed, norm))
