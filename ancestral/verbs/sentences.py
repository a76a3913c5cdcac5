"""Sentences as data: what is translated, and the captions that pictures are drawn for."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ancestral.encoding.base import Tokens
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.verbs.prompts import PromptWarning, text_encoding, unknown_pieces


def encode_sentences(event: Event, lines: Sequence[str], *, crop: bool = False) -> Tensor:
    """Return sentences as data of an event, (n, *event.shape).

    Args:
        event: `Event.sentences` with an encoding.
        lines: the sentences.
        crop: cut those that are too long.

    Raises:
        InvalidInput: if one is empty or too long.

    Warns:
        PromptWarning: if they have characters or words that are not known.

    >>> from ancestral.encoding import TextEncoding
    >>> encode_sentences(Event.sentences(3, TextEncoding.fit("byte")), ["hi"])
    tensor([[104, 105, 256]])
    """
    encoding = text_encoding(event, "a sentence", "give numbers")
    rows, unknown = [], list[str]()
    for i, line in enumerate(lines):
        data = line.strip().encode("utf-8", "replace")
        if not data:
            raise InvalidInput(f"sentence {i + 1} of {len(lines)} is empty: leave it out")
        tokens = encoding.encode(data)
        if len(tokens) > event.numel and not crop:
            raise InvalidInput(
                f"sentence {i + 1} of {len(lines)} has {len(tokens)} tokens, the model reads {event.numel} at most: cut it"
                " into several, or pass crop=True"
            )
        rows.append(filled(event, tokens))
        unknown.extend(unknown_pieces(encoding, data))
    if unknown:
        named = ", ".join(map(repr, list(dict.fromkeys(unknown))[:10]))
        warnings.warn(f"the model does not know {named}, and reads a mark in their place", PromptWarning, stacklevel=3)
    return torch.stack(rows)


def filled(event: Event, tokens: Tokens) -> Tensor:
    """Return the first tokens of a sentence, as many as there is room for, filled up with end symbols, (numel,)."""
    x = torch.full((event.numel,), event.end_symbol, dtype=event.dtype)
    kept = torch.from_numpy(tokens[: event.numel].astype("int64"))
    x[: len(kept)] = kept.to(x.dtype)
    return x
