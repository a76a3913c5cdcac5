"""The exact likelihood of a tiny model with a code of two numbers, by quadrature."""

import math

import torch
from torch import Tensor

from ancestral.models.latent.base import LatentModel


def exact(model: LatentModel, x: Tensor, part: int | None = None) -> Tensor:
    """Integrate p(x | z) N(z; 0, I) over a grid of the two-dimensional code; (batch,), nats.

    Where codes begin with the number of a part of the model, that part is `part`.
    """
    line = torch.linspace(-8.0, 8.0, 121, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    log_prior = -0.5 * z.square().sum(1) - math.log(2.0 * math.pi) + 2.0 * math.log(float(line[1] - line[0]))
    if part is not None:
        z = torch.cat((torch.full((len(z), 1), float(part), dtype=z.dtype), z), dim=1)
    rows = [model.log_likelihood(one.expand(len(z), *one.shape), z) for one in x]
    return torch.logsumexp(torch.stack(rows) + log_prior, dim=1)


def assert_bounds_rise(model: LatentModel, x: Tensor, repeats: int = 400, truth: Tensor | None = None) -> None:
    """Raise unless bounds on log p of all states of the data rise with the samples to the exact value, and p sums to 1.

    The exact value is `truth`, (batch,), or else from quadrature.
    """
    truth = exact(model, x) if truth is None else truth
    assert abs(float(truth.exp().sum()) - 1.0) < 1e-6
    many = x.repeat(repeats, *[1] * (x.dim() - 1))
    means, errors, last = [], [], torch.empty(0)
    for k in (1, 5, 50):
        draws = model.bound(many, samples=k, generator=torch.Generator().manual_seed(k)).view(repeats, -1)
        means.append(draws.mean(0))
        errors.append(draws.std(0) / math.sqrt(repeats))
        assert bool((means[-1] < truth + 4.0 * errors[-1]).all()), f"a bound of {k} samples above the exact value"
        last = draws.exp()
    for fewer, more in ((0, 1), (1, 2)):
        assert bool((means[more] > means[fewer] - 4.0 * (errors[fewer] + errors[more])).all())
        assert float(means[more].mean()) > float(means[fewer].mean()) + 0.005
    assert float((truth - means[2]).mean()) < 0.3 * float((truth - means[0]).mean())
    # The mean of the weights themselves is p(x), with any number of samples: q is normalised.
    assert bool(((last.mean(0) - truth.exp()).abs() < 5.0 * last.std(0) / math.sqrt(repeats)).all())
