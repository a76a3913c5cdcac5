"""Gabor functions fitted to filters: how many of what was learned are local, oriented, and of one frequency."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.verbs.inputs import Named, open_model

if TYPE_CHECKING:
    import pandas

BOUND = 0.8
"""Share of a filter's energy that a fit has to explain where no bound is given."""
WIDTHS = (0.15, 0.3)
"""First widths of the envelope, as shares of the side of a filter."""
FREQUENCIES = 2
"""Peaks of the spectrum that fits start from."""
NAMES = ("x", "y", "orientation", "frequency", "length", "width", "phase", "amplitude")


@dataclass(frozen=True)
class Gabors:
    """The best Gabor function for each of some filters.

    Args:
        table: a row for each filter, columns r_squared, x and y (the centre, pixels from the left and from the top),
            orientation (degrees, of the wave's direction from the x axis, 0 to 180), frequency (cycles a pixel), length and
            width (deviations of the envelope along the wave and across it, pixels), phase (degrees) and amplitude.
        bound: of R^2, at which a filter counts as a Gabor function.
    """

    table: "pandas.DataFrame"
    bound: float

    @property
    def count(self) -> int:
        """Filters whose R^2 is at least the bound."""
        return int((self.table["r_squared"] >= self.bound).sum())

    def to_json(self) -> dict[str, Any]:
        """Return the fits as JSON-able values."""
        return {
            "filters": len(self.table),
            "bound": self.bound,
            "fitted": self.count,
            "median_r_squared": float(self.table["r_squared"].median()),
            "gabors": self.table.to_dict("records"),
        }


def gabors(model: Named, bound: float = BOUND) -> Gabors:
    """Fit a Gabor function to each filter of a model whose first layer sees gray images.

    Args:
        model: a model with `filters`, or its zoo name, run directory or hub repository.
        bound: R^2 at which a filter counts as a Gabor function.

    Raises:
        Unsupported: if the model has no filters.
        InvalidInput: if they are not of gray images.
    """
    subject = open_model(model)
    filters = getattr(subject.model, "filters", None)
    if filters is None:
        raise Unsupported(
            f"{subject.name} is a {subject.model.name}, which has no filters of its data: fit sparse-coding or an autoencoder"
        )
    found = filters()
    if found.dim() != 4 or found.shape[1] != 1:
        raise InvalidInput(f"{subject.name} is of {subject.model.event}, expected gray images: pass --data.gray true to fit")
    return fit_gabors(found[:, 0], bound)


def fit_gabors(filters: Tensor, bound: float = BOUND) -> Gabors:
    r"""Fit a exp(-u^2 / 2 s^2 - v^2 / 2 t^2) cos(2 pi f u + p) to each filter, (u, v) turned about (x, y), by least squares.

    Amplitude and phase follow from the rest by a linear problem, so that six parameters are searched (variable projection),
    from the peaks of the filter's spectrum, the centre of its energy, and envelopes of different widths; the best of the fits
    counts. R^2 = 1 - ||filter - fit||^2 / ||filter||^2, with no mean taken off.

    Args:
        filters: (n, height, width), gray.
        bound: R^2 at which a filter counts as a Gabor function, in (0, 1).

    Returns:
        The fits.

    Raises:
        InvalidInput: if filters are not of that shape, smaller than 4 x 4, or the bound is out of range.

    References:
        An evaluation of the two-dimensional Gabor filter model of simple receptive fields in cat striate cortex (Jones &
        Palmer, 1987), https://doi.org/10.1152/jn.1987.58.6.1233, for the fit.

    >>> import torch
    >>> v, u = torch.meshgrid(torch.arange(12.0) - 6, torch.arange(12.0) - 5, indexing="ij")
    >>> wave = torch.exp(-(u**2 + v**2) / 8) * torch.cos(2 * torch.pi * 0.2 * u)
    >>> found = fit_gabors(wave[None])
    >>> found.count, round(float(found.table["frequency"][0]), 3), round(float(found.table["r_squared"][0]), 3)
    (1, 0.2, 1.0)
    """
    import pandas
    import torch

    if filters.dim() != 3 or min(filters.shape[1:]) < 4:
        raise InvalidInput(
            f"Gabor functions are fitted to gray filters (n, height, width) of 4 x 4 pixels or more, got shape"
            f" {tuple(filters.shape)}: choose another model"
        )
    if not 0.0 < bound < 1.0:
        raise InvalidInput(f"bound is {bound}, expected a share of the energy in (0, 1), such as {BOUND}")
    if not bool(torch.isfinite(filters).all()):
        raise InvalidInput("filters hold NaN or infinite values, expected finite numbers: train the model anew")
    rows = [_fit(image) for image in filters.detach().double().cpu().numpy()]
    return Gabors(pandas.DataFrame(rows), bound)


