"""Pictures of drawings: the lines of a pen, side by side."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ancestral.event import Event

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_DRAWINGS = 100
"""Drawings shown, the first ones."""
MARGIN = 0.1
"""Share of a drawing's cell that stays empty at each side."""
CELL = 0.9
"""Side of a cell in inches."""


def lines_of(event: Event, x: Tensor) -> list[NDArray[np.float64]]:
    """Return the lines of one drawing, (points, 2) each: positions from the beginning on, y downwards.

    The first offset leads to where the pen is set down; after a lifted pen the next one to where it is set down again.

    Args:
        event: an event of drawings.
        x: a drawing, (points, 3).

    >>> import torch
    >>> drawing = torch.tensor([[1.0, 1.0, 0.0], [2.0, 0.0, 1.0], [0.0, 3.0, 2.0]])
    >>> [line.tolist() for line in lines_of(Event.drawing(3), drawing)]
    [[[1.0, 1.0], [3.0, 1.0]], [[3.0, 4.0]]]
    """
    count = int(event.counted(x[None])[0]) // event.shape[1]
    points = x[:count].detach().cpu().double().numpy()
    positions = points[:, :2].cumsum(0)
    lifted = np.flatnonzero(points[:-1, 2] != 0) + 1
    return np.split(positions, lifted)


def drawings(x: Tensor, event: Event) -> "Figure":
    """Return drawings as one picture, row by row, each as large as its cell allows.

    Args:
        x: data, (n, *event.shape); the first `MAX_DRAWINGS` are shown.
        event: an event of drawings.

    >>> import torch
    >>> figure = drawings(Event.drawing(3).closed(torch.ones(5, 3, 3)), Event.drawing(3))
    >>> len(figure.axes[0].collections)
    1
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    shown = x[:MAX_DRAWINGS]
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    lines = []
    for i, one in enumerate(shown):
        row, column = divmod(i, columns)
        corner = np.array([column, row], float) + 0.5
        lines += [line + corner for line in _fitted(lines_of(event, one))]
    figure = Figure(figsize=(CELL * columns, CELL * rows))
    axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axis.add_collection(LineCollection(lines, colors="black", linewidths=1.2, capstyle="round", joinstyle="round"))
    axis.set(xlim=(0, columns), ylim=(rows, 0))
    axis.set_axis_off()
    return figure


def _fitted(lines: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return lines about (0, 0), as large as a cell of side 1 allows; a single point as a line of no length."""
    points = np.concatenate(lines)
    low, high = points.min(0), points.max(0)
    size = max(float((high - low).max()), 1e-9)
    moved = [(line - (low + high) / 2) * ((1 - 2 * MARGIN) / size) for line in lines]
    return [np.repeat(line, 2, axis=0) if len(line) == 1 else line for line in moved]
