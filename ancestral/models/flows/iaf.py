"""IAF: MAF the other way round, so that it is a sample that takes one pass."""

from collections.abc import Sequence

from ancestral.event import Event
from ancestral.layers.autoregressive import Autoregressive
from ancestral.layers.elementwise import Affine
from ancestral.layers.invertible import Inverse
from ancestral.layers.masked import MaskedMLP
from ancestral.layers.mlp import check_sizes
from ancestral.models.flows.base import FlowModel, stacked
from ancestral.models.registry import register


@register("iaf")
class IAF(FlowModel):
    r"""log p(x | c) = log N(z; 0, I) - log |det dx/dz|; x by layers y_d = (z_d - m_d) exp(s_d), (m_d, s_d) of z_{<d} and c.

    m and s are the outputs of a masked network (see `MaskedMLP`) over the *noise*, so that a sample costs one pass of each
    layer: the flow for samples in number, and for posteriors, whose densities are only asked of their own samples.

    What is slow: the density of given data. z is found entry by entry through each layer, D steps, each hidden unit computed
    once. Training by likelihood does that for every batch, and keeps what gradients need of each step: expect several times
    what a step of `maf`, which needs one pass, takes, and memory that grows with D. Where densities are wanted and samples are
    not, take `maf`.

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
        norm: "actnorm" or "batchnorm" before each layer, as seen from the data, or "none".
        alpha: discrete events only: distance from 0 and 1 of the logit's argument, in [0, 0.5).

    Raises:
        InvalidInput: if an option is out of range, or the event has a single entry.

    References:
        Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
        https://arxiv.org/abs/1606.04934. There it is a posterior of latent variables, with gates in place of exp(s); here a
        model of data, with the layers of `maf`.

    >>> import torch
    >>> model = IAF(Event.real((3,)), layers=2, hidden=(8,))
    >>> x = torch.randn(5, 3)
    >>> torch.allclose(model.decode(model.encode(x)), x, atol=1e-5)
    True
    """

    summary = "inverse autoregressive flow: sampling in one pass, exact densities entry by entry"
    reference = "Kingma et al. 2016"
    examples = (
        {"event": Event.real((2,), loc=(1.0, -1.0), scale=(2.0, 0.5)), "layers": 2, "hidden": (8,)},
        {"event": Event.real((3,)), "condition": Event.label(2), "layers": 2, "hidden": (8, 6), "activation": "elu"},
        {"event": Event.integers((4,), 3), "layers": 2, "hidden": (6,), "orders": "random", "alpha": 0.0},
        {"event": Event.binary((1, 2, 2)), "condition": Event.label(3), "layers": 2, "hidden": (6,), "norm": "none"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        layers: int = 4,
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
        transforms = [Inverse(Autoregressive(network, tau)) for network in networks]
        self.stages.append(stacked(transforms, event.numel, orders, order_seed, norm))
