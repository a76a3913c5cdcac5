"""Prompts: entries that are given, and the steps that draw what comes after them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ancestral.encoding import CharacterEncoding, TextEncoding
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.windows import Window, windows
from ancestral.verbs.inputs import check_counts

Prompt = str | bytes | Tensor | Sequence[float] | None
"""What is given of data: text, for models of text; or the first entries, of all data (entries,) or of each (n, entries).

Of drawings the first points, (points, 3) or (n, points, 3), with pens down (0) or lifted (1)."""
SHOWN = 10
"""Unknown words or characters that are named."""


class PromptWarning(UserWarning):
    """A prompt has words that the model does not know."""


@dataclass(frozen=True)
class Course:
    """What is drawn, and by which steps.

    Args:
        model: the model that takes them.
        event: what a drawn datum is, the given entries included.
        given: the first entries of each datum, (n, entries), of type `event.dtype`, on the CPU.
        windows: the stretches in which the entries are visited; in each the steps begin anew.
    """

    model: AutoregressiveModel
    event: Event
    given: Tensor
    windows: tuple[Window, ...]

    @property
    def steps(self) -> int:
        """Steps that drawing takes, for each batch."""
        return sum(stop - begin for begin, _, stop in self.windows)


def make_course(model: AutoregressiveModel, n: int, prompt: Prompt = None, length: int | None = None) -> Course:
    """Return the steps that draw data of any length after what is given of them; `sample` says more.

    Args:
        model: the model.
        n: number of data.
        prompt: what is given; nothing where None.
        length: entries drawn after it; where None those of the event, and of data that are no sequences those that are left.

    Raises:
        Unsupported: if the data are no sequences of entries, or not visited in order.
        InvalidInput: if the prompt does not fit the event, or leaves nothing to be drawn.

    >>> from ancestral.models import create
    >>> model = create("transformer", Event.integers((8,), 5, ("time",)), width=4, layers=1, heads=1)
    >>> course = make_course(model, 2, [1, 2, 3], 20)
    >>> course.event.numel, course.given.tolist(), course.steps
    (23, [[1, 2, 3], [1, 2, 3]], 39)
    """
    event = model.event
    if prompt is None and length is None:
        return Course(model, event, torch.zeros(n, 0, dtype=event.dtype), ((0, 0, event.numel),))
    check_counts(length=length)
    what = "a prompt is" if prompt is not None else "a length is"
    if len(event.shape) != 1 and not event.is_drawing:
        raise Unsupported(
            f"{what} for data that are one entry after another, this {model.name} is of {event}: leave it out, or draw the"
            " rest of a datum with `complete`"
        )
    if model.members > 1 or not torch.equal(model.member_order(0).cpu(), torch.arange(event.numel)):
        raise Unsupported(
            f"{what} for models that draw the first entry first, this {model.name} has another order: draw the rest of a datum"
            " with `complete`"
        )
    given = _given(event, n, prompt)
    size = given.shape[1]
    if not event.is_sequence or event.end:
        left = event.numel - size
        if left < 1 or length not in (None, left):
            raise InvalidInput(
                f"got a prompt of {size} entries and a length of {length}, data of this {model.name} have {event.numel} in"
                f" all: give at most {event.numel - 1}, and leave the length out"
            )
        return Course(model, event, given, ((0, size, event.numel),))
    total = size + (length or event.numel)
    period = 1 if event.encoding is None else event.encoding.period
    if total % period:
        raise InvalidInput(
            f"a prompt of {size} bits and {total - size} more are {total}, expected whole bytes: draw"
            f" {total - size + -total % period}"
        )
    longest = model.longest if isinstance(model, SequenceModel) else event.numel
    if longest is None and total > event.numel and isinstance(model, SequenceModel):
        model = model.resized(total)
    return Course(model, event.resized(total), given, windows(size, total, longest, period))


def _given(event: Event, n: int, prompt: Prompt) -> Tensor:
    """Return the given entries of each datum, (n, entries)."""
    if isinstance(prompt, str | bytes):
        prompt = encode_prompt(event, prompt)
    try:
        given = torch.as_tensor([] if prompt is None else prompt)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(f"the prompt is not made of numbers ({error}): give text, or the first entries of data") from error
    if event.is_drawing and prompt is not None:
        return _given_points(event, n, given)
    given = given.expand(n, -1) if given.dim() == 1 else given
    if given.dim() != 2 or len(given) != n:
        raise InvalidInput(
            f"the prompt has shape {tuple(given.shape)}, expected (entries,) for all data or ({n}, entries) for each"
        )
    if given.shape[1]:
        replace(event, shape=(given.shape[1],), loc=None, scale=None).check(given, "the prompt")
    return given.to("cpu", event.dtype)


def _given_points(event: Event, n: int, given: Tensor) -> Tensor:
    """Return the entries of the first points of drawings, (n, entries)."""
    given = given[None] if given.dim() == 2 else given
    if given.dim() != 3 or len(given) not in (1, n) or given.shape[2] != event.shape[1]:
        raise InvalidInput(
            f"the prompt has shape {tuple(given.shape)}, expected points (dx, dy, pen): (points, 3) for all drawings or"
            f" ({n}, points, 3) for each"
        )
    if given.shape[1]:
        Event.drawing(given.shape[1]).check(given, "the prompt")
    if bool((given[..., 2] == event.end_symbol).any()):
        raise InvalidInput(
            f"the prompt has drawings that are over (pen {event.end_symbol}), after which nothing is drawn: give pens 0 and 1"
        )
    return given.flatten(1).to("cpu", event.dtype).expand(n, -1)


# Text


def text_encoding(event: Event, what: str, instead: str) -> TextEncoding:
    """Return the encoding of an event of text.

    Args:
        event: what data are.
        what: what is for text alone.
        instead: what to do where there is none.

    Raises:
        InvalidInput: if it is of something else.
    """
    if event.encoding is None:
        raise InvalidInput(f"{what} is for models of text, this one is of {event} data: {instead}")
    return event.encoding


def prompt_bytes(prompt: str | bytes) -> bytes:
    """Return a prompt's bytes; what a command line held that is no UTF-8 is as it was.

    Raises:
        InvalidInput: if it holds a surrogate, which no text holds.
    """
    try:
        return prompt if isinstance(prompt, bytes) else prompt.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidInput(f"character {error.start} of the prompt is a surrogate, which no text holds: remove it") from error


def encode_prompt(event: Event, prompt: str | bytes) -> Tensor:
    """Return the tokens of a text, (tokens,).

    Unknown words are what a model has met in training, and are warned of. Characters are known if the training text has
    them, so that the model has met no unknown one, as a rule: these are refused.

    Args:
        event: of text.
        prompt: the text.

    Raises:
        InvalidInput: if it is of another event, or the text is not UTF-8 or has unknown characters where it must not.

    Warns:
        PromptWarning: if words are unknown.
    """
    encoding = text_encoding(event, "a prompt that is text", "give the first entries, as numbers")
    data = prompt_bytes(prompt)
    if encoding.unicode:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"byte {error.start} of the prompt is 0x{data[error.start]:02x}, where UTF-8 has no such byte: repair it, or"
                " take a model of bytes"
            ) from error
    tokens = torch.from_numpy(encoding.encode(data).astype("int64"))
    unknown = unknown_pieces(encoding, data)
    if unknown:
        named = ", ".join(map(repr, unknown[:SHOWN])) + (f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else "")
        if isinstance(encoding, CharacterEncoding):
            raise InvalidInput(
                f"the prompt has characters that the model does not know: {named}. It was trained on text without them:"
                " replace them"
            )
        warnings.warn(f"the prompt has words that the model does not know: {named}", PromptWarning, stacklevel=2)
    return tokens


def unknown_pieces(encoding: TextEncoding, data: bytes) -> list[str]:
    """Return the unknown words or characters of a text, each once, without the space before it."""
    pieces = [piece.decode() for piece in encoding.unknown_pieces(data)]
    return list(dict.fromkeys(piece if len(piece) == 1 else piece.removeprefix(" ") for piece in pieces))
