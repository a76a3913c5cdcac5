"""Beam search: likely data of a model that draws one entry after another, for several conditions at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.state import State
from ancestral.verbs.inputs import check_counts, evaluating


@dataclass(frozen=True)
class Found:
    """The best data that were found.

    Args:
        x: data, (n, *event.shape), of type `event.dtype`, on the CPU.
        log_prob: log p of each, (n,), nats, in float64.
        score: what they are the best by, (n,): log p divided by length^penalty.
        steps: steps taken, of the whole batch.
    """

    x: Tensor
    log_prob: Tensor
    score: Tensor
    steps: int


def beam_search(
    model: AutoregressiveModel, condition: Tensor | None = None, *, beam: int = 5, length_penalty: float = 1.0
) -> Found:
    r"""Return, for each condition, data y of high log p(y | c) / |y|^a, where |y| counts entries, of sentences with the end.

    The `beam` likeliest beginnings are kept, and each is continued by every value. Beginnings that end are put aside, if they
    are among the likeliest; the search for a condition is over when as many have been and no beginning is better than the
    best of them as it stands, or when none can get better: log p only falls, and the bound is the longest it can get. With a
    beam as wide as there are beginnings, the best datum is found.

    Args:
        model: an autoregressive model of whole numbers.
        condition: (n, *condition.shape), where the model has a condition; else one datum is found.
        beam: beginnings that are kept.
        length_penalty: a, 0 or more: 0 compares log-probabilities, and prefers short data; 1 those per entry.

    Raises:
        Unsupported: if the model is a mixture, or its entries are real.
        InvalidInput: if the condition does not fit, or an option is out of range.

    References:
        Google's Neural Machine Translation System (Wu et al., 2016), https://arxiv.org/abs/1609.08144, for normalising by
        length; here by its power, as in fairseq.

    >>> from ancestral.event import Event
    >>> from ancestral.models import create
    >>> found = beam_search(create("lstm-lm", Event.sentences(4, 3), width=4), beam=2)
    >>> found.x.shape
    torch.Size([1, 4])
    """
    check_counts(beam=beam)
    if not length_penalty >= 0.0:
        raise InvalidInput(f"length_penalty is {length_penalty:g}, expected 0 or more")
    if not model.event.discrete or model.members > 1:
        raise Unsupported(
            f"beam search is for one model of whole numbers, this {model.name} is of {model.event}: draw samples"
        )
    n = 1 if condition is None else len(condition)
    with evaluating(model):
        search = _Search(model, n, min(beam, 10**6), length_penalty)
        return search.run(condition)


class _Search:
    """The search for `n` data: beams (n, k) of beginnings, and the best that are complete."""

    def __init__(self, model: AutoregressiveModel, n: int, beam: int, penalty: float) -> None:
        device, numel = model.device, model.event.numel
        self.model, self.beam, self.penalty = model, beam, penalty
        self.end = model.event.end_symbol if model.event.end else None
        self.order: list[int] = model.member_order(0).tolist()
        self.best = torch.full((n, numel), 0 if self.end is None else self.end, dtype=torch.long, device=device)
        self.best_log_prob = torch.full((n,), -torch.inf, dtype=torch.float64, device=device)
        self.best_score = self.best_log_prob.clone()
        self.complete = torch.zeros(n, dtype=torch.long, device=device)
        # Of those whose search goes on: which they are, their beginnings and what these have so far.
        self.alive = torch.arange(n, device=device)
        self.x = self.best[:, None].repeat(1, beam, 1)
        self.total = torch.full((n, beam), -torch.inf, dtype=torch.float64, device=device)
        self.total[:, 0] = 0.0  # all beginnings are the same at first: one stands for them

    def run(self, condition: Tensor | None) -> Found:
        model, k, numel = self.model, self.beam, self.model.event.numel
        rows = None if condition is None else condition.to(model.device).repeat_interleave(k, dim=0)
        state = model.init_state(len(self.alive) * k, rows)
        value: Tensor | None = None
        for t in range(numel):
            raw = model.step(state, value)
            log_p = model.head(raw).log_pmf().double().view(len(self.alive), k, -1)
            if bool(log_p.isnan().any()):
                raise InvalidInput(f"{model.name} gives NaN: its weights are not usable; take an earlier checkpoint")
            source, symbol = self._extend(log_p, t)
            if t == numel - 1:
                self._finish(torch.ones_like(symbol, dtype=torch.bool), numel)
                break
            going = self._going(t + 1, numel)
            if not bool(going.any()):
                return self._found(t + 1)
            state.select((source + k * torch.arange(len(source), device=source.device)[:, None]).flatten())
            if int(going.sum()) * 2 <= len(going):
                state, symbol = self._shrink(state, going, symbol)
            value = symbol.flatten().to(model.dtype if model.dtype == torch.float64 else torch.float32)
        return self._found(numel)

    def _extend(self, log_p: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Continue the beginnings by an entry; return which ones were, and by what, (n, k) each."""
        n, k, levels = log_p.shape
        scores = (self.total[..., None] + log_p).view(n, -1)  # (n, k * levels)
        count = min(scores.shape[1], k if self.end is None else 2 * k)
        total, index = scores.topk(count, dim=1)  # at most k of them end
        source, symbol = index // levels, index % levels
        if self.end is not None:
            ends = symbol == self.end
            self._keep(source, symbol, total, t)
            self._finish(ends & (torch.arange(count, device=ends.device) < k), t + 1)
            going = total.masked_fill(ends, -torch.inf)
            total, chosen = going.topk(min(k, count), dim=1)
            source, symbol = source.gather(1, chosen), symbol.gather(1, chosen)
        if total.shape[1] < k:  # fewer continuations than beginnings are kept
            missing = k - total.shape[1]
            total = torch.cat((total, total.new_full((n, missing), -torch.inf)), dim=1)
            source, symbol = (torch.cat((part, part.new_zeros(n, missing)), dim=1) for part in (source, symbol))
        self._keep(source, symbol, total, t)
        self.x, self.total = self.candidates, self.candidate_total
        return source, symbol

    def _keep(self, source: Tensor, symbol: Tensor, total: Tensor, t: int) -> None:
        self.candidates = self.x.gather(1, source[..., None].expand(-1, -1, self.x.shape[2])).clone()
        self.candidates[:, :, self.order[t]] = symbol
        self.candidate_total = total

    def _finish(self, which: Tensor, length: int) -> None:
        """Put candidates aside, (n, candidates), where they are complete."""
        total = self.candidate_total.masked_fill(~which, -torch.inf)
        score = total / length**self.penalty
        top, place = score.max(dim=1)
        better = top > self.best_score[self.alive]
        rows, place = self.alive[better], place[better]
        self.best_score[rows] = top[better]
        self.best_log_prob[rows] = total[better].gather(1, place[:, None])[:, 0]
        self.best[rows] = self.candidates[better, place]
        self.complete[self.alive] += (total > -torch.inf).sum(1)

    def _going(self, length: int, numel: int) -> Tensor:
        """Return whose search is not over, (n,), after `length` entries."""
        first, best = self.total[:, 0], self.best_score[self.alive]
        # As many complete ones as are wanted may all be bad, and the likeliest beginning still be on its way.
        wanted = (self.complete[self.alive] < self.beam) | (first / length**self.penalty > best)
        return wanted & (first / numel**self.penalty > best)

    def _shrink(self, state: State, going: Tensor, symbol: Tensor) -> tuple[State, Tensor]:
        """Go on with those alone whose search is not over."""
        rows = torch.arange(len(state.x), device=going.device).view(-1, self.beam)[going].flatten()
        self.alive, self.x, self.total = self.alive[going], self.x[going], self.total[going]
        return self.model.fork(state, rows), symbol[going]

    def _found(self, steps: int) -> Found:
        event = self.model.event
        x = self.best.view(-1, *event.shape).to("cpu", event.dtype)
        return Found(x, self.best_log_prob.cpu(), self.best_score.cpu(), steps)
