"""Draws from autoregressive models: every datum from noise of its own, entry after entry or in parallel."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ancestral.distributions import Sharpening
from ancestral.errors import InvalidInput
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.verbs.inputs import evaluating, track
from ancestral.verbs.parallel import in_parallel

Watch = Callable[[Tensor, Tensor], None]
"""Called after each step with the data so far and whether each entry is drawn, (n, *event.shape) both, on the CPU.

The tensors are the same at each call, written to: copy what is to be kept."""


@dataclass(frozen=True)
class Drawn:
    """Samples, and what it took to draw them.

    Args:
        x: the data, (n, *event.shape), of type `event.dtype`, on the CPU.
        calls: times that the network was called: for one step of a batch, or for all its entries at once.
        steps: calls that drawing one entry after another takes; 0 for models that draw data whole.
        changed: what was done to the model's distribution, such as "temperature 0.8"; empty where draws are exact.
    """

    x: Tensor
    calls: int
    steps: int
    changed: str = ""


def uniform_noise(seed: int, datum: int, count: int) -> np.ndarray:
    """Return the noise of one datum, which depends on `seed` and its number alone.

    Args:
        seed: seed of all data.
        datum: number of the datum, from 0.
        count: numbers wanted; the first ones are the same for every count.

    Returns:
        (count,), multiples of 2^-53 in [0, 1).

    References:
        Parallel random numbers: as easy as 1, 2, 3 (Salmon et al., 2011), https://doi.org/10.1145/2063384.2063405.

    >>> [round(float(u), 4) for u in uniform_noise(seed=0, datum=7, count=2)]
    [0.5845, 0.891]
    """
    # The raw numbers of a bit generator are the same under every release of numpy; those of its methods need not be.
    raw = np.random.Philox(key=np.array([seed % 2**64, datum], dtype=np.uint64)).random_raw(count)
    return (raw >> np.uint64(11)) * 2.0**-53


def draw_entries(
    model: AutoregressiveModel,
    n: int,
    conditions: Tensor | None,
    sharpening: Sharpening,
    *,
    parallel: bool = False,
    seed: int = 0,
    batch_size: int,
    progress: bool = False,
    watch: Watch | None = None,
) -> Drawn:
    """Draw data from an autoregressive model; `sample` says what the arguments mean.

    The first number of a datum's noise is for the member of a mixture that it is from, the others for its entries. Data
    of one member make batches, so that a mixture of orders, too, is drawn in as few steps as can be.

    Raises:
        Unsupported: if the model's entries cannot be sharpened.
        InvalidInput: if the model gives NaN.
    """
    shape, numel = model.event.shape, model.event.numel
    value = _Value(model, sharpening)
    first = np.array([uniform_noise(seed, i, 1)[0] for i in range(n)])
    member = (torch.from_numpy(first) * model.members).long()
    batches = [(k, b) for k in member.unique().tolist() for b in (member == k).nonzero()[:, 0].split(batch_size)]
    x = torch.zeros(n, *shape, dtype=model.event.dtype)
    known = torch.zeros(n, *shape, dtype=torch.bool)

    def calls() -> Iterator[None]:
        for k, rows in batches:
            noise = np.stack([uniform_noise(seed, i, 1 + numel * value.noises)[1:] for i in rows.tolist()])
            u = torch.from_numpy(noise).view(len(rows), numel, value.noises).to(model.device)
            given = None if conditions is None else conditions[rows].to(model.device)
            so_far = x.new_zeros(0)
            for so_far, final in (in_parallel if parallel else one_by_one)(model, k, given, u, value):
                if watch is not None:
                    x[rows] = so_far.view(-1, *shape).to(x)
                    known[rows] = final.expand(len(rows), -1).reshape(-1, *shape).cpu()
                    watch(x, known)
                yield
            _check(model, so_far)
            x[rows] = so_far.view(-1, *shape).to(x)

    steps = len(batches) * numel
    with evaluating(model):
        count = sum(1 for _ in track(calls(), "sampling", steps, progress=progress))
    return Drawn(x, count, steps, str(sharpening))


class _Value:
    """From raw parameters and noise to values on the scale of the head.

    Args:
        model: the model whose head it is.
        sharpening: what is done to its distributions.
    """

    def __init__(self, model: AutoregressiveModel, sharpening: Sharpening) -> None:
        self.head, self.sharpening = model.head, sharpening
        self.noises = sharpening(model.head(torch.zeros(model.head.parameters))).noises

    def __call__(self, raw: Tensor, noise: Tensor) -> Tensor:
        """Return values, (...), for raw parameters, (..., parameters), and noise, (..., noises)."""
        return self.sharpening(self.head(raw)).from_noise(noise)


def _check(model: AutoregressiveModel, x: Tensor) -> None:
    highest = math.inf if model.event.levels is None else model.event.levels
    if not bool((x.isfinite() & (x < highest)).all()):
        raise InvalidInput(f"{model.name} gives NaN: its weights are not usable; take an earlier checkpoint")


def one_by_one(
    model: AutoregressiveModel, member: int, condition: Tensor | None, noise: Tensor, value: _Value
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw data by taking the model's steps; arguments and results are those of `in_parallel`."""
    state = model.init_state(len(noise), condition, member=member)
    by_entry = noise.transpose(0, 1).contiguous().unbind(0)  # (batch, noises) each
    final = torch.zeros(1, model.event.numel, dtype=torch.bool)
    previous = None
    for entry in state.order.tolist():
        previous = model.entry_value(entry, value(model.step(state, previous), by_entry[entry]))
        state.x[:, entry] = previous
        final[:, entry] = True
        yield state.x, final
