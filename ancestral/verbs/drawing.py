"""Draws from autoregressive models: every datum from noise of its own, entry after entry or in parallel."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ancestral.distributions import Sharpening
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.verbs.inputs import auto_batch_size, check_counts, evaluating, track
from ancestral.verbs.noise import uniform_noise
from ancestral.verbs.parallel import in_parallel
from ancestral.verbs.prompts import Course

Method = Literal["sequential", "parallel"]
METHODS: tuple[str, ...] = get_args(Method)
"""Ways to draw from an autoregressive model."""
Watch = Callable[[Tensor, Tensor], None]
"""Called after each step with the data so far and whether each entry is drawn, (n, *event.shape) both, on the CPU.

The tensors are the same at each call, written to: copy what is to be kept."""

AT_ONCE = 256
"""Steps that are taken in one call, by models that can; data are shown, and bars move, as often."""


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """How data are drawn: the options of `sample`, whose docstring says what each is.

    Raises:
        InvalidInput: if one is out of range.

    >>> str(DrawOptions(temperature=0.8, top_p=0.9).sharpening)
    'temperature 0.8, top-p 0.9'
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    bias: float = 0.0
    method: Method = "sequential"
    seed: int = 0
    batch_size: int | None = None
    progress: bool = False
    watch: Watch | None = None

    def __post_init__(self) -> None:
        check_counts(batch_size=self.batch_size)
        if self.method not in METHODS:
            raise InvalidInput(f"there is no method {self.method!r} of sampling: choose one of {', '.join(METHODS)}")
        _ = self.sharpening  # refuses what is out of range

    @property
    def sharpening(self) -> Sharpening:
        """What is done to the distribution of each entry."""
        return Sharpening(self.temperature, self.top_k, self.top_p, self.bias)


@dataclass(frozen=True)
class Drawn:
    """Samples, and what it took to draw them.

    Args:
        x: the data, (n, *event.shape), of type `event.dtype`, on the CPU.
        event: what a datum is: the model's event, at the length that was drawn.
        calls: times that the network was called: for one step of a batch, one of several that were taken together too, or for
            all its entries at once.
        steps: calls that drawing one entry after another takes; 0 for models that draw data whole.
        changed: what was done to the model's distribution, such as "temperature 0.8"; empty where draws are exact.
    """

    x: Tensor
    event: Event
    calls: int
    steps: int
    changed: str = ""


def draw_entries(course: Course, conditions: Tensor | None, options: DrawOptions) -> Drawn:
    """Draw data from an autoregressive model.

    The first number of a datum's noise is for the member of a mixture that it is from, the others for its entries, given
    ones too. Data of one member make batches, so that a mixture of orders, too, is drawn in as few steps as can be.

    Args:
        course: what is drawn, and by which steps.
        conditions: (n, *condition.shape), where the model has a condition.
        options: how they are drawn.

    Raises:
        Unsupported: if the model's entries cannot be sharpened, or are to be drawn in parallel and cannot.
        InvalidInput: if the model gives NaN.
    """
    model, event, n, seed, watch = course.model, course.event, len(course.given), options.seed, options.watch
    parallel = options.method == "parallel"
    if parallel and (course.given.shape[1] or len(course.windows) > 1 or event != model.event):
        raise Unsupported("method: what follows a prompt, or has a length of its own, is drawn entry by entry: leave it out")
    value = EntryValue(model.head, options.sharpening)
    first = np.array([uniform_noise(seed, i, 1)[0] for i in range(n)])
    member = (torch.from_numpy(first) * model.members).long()
    size = options.batch_size or auto_batch_size(model.event)
    batches = [(k, b) for k in member.unique().tolist() for b in (member == k).nonzero()[:, 0].split(size)]
    x = torch.zeros(n, *event.shape, dtype=event.dtype)
    known = torch.zeros(n, *event.shape, dtype=torch.bool)

    def calls() -> Iterator[None]:
        for k, rows in batches:
            u = entry_noise(seed, rows.tolist(), event.numel, value.noises).to(model.device)
            condition = None if conditions is None else conditions[rows].to(model.device)
            given = course.given[rows].to(model.device)
            so_far = x.new_zeros(0)
            for so_far, final in (
                in_parallel(model, k, condition, u, value) if parallel else one_by_one(course, given, k, condition, u, value)
            ):
                if watch is not None:
                    x[rows] = so_far.view(-1, *event.shape).to(x)
                    known[rows] = final.expand(len(rows), -1).reshape(-1, *event.shape).cpu()
                    watch(x, known)
                yield
            check_drawn(model, so_far)
            x[rows] = so_far.view(-1, *event.shape).to(x)

    steps = len(batches) * course.steps
    with evaluating(model):
        count = sum(1 for _ in track(calls(), "sampling", steps, progress=options.progress))
    return Drawn(x, event, count, steps, str(options.sharpening))


