r"""Bits-back coding: data coded by models of latent variables, in the bits that their bound says.

A datum x is coded as a code z, by p(z), and x given z, by p(x | z). Any z that explains x will do, so that which of them is
taken can tell something else: z is popped from the stack of what is coded already, as if that were a code of z by q(z | x).
The decoder finds x and z, knows q(z | x) as well, and pushes z to have the stack as it was. So a datum takes
-log p(x | z) - log p(z) + log q(z | x) nats, which in the mean is the bound with one sample.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ancestral.coding import Damage
from ancestral.coding.archive import BITS_BACK
from ancestral.coding.coder import CHUNK_ELEMENTS, MAX_CHUNK, Coder, ModelCoder, check_levels, exact_names
from ancestral.coding.conditional import Conditional, NoOffsetError, Table, pop_offset
from ancestral.coding.entropy import Symbols
from ancestral.coding.frequencies import PRECISION, Integers, frequencies
from ancestral.coding.gaussians import WINDOW, Gaussians, points
from ancestral.coding.originals import Batch
from ancestral.coding.stack import Stack
from ancestral.distributions import GaussianMixture, Output
from ancestral.errors import Unsupported
from ancestral.models import registry
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model
from ancestral.models.latent.base import LatentModel

GROUP = 64
"""Data that go through the networks at once, at most."""


def make_coder(model: Model) -> Coder:
    """Return what codes data with a model: its exact conditionals, or bits-back.

    Raises:
        Unsupported: if it has neither, or is not of whole numbers.
    """
    if isinstance(model, LatentModel):
        return BitsBackCoder(model)
    if isinstance(model, AutoregressiveModel):
        return ModelCoder(model)
    raise Unsupported(
        f"{model.name or type(model).__name__} has no exact conditionals to code with, and no codes for bits-back. Models that"
        f" have conditionals: {', '.join(exact_names())}; codes: {', '.join(_factorial())}"
    )


def _factorial() -> list[str]:
    """Return the names of models whose codes bits-back can take."""
    classes = {name: registry.get(name) for name in registry.names()}
    return [name for name, cls in classes.items() if issubclass(cls, LatentModel) and cls.factorial]


class BitsBackCoder(Coder):
    r"""Codes chunks of data by bits-back, in float64.

    With z_0 = x, each layer of codes is popped by q(z_l | z_{l-1}), then the one below is pushed by p(z_{l-1} | z_l), and at
    last the last layer by its prior. Data go in groups, whose size grows as the stack does: codes are popped from what the
    groups before have left there. The first datum of a chunk finds an empty stack: in the layer next to it each unit takes the
    value that q finds likeliest.

    Args:
        model: of latent variables, whose codes are `factorial`.

    Raises:
        Unsupported: if they are not, or data or conditions are no whole numbers.

    References:
        Practical Lossless Compression with Latent Variables using Bits Back Coding (Townsend, Bird & Barber, 2019),
        https://arxiv.org/abs/1901.04866. There a latent takes points of equal mass under the prior; here evenly spaced ones,
        so that all masses follow from whole numbers. There the stack begins with random bits, and images go one by one.
        Bit-Swap: Recursive Bits-Back Coding for Lossless Compression with Hierarchical Latent Variables (Kingma, Abbeel &
        Ho, 2019), https://arxiv.org/abs/1905.06845, for the order of layers.
    """

    kind = BITS_BACK
    model: LatentModel

    def __init__(self, model: LatentModel) -> None:
        check_levels(model)
        if not model.factorial:
            raise Unsupported(
                f"{model.name or type(model).__name__} has no codes that bits-back can take: its posterior ties the units of a"
                f" layer to each other. Models that have: {', '.join(_factorial())}"
            )
        super().__init__(model, model.head)
        numbers = self.event.numel * self.levels + WINDOW * max(model.code_layers)
        self.group = max(1, min(GROUP, CHUNK_ELEMENTS // numbers))
        given = 0 if self.condition is None else self.condition.numel * (self.condition.levels or 1)
        self.chunk_size = max(1, min(MAX_CHUNK, CHUNK_ELEMENTS // (self.event.numel + given)))

    # Distributions, as what is rounded

    def _conditional(self, output: Output) -> Conditional:
        """Return the units of a layer of codes, row by row."""
        if isinstance(output, GaussianMixture):
            mean, log_scale = (each.flatten().cpu().numpy() for each in (output.means, output.log_scales))
            units: Conditional = Gaussians(mean, log_scale)
        else:
            units = Table(output.log_pmf().flatten(0, -2).cpu().numpy())
        self.refuse_nan(units.values)
        return units

    def values(self, symbols: Symbols, units: Conditional, rows: int) -> Tensor:
        """Return the values of the units, (rows, units), that symbols stand for."""
        values = points()[symbols] if isinstance(units, Gaussians) else symbols
        return torch.from_numpy(values).view(rows, -1).to(self.model.device, torch.float64)

    @torch.no_grad()
    def posterior(self, layer: int, below: Tensor, condition: Tensor | None) -> Conditional:
        """Return q of the units of a layer of codes, see `LatentModel.layer_posterior`."""
        return self._conditional(self.model.layer_posterior(layer, below, condition))

    @torch.no_grad()
    def prior(self, layer: int, rows: int, above: Tensor | None, condition: Tensor | None) -> Conditional:
        """Return p of the units of a layer of codes, see `LatentModel.layer_prior`."""
        return self._conditional(self.model.layer_prior(layer, rows, above, condition))

    # Data given the layer of codes next to them: pushed in one pass, popped entry by entry where they depend on each other

    def _push_data(self, stack: Stack, x: Tensor, z: Tensor, condition: Tensor | None) -> None:
        inner, flat = self.model.pixel_model, x.flatten(1)
        if inner is None:
            values = self.table(self.model.raw(z, condition).flatten(0, -2))
        else:
            values, flat = self.conditionals(inner, 0, x, self.model.maps(z, condition)), flat[:, inner.member_order(0)].T
        self.refuse_nan(values)
        Table(values).push(stack, _symbols(flat))

    def _pop_data(self, stack: Stack, rows: int, z: Tensor, condition: Tensor | None) -> Tensor:
        inner = self.model.pixel_model
        if inner is None:
            symbols = Table(self.table(self.model.raw(z, condition).flatten(0, -2))).pop(stack)
            return torch.from_numpy(symbols).to(self.model.device, self.event.dtype).view(-1, *self.event.shape)
        shift = pop_offset(stack)

        def choose(entry: int, raw: Tensor) -> Tensor:
            return torch.from_numpy(stack.pop(frequencies(self.table(raw), shift))).to(raw)

        return inner.run(inner.init_state(rows, self.model.maps(z, condition)), choose)

    # Groups of data: what one does, the other undoes

    def _push_group(self, stack: Stack, x: Tensor, condition: Tensor | None, *, first: bool) -> None:
        z, symbols, last = x, _symbols(x), len(self.model.code_layers) - 1
        for layer in range(last + 1):
            q = self.posterior(layer, z, condition)
            codes = q.likeliest() if first and layer == 0 else q.take(stack)
            above = self.values(codes, q, len(x))
            if layer == 0:
                self._push_data(stack, x, above, condition)
            else:
                self.prior(layer - 1, len(x), above, condition).push(stack, symbols)
            z, symbols = above, codes
        self.prior(last, len(x), None, condition).push(stack, symbols)
        stack.push(np.array([len(x) - 1], dtype=np.int32), _sizes())

    def _pop_group(self, stack: Stack, rows: int, condition: Tensor | None, *, first: bool) -> Tensor:
        last = len(self.model.code_layers) - 1
        p = self.prior(last, rows, None, condition)
        codes = p.pop(stack)
        above = self.values(codes, p, rows)
        for layer in range(last, -1, -1):
            if layer == 0:
                below, symbols = self._pop_data(stack, rows, above, condition), codes
            else:
                p = self.prior(layer - 1, rows, above, condition)
                symbols = p.pop(stack)
                below = self.values(symbols, p, rows)
            if not (first and layer == 0):
                self.posterior(layer, below, condition).give_back(stack, codes)
            above, codes = below, symbols
        return above

    # Chunks

    @torch.no_grad()
    def encode(self, x: Tensor, condition: Tensor | None) -> tuple[int, int, bytes | None, float]:
        bound = self.model.bound(x, condition, generator=torch.Generator(x.device).manual_seed(0))
        nats, stack, start = -float(bound.sum()), Stack(), 0
        units = self.model.code_layers
        last = self.prior(len(units) - 1, 1, None, None if condition is None else condition[:1])
        needed = units[0] * last.bits  # at most, to pop the code of a datum
        while start < len(x):
            n = max(1, min(self.group, len(x) - start, int(stack.bits / needed)))
            rows = slice(start, start + n)
            try:
                self._push_group(stack, x[rows], None if condition is None else condition[rows], first=start == 0)
            except NoOffsetError:
                return 0, 0, None, nats
            start += n
        if condition is not None:
            stack.push(_symbols(condition), self.even(condition.numel()))
        return 0, 0, stack.code(), nats

    @torch.no_grad()
    def decode(self, member: int, chunks: Sequence[tuple[int, int, bytes]]) -> list[Batch]:
        return [self._decode(count, code) for count, _, code in chunks]

    def _decode(self, count: int, code: bytes) -> Batch:
        stack, condition, left = Stack(code), None, count
        if self.condition is not None:
            given = torch.from_numpy(stack.pop(self.even(count * self.condition.numel)))
            condition = given.view(-1, *self.condition.shape).to(self.model.device, self.condition.dtype)
        parts = []
        while left > 0:
            n = int(stack.pop(_sizes())[0]) + 1
            if n > min(left, self.group):
                raise Damage(f"a group of {n} data where {left} are left")
            left -= n
            each = None if condition is None else condition[left : left + n]
            parts.append(self._pop_group(stack, n, each, first=left == 0).cpu())
        if not stack.empty:
            raise Damage("something is left on the stack")
        return torch.cat(parts[::-1]), None if condition is None else condition.cpu()


def _symbols(values: Tensor) -> Symbols:
    return values.cpu().flatten().numpy().astype(np.int32)


def _sizes() -> Integers:
    """Return the frequencies of sizes of groups, less 1: all alike."""
    return np.full((1, GROUP), 2**PRECISION // GROUP)
