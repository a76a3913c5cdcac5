"""Sound as whole numbers: how levels stand for the amplitudes of a wave, taken at a steady rate."""

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ancestral.errors import InvalidInput

COMPANDING = ("mu-law", "linear")
"""How levels are spaced over amplitudes."""
MAX_LEVELS = 2**16
"""Levels of 16-bit samples."""


@dataclass(frozen=True)
class PCM:
    r"""Pulse-code modulation: the levels 0, ..., K - 1 of a sound's samples, and the amplitudes in [-1, 1] they stand for.

    With companding mu-law, level k stands for the amplitude a with 2 k / (K - 1) - 1 = sign(a) log(1 + m |a|) / log(1 + m),
    where m = K - 1: levels lie close where amplitudes are small, as what is told apart by hearing does. No level is silence:
    the nearest is K / 2. With linear, a = (k - K / 2) / (K / 2): for K = 65,536 those of 16-bit samples.

    Args:
        rate: samples per second, in hertz.
        levels: number of levels K, even, at most 65,536.
        companding: "mu-law" or "linear"; mu-law up to 256 levels and linear above where None.

    Raises:
        InvalidInput: if one is out of its range.

    References:
        Pulse code modulation (PCM) of voice frequencies (ITU-T Recommendation G.711, 1988),
        https://www.itu.int/rec/T-REC-G.711. The law itself, as in WaveNet (van den Oord et al., 2016,
        https://arxiv.org/abs/1609.03499), and not the recommendation's approximation of it by straight lines.

    >>> pcm = PCM(8000)
    >>> pcm
    PCM(rate=8000, levels=256, companding='mu-law')
    >>> pcm.encode(np.array([-1.0, 0.0, 0.01, 1.0]))
    array([  0, 128, 157, 255])
    >>> pcm.decode([0, 128, 157, 255]).round(4).tolist()
    [-1.0, 0.0001, 0.0102, 1.0]
    """

    rate: int
    levels: int = 256
    companding: str | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "rate", operator.index(self.rate))
            object.__setattr__(self, "levels", operator.index(self.levels))
        except TypeError:
            raise InvalidInput(
                f"a sound has whole numbers of samples per second and of levels, got {self.rate!r} and {self.levels!r}"
            ) from None
        if self.companding is None:
            object.__setattr__(self, "companding", "mu-law" if self.levels <= 256 else "linear")
        if self.rate < 1:
            raise InvalidInput(f"a sound has a positive number of samples per second, got {self.rate}")
        if self.levels % 2 or not 2 <= self.levels <= MAX_LEVELS:
            raise InvalidInput(f"a sound has an even number of levels from 2 to {MAX_LEVELS}, got {self.levels}")
        if self.companding not in COMPANDING:
            raise InvalidInput(f"there is no companding {self.companding!r}: choose one of {', '.join(COMPANDING)}")

    @property
    def silence(self) -> int:
        """The level nearest to amplitude 0."""
        return self.levels // 2

    def encode(self, amplitude: NDArray[Any]) -> NDArray[np.int64]:
        """Return the level nearest to each amplitude; amplitudes beyond full scale, 1, have the outermost one.

        Args:
            amplitude: any shape, floats.
        """
        a = np.asarray(amplitude, dtype=np.float64).clip(-1.0, 1.0)
        if self.companding == "linear":
            level = (a + 1.0) * (self.levels / 2)
        else:
            m = self.levels - 1.0
            level = (np.sign(a) * np.log1p(m * np.abs(a)) / math.log1p(m) + 1.0) * (m / 2)
        # Halves go up, so that silence is one level whatever its sign.
        return np.floor(level + 0.5).clip(0, self.levels - 1).astype(np.int64)

    def decode(self, levels: Tensor | NDArray[Any] | list[int]) -> NDArray[np.float64]:
        """Return the amplitude of each level; `encode` gives the level back.

        Args:
            levels: any shape, whole numbers from 0 to K - 1.
        """
        found = levels.cpu().numpy() if isinstance(levels, Tensor) else np.asarray(levels)
        k = found.astype(np.float64)
        if self.companding == "linear":
            return k / (self.levels / 2) - 1.0
        m = self.levels - 1.0
        y = 2.0 * k / m - 1.0
        amplitude: NDArray[np.float64] = np.sign(y) * np.expm1(np.abs(y) * math.log1p(m)) / m
        return amplitude

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able values; `from_json` rebuilds it.

        >>> PCM.from_json(PCM(16000, 65536).to_json())
        PCM(rate=16000, levels=65536, companding='linear')
        """
        return {"rate": self.rate, "levels": self.levels, "companding": self.companding}

    @staticmethod
    def from_json(described: Any) -> "PCM":
        """Rebuild it from `to_json`'s values, which need not be trusted.

        Raises:
            InvalidInput: if they do not describe one.
        """
        if not isinstance(described, dict) or set(described) != {"rate", "levels", "companding"}:
            raise InvalidInput(
                f"not the description of a sound's samples, expected rate, levels and companding: {str(described)[:200]}"
            )
        return PCM(**described)

    def __str__(self) -> str:
        return f"{self.companding} samples of {self.levels} levels at {self.rate} Hz"
