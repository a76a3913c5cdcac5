"""Evaluation: the mean of a split with its standard error, unit and kind."""

import functools
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ancestral.coding.learning import Dynamic
from ancestral.data import Data
from ancestral.data.base import Split
from ancestral.data.pairs import PairSplit
from ancestral.data.text import TokenSplit
from ancestral.errors import InvalidInput
from ancestral.likelihood import Likelihood
from ancestral.models.base import Model
from ancestral.verbs.dynamic import dynamic_nats, dynamic_scores, given_tokens
from ancestral.verbs.inputs import (
    Named,
    Subject,
    batches,
    check_counts,
    count_batches,
    evaluating,
    open_data,
    open_model,
    processes,
    track,
)
from ancestral.verbs.score import likelihood_of, scores, units_of
from ancestral.verbs.windows import token_nats


@dataclass(frozen=True)
class Evaluation:
    """A figure with all that is needed to read it.

    Args:
        model: the model's name.
        data: the name of the data.
        split: the split that was read.
        nats: mean negative log-likelihood per datum; None where the model has no likelihood.
        bits_per_dim: the same in bits per entry of the datum; of sentences, per token, ends counted; of drawings, per entry of
            the points that there are.
        standard_error: of `nats` over the examples; None for a single one.
        kind: what the likelihood is: exact, lower bound, estimate (with samples), or none.
        count: examples read.
        bits_per_dim_standard_error: of `bits_per_dim`.
        seconds: time it took.
        measures: mean and standard error of what a model without likelihood measures, in its own units.
        perplexity: of text: e to the nats of a token.
        bits_per_byte: of text: bits for each byte of it, with what it takes to spell tokens that the model does not know.
        unit: what figures of such data are in: what `bits_per_dim` is called, or nats/point; see `Event.unit`.
        nats_per_point: of drawings: nats of all of them for each of their points.
    """

    model: str
    data: str
    split: str
    nats: float | None
    bits_per_dim: float | None
    standard_error: float | None
    kind: str
    count: int
    bits_per_dim_standard_error: float | None = None
    seconds: float = 0.0
    measures: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    perplexity: float | None = None
    bits_per_byte: float | None = None
    unit: str = "bits/dim"
    nats_per_point: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able values; what data of some kinds have, only where there is some."""
        some = {"measures": self.measures, "perplexity": self.perplexity, "bits_per_byte": self.bits_per_byte}
        some["nats_per_point"] = self.nats_per_point
        found = {name: value for name, value in asdict(self).items() if some.get(name, True)}
        return {name: value for name, value in found.items() if name != "unit" or value != "bits/dim"}

    def __str__(self) -> str:
        where = f"{self.model} on {self.data} ({self.split}, {self.count} examples)"
        if self.nats is None:
            shown = ", ".join(f"{name} {_with_error(*value)}" for name, value in self.measures.items())
            return f"{where}: no likelihood; {shown}"
        value, error = self.bits_per_dim or 0.0, self.bits_per_dim_standard_error
        if self.nats_per_point is not None:
            points = self.nats / self.nats_per_point if self.nats_per_point else 1.0
            value, error = self.nats_per_point, None if self.standard_error is None else self.standard_error / points
        by_byte = None if self.unit == "bits/byte" else self.bits_per_byte  # of bytes it is the same figure
        text = "" if by_byte is None else f", {by_byte:.4f} bits/byte"
        text += "" if self.perplexity is None else f", perplexity {self.perplexity:.2f}"
        nats = _with_error(self.nats, self.standard_error)
        return f"{where}: {nats} nats, {_with_error(value, error)} {self.unit}{text}, {self.kind}"


def evaluate(
    model: Named,
    data: Data | str | None = None,
    split: str = "test",
    *,
    samples: int | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    context: int | None = None,
    dynamic: bool | float = False,
    segment: int | None = None,
    cache: bool = False,
    given: str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Return the mean negative log-likelihood of a split; what the model measures where it has no likelihood.

    Under several processes (torch.distributed) each reads its part, every example once, and all return the whole.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        data: data, their name or path; what the model was trained on where None.
        split: name of the split.
        samples: samples per datum, for models whose likelihood is a bound or an estimate.
        batch_size: examples in a batch; a size that fits in memory where None.
        limit: examples used, the first ones; all where None.
        context: text only: tokens that each token is given at least, by windows that overlap. Where None all tokens before
            it, by models that carry their state from window to window (lstm-lm), and else those of its window.
        dynamic: whether the model goes on learning from the data as it reads them, in their order, as a copy; or at which
            rate. Autoregressive models only.
        segment: with dynamic, tokens of text that are scored before they are learned, 32 where None, or what the model can
            take; of other data, data, 1 where None.
        cache: text only: whether counts of its n-grams, up to where it is read, are mixed with the model's conditionals.
        given: with cache, a file of text whose n-grams are counted before, or the name of a split of what the model was
            trained on, such as train.
        seed: seed of everything random.
        progress: show a progress bar.

    Raises:
        InvalidInput: if there is no such model or split, or they do not fit.
        Unsupported: if the model cannot learn as it reads, and is asked to.

    References:
        Dynamic Evaluation of Neural Sequence Models (Krause et al., 2018), https://arxiv.org/abs/1709.07432. What differs is
        said of `coding.learning.Learner`.
    """
    began = time.perf_counter()
    check_counts(batch_size=batch_size, limit=limit)
    subject = open_model(model)
    data = open_data(data, subject)
    part = data.split(split)
    model = subject.model
    known = given_tokens(subject, given)
    learning = Dynamic.of(model, dynamic, segment, cache, known)
    if learning is not None and (context is not None or batch_size is not None):
        raise InvalidInput("context and batch_size are for models that stay as they are: leave them out, or dynamic")
    if isinstance(part, TokenSplit):
        tokens = part.tokens if limit is None else part.tokens[: limit * part.length]
        if learning is None:
            parts = token_nats(model, tokens, context=context, batch_size=batch_size, progress=progress)
        else:
            parts = (
                (nats, torch.ones_like(nats)) for nats in dynamic_nats(model, tokens, learning, given=known, progress=progress)
            )
        return _of_text(subject, data, split, part, len(tokens), parts)
    if context is not None:
        raise InvalidInput(f"context= is for text, {data.name} is {data.event}: leave it out")
    likelihood = likelihood_of(model, samples)
    if learning is None:
        values = _values(model, part, likelihood, batch_size, limit, seed, progress)
    else:
        values = ({"nats": nats} for nats in dynamic_scores(model, part, learning, limit=limit, progress=progress))
    moments = _moments(values)
    has_likelihood = model.can("log_prob") and likelihood.kind != "none"
    nats = moments["nats"].mean if has_likelihood else None
    error = moments["nats"].standard_error if has_likelihood else None
    count = max(m.count for m in moments.values())
    perplexity, bits_per_byte, by_point = None, None, None
    # What comes after an end is certain, and not counted: figures of sentences are per token, of drawings per point.
    units = float(units_of(part, data.event, torch.arange(count)).double().mean())
    if isinstance(part, PairSplit) and nats is not None:
        perplexity = math.exp(nats / units)
        bits_per_byte = _bits_per_byte(nats * count, part) if count == len(part) else None
    columns = 1
    if data.event.is_drawing and nats is not None:
        by_point, columns = data.event.in_unit(nats, units), data.event.shape[1]
    bits = 1.0 / (units * columns * math.log(2.0))
    return Evaluation(
        model=subject.name,
        data=data.name,
        split=split,
        nats=nats,
        bits_per_dim=None if nats is None else nats * bits,
        standard_error=error,
        kind=str(likelihood),
        count=count,
        bits_per_dim_standard_error=None if error is None else error * bits,
        seconds=time.perf_counter() - began,
        unit=data.event.unit,
        measures={} if has_likelihood else {name: (m.mean, m.standard_error) for name, m in moments.items()},
        perplexity=perplexity,
        bits_per_byte=bits_per_byte,
        nats_per_point=by_point,
    )


