"""Linear layers with some connections left out, so that an output sees only what comes before it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mask_by_degree(outputs: Tensor, inputs: Tensor, strict: bool = False) -> Tensor:
    """Return M_{ij} = 1 where output degree i >= input degree j (> where `strict`), 0 elsewhere.

    A unit of degree m sees the entries of degree at most m, and this rule keeps it so from layer to layer. Masks
    are made from degrees when they are needed: that costs a tenth of the product they are for, and no memory.

    Args:
        outputs: degree of each output, (outputs,).
        inputs: degree of each input, (inputs,).
        strict: whether an output must not see inputs of its own degree.

    Returns:
        (outputs, inputs), 0 or 1, of the default floating type.

    >>> mask_by_degree(torch.tensor([1, 2]), torch.tensor([1, 2, 3]))
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    mask = torch.empty(len(outputs), len(inputs), device=outputs.device)
    compare = torch.gt if strict else torch.ge
    # Written as floats: a boolean factor would be converted at every product, which takes three times as long.
    return compare(outputs[:, None], inputs, out=mask)


class MaskedLinear(nn.Module):
    r"""y_{iv} = b_{iv} + sum_j M_{ij} W_{ivj} x_j, with the mask M given at each call.

    Args:
        inputs: entries of x.
        outputs: groups of outputs that share a row of the mask.
        values: outputs v of each group.

    >>> layer = MaskedLinear(3, 2)
    >>> bool((layer(torch.ones(1, 3), torch.zeros(2, 3)) == layer.bias.view(1, 2)).all())
    True
    """

    def __init__(self, inputs: int, outputs: int, values: int = 1) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(inputs, 1))
        self.weight = nn.Parameter(torch.empty(outputs, values, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs, values))

    def masked_weight(self, mask: Tensor) -> Tensor:
        """Return the weights that `mask`, (outputs, inputs), leaves, (outputs, values, inputs)."""
        return self.weight * mask.to(self.weight.dtype)[:, None]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return y, (batch, outputs * values).

        Args:
            x: (batch, inputs).
            mask: (outputs, inputs).
        """
        return F.linear(x, self.masked_weight(mask).flatten(0, 1), self.bias.flatten())
