"""Texts coded by a model that goes on learning as it codes, the same on both sides; docs/format.md proves that."""

import copy
import json
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ancestral.coding import Damage
from ancestral.coding.archive import take_varint, varint
from ancestral.coding.entropy import Decoder
from ancestral.coding.frequencies import PRECISION, Floats, Integers, cells_of, frequencies
from ancestral.coding.learning import Dynamic, Learner, Segment, digest_of, read_segment, segments, window
from ancestral.coding.ngrams import NgramMixer
from ancestral.coding.text import Stretch, TextCoder, Tokens, nats_of, open_code
from ancestral.errors import InvalidInput
from ancestral.models.base import Model


class DynamicCoder(TextCoder):
    """Codes the chunks of one text in their order; after each segment of one, the model learns from it.

    What the model knows, and the tokens that it reads a segment with, come from the chunks before. A chunk that is not
    coded teaches it nothing: it is as if it were not there.

    Args:
        model: the model, which stays as it is: what learns is a copy.
        dynamic: how it learns.
        given: tokens of the text that is counted before, (count,), where there is one.

    Raises:
        Unsupported: if it is no model of text that has exact conditionals.
        InvalidInput: if the model reads less than a segment.
    """

    def __init__(self, model: Model, dynamic: Dynamic, given: Tensor | None = None) -> None:
        super().__init__(model)
        self.dynamic, self.given = dynamic, given
        self.length, self.segment = window(self.model, dynamic.segment)
        self.learning = copy.deepcopy(self.model).resized(self.length)
        self.learner = Learner(self.learning, dynamic.rate)
        self.trained = self.learner.state()
        self.mixer: NgramMixer | None = None
        self.read: Tokens = np.empty(0, dtype=np.int64)

    @property
    def settings(self) -> str:
        return self.dynamic.to_json()

    def begin(self) -> None:
        self.learner.restore(self.trained)
        self.read = self.read[:0]
        self.mixer = mixer_of(self.learning, self.dynamic, self.given)

    def encode(self, stretch: Stretch, most: int | None = None) -> tuple[int, bytes | None, float]:
        before, read = self.learner.state(), self.read
        counted = None if self.mixer is None else self.mixer.state()
        log_pmf = np.empty((len(stretch.tokens), self.coder.levels))
        given = len(self.read)
        tokens = np.concatenate((self.read, stretch.tokens))
        found, segment_size = [], self.learner.weights.size + 1
        for k, part in enumerate(segments(len(tokens), self.length, self.segment, given)):
            raw, of_tokens = read_segment(self.learning, torch.from_numpy(tokens), part)
            log_pmf[part[1] - given : part[2] - given] = self.coder.table(raw.detach())
            found += [k * segment_size + place for place in self.learner.learn(of_tokens.mean())]
        self._remember(tokens)
        shift, code, nats = self._coded(stretch, log_pmf, pack_places(found), most)
        if code is None:
            self.learner.restore(before)
            self.read = read
            if self.mixer is not None and counted is not None:
                self.mixer.restore(counted, stretch.tokens.tolist())
        return shift, code, nats

    def decode(self, chunks: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
        """Decode chunks, which are those after the ones that were decoded last.

        Args:
            chunks: of each, the number of tokens, the offset of the grid, and the code.

        Returns:
            The text of each.

        Raises:
            Damage: if one is not the code of a text; those after it can then not be decoded.
        """
        return [self._decode(*chunk) for chunk in chunks]

    def _decode(self, count: int, shift: int, payload: bytes) -> bytes:
        code, left = open_code(memoryview(payload))
        places, spelled = unpack_places(left)
        decoder, given = Decoder(code), len(self.read)
        tokens = np.concatenate((self.read, np.zeros(count, dtype=np.int64)))
        parts = list(segments(len(tokens), self.length, self.segment, given))
        exceptions = _by_segment(places, len(parts), self.learner.weights.size + 1)
        for part, excepted in zip(parts, exceptions, strict=True):
            self._decode_segment(decoder, shift, tokens, part)
            if self.dynamic.rate > 0.0:
                _, nats = read_segment(self.learning, torch.from_numpy(tokens), part)
                self.learner.step(self.learner.gradient(nats.mean()), excepted)
        self._remember(tokens)
        return self._text(tokens[given:], spelled)

    @torch.no_grad()
    def _decode_segment(self, decoder: Decoder, shift: int, tokens: Tokens, part: Segment) -> None:
        """Put a segment's tokens into their places, (count,)."""
        model, (begin, first, stop) = self.learning, part

        def choose(entry: int, raw: Tensor) -> Tensor:
            place = begin + entry
            if place >= first:
                tokens[place] = self._token(decoder, shift, raw)
            return torch.full((1,), float(tokens[place]), dtype=model.dtype, device=model.device)

        model.run(model.init_state(1), choose, stop=stop - begin)

    def _token(self, decoder: Decoder, shift: int, raw: Tensor) -> int:
        """Return the next token, given its raw parameters, (1, parameters)."""
        table = self._table(raw)
        if self.mixer is None:
            return int(decoder.decode(frequencies(table, shift))[0])
        token = int(decoder.decode(self.mixer.mix(cells_of(table, shift)[0])[None])[0])
        self.mixer.learn(token)
        return token

    def _frequencies(self, log_pmf: Floats, shift: int, tokens: Tokens) -> tuple[Integers, float]:
        if self.mixer is None:
            return super()._frequencies(log_pmf, shift, tokens)
        table = self.mixer.run(cells_of(log_pmf, shift), tokens.tolist())
        return table, nats_of(np.log(table / 2.0**PRECISION), tokens)

    def _table(self, raw: Tensor) -> Floats:
        table = self.coder.table(raw)
        if np.isnan(table).any():
            raise Damage("the model has learned what no text teaches")
        return table

    def _remember(self, tokens: Tokens) -> None:
        self.read = tokens[max(0, len(tokens) - (self.length - self.segment)) :]


def mixer_of(model: Model, dynamic: Dynamic, given: Tensor | None) -> NgramMixer | None:
    """Return what mixes counts of n-grams in, with those of a text, (count,); None where none are asked for."""
    if not dynamic.cache:
        return None
    mixer = NgramMixer(model.event.levels or 1)
    mixer.read([] if given is None else given.tolist())
    return mixer


def text_coder(model: Model, settings: str, given: Tensor | None = None) -> TextCoder:
    """Return the coder of a text that an archive's settings ask for.

    Args:
        model: the model.
        settings: of the archive's header.
        given: tokens of the text that was counted before, (count,).

    Raises:
        Unsupported: if it is no model of text that has exact conditionals.
        InvalidInput: if the settings are not known here, or ask for a text that is not given.
    """
    if not settings:
        return TextCoder(model)
    try:
        fields = json.loads(settings)
        dynamic = Dynamic(float(fields["rate"]), int(fields["segment"]), bool(fields["cache"]), str(fields["given"]))
        unknown = dynamic.to_json() != settings
    except (InvalidInput, ValueError, KeyError, TypeError, OverflowError):
        unknown = True
    if unknown:
        raise InvalidInput(f"the archive asks for {settings[:80]!r}, which this program does not know: update it")
    if dynamic.given and (given is None or digest_of(given) != dynamic.given):
        raise InvalidInput(
            f"made with a text that both sides have, of digest {dynamic.given}, and got"
            f" {'none' if given is None else f'one of {digest_of(given)}'}: give it with given= or --given"
        )
    return DynamicCoder(model, dynamic, given if dynamic.given else None)


def pack_places(places: Sequence[int]) -> bytes:
    """Return ascending whole numbers as bytes: those that they take, and the steps from one to the next.

    >>> list(pack_places([3, 3, 300]))
    [4, 3, 0, 169, 2]
    """
    steps = b"".join(varint(b - a) for a, b in zip([0, *places], places, strict=False))
    return varint(len(steps)) + steps


def unpack_places(content: memoryview) -> tuple[list[int], memoryview]:
    """Return what `pack_places` packed, and the bytes after it.

    Raises:
        Damage: if it is not whole.
    """
    packed, rest = open_code(content)
    left, places, place = memoryview(packed), [], 0
    while left:
        step, left = take_varint(left)
        place += step
        places.append(place)
    return places, rest


def _by_segment(places: Sequence[int], count: int, size: int) -> list[list[int]]:
    """Return the places of each of `count` segments, counted from its beginning."""
    if places and places[-1] >= count * size:
        raise Damage(f"an exception at {places[-1]} of {count * size} places")
    found: list[list[int]] = [[] for _ in range(count)]
    for place in places:
        found[place // size].append(place % size)
    return found