def _fit(image: NDArray[np.float64]) -> dict[str, float]:
    """Return the best of the fits to one filter, from all starts."""
    from scipy.optimize import least_squares

    energy = float(np.square(image).sum())
    if energy == 0.0:
        return {"r_squared": 0.0, **dict.fromkeys(NAMES, math.nan)}
    height, width = image.shape
    rows, columns = np.mgrid[:height, :width].astype(float)
    image = image / math.sqrt(energy)
    side = float(max(height, width))
    x, y = (float((np.square(image) * places).sum()) for places in (columns, rows))
    lowest = (-1.0, -1.0, -np.inf, 0.0, 0.3, 0.3)
    highest = (width, height, np.inf, 0.5, 2.0 * side, 2.0 * side)

    def residual(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        waves, weights = _projected(image, parameters, columns, rows)
        return image.ravel() - waves @ weights

    starts = [(f, a, share * side) for f, a in _peaks(image) for share in WIDTHS]
    fits = [
        least_squares(residual, (x, y, a, f, wide, wide), bounds=(lowest, highest), max_nfev=60, xtol=1e-6, ftol=1e-6)
        for f, a, wide in starts
    ]
    best = min(fits, key=lambda fit: float(fit.cost))
    _, (even, odd) = _projected(image, best.x, columns, rows)
    amplitude = math.sqrt(energy) * math.hypot(even, odd)
    x, y, angle, *others = (float(v) for v in best.x)
    phase = math.degrees(math.atan2(-odd, even)) % 360.0
    values = (x, y, math.degrees(angle) % 180.0, *others, phase, amplitude)
    return {"r_squared": 1.0 - 2.0 * float(best.cost), **dict(zip(NAMES, values, strict=True))}


def _projected(
    image: NDArray[np.float64], parameters: NDArray[np.float64], columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the even and the odd wave in their envelope, (pixels, 2), and their best weights, (2,)."""
    x, y, angle, frequency, length, width = parameters
    across, down = (columns - x).ravel(), (rows - y).ravel()
    u, v = across * math.cos(angle) + down * math.sin(angle), down * math.cos(angle) - across * math.sin(angle)
    envelope = np.exp(-0.5 * (np.square(u / length) + np.square(v / width)))
    turn = 2.0 * math.pi * frequency * u
    waves = envelope[:, None] * np.stack((np.cos(turn), np.sin(turn)), axis=1)
    gram = waves.T @ waves
    gram[[0, 1], [0, 1]] += 1e-9  # without a wave there is no odd part, and nothing to divide by
    return waves, np.linalg.solve(gram, waves.T @ image.ravel())


def _peaks(image: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return (frequency, orientation in radians) of the highest places of the spectrum, one of each mirrored pair."""
    side = 32
    spectrum = np.abs(np.fft.fft2(image, (side, side)))
    down, across = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    frequency = np.hypot(down, across)
    upper = ((down > 0) | ((down == 0) & (across >= 0))) & (frequency < 0.5)
    found: list[tuple[float, float]] = []
    left = np.where(upper, spectrum, 0.0)
    for _ in range(FREQUENCIES):
        i = np.unravel_index(int(left.argmax()), left.shape)
        found.append((min(max(float(frequency[i]), 0.02), 0.48), float(np.arctan2(down[i], across[i]))))
        left = np.where(np.hypot(down - down[i], across - across[i]) < 0.1, 0.0, left)
    return found
