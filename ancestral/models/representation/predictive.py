"""What predictive sparse decompositions share: codes near what an encoder says, the encoder's last step, loss and measures."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.dictionaries import Dictionary, Pulled
from ancestral.layers.lasso import Codes, lasso
from ancestral.layers.mlp import check_choice
from ancestral.models.representation.dictionary import active

ENCODERS = ("shrink", "tanh")
"""What an encoder ends in: v shrunk by a threshold that is learned, or g tanh(v)."""


class Predictive:
    r"""min over D, encoder and codes of E[1/2 ||y - z D||^2 + l |z|_1 + a/2 ||z - p(y)||^2], rows y being what is told.

    A subclass has the dictionary (`dictionary`) and the encoder p (`predict`). Codes are solved for with both as they are:
    the last term makes it a lasso with as many entries more.

    Attributes:
        penalty: l.
        prediction: a; where it is 0, codes do not heed the encoder, which follows them as if it were 1.
        tolerance: relative gap of codes that are learned from.
        code_steps: steps after which codes are taken as they are.
    """

    penalty: float
    prediction: float
    tolerance: float
    code_steps: int = 1000

    def dictionary(self) -> Dictionary:
        """Return D as it is."""
        raise NotImplementedError

    def predict(self, y: Tensor) -> Tensor:
        """Return p(y), (batch, atoms), for `y`, (batch, entries), on the scale of `Event.to_network`."""
        raise NotImplementedError

    def solve(self, y: Tensor, tolerance: float, predicted: Tensor | None = None) -> Codes:
        """Return the best codes of `y`, (batch, entries), for dictionary and encoder as they are."""
        if not self.prediction:
            return lasso(y, self.dictionary(), self.penalty, tolerance=tolerance, max_steps=self.code_steps)
        near = (self.predict(y) if predicted is None else predicted).detach()
        pulled = Pulled(self.dictionary(), self.prediction)
        both = pulled.data(y, near)
        return lasso(both, pulled, self.penalty, tolerance=tolerance, max_steps=self.code_steps, start=near)

    def error(self, y: Tensor, z: Tensor) -> Tensor:
        """Return 1/2 ||y - z D||^2, (batch,), for `y`, (batch, entries), and codes, (batch, atoms)."""
        return 0.5 * (y - self.dictionary().tell(z).to(y.dtype)).square().sum(1)

    def decomposition_loss(self, y: Tensor) -> dict[str, Tensor]:
        """Return "loss", what is minimised, and "error", "apart" and "active" to log: means over `y`, (batch, entries)."""
        predicted = self.predict(y)
        z = self.solve(y, self.tolerance, predicted).z
        error, apart = self.error(y, z).mean(), (z - predicted).square().sum(1).mean()
        size = self.penalty * z.abs().sum(1).mean()
        # The encoder is to follow the codes whatever a is: its own gradient is that of a = 1.
        weight = self.prediction or 1.0
        return {
            "loss": error + size + 0.5 * weight * apart,
            "error": error.detach(),
            "apart": apart.detach(),
            "active": active(z).mean(),
        }

    def decomposition_measures(self, y: Tensor, tolerance: float) -> dict[str, Tensor]:
        """Return by row of `y`, (batch, entries), what is minimised and how good predictions are as codes, each (batch,).

        "objective" is that at the best codes, "active" their entries other than 0, "apart" ||z - p||^2, and "error"
        1/2 ||y - p D||^2: that of the predictions themselves.
        """
        predicted = self.predict(y)
        z = self.solve(y, tolerance, predicted).z
        apart = (z - predicted).square().sum(1)
        objective = self.error(y, z) + self.penalty * z.abs().sum(1) + 0.5 * self.prediction * apart
        return {"objective": objective, "error": self.error(y, predicted), "active": active(z), "apart": apart}


def check_prediction(prediction: float, encoder: str) -> None:
    """Raise unless the weight of the prediction and the kind of encoder are such."""
    check_choice("encoder", encoder, ENCODERS)
    if not prediction >= 0.0:
        raise InvalidInput(f"prediction is {prediction}, expected a weight of at least 0, such as 1")


def squashed(v: Tensor, level: Tensor, encoder: str) -> Tensor:
    """Return sign(v) max(|v| - level, 0) for the encoder "shrink", and level tanh(v) for "tanh".

    >>> squashed(torch.tensor([-3.0, 0.5]), torch.tensor(1.0), "shrink")
    tensor([-2., 0.])
    """
    return v.sign() * F.relu(v.abs() - level) if encoder == "shrink" else level * torch.tanh(v)
