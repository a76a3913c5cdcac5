"""Sharpened distributions: temperature, top-k, nucleus and bias, in place of what a model says."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ancestral.distributions.outputs import Categorical, Output
from ancestral.errors import InvalidInput, Unsupported


@dataclass(frozen=True)
class Sharpening:
    r"""Makes likely values likelier: temperature first, then `top_k`, then `top_p`, each on what is left of the last.

    At temperature T the probabilities are proportional to p(x = k)^(1 / T). With a bias b a mixture of Gaussians has the
    deviations s_i exp(-b), and weights in proportion to pi_i^(1 + b); levels are left as they are.

    Args:
        temperature: T, positive; 1 leaves the probabilities as they are, less sharpens them, more evens them out.
        top_k: values kept, the likeliest ones; all where None. Of equally likely values the lower are kept.
        top_p: the fewest values are kept whose probabilities sum to this or more, in (0, 1]; all where None.
        bias: b, 0 or more, for mixtures of Gaussians.

    Raises:
        InvalidInput: if an option is out of range.

    References:
        The Curious Case of Neural Text Degeneration (Holtzman et al., 2020), https://arxiv.org/abs/1904.09751, for `top_p`.
        Generating Sequences With Recurrent Neural Networks (Graves, 2013), https://arxiv.org/abs/1308.0850, for `bias`. There
        a mixture is bivariate; here each of its two conditionals is sharpened as it is.

    >>> even = Categorical(torch.tensor([0.5, 0.3, 0.2]).log())
    >>> Sharpening(top_p=0.6)(even).log_pmf().exp()
    tensor([0.6250, 0.3750, 0.0000])
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not (self.temperature > 0.0 and math.isfinite(self.temperature)):
            raise InvalidInput(f"temperature is {self.temperature:g}, expected a positive number; 1 is the model's own")
        if not (self.bias >= 0.0 and math.isfinite(self.bias)):
            raise InvalidInput(f"bias is {self.bias:g}, expected a number of 0 or more; 0 is the model's own")
        if self.top_k is not None and self.top_k < 1:
            raise InvalidInput(f"top_k is {self.top_k}, expected at least 1; leave it out to keep all values")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise InvalidInput(f"top_p is {self.top_p:g}, expected a number above 0 and at most 1; 1 keeps all values")

    @property
    def exact(self) -> bool:
        """Whether the distributions stay as they are."""
        return self._even and self.bias == 0.0

    @property
    def _even(self) -> bool:
        """Whether tables of probabilities stay as they are."""
        return self.temperature == 1.0 and self.top_k is None and self.top_p in (None, 1.0)

    def __str__(self) -> str:
        named = {
            "temperature": None if self.temperature == 1.0 else self.temperature,
            "top-k": self.top_k,
            "top-p": None if self.top_p == 1.0 else self.top_p,
            "bias": self.bias or None,
        }
        return ", ".join(f"{name} {value:g}" for name, value in named.items() if value is not None)

    def __call__(self, output: Output) -> Output:
        """Return the sharpened distributions; `output` itself where there is nothing to change.

        Raises:
            Unsupported: if the output is continuous, and more than a bias is asked for; or has no bias.
        """
        if self.bias:
            output = output.biased(self.bias)
        if self._even:
            return output
        logits = _table(output) / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            ranked, level = logits.sort(dim=-1, descending=True, stable=True)
            logits = _keep(ranked, level, torch.arange(logits.shape[-1], device=logits.device) < self.top_k)
        if self.top_p not in (None, 1.0):
            ranked, level = logits.sort(dim=-1, descending=True, stable=True)
            mass = torch.softmax(ranked, dim=-1)
            logits = _keep(ranked, level, mass.cumsum(-1) - mass < self.top_p)
        return Categorical(logits)


def _table(output: Output) -> Tensor:
    try:
        return output.log_pmf()
    except Unsupported as error:
        raise Unsupported(
            f"temperature, top-k and top-p need a table of probabilities, and {type(output).__name__} has a density:"
            " leave them out, or model integers"
        ) from error


def _keep(ranked: Tensor, level: Tensor, kept: Tensor) -> Tensor:
    """Return logits by level, given those by rank, minus infinity where not `kept` (by rank)."""
    return torch.empty_like(ranked).scatter_(-1, level, ranked.masked_fill(~kept, -math.inf))
