"""Drawings by the points of a pen: stroke-3 arrays (dx, dy, pen lifted after) to material, and offsets that were rounded."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data.base import Split, Transform
from ancestral.data.material import Material, Options, canonical_splits
from ancestral.errors import InvalidInput
from ancestral.event import PEN, Event

STROKES, LENGTHS = "strokes", "lengths"
"""How the arrays of an .npz file end: the points of all drawings one after another, and how many each has."""
OVER = len(PEN) - 1


def holds_strokes(arrays: Mapping[str, Any]) -> bool:
    """Return whether named arrays are drawings: SPLIT_strokes and SPLIT_lengths, or strokes and lengths.

    >>> holds_strokes({"train_strokes": 0, "train_lengths": 0}), holds_strokes({"train": 0})
    (True, False)
    """
    kinds = {key.rpartition("_")[2] for key in arrays}
    return kinds == {STROKES, LENGTHS}


def asks_drawing(options: Options) -> bool:
    """Return whether drawings are asked for, by their event or its name."""
    return options.event == "drawing" or (isinstance(options.event, Event) and options.event.is_drawing)


def from_strokes(arrays: Mapping[str, NDArray[Any]], what: str, options: Options) -> Material:
    """Return drawings, as points (dx, dy, pen), whose last point has the pen 2; points after it are (0, 0, 2).

    Args:
        arrays: SPLIT_strokes, (points, 3): dx, dy, and 1 where the pen is lifted after the point, else 0; and SPLIT_lengths,
            (drawings,): points of each. Without a split in their names they are train.
        what: what to call them in errors.
        options: whose event gives the bound on points; where it has none, the longest drawing does.

    Raises:
        InvalidInput: if an array is missing or of another shape, lengths do not sum to the points, a number is not finite, a
            pen is neither 0 nor 1, or a drawing is longer than the bound.
    """
    found = {}
    for key in arrays:
        split, _, kind = key.rpartition("_")
        if kind == STROKES:
            lengths = arrays.get(f"{split}_{LENGTHS}" if split else LENGTHS)
            if lengths is None:
                raise InvalidInput(
                    f"{what} has {key} without the lengths of its drawings, expected {split}_{LENGTHS}: add them"
                )
            found[split or "train"] = _checked(arrays[key], lengths, f"{key} of {what}")
    longest = max(int(lengths.max()) for _, lengths in found.values())
    points = options.event.shape[0] if isinstance(options.event, Event) else longest
    if longest > points:
        raise InvalidInput(f"{what} has a drawing of {longest} points, expected at most {points}: leave it out, or cut it")
    rounded = all(np.array_equal(strokes[:, :2], np.round(strokes[:, :2])) for strokes, _ in found.values())
    event = options.event if isinstance(options.event, Event) else Event.drawing(points)
    return Material(
        what,
        canonical_splits({split: _padded(*part, points) for split, part in found.items()}),
        event=event,
        rounded=rounded,
        steps=["the pen of a drawing's last point is 2; points after it are (0, 0, 2)"],
    )


def from_drawing(strokes: NDArray[Any], what: str, options: Options) -> Material:
    """Return one drawing, stroke-3 points (points, 3), as the only datum of train; see `from_strokes`."""
    material = from_strokes({STROKES: strokes, LENGTHS: np.array([len(strokes)])}, what, options)
    material.held = {"validation": 0, "test": 0}
    return material


def _checked(strokes: NDArray[Any], lengths: NDArray[Any], what: str) -> tuple[NDArray[Any], NDArray[Any]]:
    if strokes.ndim != 2 or strokes.shape[1] != 3 or strokes.dtype.kind not in "iuf":
        raise InvalidInput(
            f"{what} is {strokes.dtype} of shape {strokes.shape}, expected numbers of shape (points, 3): dx, dy, pen lifted"
        )
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths) or lengths.min() < 1:
        raise InvalidInput(
            f"{what} comes with lengths {lengths.dtype} of shape {lengths.shape}, expected a count of 1 or more each"
        )
    if int(lengths.sum()) != len(strokes):
        raise InvalidInput(f"{what} has {len(strokes):,} points, its lengths sum to {int(lengths.sum()):,}: they must agree")
    bad = int((~np.isfinite(strokes)).any(1).sum())
    if bad:
        raise InvalidInput(f"{what} has NaN or infinite values in {bad:,} of {len(strokes):,} points: drop those drawings")
    pens = np.unique(strokes[:, 2])
    if not set(pens.tolist()) <= {0, 1}:
        raise InvalidInput(
            f"{what} has pens {', '.join(f'{pen:g}' for pen in pens[:5])}, expected 0 (down) or 1 (lifted after the point):"
            " write stroke-3, not stroke-5"
        )
    return strokes, lengths


def _padded(strokes: NDArray[Any], lengths: NDArray[Any], points: int) -> NDArray[Any]:
    x = np.zeros((len(lengths), points, 3), strokes.dtype)
    x[..., 2] = OVER
    live = np.arange(points) < lengths[:, None]
    x[live] = strokes
    x[np.arange(len(x)), lengths - 1, 2] = OVER
    return x


def undo_rounding(event: Event) -> Transform:
    """Return the transform that adds noise, uniform on [-1/2, 1/2), to the offsets of the points that there are.

    For whole numbers k and a density p of real ones, log P(k) >= E[log p(k + noise)]: without the noise a density could be
    as high as it likes at the whole numbers.

    References:
        A note on the evaluation of generative models (Theis, van den Oord & Bethge, 2016), https://arxiv.org/abs/1511.01844.

    >>> x = torch.tensor([[[4.0, 0.0, 2.0], [0.0, 0.0, 2.0]]])
    >>> undo_rounding(Event.drawing(2))(x, torch.Generator().manual_seed(0))
    tensor([[[3.9963, 0.2682, 2.0000],
             [0.0000, 0.0000, 2.0000]]])
    """

    def draw(x: Tensor, generator: torch.Generator | None) -> Tensor:
        live = (torch.arange(event.numel) < event.counted(x)[:, None]).view(x.shape)
        noise = torch.rand(x.shape, dtype=x.dtype, generator=generator) - 0.5
        noise[..., 2] = 0.0
        return x + noise * live

    return draw


def fitted_drawings(event: Event, split: Split) -> Event:
    """Return an event of drawings with one mean and one deviation for dx, and for dy, over the points that there are."""
    offsets, generator = [], torch.Generator().manual_seed(0)
    for piece in torch.arange(len(split)).split(2**12):
        x, _ = split.batch(piece, generator)
        live = torch.arange(event.shape[0]) < (event.counted(x) // event.shape[1])[:, None]
        offsets.append(x[live][:, :2].double())
    points = torch.cat(offsets)
    loc, scale = points.mean(0), points.std(0, correction=0)
    scale = torch.where(scale > 1e-6 * loc.abs().clamp(min=1e-30), scale, torch.ones_like(scale))
    rounded = [[float(f"{value:.7g}") for value in values.tolist()] for values in (loc, scale)]
    return Event.drawing(event.shape[0], *rounded)
