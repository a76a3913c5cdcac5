"""Lossless coding: integer frequencies that every machine agrees on, entropy coding with them, and the archive file."""

import zlib


class Damage(Exception):
    """What was read is not what was written; the message says where."""


def inflate(content: bytes | memoryview, most: int) -> bytes:
    """Return what was deflated, of at most `most` bytes.

    Raises:
        Damage: if it is longer, or was not deflated.
    """
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(content, most + 1)
    except zlib.error as error:
        raise Damage(f"not deflated ({error})") from error
    if len(out) > most or not inflater.eof:
        raise Damage(f"it inflates to more than {most} bytes, or is cut short")
    return out
