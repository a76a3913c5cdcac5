"""The conditionals of a model as integer frequencies, and chunks of data coded with them."""

import copy
import functools
import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ancestral.coding.archive import CODED, KEY_BYTES
from ancestral.coding.entropy import Decoder, Symbols, encode
from ancestral.coding.frequencies import MAX_LEVELS, Floats, Integers, frequencies, unsafe_shifts
from ancestral.coding.originals import Batch, Originals
from ancestral.distributions import Head
from ancestral.errors import InvalidInput, Unsupported
from ancestral.models import registry
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model

CHUNK_ELEMENTS = 2**24
"""Probabilities of a chunk, those of its conditions included, at most: 128 MiB in float64."""
MAX_CHUNK = 1024
"""Data of a chunk, at most."""
_PASS = 2**13
"""Entries of data that go through the network at once: memory for their features is used again, not asked for anew."""
_BLOCK = 2**15
"""Probabilities that are computed at once, which stay in the processor's cache."""


def model_key(model: Model) -> bytes:
    """Return a digest of a model: its name, options, event and weights."""
    state = hashlib.sha256()
    parts = [model.name, model.config, model.event.to_json(), model.condition and model.condition.to_json()]
    state.update(json.dumps(parts, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        state.update(f"{name} {tuple(tensor.shape)}".encode())
        state.update(tensor.detach().double().cpu().numpy().astype("<f8").tobytes())
    return state.digest()[:KEY_BYTES]


def check_codes(model: Model) -> AutoregressiveModel:
    """Return the model, or raise unless its conditionals can code.

    Raises:
        Unsupported: if it has no exact conditionals of whole numbers.
    """
    if not isinstance(model, AutoregressiveModel):
        name = model.name or type(model).__name__
        raise Unsupported(f"{name} has no exact conditionals to code with. Models that have: {', '.join(exact_names())}")
    check_levels(model)
    return model


def exact_names() -> list[str]:
    """Return the names of models that have exact conditionals."""
    return [name for name in registry.names() if issubclass(registry.get(name), AutoregressiveModel)]


def check_levels(model: Model) -> None:
    """Raise unless a model's data and conditions are whole numbers that can be coded.

    Raises:
        Unsupported: if they are not.
    """
    for event, what in ((model.event, "data"), (model.condition, "a condition")):
        if event is not None and (event.levels is None or event.levels > MAX_LEVELS):
            name = model.name or type(model).__name__
            raise Unsupported(
                f"this {name} is a model of {what} ({event}), expected at most {MAX_LEVELS} whole levels to code"
            )


class Coder:
    """What codes chunks of data with a model, in float64; subclasses say how.

    Args:
        model: a model of whole numbers.
        head: of the model, from raw parameters to distributions of the entries of a datum.
    """

    model: Model
    kind: int
    """Kind of the chunks, see `coding.archive`."""
    chunk_size: int
    """Data of a chunk, at most."""
    members: int = 1
    """Members of a mixture, one of which codes a chunk."""

    def __init__(self, model: Model, head: Head) -> None:
        self.model, self.head = copy.deepcopy(model).double().eval(), head
        self.event, self.condition = model.event, model.condition
        self.levels: int = model.event.levels or 1  # never 1: `check_levels`
        self.originals = Originals(model.event, model.condition)

    @functools.cached_property
    def key(self) -> bytes:
        """The model's `model_key`, which takes a look at every weight."""
        return model_key(self.model)

    @functools.cached_property
    def step_bytes(self) -> int:
        """Bytes that are held of each datum while chunks are decoded together."""
        return self.originals.held

    def nothing(self) -> Tensor:
        """Return no data at all, (0, *event.shape)."""
        return torch.empty(0, *self.event.shape, dtype=self.event.dtype)

    def table(self, raw: Tensor) -> Floats:
        """Return the log-probabilities of all values, (n, levels), given raw parameters, (n, parameters)."""
        size = max(1, _BLOCK // self.levels)
        return torch.cat([self.head(block).log_pmf() for block in raw.split(size)]).cpu().numpy()

    def conditionals(self, model: AutoregressiveModel, member: int, x: Tensor, condition: Tensor | None) -> Floats:
        """Return the log-probabilities of all values of a member's conditionals, in float64.

        Args:
            model: that of the data, or one inside of it.
            member: of a mixture.
            x: (n, *event.shape), on the model's device.
            condition: (n, *condition.shape), where the model has a condition.

        Returns:
            By step, then datum, (numel * n, levels), nats.
        """
        numel, levels = self.event.numel, self.levels
        size, order = max(1, _PASS // numel), model.member_order(member)
        table = np.empty((numel, len(x), levels))
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            raw = model.member_forward(member, x[rows], None if condition is None else condition[rows])
            raw = raw.flatten(1, -2)[:, order].transpose(0, 1)  # (numel, b, parameters), by step
            table[:, rows] = self.table(raw.flatten(0, 1)).reshape(numel, -1, levels)
        return table.reshape(-1, levels)

    def even(self, n: int) -> Integers:
        """Return frequencies of `n` entries of conditions, all values alike."""
        levels = self.condition.levels if self.condition is not None and self.condition.levels is not None else 1
        return np.broadcast_to(frequencies(np.zeros((1, levels)), 0), (n, levels))

    def refuse_nan(self, values: Floats) -> None:
        """Raise where the model gave NaN.

        Raises:
            InvalidInput: saying so.
        """
        if np.isnan(values).any():
            raise InvalidInput(f"{self.model.name} gives NaN: its weights are not usable; take an earlier checkpoint")

    def encode(self, x: Tensor, condition: Tensor | None) -> tuple[int, int, bytes | None, float]:
        """Code data.

        Args:
            x: (n, *event.shape), of type `event.dtype`, on the model's device.
            condition: (n, *condition.shape), where the model has a condition.

        Returns:
            The member of the mixture, the offset of the grid, the code (None where no offset is safe), and the nats.

        Raises:
            InvalidInput: if the model gives NaN.
        """
        raise NotImplementedError

    def decode(self, member: int, chunks: Sequence[tuple[int, int, bytes]]) -> list[Batch]:
        """Decode chunks together; how they are put together has no effect on what comes out.

        Args:
            member: of the mixture, that coded them.
            chunks: of each, the number of data, the offset of the grid, and the code.

        Returns:
            The data of each, (n, *event.shape), on the CPU, and their conditions.

        Raises:
            Damage: if a code is of no data.
        """
        raise NotImplementedError


class ModelCoder(Coder):
    """Codes chunks of data with the conditionals of a model, in float64.

    Args:
        model: the model.

    Raises:
        Unsupported: if it has no exact conditionals of whole numbers.
    """

    kind = CODED
    model: AutoregressiveModel

    def __init__(self, model: Model) -> None:
        checked = check_codes(model)
        super().__init__(checked, checked.head)
        self.members = checked.members
        given = 0 if self.condition is None else self.condition.numel * (self.condition.levels or 1)
        self.chunk_size = max(1, min(MAX_CHUNK, CHUNK_ELEMENTS // (self.event.numel * self.levels + given)))

    @functools.cached_property
    def step_bytes(self) -> int:
        """Bytes that the model remembers from step to step of one datum."""
        given = None if self.condition is None else torch.zeros(1, *self.condition.shape, dtype=self.condition.dtype)
        state = self.model.init_state(1, None if given is None else given.to(self.model.device))
        return sum(tensor.nbytes for tensor in (state.x, *state.memory))

    def log_pmf(self, member: int, x: Tensor, condition: Tensor | None) -> Floats:
        """Return the model's own `conditionals`."""
        return self.conditionals(self.model, member, x, condition)

    @torch.no_grad()
    def encode(self, x: Tensor, condition: Tensor | None) -> tuple[int, int, bytes | None, float]:
        # Of a mixture, only the best member so far is held.
        each = (self._symbols(member, x, condition) for member in range(self.model.members))
        member, (nats, log_pmf, symbols) = min(enumerate(each), key=lambda item: item[1][0])
        unsafe = unsafe_shifts(log_pmf)
        shift = int(unsafe.argmin())
        if unsafe[shift]:
            return member, 0, None, nats
        parts = [(symbols, frequencies(log_pmf, shift))]
        if condition is not None:
            given = condition.cpu().flatten().numpy().astype(np.int32)
            parts.insert(0, (given, self.even(len(given))))
        return member, shift, encode(parts), nats

    def _symbols(self, member: int, x: Tensor, condition: Tensor | None) -> tuple[float, Floats, Symbols]:
        """Return the nats of data under a member, its log-probabilities, see `log_pmf`, and the values that the data have."""
        log_pmf = self.log_pmf(member, x, condition)
        self.refuse_nan(log_pmf)
        order = self.model.member_order(member).cpu()
        symbols = x.cpu().flatten(1)[:, order].T.flatten().numpy().astype(np.int32)
        return -float(np.take_along_axis(log_pmf, symbols[:, None].astype(np.int64), axis=1).sum()), log_pmf, symbols

    @torch.no_grad()
    def decode(self, member: int, chunks: Sequence[tuple[int, int, bytes]]) -> list[Batch]:
        model, decoders = self.model, [Decoder(code) for _, _, code in chunks]
        counts = [count for count, _, _ in chunks]
        shifts = np.repeat([shift for _, shift, _ in chunks], counts)
        ends = np.cumsum(counts).tolist()
        rows = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        condition = None
        if self.condition is not None:
            numel, shape, kind = self.condition.numel, self.condition.shape, self.condition.dtype
            given = [d.decode(self.even(count * numel)) for d, count in zip(decoders, counts, strict=True)]
            condition = torch.from_numpy(np.concatenate(given)).view(-1, *shape).to(model.device, kind)

        def choose(entry: int, raw: Tensor) -> Tensor:
            table = frequencies(self.table(raw), shifts)
            symbols = [decoder.decode(table[part]) for decoder, part in zip(decoders, rows, strict=True)]
            return torch.from_numpy(np.concatenate(symbols)).to(raw)

        x = model.run(model.init_state(ends[-1], condition, member=member), choose).cpu()
        return [(x[part], None if condition is None else condition[part].cpu()) for part in rows]
