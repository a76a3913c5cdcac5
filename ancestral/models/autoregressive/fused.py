"""Autoregressive models that take many steps in one call of a compiled loop: what they share, but for the loop itself."""

import functools
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ancestral.layers.fused import FusedSteps
from ancestral.layers.kernels import COMPILED, array
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import Draws
from ancestral.models.autoregressive.state import State

FUSED_STEPS = 256
"""Steps of a call, whose raw parameters are in memory together."""
FUSED_ROWS = 4
"""Data that a thread takes at least: as many as are taken at once."""


class FusedModel(AutoregressiveModel):
    """A model whose steps a loop over arrays can take, on a CPU: to the same state and values, but for rounding.

    A subclass with such a loop sets `fused_least` and implements `depth`, `make_network`, `prepare_fused` and `take_fused`.

    Args:
        event: any event of whole numbers.
        condition: what the conditionals also depend on, or None.
    """

    fused_least: ClassVar[int | None] = None
    """Layers times entries from which on compiled steps are worth the time to load them; None where there are none."""
    fused_data: ClassVar[bool] = False
    """Whether the entries are those of all data: where a call costs little beside the work in it."""
    fused_types: ClassVar[tuple[torch.dtype, ...]] = (torch.float32,)
    """Types of weights and states with which steps can be taken so."""
    _network: tuple[list[tuple[int, int, int]], Any] | None = None

    @property
    def depth(self) -> int:
        """Layers that a step goes through."""
        return 1

    def fuses(self, state: State, draws: Draws) -> bool:
        work = self.depth * self.event.numel * (len(state.x) if self.fused_data else 1)
        enough = self.fused_least is not None and work >= self.fused_least
        return COMPILED and self.fused and enough and self.fusible(draws)

    def fused_stop(self, t: int) -> int:
        """Return the step before which a call that begins at step `t` has to stop."""
        return t + FUSED_STEPS

    def fusible(self, draws: Draws) -> bool:
        """Return whether there is a fused loop for this model, type and device, and for such draws; compiled or not."""
        sharpening = draws.value.sharpening
        plain = sharpening.top_k is None and sharpening.top_p in (None, 1.0) and not self.event.end
        known = self.fused_least is not None and self.head.name in ("softmax", "bernoulli")
        return known and plain and self.dtype in self.fused_types and self.device.type == "cpu"

    def fused_network(self) -> Any:
        """Return the weights as the loop reads them, kept until one of them changes."""
        key = [(id(parameter), parameter.data_ptr(), parameter._version) for parameter in self.parameters()]
        if self._network is None or self._network[0] != key:
            self._network = key, self.make_network()
        return self._network[1]

    def scaled_levels(self) -> Tensor:
        """Return the value of each level as the network reads it, and NaN for what is no level, (levels + 1,), float32."""
        values = self.event.to_network(torch.arange(self.event.levels or 0), torch.float32)
        return torch.cat((values, values.new_tensor([math.nan])))

    def make_network(self) -> Any:
        """Return the weights as the loop reads them, copied where need be."""
        raise NotImplementedError

    def prepare_fused(self, state: State, begin: int, stop: int) -> Any:
        """Return what `take_fused` reads in the steps from `begin` to `stop`, besides values and noise."""
        raise NotImplementedError

    def take_fused(self, state: State, prepared: Any, steps: FusedSteps, rows: slice) -> None:
        """Take several steps of some data of a batch in one call; several calls run at once, for data of their own.

        Args:
            state: the state; `state.x` and `state.t` are left alone.
            prepared: from `prepare_fused`.
            steps: what is chosen from, and where it is written.
            rows: the data.
        """
        raise NotImplementedError

    def finish_fused(self, state: State, prepared: Any) -> None:
        """Bring into the state what `take_fused` left in copies of its memory, if there are any."""

    def run_fused(self, state: State, draws: Draws, stop: int) -> None:
        levels, n = self.event.levels or 0, len(state.x)
        threads = max(1, min(torch.get_num_threads(), n // FUSED_ROWS))
        bounds = [-(-n * k // threads // FUSED_ROWS) * FUSED_ROWS for k in range(threads)] + [n]
        parts = [slice(begin, end) for begin, end in itertools.pairwise(bounds) if begin < end]
        while (t := state.t) < stop:
            entries = state.entries[t : min(self.fused_stop(t), stop)]
            is_given = [draws.is_given(entry) for entry in entries]
            values = torch.zeros(n, len(entries), dtype=torch.long)
            if draws.given is not None:
                values.copy_(draws.given[:, entries])
            steps = FusedSteps(
                t=t,
                previous=array(torch.full((n,), levels) if t == 0 else state.x[:, state.entries[t - 1]].long()),
                values=array(values),
                is_given=np.array(is_given, np.bool_),
                noise=np.zeros(values.shape) if all(is_given) else array(draws.noise_of(entries)[..., 0].double()),
                scale=1.0 / draws.value.sharpening.temperature,
                raw=np.empty((n, len(entries) if draws.scored else 1, self.head.parameters), np.float32),
            )
            prepared = self.prepare_fused(state, t, t + len(entries))
            take = functools.partial(self.take_fused, state, prepared, steps)
            if len(parts) == 1:
                take(parts[0])
            else:
                with ThreadPoolExecutor(len(parts)) as pool:
                    list(pool.map(take, parts))
            self.finish_fused(state, prepared)
            state.x[:, entries] = values.to(state.x.dtype)
            state.t = t + len(entries)
            if draws.scored:
                draws.add(self.head(torch.from_numpy(steps.raw)).log_prob(values).double().sum(1))
