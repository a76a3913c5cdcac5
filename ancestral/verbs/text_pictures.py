"""Pictures of text: passages one below another, and each piece on the colour of its bits."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

Piece = tuple[str, float | None]
"""Some characters, and the bits that they took; None where that is not the matter."""
COLUMNS, ROWS = 88, 60
"""Characters of a line, and lines of a picture at most."""
SIZE = 13
"""Height of a letter, in pixels."""
COLOURS = "YlOrRd"


def text_image(passages: Sequence[Sequence[Piece]]) -> "Image":
    """Return passages as one picture, in letters of one width, wrapped, with a rule between them.

    Args:
        passages: the pieces of each. Bits colour the ground that a piece stands on, from none to the most there are; the
            bits of a piece of several characters are shared among them.

    >>> text_image([[("ab", 1.0), ("c", 0.25)], [("d", None)]]).mode
    'RGB'
    """
    from PIL import Image, ImageDraw

    font = _font()
    cell = (round(font.getlength("M")), SIZE + 5)
    rows = [row for passage in passages for row in [*_wrapped(passage), []]][:-1][:ROWS]
    most = max((bits for row in rows for _, bits in row if bits is not None), default=0.0)
    margin, scale = cell[1] // 2, cell[1] * 2 if most > 0 else 0
    picture = Image.new("RGB", (COLUMNS * cell[0] + 2 * margin, len(rows) * cell[1] + 2 * margin + scale), "white")
    pen = ImageDraw.Draw(picture)
    for i, row in enumerate(rows):
        top = margin + i * cell[1]
        if not row:
            pen.line((margin, top + cell[1] // 2, picture.width - margin, top + cell[1] // 2), fill=(200, 200, 200))
        for j, (letter, bits) in enumerate(row):
            left = margin + j * cell[0]
            if bits is not None:
                pen.rectangle((left, top, left + cell[0] - 1, top + cell[1] - 1), fill=_colour(bits / max(most, 1e-12)))
            pen.text((left, top + 1), letter, fill="black", font=font)
    if most > 0:
        _draw_scale(pen, (margin, picture.height - cell[1] - margin), cell, most)
    return picture


def passages(event: Event, x: Tensor, bits: Tensor | None = None) -> list[list[Piece]]:
    """Return sequences of tokens as pieces of text; the end of a sentence is a line break.

    Args:
        event: of text, whose encoding says what tokens mean.
        x: tokens, (n, length).
        bits: of each token, the same shape.

    >>> import torch
    >>> from ancestral.encoding import TextEncoding
    >>> passages(Event.tokens(2, TextEncoding.fit("byte")), torch.tensor([[104, 105]]))
    [[('h', None), ('i', None)]]
    """
    found, encoding = [], event.encoding
    if encoding is None:
        raise InvalidInput(f"pieces of text are of models of text, got {event}: draw its numbers")
    step = encoding.period  # the bits of a byte are one piece
    for i, tokens in enumerate(x.cpu()):
        size = int(event.lengths(tokens[None])[0])
        parts = [slice(start, start + step) for start in range(0, size, step)]
        texts = [encoding.decode(tokens[part]).decode(errors="replace") for part in parts]
        if size < len(tokens):
            texts, parts = [*texts, "\n"], [*parts, slice(size, size + 1)]
        sums = [None if bits is None else float(bits[i, part].sum()) for part in parts]
        found.append(list(zip(texts, sums, strict=True)))
    return found


def _wrapped(passage: Sequence[Piece]) -> list[list[Piece]]:
    """Return the letters of a passage by line; a line ends where the text's does, or where it is full."""
    rows: list[list[Piece]] = [[]]
    for piece, bits in passage:
        shared = None if bits is None else bits / max(len(piece), 1)
        for letter in piece:
            if len(rows[-1]) == COLUMNS:
                rows.append([])
            shown = {"\n": "¶", "\t": "→"}.get(letter, letter if letter.isprintable() else "·")
            if letter != "\n" or bits is not None:
                rows[-1].append((shown, shared))
            if letter == "\n":
                rows.append([])
    # A line that was ended and never begun, and lines of nothing, would look like a rule.
    return [row or [(" ", None)] for row in (rows if rows[-1] else rows[:-1])]


def _draw_scale(pen: Any, corner: tuple[int, int], cell: tuple[int, int], most: float) -> None:
    left, top = corner
    steps = 24
    for i in range(steps):
        pen.rectangle(
            (left + i * cell[0], top, left + (i + 1) * cell[0] - 1, top + cell[1] - 1), fill=_colour(i / (steps - 1))
        )
    pen.text((left + (steps + 1) * cell[0], top + 1), f"0 to {most:.1f} bits a character", fill="black", font=_font())


def _colour(share: float) -> tuple[int, ...]:
    from matplotlib import colormaps

    # Surprise is rare: the square root tells small figures apart.
    return tuple(int(v) for v in np.round(255.0 * np.array(colormaps[COLOURS](share**0.5 * 0.75)[:3])))


@functools.cache
def _font() -> "FreeTypeFont":
    from matplotlib.font_manager import findfont
    from PIL import ImageFont

    return ImageFont.truetype(findfont("DejaVu Sans Mono"), SIZE)
