"""Sound files to amplitudes, all of one rate and of one channel, or a sentence that names the file."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral.data import cache
from ancestral.errors import InvalidInput

Amplitudes = NDArray[np.float32]
SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au"}
LOUDEST = 2.0
"""Amplitudes beyond full scale, 1, are clipped; where they are beyond this, they are on another scale."""
UNKNOWN_SIZE = 0x7FFF_F000
"""Sizes of the samples of a WAV file from which on none is known, about."""
FULL_SCALE = 1.0 - 2.0**-15
"""Amplitude of the highest 16-bit sample: what is as loud has probably been clipped."""


@dataclass(frozen=True)
class SoundFormat:
    """How sound files become amplitudes.

    Args:
        rate: bring all to this rate, in hertz, by a polyphase filter; None leaves it as it is.
        mono: average the channels.
    """

    rate: int | None = None
    mono: bool = False


class SoundDecoder:
    """Decodes sounds one by one, and holds them to one channel and to the rate of the first.

    Args:
        form: how files become amplitudes.
        rate: the rate that is expected, where it is known before the first is read.

    Attributes:
        rate: samples per second of the sounds; None before the first.
        clipped: number of samples at full scale or beyond.
    """

    def __init__(self, form: SoundFormat, rate: int | None = None) -> None:
        self.form = form
        self.rate = rate if form.rate is None else form.rate
        self.clipped = 0
        self._first = "the data that it is for"

    def __call__(self, sound: dict[str, Any] | None, name: str) -> Amplitudes:
        """Decode a sound.

        Args:
            sound: a cell of a column of sounds, {"bytes": ..., "path": ...}, where either may be None.
            name: what to call it in errors; its path is added.

        Returns:
            (samples,), amplitudes in [-1, 1].

        Raises:
            InvalidInput: if it cannot be read, is empty or not finite, or differs from those before it; it is named.
        """
        content, path = (sound or {}).get("bytes"), (sound or {}).get("path")
        name = f"{name} ({path})" if path else name
        if content is None and not path:
            raise InvalidInput(f"{name} is empty, expected a sound: leave the row out")
        samples, rate = _read(content, path or "", name)
        if not len(samples):
            raise InvalidInput(f"{name} holds no samples (0 s), expected some: leave it out")
        if not bool(np.isfinite(samples).all()):
            raise InvalidInput(f"{name} holds {int((~np.isfinite(samples)).sum())} NaN or infinite samples: repair it")
        loudest = float(np.abs(samples).max())
        if loudest > LOUDEST:
            raise InvalidInput(f"{name} holds amplitudes up to {loudest:g}, expected -1 to 1: divide them by full scale first")
        return self._hold(samples, rate, name)

    def _hold(self, samples: Amplitudes, rate: int, name: str) -> Amplitudes:
        """Return samples, (samples, channels), as (samples,), at the rate of the first sound."""
        channels = samples.shape[1]
        if channels > 1 and not self.form.mono:
            raise InvalidInput(f"{name} has {channels} channels, expected one: pass mono=true to average them")
        self.clipped += int((np.abs(samples) >= FULL_SCALE).any(axis=1).sum())
        mono = samples.mean(axis=1)
        if self.rate is None:
            self.rate, self._first = rate, name
        if rate != self.rate:
            if self.form.rate is None:
                raise InvalidInput(
                    f"{name} has {rate} samples per second, expected {self.rate} as {self._first}: pass rate={self.rate} to"
                    " bring all to that rate"
                )
            mono = _resampled(mono, rate, self.rate)
        return mono.clip(-1.0, 1.0)


def _resampled(samples: Amplitudes, rate: int, wanted: int) -> Amplitudes:
    from scipy.signal import resample_poly  # takes a second to import

    common = math.gcd(rate, wanted)
    resampled: Amplitudes = resample_poly(samples, wanted // common, rate // common).astype(np.float32)
    return resampled


def _read(content: bytes | None, path: str, name: str) -> tuple[Amplitudes, int]:
    """Return the samples of a file, (samples, channels), and their rate."""
    import soundfile

    try:
        if content is None and "://" in path:  # a file of the hub or of an object store
            import fsspec

            with fsspec.open(path, "rb") as remote:
                content = remote.read()
        with soundfile.SoundFile(path if content is None else io.BytesIO(content)) as file:
            _refuse_truncated(path if content is None else content, name)
            cache.require_memory(4 * file.frames * file.channels, name, "cut it into shorter files")
            return file.read(dtype="float32", always_2d=True), file.samplerate
    except InvalidInput:
        raise
    except Exception as error:  # the decoder raises whatever a broken file leads it to
        raise InvalidInput(f"{name} cannot be read as sound ({error}): repair it or leave it out") from error


def _refuse_truncated(source: str | bytes, name: str) -> None:
    """Raise if a WAV file says that it holds more than it does, which decoders pass over.

    Files that were written to a pipe do not know their size, and say the largest one or none.

    Raises:
        InvalidInput: with both sizes.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[4:], "little")
            left = size - file.tell()
            if head[:4] == b"data":
                if left < length < UNKNOWN_SIZE:
                    raise InvalidInput(
                        f"{name} is cut off: it has {left:,} bytes of samples, expected the {length:,} that it says: write it"
                        " again or leave it out"
                    )
                return
            file.seek(length + length % 2, io.SEEK_CUR)  # chunks begin at even places


def find_sounds(folder: Path) -> Sequence[Path]:
    """Return the sound files below `folder`, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
