"""Text as models write it: piece by piece while it is drawn, and passages to print or to put into a file."""

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from ancestral.encoding import TextEncoding
from ancestral.errors import Unsupported
from ancestral.event import Event
from ancestral.files import write_bytes
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import EntryValue
from ancestral.verbs.drawing import DrawOptions, check_drawn, entry_noise, one_by_one
from ancestral.verbs.inputs import Named, evaluating, open_model
from ancestral.verbs.prompts import Course, Prompt, make_course, prompt_bytes, text_encoding
from ancestral.verbs.sample import Condition, conditions_for

T = TypeVar("T")
RULE = "========"
"""Begins the line before each of several passages."""


def stream_text(
    model: Named,
    prompt: Prompt = None,
    condition: Condition = None,
    *,
    length: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Iterator[str]:
    """Yield a text piece by piece as it is drawn, the prompt first; together the pieces are the first text of `sample`.

    A piece ends where a character does: what a token has of the next one is kept until the rest is drawn. U+FFFD stands for
    what is not UTF-8, and for unknown tokens that are drawn.

    Args:
        model: an autoregressive model of text, or its zoo name, run directory or hub repository.
        prompt: as in `sample`, and so is what follows.
        condition: for conditional models.
        length: tokens that are drawn after the prompt.
        temperature: below 1 sharpens the conditionals, above 1 evens them out.
        top_k: tokens that can be drawn, the likeliest ones.
        top_p: the fewest tokens can be drawn that have this probability together.
        seed: seed of the draws.

    Yields:
        Text, never empty. The model is called for more when the next piece is asked for.

    Raises:
        Unsupported: if the model does not draw one token after another.
        InvalidInput: if the model is not of text, or an argument does not fit.

    Warns:
        PromptWarning: if the prompt has words that the model does not know.

    >>> from ancestral.models import create
    >>> model = create("lstm-lm", Event.tokens(8, TextEncoding.fit("byte")), width=4)
    >>> next(stream_text(model, "ROMEO:"))
    'ROMEO:'
    """
    opened = open_model(model).model
    encoding = text_encoding(opened.event, "a stream of text", "use `sample`")
    if not isinstance(opened, AutoregressiveModel):
        raise Unsupported(f"a {opened.name} draws a datum whole; streams need an autoregressive model, such as transformer")
    options = DrawOptions(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    prompt = "" if prompt is None else prompt  # so that a model with another order is refused
    course = make_course(opened, 1, prompt, length)
    given = conditions_for(opened, 1, condition)
    # What is wrong with the arguments is said now, not at the first piece.
    return _pieces(course, encoding, prompt, given, options)


def _pieces(
    course: Course, encoding: TextEncoding, prompt: Prompt, condition: Tensor | None, options: DrawOptions
) -> Iterator[str]:
    model, size = course.model, course.given.shape[1]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    start, text = 0, ""
    if isinstance(prompt, str | bytes):
        start, text = size, decoder.decode(prompt_bytes(prompt))
    if text:
        yield text
    value = EntryValue(model.head, options.sharpening)
    noise = entry_noise(options.seed, [0], course.event.numel, value.noises).to(model.device)
    condition = None if condition is None else condition.to(model.device)
    steps = one_by_one(course, course.given.to(model.device), 0, condition, noise, value)
    for x, known in _evaluated(model, steps):
        end = int(known.sum()) // encoding.period * encoding.period
        if end > start:
            check_drawn(model, x[:, start:end])
            text = decoder.decode(encoding.decode(course.event.until_end(x[0, :end])[start:].long()))
            start = end
            if text:
                yield text
    text = decoder.decode(b"", final=True)
    if text:
        yield text


def _evaluated(model: AutoregressiveModel, steps: Iterator[T]) -> Iterator[T]:
    """Yield what is found in evaluation mode; between steps the mode and the gradients are the caller's own."""
    while True:
        with evaluating(model):
            found = next(steps, None)
        if found is None:
            return
        yield found


def texts(event: Event, x: Tensor, prompt: Prompt = None) -> list[bytes]:
    """Return the text of each datum, of sentences up to the end.

    Args:
        event: of text, whose encoding says what tokens mean.
        x: tokens, (n, length).
        prompt: what they were drawn after: where it is text, they begin with it as it was given, unknown words and all.

    >>> import torch
    >>> texts(Event.sentences(3, TextEncoding.fit("byte")), torch.tensor([[104, 105, 256]]), "h")
    [b'hi']
    """
    encoding = text_encoding(event, "text", "take the numbers")
    data = prompt_bytes(prompt) if isinstance(prompt, str | bytes) else b""
    given = len(encoding.encode(data))
    return [data + encoding.decode(event.until_end(tokens)[given:]) for tokens in x]


def joined(passages: Sequence[bytes]) -> bytes:
    """Return one passage as it is; several, each with a line before it and a line break after it.

    The line is "======== 1 of 4 ========", with as many = more as it takes that no passage holds so many.

    >>> print(joined([b"to be", b"or not"]).decode(), end="")
    ======== 1 of 2 ========
    to be
    ======== 2 of 2 ========
    or not
    """
    if len(passages) == 1:
        return passages[0]
    rule = RULE.encode()
    while any(rule in passage for passage in passages):
        rule += b"="
    count = len(passages)
    return b"".join(b"%s %d of %d %s\n%s\n" % (rule, i, count, rule, text) for i, text in enumerate(passages, 1))


def save_texts(passages: Sequence[bytes], path: Path | str) -> None:
    """Write passages to a file as `joined` puts them together; it is whole or not changed at all."""
    write_bytes(path, joined(passages))
