"""RNADE: NADE for real vectors, with a mixture of Gaussians for each conditional."""

from ancestral.event import Event
from ancestral.models.autoregressive.nade import NADE
from ancestral.models.registry import register


@register("rnade")
class RNADE(NADE):
    r"""p(x_d | x_{<d}) = sum_i pi_{di} N(x_d; mu_{di}, sigma_{di}^2), parameters linear in f(rho_d (c + sum_{k<d} x_k W_k)).

    The running sum grows with d; the factors rho_d, one for each entry, keep its scale fit for f.

    Args:
        event: a real event; standardize it (`Event.real` with loc and scale).
        condition: what c and the outputs' biases also depend on, linearly; None for none.
        hidden: units of each hidden layer.
        components: Gaussians i of each mixture.
        activation: f, one of `ACTIVATIONS`; rectified linear where not given, which the paper found best.
        order_seed: seed of a random order of the entries; None for the order of the flattened datum.

    Raises:
        InvalidInput: for an option out of its range, or an event that is not real.

    References:
        RNADE: The real-valued neural autoregressive density-estimator (Uria, Murray & Larochelle, 2013),
        https://arxiv.org/abs/1306.0186. There the gradient of each mean is multiplied by its standard deviation;
        here it is left to the optimizer.

    >>> RNADE(Event.real((4,)), hidden=8, components=2).network.output_weight.shape
    torch.Size([4, 6, 8])
    """

    summary = "NADE for real vectors: a mixture of Gaussians for each entry given those before it"
    reference = "Uria et al. 2013"
    takes = ("real",)
    scaled = True
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100, "epochs": 100, "schedule": "cosine", "patience": 20}
    examples = (
        {"event": Event.real((2,), loc=(1.0, 0.0), scale=(2.0, 0.5)), "hidden": 8, "components": 2},
        {"event": Event.real((2,)), "condition": Event.label(3), "hidden": 4, "activation": "sigmoid", "order_seed": 1},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        hidden: int = 50,
        components: int = 10,
        activation: str = "relu",
        order_seed: int | None = None,
    ) -> None:
        super().__init__(event, condition, hidden=hidden, activation=activation, order_seed=order_seed, components=components)
