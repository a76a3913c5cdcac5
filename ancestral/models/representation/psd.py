"""Predictive sparse decomposition: sparse codes, and an encoder that learns to tell them at once."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.lasso import Codes, lasso
from ancestral.layers.mlp import check_choice
from ancestral.models.registry import register
from ancestral.models.representation.dictionary import EXACT, DictionaryModel, active

ENCODERS = ("shrink", "tanh")
"""What the encoder ends in: W x + b shrunk by a threshold that is learned, or g tanh(W x + b)."""


@register("psd")
class PSD(DictionaryModel):
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
        check_choice("encoder", encoder, ENCODERS)
        if not prediction >= 0.0:
            raise InvalidInput(f"prediction is {prediction}, expected a weight of at least 0, such as 1")
        self.prediction, self.shrinks = prediction, encoder == "shrink"
        self.predictor = nn.Linear(event.numel, atoms)
        with torch.no_grad():
            self.predictor.weight.copy_(self.atoms)  # the first step of a solver from z = 0
            self.predictor.bias.zero_()
        # The gains of tanh, or the thresholds below which outputs are 0.
        self.level = nn.Parameter(torch.full((atoms,), 0.1 if self.shrinks else 1.0))

    def predict(self, y: Tensor) -> Tensor:
        """Return s(W y + b), (batch, atoms), for `y`, (batch, numel), on the scale of `Event.to_network`."""
        pre = self.predictor(y).to(self.dtype)  # (b, k)
        if self.shrinks:
            return pre.sign() * F.relu(pre.abs() - self.level)
        return self.level * torch.tanh(pre)

    def solve(self, y: Tensor, tolerance: float, predicted: Tensor | None = None) -> Codes:
        """Return the best codes of `y`, (batch, numel), for atoms and encoder as they are."""
        if not self.prediction:
            return lasso(y, self.atoms, self.penalty, tolerance=tolerance)
        # a/2 ||z - p||^2 is the error of further entries: of data sqrt(a) p, with atoms sqrt(a) in one place each.
        root = self.prediction**0.5
        near = (self.predict(y) if predicted is None else predicted).detach()
        further = root * torch.eye(len(self.atoms), dtype=y.dtype, device=y.device)
        both, atoms = torch.cat((y, root * near), dim=1), torch.cat((self.atoms, further), dim=1)
        return lasso(both, atoms, self.penalty, tolerance=tolerance, start=near)

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
        y = self.flat(x)
        predicted = self.predict(y)
        codes = self.solve(y, self.tolerance, predicted)
        error, apart = self.error(y, codes.z).mean(), (codes.z - predicted).square().sum(1).mean()
        size = self.penalty * codes.z.abs().sum(1).mean()
        # The encoder is to follow the codes whatever a is: its own gradient is that of a = 1.
        weight = self.prediction or 1.0
        return {
            "loss": error + size + 0.5 * weight * apart,
            "error": error.detach(),
            "apart": apart.detach(),
            "active": active(codes.z).mean(),
        }

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return by datum what is minimised and how good predictions are as codes.

        "objective" is that of the model at the best codes, "active" their entries other than 0, "apart" ||z - s(W x + b)||^2,
        and "error" 1/2 ||x - s(W x + b) D||^2: that of the predictions themselves.
        """
        y = self.flat(x)
        predicted = self.predict(y)
        z = self.solve(y, EXACT, predicted).z
        apart = (z - predicted).square().sum(1)
        objective = self.error(y, z) + self.penalty * z.abs().sum(1) + 0.5 * self.prediction * apart
        return {"objective": objective, "error": self.error(y, predicted), "active": active(z), "apart": apart}
