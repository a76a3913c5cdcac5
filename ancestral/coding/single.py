"""The file of a single datum, which has next to nothing around its code; docs/format.md describes every byte."""

import hashlib

from ancestral.coding import Damage
from ancestral.coding.archive import MAGIC
from ancestral.coding.coder import Coder
from ancestral.coding.originals import Batch
from ancestral.errors import InvalidInput

SINGLE = 0x81
"""Fourth byte of the file, where an archive has its version."""
CUT = 3
"""Bytes of the model's key, and of the digest."""
_START = MAGIC + bytes([SINGLE])


def is_single(buffer: memoryview) -> bool:
    """Return whether a file holds a single datum."""
    return bytes(buffer[: len(_START)]) == _START


def pack_single(coder: Coder, original: bytes, code: bytes) -> bytes:
    """Return the file of a datum.

    Args:
        coder: of its model.
        original: the datum and its condition, see `Originals`.
        code: of both, with offset 0 of the grid.
    """
    return _START + coder.key[:CUT] + _digest(coder, original) + code


def unpack_single(coder: Coder, buffer: memoryview) -> Batch:
    """Return the datum of a file, (1, *event.shape), and its condition.

    Raises:
        InvalidInput: if it was coded by another model.
        Damage: if it is not what was written.
    """
    key, digest = (bytes(buffer[at : at + CUT]) for at in (len(_START), len(_START) + CUT))
    if key != coder.key[:CUT]:
        raise InvalidInput(
            f"made with a model whose key begins with {key.hex()}, this one's is {coder.key.hex()}: give another"
        )
    (data,) = coder.decode(0, [(1, 0, bytes(buffer[len(_START) + 2 * CUT :]))])
    if _digest(coder, coder.originals.pack(*data)) != digest:
        raise Damage("its checksum is wrong")
    return data


def _digest(coder: Coder, original: bytes) -> bytes:
    return hashlib.sha256(coder.key + original).digest()[:CUT]
