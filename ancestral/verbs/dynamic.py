"""Dynamic evaluation: scores of a model that goes on learning from what it has scored."""

import copy
import math
from collections.abc import Iterator

from torch import Tensor

from ancestral.coding.learning import Dynamic, Learner, read_segment, segments, window
from ancestral.data.base import Split
from ancestral.errors import InvalidInput, Unsupported
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.base import Model
from ancestral.verbs.inputs import batches, processes, track


def dynamic_nats(model: Model, tokens: Tensor, dynamic: Dynamic, *, progress: bool = False) -> Iterator[Tensor]:
    """Yield -log p of the tokens of a text, segment by segment; after each the model learns from it.

    Args:
        model: an autoregressive model of text, which stays as it is: what learns is a copy.
        tokens: the text, (count,).
        dynamic: how it learns.
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
    learner = _learner(learning, dynamic)
    found = segments(len(tokens), length, segment)
    for part in track(found, "learning", math.ceil(len(tokens) / segment), progress=progress):
        yield _learned(learner, read_segment(learning, tokens, part)[1])[None]


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
