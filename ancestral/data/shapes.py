"""Pictures of shapes whose factors are known, rendered here: what dSprites is for, in little."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

SIDE = 32
"""Height and width of a picture."""
FACTORS = {
    "shape": ("square", "ellipse", "heart"),
    "scale": ("5", "6", "7", "8"),
    "rotation": ("0", "22.5", "45", "67.5"),
    "x": tuple(str(i) for i in range(8)),
    "y": tuple(str(i) for i in range(8)),
}
"""Factors by name, and the names of their values: half a width in pixels, degrees, places from the left and from the top."""
MARGIN = 9.5
"""Pixels between the middle of a shape and the edge, at least."""


def render_shapes() -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64]]]:
    """Return a picture of each combination of the factors, and the factors: 3 shapes, 4 scales, 4 rotations, 8 x 8 places.

    No two pictures are equal, and nothing but the factors decides on them. Rotations are of one quarter turn, within which a
    square, too, is not its own image.

    Returns:
        Pictures, (3072, 1, 32, 32), in which a shape is 1, and by factor the number of its value, (3072,).

    References:
        dSprites: Disentanglement testing Sprites dataset (Matthey et al., 2017),
        https://github.com/google-deepmind/dsprites-dataset. There 737,280 pictures of 64 x 64, rotations of whole turns.

    >>> x, factors = render_shapes()
    >>> x.shape, list(factors)
    ((3072, 1, 32, 32), ['shape', 'scale', 'rotation', 'x', 'y'])
    """
    numbers = np.array(list(itertools.product(*(range(len(values)) for values in FACTORS.values()))))
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    places = np.linspace(MARGIN, SIDE - MARGIN, len(FACTORS["x"]))
    pictures = np.empty((len(numbers), 1, SIDE, SIDE), np.uint8)
    for i, (shape, scale, rotation, column, row) in enumerate(numbers):
        half, angle = float(FACTORS["scale"][scale]), math.radians(float(FACTORS["rotation"][rotation]))
        across, down = (x - places[column]) / half, (y - places[row]) / half
        u = across * math.cos(angle) + down * math.sin(angle)
        v = down * math.cos(angle) - across * math.sin(angle)
        pictures[i, 0] = _inside(FACTORS["shape"][shape], u, v)
    return pictures, {name: numbers[:, i].astype(np.int64) for i, name in enumerate(FACTORS)}


def _inside(shape: str, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points lie in a shape of about the size [-1, 1]^2, of the axes right and down."""
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) <= 0.75
    if shape == "ellipse":
        return u**2 + (v / 0.6) ** 2 <= 1.0
    a, b = 1.2 * u, -1.2 * v + 0.1
    return (a**2 + b**2 - 1.0) ** 3 - a**2 * b**3 <= 0.0  # the heart curve
