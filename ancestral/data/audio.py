"""Sound as data: recordings as whole numbers, padded, cropped or cut to one length."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ancestral.data import cache
from ancestral.data.assemble import assemble
from ancestral.data.audio_files import Amplitudes, SoundDecoder, SoundFormat
from ancestral.data.base import Data
from ancestral.data.columnar import Rows
from ancestral.data.material import STREAM_OPTIONS, Columns, Material, Options, canonical_splits, refuse_unused
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.mel import Mel
from ancestral.pcm import PCM

LENGTH = 8192
"""Samples of a datum where no number is asked for."""
MEL = "mel"
"""The condition that is no column: the log-mel frames of the sound itself."""
PIECE = 2**20
"""Samples whose levels are found at a time, to spare memory."""
ANY_SOUND = {
    "condition", "validation", "test", "seed", "limit", "event", "levels", "memory", "length", "rate", "mono", "crop",
}  # fmt: skip
"""Options that every source of sound takes."""


@dataclass
class Sound:
    """Recordings, before they are read.

    Args:
        what: what to call the source in errors.
        rows: the rows that hold them.
        column: the column of sounds.
        length: samples of a datum where no number is asked for.
        aliases: other names of columns that can be conditioned on.
        about: one line: what it is.
        record: JSON-able facts: where it came from.
    """

    what: str
    rows: Rows
    column: str
    length: int = LENGTH
    aliases: Mapping[str, str] = field(default_factory=dict)
    about: str = ""
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Parts:
    """What was cut from the recordings of one split.

    Args:
        x: levels, (n, length).
        recording: the row that each datum is from, (n,).
        samples: how many of its samples were recorded and are no padding, (n,).
    """

    x: NDArray[Any]
    recording: NDArray[np.int64]
    samples: NDArray[np.int64]


def sound_of_rows(rows: Rows, options: Options) -> Sound | None:
    """Return the sounds of `rows`; None where there are none, or images are asked for."""
    column = None if rows.holds_images or options.image is not None else rows.audio_column(options.audio)
    return None if column is None else Sound(rows.what, rows, column, record=rows.record)


def assemble_sound(name: str, sound: Sound, options: Options) -> Data:
    """Return the data set that `options` ask for, out of recordings.

    What was read is kept in the cache. Recordings are held out whole, but for the one that a cut falls into.

    Raises:
        InvalidInput: if a recording cannot be used, or an option does not fit.
    """
    what = sound.what
    takes = (sound.rows.takes - STREAM_OPTIONS) | {"audio"}
    refuse_unused(what, options, takes, ANY_SOUND)
    asked = _asked_event(options, what)
    length = options.length or (sound.length if asked is None else asked.numel)
    parts, facts = _read(sound, options, length, None if asked is None or asked.pcm is None else asked.pcm)
    pcm = PCM.from_json(facts["pcm"])
    steps = [f"{pcm}; recordings {'cropped' if options.crop else 'cut'} or padded with silence to {length} samples"]
    if options.rate is not None:
        steps.append(f"brought to {pcm.rate} Hz by a polyphase filter where recorded at another rate")
    if options.mono:
        steps.append("channels averaged")

    found = canonical_splits(parts)

    def column(asked: str) -> Columns:
        if asked == MEL:
            return {split: log_mel(part.x, pcm) for split, part in found.items()}, None
        values, names = sound.rows.column(sound.aliases.get(asked, asked))
        by_recording = canonical_splits(values)
        return {split: by_recording[split][part.recording] for split, part in found.items()}, names

    material = Material(
        what,
        {split: part.x for split, part in found.items()},
        takes={*takes, "length", "rate", "mono", "crop"},
        column=column,
        groups={split: part.recording for split, part in found.items()},
        sizes={split: part.samples for split, part in found.items()},
        steps=steps,
        about=sound.about,
        record={**sound.record, "rate": pcm.rate, "clipped": facts["clipped"]},
    )
    data = assemble(name, material, replace(options, event=Event.audio(length, pcm), levels=None))
    data.record["options"] = options.given()
    return data


def log_mel(x: NDArray[Any], pcm: PCM) -> NDArray[np.float32]:
    """Return the log-mel frames of sounds, (n, frames, bands), for levels, (n, samples)."""
    mel, size = Mel(pcm.rate), max(1, PIECE // max(1, x.shape[1]))
    parts = [mel(torch.from_numpy(pcm.decode(x[i : i + size])).float()).numpy() for i in range(0, len(x), size)]
    found: NDArray[np.float32] = np.concatenate(parts)
    return found


def _asked_event(options: Options, what: str) -> Event | None:
    """Return the event whose rate and levels are to be used, if one was given."""
    asked = options.event
    if asked is None:
        return None
    if not isinstance(asked, Event) or asked.pcm is None:
        raise InvalidInput(
            f"event= is {asked}, but {what} is sound, which needs an Event.audio: give one, or levels= and length="
        )
    for option in ("levels", "length"):
        if getattr(options, option) is not None:
            raise InvalidInput(f"event= is {asked}: leave {option}= out")
    return asked


def _read(sound: Sound, options: Options, length: int, pcm: PCM | None) -> tuple[dict[str, _Parts], dict[str, Any]]:
    """Return what was cut from the recordings, by split as the source names it, memory-mapped from the cache, and facts."""
    key = {
        "sounds": sound.rows.stamp, "column": sound.column, "length": length, "crop": options.crop, "rate": options.rate,
        "mono": options.mono, "levels": options.levels, "pcm": None if pcm is None else pcm.to_json(),
    }  # fmt: skip
    folder = cache.entry(key, lambda into: _decode(into, sound, options, length, pcm))
    facts = json.loads((folder / "facts.json").read_text())

    def load(i: int, name: str) -> NDArray[Any]:
        return np.load(folder / f"{i}-{name}.npy", mmap_mode="c")

    names = ("x", "recording", "samples")
    return {split: _Parts(*(load(i, name) for name in names)) for i, split in enumerate(facts["splits"])}, facts


def _decode(into: Path, sound: Sound, options: Options, length: int, pcm: PCM | None) -> None:
    decoder = SoundDecoder(SoundFormat(options.rate, options.mono), None if pcm is None else pcm.rate)
    levels = (options.levels or 256) if pcm is None else pcm.levels
    for i, split in enumerate(sound.rows.splits):
        with ExitStack() as stack:
            kinds = {
                "x": ((length,), np.uint8 if levels <= 256 else np.int32),
                "recording": ((), np.int64),
                "samples": ((), np.int64),
            }
            writers = [stack.enter_context(cache.ArrayWriter(into / f"{i}-{name}.npy", *kind)) for name, kind in kinds.items()]
            row = -1
            for row, cell in enumerate(sound.rows.cells(split, sound.column)):
                amplitudes = decoder(cell, f"sound {row} of {split}")
                pcm = pcm or PCM(decoder.rate or 0, levels)
                x, samples = _cut(amplitudes, pcm, length, crop=options.crop)
                kept: tuple[NDArray[Any], ...] = (x, np.full(len(x), row), samples)
                for writer, values in zip(writers, kept, strict=True):
                    writer.append(values)
            if row < 0:
                raise InvalidInput(f"the split {split!r} of {sound.what} is empty: leave it out")
    facts = {"splits": list(sound.rows.splits), "pcm": pcm.to_json() if pcm else None, "clipped": decoder.clipped}
    (into / "facts.json").write_text(json.dumps(facts))


def _cut(amplitudes: Amplitudes, pcm: PCM, length: int, *, crop: bool) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the data that a recording makes, (n, length), and how many samples of each are recorded, (n,)."""
    n = 1 if crop else -(-len(amplitudes) // length)
    kept = amplitudes[: n * length]
    x = np.full(n * length, pcm.silence, np.int32)
    for start in range(0, len(kept), PIECE):
        x[start : start + PIECE][: len(kept) - start] = pcm.encode(kept[start : start + PIECE])
    return x.reshape(n, length), np.minimum(len(kept) - length * np.arange(n), length)
