"""Predictive sparse decomposition: sparse codes, and an encoder that learns to tell them at once."""

import torch
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.layers.dictionaries import Dense
from ancestral.models.registry import register
from ancestral.models.representation.dictionary import EXACT, DictionaryModel
from ancestral.models.representation.predictive import Predictive, check_prediction, squashed


@register("psd")
class PSD(Predictive, DictionaryModel):
    r"""min over D, W and codes of E[1/2 ||x - z D||^2 + l |z|_1 + a/2 ||z - s(W x + b)||^2], ||d_k|| <= 1.

    x is on the scale of `Event.to_network`. The codes of a batch are solved for with dictionary and encoder as they are (the
    last term makes it a lasso with as many entries more), then both take a step. What the encoder says is then near a
    sparse code that tells x, at the price of one product instead of a solver: `encode` is the encoder.

    Args:
        event: what a datum is.
        condition: must be None.
        atoms: number of d_k, and of outputs of the encoder.
        penalty: l, positive: the larger, the fewer z_k are other than 0.
        prediction: a, at least 0: what it costs a code to differ from the prediction.
        encoder: s, shrink (sign(v) max(|v| - t, 0) with a threshold t for each output), or tanh with a gain for each.
        tolerance: duality gap at which codes are good enough to learn from, relative to the objective of z = 0.

    Raises:
        InvalidInput: if an option is out of range.

    References:
        Fast Inference in Sparse Coding Algorithms with Applications to Object Recognition (Kavukcuoglu, Ranzato & LeCun,
        2008), https://arxiv.org/abs/1010.3467. There codes are descended to from the prediction; here the lasso is solved to a
        gap.
        Learning Fast Approximations of Sparse Coding (Gregor & LeCun, 2010), https://icml.cc/Conferences/2010/papers/449.pdf,
        for the shrinking encoder; the first paper has the other.

    >>> model = PSD(Event.real((4,)), atoms=6, penalty=0.5)
    >>> model.decode(model.encode(torch.zeros(2, 4))).shape
    torch.Size([2, 4])
    """

    summary = "sparse codes, and an encoder that learns to tell them at once"
    reference = "Kavukcuoglu et al. 2008"
    training_defaults = {"learning_rate": 1e-2, "batch_size": 256}
    examples = (
        {"event": Event.binary((5,)), "atoms": 6, "penalty": 0.1},
        {"event": Event.integers((1, 2, 2), 4), "atoms": 3, "penalty": 0.05, "encoder": "tanh"},
        {"event": Event.real((3,), loc=(1.0, 2.0, 3.0), scale=(2.0, 1.0, 0.5)), "atoms": 4, "penalty": 0.1, "prediction": 0.5},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        atoms: int = 256,
        penalty: float = 1.0,
        prediction: float = 1.0,
        encoder: str = "shrink",
        tolerance: float = 0.03,
    ) -> None:
        super().__init__(event, condition, atoms=atoms, penalty=penalty, tolerance=tolerance)
        check_prediction(prediction, encoder)
        self.prediction, self.encoder = prediction, encoder
        self.predictor = nn.Linear(event.numel, atoms)
        with torch.no_grad():
            self.predictor.weight.copy_(self.atoms)  # the first step of a solver from z = 0
            self.predictor.bias.zero_()
        # The gains of tanh, or the thresholds below which outputs are 0.
        self.level = nn.Parameter(torch.full((atoms,), 0.1 if encoder == "shrink" else 1.0))

    def dictionary(self) -> Dense:
        return Dense(self.atoms)

    def predict(self, y: Tensor) -> Tensor:
        return squashed(self.predictor(y).to(y.dtype), self.level, self.encoder)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        return self.predict(self.flat(x))

    def loss(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        *,
        group: str = "dictionary",
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        return self.decomposition_loss(self.flat(x))

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return `decomposition_measures`, by datum."""
        return self.decomposition_measures(self.flat(x), EXACT)
