"""Texts coded by models of tokens, in chunks of any length that stand for themselves."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.coding import Damage, inflate
from ancestral.coding.archive import take_varint, varint
from ancestral.coding.coder import CHUNK_ELEMENTS, ModelCoder
from ancestral.coding.entropy import Decoder, encode
from ancestral.coding.frequencies import Floats, Integers, frequencies, unsafe_shifts
from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput, Unsupported
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.models.autoregressive.windows import windows
from ancestral.models.base import Model

MAX_TOKENS = 2**14
"""Tokens of a chunk, at most."""
READ = 2**12
"""Tokens that are read at a time by models to which sequences of any length are alike."""
MAX_PIECE = 2**10
"""Bytes of an unknown piece of text, at most; those of `TextEncoding` are shorter."""
_PASS = 2**13
"""Tokens that go through the network at once."""

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Stretch:
    """A part of a text.

    Args:
        tokens: (count,).
        pieces: the text of each unknown token, in order.
        original: the text.
    """

    tokens: Tokens
    pieces: list[bytes]
    original: bytes


class TextCoder:
    """Codes texts with the conditionals of a model of tokens, in float64.

    A text is read in windows that the model is made for; a window begins half its length after the one before it, so that
    a token is given at least half a window of those before it, see `windows`. Nothing is known of the chunk before.

    Args:
        model: the model.

    Raises:
        Unsupported: if it is no model of text that has exact conditionals.
    """

    def __init__(self, model: Model) -> None:
        encoding = model.event.encoding
        if encoding is None or model.event.end or not isinstance(model, SequenceModel) or model.condition is not None:
            raise Unsupported(
                f"this {model.name} is a model of {model.event}, expected one of windows of text, without a condition: such as"
                " a transformer trained on a .txt file"
            )
        self.coder = ModelCoder(model)
        self.encoding: TextEncoding = encoding
        self.model: SequenceModel = self.coder.model  # type: ignore[assignment]
        self.length = model.longest or max(READ, model.event.numel)
        size = min(MAX_TOKENS, CHUNK_ELEMENTS // self.coder.levels)
        self.chunk_size = max(1, size // encoding.period) * encoding.period
        self._sized = self.model if self.length == model.event.numel else self.model.resized(self.length)

    @property
    def settings(self) -> str:
        """How the model adapts as it codes, as JSON; empty where it does not."""
        return ""

    @property
    def in_order(self) -> bool:
        """Whether a chunk can only be decoded after those before it."""
        return bool(self.settings)

    def begin(self) -> None:
        """Begin a text: forget what was learned from another."""

    # Text to stretches

    def stretches(self, text: Iterable[bytes], size: int | None = None) -> Iterator[Stretch]:
        """Yield a text that comes in parts, cut anywhere, as stretches of the tokens of a chunk.

        Args:
            text: the text.
            size: tokens of a stretch, at most `chunk_size`; that where None.

        Raises:
            InvalidInput: if the text is not UTF-8 where it must be.
        """
        period = self.encoding.period
        size = max(1, min(size or self.chunk_size, self.chunk_size) // period) * period
        tokens: Tokens = np.empty(0, dtype=np.int64)
        pieces: list[bytes] = []
        for part in self.encoding.parts(text):
            tokens = np.concatenate((tokens, self.encoding.encode(part)))
            pieces += self.encoding.unknown_pieces(part)
            while len(tokens) >= size:
                yield self._stretch(tokens[:size], pieces)
                tokens, pieces = tokens[size:], pieces[self._unknown(tokens[:size]) :]
        if len(tokens):
            yield self._stretch(tokens, pieces)

    def _stretch(self, tokens: Tokens, pieces: list[bytes]) -> Stretch:
        own = pieces[: self._unknown(tokens)]
        return Stretch(tokens, own, self.encoding.decode(tokens, own))

    def _unknown(self, tokens: Tokens) -> int:
        return 0 if self.encoding.unknown is None else int((tokens == self.encoding.unknown).sum())

    # Stretches to code, and back

    @torch.no_grad()
    def encode(self, stretch: Stretch, most: int | None = None) -> tuple[int, bytes | None, float]:
        """Code a stretch.

        Args:
            stretch: the stretch.
            most: bytes of the code, at most; any number where None.

        Returns:
            The offset of the grid, the code (None where no offset is safe, or it takes more bytes), and the tokens' nats.
        """
        return self._coded(stretch, self.log_pmf(torch.from_numpy(stretch.tokens)), b"", most)

    def _coded(self, stretch: Stretch, log_pmf: Floats, more: bytes, most: int | None) -> tuple[int, bytes | None, float]:
        """Return what `encode` does, given log-probabilities, (count, levels), and what follows the code of the tokens."""
        if np.isnan(log_pmf).any():
            why = ", or it learns too fast; lower the rate" if self.settings else ""
            raise InvalidInput(f"{self.model.name} gives NaN: its weights are not usable{why}")
        unsafe = unsafe_shifts(log_pmf)
        shift = int(unsafe.argmin())
        if unsafe[shift]:
            return 0, None, nats_of(log_pmf, stretch.tokens)
        table, nats = self._frequencies(log_pmf, shift, stretch.tokens)
        code = encode([(stretch.tokens.astype(np.int32), table)])
        payload = varint(len(code)) + code + more + _pack(stretch.pieces)
        return shift, None if most is not None and len(payload) > most else payload, nats

    def _frequencies(self, log_pmf: Floats, shift: int, tokens: Tokens) -> tuple[Integers, float]:
        """Return the integer frequencies of tokens that are known, (count, levels), and the nats of the tokens."""
        return frequencies(log_pmf, shift), nats_of(log_pmf, tokens)

    @torch.no_grad()
    def log_pmf(self, tokens: Tensor) -> Floats:
        """Return the log-probabilities of all values of each token, (count, levels), nats, for tokens (count,)."""
        model, length = self._sized, self.length
        table = np.empty((len(tokens), self.coder.levels))
        found = windows(0, len(tokens), length, self.encoding.period)
        size = max(1, _PASS // length)
        for i in range(0, len(found), size):
            group = found[i : i + size]
            x = torch.zeros(len(group), length, dtype=model.event.dtype)  # what lies after a token has no effect on it
            for row, (begin, _, stop) in zip(x, group, strict=True):
                row[: stop - begin] = tokens[begin:stop]
            raw = model(x.to(model.device))  # (b, length, parameters)
            for row, (begin, first, stop) in zip(raw, group, strict=True):
                table[first:stop] = self.coder.table(row[first - begin : stop - begin])
        return table

    @torch.no_grad()
    def decode(self, chunks: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
        """Decode chunks together; how they are put together has no effect on what comes out.

        Args:
            chunks: of each, the number of tokens, the offset of the grid, and the code.

        Returns:
            The text of each.

        Raises:
            Damage: if one is not the code of a text.
        """
        counts = [count for count, _, _ in chunks]
        opened = [open_code(memoryview(code)) for _, _, code in chunks]
        decoders = [Decoder(code) for code, _ in opened]
        shifts = [shift for _, shift, _ in chunks]
        model, n = self._sized, len(chunks)
        x = torch.zeros(n, max(counts), dtype=torch.float64, device=model.device)

        for begin, first, stop in windows(0, max(counts), self.length, self.encoding.period):

            def choose(entry: int, raw: Tensor, begin: int = begin, first: int = first) -> Tensor:
                place = begin + entry
                if place >= first:
                    rows = [i for i, count in enumerate(counts) if place < count]
                    table = frequencies(self.coder.table(raw[rows]), np.array([shifts[i] for i in rows]))
                    found = [int(decoders[i].decode(table[k : k + 1])[0]) for k, i in enumerate(rows)]
                    x[rows, place] = torch.tensor(found, dtype=x.dtype, device=x.device)
                return x[:, place]

            model.run(model.init_state(n), choose, stop=stop - begin)
        tokens = x.long().cpu().numpy()
        return [self._text(row[:count], pieces) for row, count, (_, pieces) in zip(tokens, counts, opened, strict=True)]

    def _text(self, tokens: Tokens, spelled: memoryview) -> bytes:
        pieces = _unpack(spelled, self._unknown(tokens))
        try:
            return self.encoding.decode(tokens, pieces)
        except InvalidInput as error:  # bits that are no bytes
            raise Damage(str(error)) from error


def nats_of(log_pmf: Floats, tokens: Tokens) -> float:
    """Return the nats of tokens, (count,), given log-probabilities of all values, (count, levels)."""
    return -float(np.take_along_axis(log_pmf, tokens[:, None], axis=1).sum())


# Unknown pieces


def _pack(pieces: Sequence[bytes]) -> bytes:
    """Return pieces of text as bytes; nothing for none."""
    return zlib.compress(b"".join(varint(len(piece)) + piece for piece in pieces), 9) if pieces else b""


def _unpack(content: memoryview, count: int) -> list[bytes]:
    """Return what `_pack` packed.

    Raises:
        Damage: if it is not `count` pieces.
    """
    if not count:
        if content:
            raise Damage("there are unknown pieces, and no tokens for them")
        return []
    left = memoryview(inflate(content, count * (MAX_PIECE + 2)))
    pieces = []
    for _ in range(count):
        size, left = take_varint(left)
        if size > min(len(left), MAX_PIECE):
            raise Damage(f"an unknown piece of {size} bytes")
        pieces.append(bytes(left[:size]))
        left = left[size:]
    if left:
        raise Damage("there are more unknown pieces than tokens for them")
    return pieces


def open_code(payload: memoryview) -> tuple[bytes, memoryview]:
    """Return the bytes that have their number before them at the beginning of a payload, and what follows."""
    size, left = take_varint(payload)
    if size > len(left):
        raise Damage(f"a code of {size} bytes where {len(left)} are left")
    return bytes(left[:size]), left[size:]