def _bits_per_byte(nats: float, part: TokenSplit | PairSplit) -> float:
    """Return bits for each byte of a text, given the nats of its tokens: with what it takes to spell unknown ones."""
    return (nats + part.unknown_nats) / (part.bytes * math.log(2.0))


def _values(
    model: Model,
    part: Split,
    likelihood: Likelihood,
    batch_size: int | None,
    limit: int | None,
    seed: int,
    progress: bool,
) -> Iterator[dict[str, Tensor]]:
    """Yield the values of each batch by name, each (batch,), in float64."""
    if model.can("log_prob") and likelihood.kind != "none":
        for _, value in scores(model, part, likelihood, batch_size=batch_size, limit=limit, seed=seed, progress=progress):
            yield {"nats": -value}
        return
    generator = torch.Generator(device=model.device).manual_seed(seed)
    source = batches(part, model, batch_size=batch_size, limit=limit, seed=seed)
    with evaluating(model):
        for _, x, condition in track(source, "measuring", count_batches(part, model, batch_size, limit), progress=progress):
            measured = model.measures(x, condition, generator=generator)
            yield {name: value.double().cpu() for name, value in measured.items()}


def _of_text(
    subject: Subject, data: Data, split: str, part: TokenSplit, tokens: int, parts: Iterator[tuple[Tensor, Tensor]]
) -> Evaluation:
    """Evaluate so many tokens of a text, each one once; examples are the windows that it is read in.

    Args:
        subject: the model.
        data: of the split.
        split: its name.
        part: the split.
        tokens: the number of tokens that are read.
        parts: nats of each token of some windows, and whether the window is the one that scores it, (windows, tokens).
    """
    began = time.perf_counter()
    length = data.event.numel
    total, by_window = 0.0, Moments(0, 0.0, 0.0)
    for value, scored in parts:
        sums = (value * scored).sum(1)
        total += float(sums.sum())
        by_window = by_window.merge(Moments.of(sums / scored.sum(1)))  # kept apart, windows would grow with the text
    if processes()[1] > 1:
        gathered: list[Any] = [None] * processes()[1]
        torch.distributed.all_gather_object(gathered, (total, by_window))
        total = math.fsum(t for t, _ in gathered)
        by_window = functools.reduce(Moments.merge, (m for _, m in gathered if m.count))
    nats, error = total / tokens, by_window.standard_error
    whole = tokens == len(part.tokens) and part.bytes
    return Evaluation(
        model=subject.name,
        data=data.name,
        split=split,
        nats=nats * length,
        bits_per_dim=nats / math.log(2.0),
        standard_error=None if error is None else error * length,
        kind=str(likelihood_of(subject.model)),
        count=by_window.count,
        bits_per_dim_standard_error=None if error is None else error / math.log(2.0),
        seconds=time.perf_counter() - began,
        unit=data.event.unit,
        perplexity=math.exp(nats),
        bits_per_byte=_bits_per_byte(total, part) if whole else None,
    )


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of values that come in parts, merged without losing digits.

    >>> moments = Moments.of(torch.tensor([1.0, 2.0])).merge(Moments.of(torch.tensor([6.0])))
    >>> moments.mean, moments.squares
    (3.0, 14.0)
    """

    count: int
    mean: float
    squares: float

    @classmethod
    def of(cls, value: Tensor) -> "Moments":
        """Return the moments of one batch, (batch,)."""
        value = value.double()
        mean = float(value.mean())
        return cls(len(value), mean, float((value - mean).square().sum()))

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both parts together (Chan, Golub & LeVeque, 1983)."""
        n = self.count + other.count
        delta = other.mean - self.mean
        squares = self.squares + other.squares + delta * delta * self.count * other.count / n
        return Moments(n, self.mean + delta * other.count / n, squares)

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean; None for a single value."""
        return math.sqrt(self.squares / (self.count - 1) / self.count) if self.count > 1 else None


def _moments(values: Iterator[dict[str, Tensor]]) -> dict[str, Moments]:
    """Return the moments by name, over all processes."""
    mine: dict[str, Moments] = {}
    for part in values:
        for name, value in part.items():
            _add(mine, name, Moments.of(value))
    world = processes()[1]
    if world == 1:
        return mine
    gathered: list[Any] = [None] * world
    torch.distributed.all_gather_object(gathered, mine)
    total: dict[str, Moments] = {}
    for everyone in gathered:
        for name, moments in everyone.items():
            _add(total, name, moments)
    return total


def _add(moments: dict[str, Moments], name: str, more: Moments) -> None:
    moments[name] = moments[name].merge(more) if name in moments else more


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.4f}" + (f" ± {error:.4f}" if error is not None else "")
