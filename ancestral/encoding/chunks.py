"""Text that comes in chunks, cut where it makes no difference."""

import re
from collections.abc import Callable, Iterable, Iterator

from ancestral.errors import InvalidInput

_VISIBLE_END = re.compile(rb"[^ \t\n\r\f\v](?=[ \t\n\r\f\v])")
_TAIL = 4096


def decoded(data: bytes, start: int = 0) -> str:
    """Return UTF-8 as a string.

    Args:
        data: UTF-8.
        start: position of its first byte in the text, for errors.

    Raises:
        InvalidInput: naming the first byte that is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"byte {start + error.start} of the text is 0x{data[error.start]:02x}, where UTF-8 has no such byte: repair it, or"
            " pass level='byte', which takes any text"
        ) from error


def recut(chunks: Iterable[bytes], cut: Callable[[bytes], int]) -> Iterator[tuple[int, bytes]]:
    """Yield a text that comes in chunks in parts cut by `cut`, each with the position of its first byte.

    Args:
        chunks: the text, cut anywhere.
        cut: gives for the beginning of a text the position of a good cut, 0 if there is none yet.
    """
    position, kept = 0, b""
    for chunk in chunks:
        kept += chunk
        end = cut(kept)
        if end:
            yield position, kept[:end]
            position, kept = position + end, kept[end:]
    if kept:
        yield position, kept


def whole_characters(data: bytes) -> int:
    """Return the position before a UTF-8 character that `data` may hold in part, at its end.

    >>> whole_characters("né".encode()), whole_characters("né".encode()[:-1])
    (3, 1)
    """
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 != 0x80:  # the first byte of a character says how many there are
            needed = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if needed > back else len(data)
    return len(data)


def safe_cut(data: bytes) -> int:
    """Return a position, at or near the end of `data`, at which text may be cut at every level.

    That is before whitespace that follows something visible, where there is some in the last 4,096 bytes; else before a
    character.

    >>> safe_cut(b"to be or n")
    8
    """
    return visible_end(data) or whole_characters(data)


def visible_end(data: bytes) -> int:
    """Return the last position near the end of `data` where whitespace follows something visible; 0 if there is none."""
    return max((match.end() for match in _VISIBLE_END.finditer(data, max(0, len(data) - _TAIL))), default=0)
