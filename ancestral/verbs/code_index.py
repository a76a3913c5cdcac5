"""An index of binary codes: its file, which docs/search.md describes, and what is found in it.

Index files are untrusted input. Nothing in them is executed, what they say of sizes is checked against the file before memory
is taken, and the structures that are searched are built anew from the codes.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from ancestral.data.cache import require_memory
from ancestral.errors import InvalidInput
from ancestral.files import write_bytes

MAGIC = b"ANCI\x01"
"""What an index begins with; the last byte is its version."""
DIGEST_BYTES = 32
MAX_BITS = 2**16
"""Bits of a code at most."""
FACTS: dict[str, Any] = {
    "bits": int,
    "model": str,
    "key": str,
    "data": (str, type(None)),
    "split": (str, type(None)),
    "options": dict,
}
"""What an index says of itself, beside its arrays."""
_MULTIPLE = 4
"""Times the size of its file that an index takes in memory while it is read, at most."""
_SPARE_BITS = 2
"""Bits that addresses have above the logarithm of the number of codes, so that few codes share one."""


@dataclass(frozen=True)
class Neighbour:
    """A code near another.

    Args:
        number: its place in the index, from 0.
        distance: bits that differ.
        name: what its datum is called or how it begins; empty where it has no name.
    """

    number: int
    distance: int
    name: str


@dataclass(frozen=True, eq=False)
class CodeIndex:
    """Binary codes of data, and what is needed to make those of others.

    Args:
        codes: (n, ceil(bits / 8)), eight bits to a byte, the first one highest, zeros after the last.
        bits: of a code.
        thresholds: (bits,), a bit is 1 where the entry of the model's code is at least this.
        names: of the data; none at all, or one each.
        model: the name of the model.
        key: a digest of it, in hexadecimal, see `coding.coder.model_key`.
        data: the name of the data, where known.
        split: the split that they are of.
        options: how the data were loaded.
    """

    codes: NDArray[np.uint8]
    bits: int
    thresholds: NDArray[np.float32]
    names: Sequence[str]
    model: str
    key: str
    data: str | None = None
    split: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.codes)

    # The file

    def save(self, path: Path | str) -> None:
        """Write the index to a file, which is whole or unchanged."""
        arrays: dict[str, NDArray[Any]] = {
            "codes": np.ascontiguousarray(self.codes),
            "thresholds": self.thresholds,
            "names": np.frombuffer(json.dumps(list(self.names)).encode(), np.uint8),
        }
        facts = {name: getattr(self, name) for name in FACTS}
        content = save_arrays(arrays, metadata={"index": json.dumps(facts)})
        write_bytes(path, MAGIC + hashlib.sha256(content).digest() + content)

    @classmethod
    def load(cls, path: Path | str) -> "CodeIndex":
        """Read an index.

        Raises:
            InvalidInput: if it is none, is damaged or altered, or takes more than half of the memory there is.
        """
        path = Path(path)
        if not path.is_file():
            raise InvalidInput(f"there is no index {path}: `ancestral index` makes one")
        require_memory(_MULTIPLE * path.stat().st_size, str(path), "index fewer data, in parts")
        content = path.read_bytes()
        start = len(MAGIC) + DIGEST_BYTES
        if content[: len(MAGIC) - 1] != MAGIC[:-1]:
            raise InvalidInput(f"{path} is no index: it begins with {content[:5]!r}, expected {MAGIC!r}")
        if content[: len(MAGIC)] != MAGIC:
            raise InvalidInput(f"{path} is an index of version {content[4:5]!r}, expected {MAGIC[4:]!r}: make it anew")
        if hashlib.sha256(memoryview(content)[start:]).digest() != content[len(MAGIC) : start]:
            raise InvalidInput(f"{path} is damaged or was altered: its digest is wrong; make it anew with `ancestral index`")
        try:
            return cls._checked(content[start:])
        except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"{path} is no index that this program wrote ({error}): make it anew") from error

    @classmethod
    def _checked(cls, content: bytes) -> "CodeIndex":
        """Return the index in the bytes of a file, whose digest says nothing of who wrote them."""
        size = int.from_bytes(content[:8], "little")  # of the header, which is JSON
        arrays = load_arrays(content)  # compares what it says of sizes with the bytes that are there
        facts = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["index"])
        if not isinstance(facts, dict) or set(facts) != set(FACTS) or set(arrays) != {"codes", "thresholds", "names"}:
            raise ValueError("it says other things of itself")
        for name, kind in FACTS.items():
            if not isinstance(facts[name], kind) or isinstance(facts[name], bool):
                raise ValueError(f"{name} is of another type")
        bits, codes, thresholds = facts["bits"], arrays["codes"], arrays["thresholds"]
        if not 1 <= bits <= MAX_BITS:
            raise ValueError(f"codes of {bits} bits")
        if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != -(-bits // 8) or not len(codes):
            raise ValueError(f"codes of {codes.dtype} and shape {codes.shape} for {bits} bits")
        if bits % 8 and (codes[:, -1] & (0xFF >> bits % 8)).any():
            raise ValueError("codes with bits after their last")
        if thresholds.dtype != np.float32 or thresholds.shape != (bits,) or not np.isfinite(thresholds).all():
            raise ValueError(f"thresholds of {thresholds.dtype} and shape {thresholds.shape} for {bits} bits")
        names = json.loads(arrays["names"].tobytes())
        if not isinstance(names, list) or len(names) not in (0, len(codes)) or not all(isinstance(n, str) for n in names):
            raise ValueError(f"other names than {len(codes)} texts")
        return cls(codes, bits, thresholds, names, *(facts[name] for name in FACTS if name != "bits"))

    # Search

    def nearest(self, code: NDArray[np.uint8], k: int) -> list[Neighbour]:
        """Return the `k` codes that are nearest to one, (bytes,), the nearest first, of those at one distance the first."""
        k = min(k, len(self))
        distances, numbers = self._flat.search(code[None], k)
        last = int(distances[0].max())
        # Which of those at the largest distance are found is up to the search; the first ones are meant.
        found = {int(i): int(d) for i, d in zip(numbers[0], distances[0], strict=True) if d < last}
        for i in self._at(code, last):
            if len(found) == k:
                break
            found[i] = last
        return self._named(found)

    def within(self, code: NDArray[np.uint8], radius: int) -> list[Neighbour]:
        """Return all codes within `radius` bits of one, (bytes,), the nearest first.

        Where the addresses within that many bits of one are fewer than the codes, they are looked up, and nothing is searched.
        """
        radius = min(radius, self.bits)
        addresses = sum(math.comb(self._address_bits, i) for i in range(radius + 1))
        if addresses < len(self):
            self._buckets.nflip = min(radius, self._address_bits)
            _, distances, numbers = self._buckets.range_search(code[None], radius + 1)  # it finds what is nearer than that
        else:
            _, distances, numbers = self._flat.range_search(code[None], radius + 1)
        return self._named({int(i): int(d) for i, d in zip(numbers, distances, strict=True)})

    @property
    def _address_bits(self) -> int:
        return min(self.bits, math.ceil(math.log2(len(self) + 1)) + _SPARE_BITS)

    @cached_property
    def _flat(self) -> Any:
        index = faiss().IndexBinaryFlat(8 * self.codes.shape[1])
        index.add(np.ascontiguousarray(self.codes))
        return index

    @cached_property
    def _buckets(self) -> Any:
        # Whichever bits are an address: a code within r bits of another differs from it in at most r of them.
        index = faiss().IndexBinaryHash(8 * self.codes.shape[1], self._address_bits)
        index.add(np.ascontiguousarray(self.codes))
        return index

    def _at(self, code: NDArray[np.uint8], distance: int) -> list[int]:
        """Return the numbers of the codes at a distance from one, in order."""
        _, distances, numbers = self._flat.range_search(code[None], distance + 1)
        return np.sort(numbers[distances == distance]).tolist()

    def _named(self, found: dict[int, int]) -> list[Neighbour]:
        ordered = sorted(found.items(), key=lambda item: (item[1], item[0]))
        return [Neighbour(i, d, self.names[i] if self.names else "") for i, d in ordered]


def faiss() -> ModuleType:
    """Return the library of binary indexes.

    Raises:
        InvalidInput: if it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise InvalidInput("searching codes needs faiss: install it with `pip install 'ancestral[search]'`") from error
    return faiss
