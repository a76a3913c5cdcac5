"""Dynamic evaluation: scores of a model that goes on learning from what it has scored."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ancestral.coding.dynamic import mixer_of
from ancestral.coding.frequencies import PRECISION, cells_of
from ancestral.coding.learning import Dynamic, Learner, read_segment, segments, window
from ancestral.data.base import Split
from ancestral.data.text import TokenSplit
from ancestral.data.text_files import Span
from ancestral.errors import InvalidInput, Unsupported
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.base import Model
from ancestral.verbs.inputs import Subject, batches, open_data, processes, track


def given_tokens(subject: Subject, given: str | Path | None) -> Tensor | None:
    """Return the tokens of a text that both sides have, (count,): of a file, or of a split of what the model was trained on.

    Args:
        subject: the model.
        given: the file, or the name of the split; None for no text.

    Raises:
        InvalidInput: if there is neither, or it is no text.
    """
    encoding = subject.model.event.encoding
    if given is None:
        return None
    if encoding is None:
        raise InvalidInput(f"given is a text, and {subject.name} is a model of {subject.model.event}: leave it out")
    if Path(given).is_file():
        try:
            parts = [encoding.encode(part) for part in encoding.parts(Span.whole(Path(given)).chunks())]
        except InvalidInput as error:
            raise InvalidInput(f"{given}: {error}") from error
        if not parts:
            raise InvalidInput(
                f"{given} is empty (0 bytes), expected the text that is given: leave given out, or name another"
            )
        return torch.from_numpy(np.concatenate(parts).astype(np.int64))
    part = open_data(None, subject).split(str(given))
    if not isinstance(part, TokenSplit):
        raise InvalidInput(f"given is {given!r}, which is no text: give a file, or a split of the text that was trained on")
    return part.tokens.long()


def dynamic_nats(
    model: Model, tokens: Tensor, dynamic: Dynamic, *, given: Tensor | None = None, progress: bool = False
) -> Iterator[Tensor]:
    """Yield -log p of the tokens of a text, segment by segment; after each the model learns from it.

    Args:
        model: an autoregressive model of text, which stays as it is: what learns is a copy.
        tokens: the text, (count,).
        dynamic: how it learns.
        given: tokens of the text whose n-grams are counted before, (count,), where that is asked for.
        progress: show a progress bar.

    Yields:
        (1, tokens of the segment), nats, in float64, on the CPU.

    Raises:
        Unsupported: if the model is no model of sequences, or there are several processes.
        InvalidInput: if the model reads less than a segment, or gives NaN.
    """
    if not isinstance(model, SequenceModel) or model.condition is not None:
        raise Unsupported(f"a {model.name} cannot learn from a text as it reads: take one of sequences, such as transformer")
    length, segment = window(model, dynamic.segment)
    learning = copy.deepcopy(model).resized(length).eval()
    learner, mixer = _learner(learning, dynamic), mixer_of(learning, dynamic, given)
    found = segments(len(tokens), length, segment)
    for part in track(found, "learning", math.ceil(len(tokens) / segment), progress=progress):
        raw, nats = read_segment(learning, tokens, part)
        scored = _learned(learner, nats)
        if mixer is not None:
            known = tokens[part[1] : part[2]].long()
            table = mixer.run(cells_of(learning.head(raw.detach()).log_pmf().double().cpu().numpy(), 0), known.tolist())
            scored = -(torch.from_numpy(table).gather(1, known[:, None])[:, 0].double() / 2.0**PRECISION).log()
        yield scored[None]


def dynamic_scores(
    model: Model, part: Split, dynamic: Dynamic, *, limit: int | None = None, progress: bool = False
) -> Iterator[Tensor]:
    """Yield -log p of data, a segment of them at a time; after each the model learns from it.

    Args:
        model: an autoregressive model, which stays as it is: what learns is a copy.
        part: the data, in their order.
        dynamic: how it learns.
        limit: data used, the first ones; all where None.
        progress: show a progress bar.

    Yields:
        (data of the segment,), nats, in float64, on the CPU.

    Raises:
        Unsupported: if the model is not autoregressive, or there are several processes.
        InvalidInput: if the model gives NaN.
    """
    if not isinstance(model, AutoregressiveModel):
        raise Unsupported(f"a {model.name} has no exact conditionals to learn from as it reads: take an autoregressive model")
    learning = copy.deepcopy(model).eval()
    learner = _learner(learning, dynamic)
    source = batches(part, model, batch_size=dynamic.segment, limit=limit)
    count = math.ceil(min(limit or len(part), len(part)) / dynamic.segment)
    for _, x, condition in track(source, "learning", count, progress=progress):
        yield _learned(learner, -learning.log_prob(x, condition), learning.event.numel)


def _learner(model: Model, dynamic: Dynamic) -> Learner:
    if processes()[1] > 1:
        raise Unsupported("dynamic evaluation reads the data in their order, which takes one process: run it without torchrun")
    return Learner(model, dynamic.rate)


def _learned(learner: Learner, nats: Tensor, entries: int = 1) -> Tensor:
    """Return nats, (batch,), of data of so many entries, after the model has learned from them."""
    if bool(nats.isnan().any()):
        raise InvalidInput(f"{learner.model.name} gives NaN: its weights are unusable, or it learns too fast; lower the rate")
    learner.learn(nats.mean() / entries)
    return nats.detach().double().cpu()