def entry_noise(seed: int, data: Sequence[int], entries: int, noises: int) -> Tensor:
    """Return the noise of the entries of some data, (data, entries, noises); what comes first is for the member."""
    noise = np.stack([uniform_noise(seed, i, 1 + entries * noises)[1:] for i in data])
    return torch.from_numpy(noise).view(len(data), entries, noises)


def check_drawn(model: AutoregressiveModel, x: Tensor) -> None:
    """Raise if draws are no data, since the model gives NaN.

    Raises:
        InvalidInput: saying so.
    """
    highest = math.inf if model.event.levels is None else model.event.levels
    if not bool((x.isfinite() & (x < highest)).all()):
        raise InvalidInput(f"{model.name} gives NaN: its weights are not usable; take an earlier checkpoint")


def one_by_one(
    course: Course, given: Tensor, member: int, condition: Tensor | None, noise: Tensor, value: EntryValue
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw data by taking the model's steps.

    What all data of a batch are given is read once, by a batch of one.

    Args:
        course: what is drawn, and by which steps.
        given: the first entries, (batch, entries).
        member: of a mixture, from 0.
        condition: (batch, *condition.shape), where the model has a condition.
        noise: of each entry, (batch, event.numel, noises).
        value: from raw parameters and noise to values on the scale of the model's head.

    Yields:
        After each step: the data so far, on the event's scale, (batch, event.numel), and whether each entry is known,
        (1, event.numel); the same tensors, written to. The last are the data.
    """
    model, n, numel, size = course.model, len(given), course.event.numel, given.shape[1]
    noise = noise.transpose(0, 1).contiguous().transpose(0, 1)  # that of an entry lies together
    dtype = torch.promote_types(model.dtype, torch.float32)  # half precision does not hold every token
    x = torch.zeros(n, numel, dtype=dtype, device=given.device)
    known = torch.zeros(1, numel, dtype=torch.bool)
    x[:, :size], known[:, :size] = given, True
    for begin, first, stop in course.windows:
        alike = n > 1 and first > begin and _alike(x[:, begin:first]) and (condition is None or _alike(condition))
        some = condition if condition is None or not alike else condition[:1]
        state = model.init_state(1 if alike else n, some, member=member)
        draws = Draws(value, noise[:, begin:stop], x[: len(state.x), begin:stop], known[0, begin:stop])
        previous = None
        for t, entry in enumerate(state.entries[: stop - begin], begin):
            if alike and t == first:
                state = model.fork(state, torch.zeros(n, dtype=torch.long, device=x.device))
            if state.t == t - begin and (t < first or model.fuses(state, draws)):
                model.run(state, draws, (first if t < first else min(t + AT_ONCE, stop)) - begin)
            if state.t > t - begin:  # the step was taken together with others
                drawn = state.x[:, entry]
            else:
                raw = model.step(state, None if previous is None else x[: len(state.x), previous])
                drawn = raw if t < first else model.entry_value(entry, value(raw, draws.noise_of(entry)))
            previous = begin + entry
            if t >= first:
                x[:, previous], known[:, previous] = drawn, True
                if model.all_over(entry, x[:, previous]):
                    x[:, previous:stop] = model.event.ended(x)[previous - begin : stop - begin]
                    known[:, previous:stop] = True
                    yield x, known
                    break
            yield x, known


def _alike(rows: Tensor) -> bool:
    return bool((rows == rows[:1]).all())
