"""Scores of a text, which is longer than a datum: each token once, given what comes before it."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.base import Model
from ancestral.verbs.inputs import auto_batch_size, evaluating, processes, track


def cover(count: int, length: int, context: int = 0) -> tuple[Tensor, Tensor]:
    """Return where windows begin that cover a sequence, and how many of the tokens of each are covered before.

    Windows overlap by `context` tokens; the last one ends with the sequence, and may overlap by more.

    Args:
        count: tokens of the sequence.
        length: tokens of a window.
        context: tokens of a window, its first ones, that are only there for the others to be given.

    Returns:
        (windows,), (windows,).

    Raises:
        InvalidInput: if the sequence is shorter than a window, or nothing would be left to score.

    >>> cover(10, 4), cover(10, 4, context=2)
    ((tensor([0, 4, 6]), tensor([0, 0, 2])), (tensor([0, 2, 4, 6]), tensor([0, 2, 2, 2])))
    """
    if count < length:
        raise InvalidInput(f"got {count} tokens, expected at least the {length} of a datum: give more text")
    if not 0 <= context < length:
        raise InvalidInput(f"context is {context}, expected 0 to {length - 1}: a window has {length} tokens")
    stride = length - context
    starts = (torch.arange(1 + math.ceil((count - length) / stride)) * stride).clamp(max=count - length)
    ends = starts + length
    return starts, torch.cat((starts.new_zeros(1), ends[:-1] - starts[1:]))


def token_nats(
    model: Model, tokens: Tensor, *, context: int | None = None, batch_size: int | None = None, progress: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's part of -log p of each token of a sequence, given tokens before it.

    These are the tokens of its window; all tokens, where the model can carry its state from one window to the next, and no
    `context` is asked for: the first process then does all of it.

    Args:
        model: an autoregressive model of sequences.
        tokens: the sequence, (count,).
        context: tokens that each token is given at least, but for those of the first window; none where None.
        batch_size: windows scored at once; a number that fits in memory where None.
        progress: show a progress bar.

    Yields:
        nats of each window's tokens, (windows, length), in float64, on the CPU, and whether the window is the one that
        scores the token, the same shape.

    Raises:
        Unsupported: if the model is not autoregressive, or a mixture.
        InvalidInput: if the sequence is too short, or the model gives NaN.
    """
    if not isinstance(model, AutoregressiveModel) or model.members > 1:
        raise Unsupported(f"a {model.name} scores a text whole: windows need one autoregressive model, such as transformer")
    length = model.event.numel
    rank, world = processes()
    if context is None and isinstance(model, SequenceModel) and model.carries:
        if rank == 0:
            yield from _carried_nats(model, tokens, progress)
        return
    starts, skip = cover(len(tokens), length, context or 0)
    mine = torch.arange(rank, len(starts), world)
    size = batch_size or auto_batch_size(model.event)
    places = torch.arange(length)
    with evaluating(model):
        for part in track(mine.split(size), "scoring", -(-len(mine) // size), progress=progress):
            if not len(part):
                continue
            x = tokens[starts[part, None] + places].to(model.device, model.event.dtype).view(-1, *model.event.shape)
            yield _nats(model, x), places >= skip[part, None]


def _carried_nats(model: SequenceModel, tokens: Tensor, progress: bool) -> Iterator[tuple[Tensor, Tensor]]:
    length = model.event.numel
    starts, reader = range(0, len(tokens), length), model
    try:
        with evaluating(model):
            model.carry(1)
            for start in track(starts, "scoring", len(starts), progress=progress):
                x = tokens[None, start : start + length].to(model.device, model.event.dtype)
                if x.shape[1] < length:
                    reader = model.resized(x.shape[1])
                    reader.carried = model.carried
                yield _nats(reader, x), torch.ones(x.shape, dtype=torch.bool)
    finally:
        model.carry(None)


def _nats(model: AutoregressiveModel, x: Tensor) -> Tensor:
    """Return -log p of each entry of x, (batch, entries), in float64, on the CPU."""
    nats = -model.entry_log_prob(model(x), x).flatten(1).double().cpu()
    if bool(nats.isnan().any()):
        raise InvalidInput(f"{model.name} gives NaN for {int(nats.isnan().sum())} tokens: its weights are not usable")
    return nats
