"""Patches cut from images, whitened or not: what sparse codes and filters of edges are learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral.data.material import PATCH_OPTIONS, Columns, Material, Options
from ancestral.errors import InvalidInput, near_matches

VALUES = ("pixels", "contrast", "whitened")
"""What the values of a patch may be."""
COUNTS = {"train": 20_000}
"""Patches cut from a split where the source does not say."""
OTHERS = 2_000
"""Patches cut from any other split."""
CUTOFF = 0.4
"""Cycles a pixel at which the low-pass of `whiten` closes: 200 of 512, as in Olshausen & Field."""
BORDER = 8
"""Pixels at the edges of a whitened image that no patch reaches into, where it is large enough: there the filter wraps."""
FLAT = 1e-4
"""Deviation of a patch, relative to that of all of them, below which it holds nothing but rounding."""
STEADY = 10.0
"""What is added to the variance that contrast is divided by, for grey levels 0 to 255, so that noise is not made a picture."""


def whiten(image: NDArray[Any], cutoff: float = CUTOFF) -> NDArray[np.float64]:
    r"""Return an image filtered with |f| exp(-(|f| / cutoff)^4), channel by channel, at variance 1.

    The amplitudes of natural images fall as 1 / |f|; the ramp undoes that, and the low-pass keeps out the noise, which the
    ramp would raise, and the corners of the frequency plane.

    Args:
        image: (channels, height, width).
        cutoff: in cycles a pixel; 0.5 is the finest that pixels can hold.

    Returns:
        (channels, height, width), of mean 0; zeros for an image of one value.

    References:
        Sparse coding with an overcomplete basis set: A strategy employed by V1? (Olshausen & Field, 1997),
        https://doi.org/10.1016/S0042-6989(97)00169-7.

    >>> x = whiten(np.random.default_rng(0).standard_normal((1, 16, 16)).cumsum(1).cumsum(2))
    >>> round(float(x.std()), 6), round(abs(float(x.mean())), 6)
    (1.0, 0.0)
    """
    height, width = image.shape[1:]
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])  # (h, w)
    flat = np.real(np.fft.ifft2(np.fft.fft2(image) * f * np.exp(-((f / cutoff) ** 4))))
    deviation = float(flat.std())
    return flat / deviation if deviation > 1e-12 * (1.0 + float(np.abs(image).max())) else np.zeros_like(flat)


def cut(
    images: Sequence[NDArray[Any]], size: int, count: int, random: np.random.Generator, whitened: bool = False
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return square patches cut at random, and which image each is of.

    Args:
        images: each (channels, height, width).
        size: height and width of a patch.
        count: patches to cut: as many from each image as from any other, or one, where there are more images.
        random: source of places.
        whitened: whiten each image first, and keep off its edges.

    Returns:
        (count, channels, size, size), in the type of the images or float32, and (count,), ascending.

    Raises:
        InvalidInput: if a patch is larger than an image.
    """
    n = len(images)
    origin = np.sort(np.arange(count) % n if count >= n else random.permutation(n)[:count])
    patches = []
    for i, share in zip(*np.unique(origin, return_counts=True), strict=True):
        height, width = images[i].shape[1:]
        if min(height, width) < size:
            raise InvalidInput(
                f"patches of {size} x {size} do not fit into an image of {height} x {width} pixels: choose a smaller size"
            )
        image = whiten(images[i]).astype(np.float32) if whitened else images[i]
        border = min(BORDER, (min(height, width) - size) // 2) if whitened else 0
        tops, lefts = (random.integers(border, side - border - size + 1, size=share) for side in (height, width))
        windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))  # (c, h', w', size, size)
        patches.append(windows[:, tops, lefts].swapaxes(0, 1))
    return np.concatenate(patches), origin


def valued(patches: NDArray[Any], values: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return patches with the values that were asked for, and which of them hold anything: those of no variance are left out.

    Args:
        patches: (n, channels, size, size), cut from whitened images where `values` is whitened.
        values: one of `VALUES`; contrast takes from each its mean and divides it by its deviation.

    Returns:
        (kept, channels, size, size) and (n,), False where a patch was left out.
    """
    x = patches.astype(np.float32)
    x -= x.mean((1, 2, 3), keepdims=True)
    variances = x.var((1, 2, 3))
    kept = variances > FLAT**2 * max(float(x.var()), 1e-24)
    return (contrasted(patches[kept]) if values == "contrast" else patches[kept]), kept


def contrasted(patches: NDArray[Any]) -> NDArray[np.float32]:
    """Return patches, (n, channels, size, size), each less its mean and divided by its deviation; flat ones are near 0."""
    x = patches.astype(np.float32)
    x -= x.mean((1, 2, 3), keepdims=True)
    steady = STEADY if patches.dtype == np.uint8 else STEADY / 255.0**2
    return np.asarray(x / np.sqrt(x.var((1, 2, 3), keepdims=True) + steady), np.float32)


def in_patches(
    material: Material,
    images: Mapping[str, Sequence[NDArray[Any]]],
    options: Options,
    *,
    size: int | None = None,
    values: str = "pixels",
    counts: Mapping[str, int] = COUNTS,
) -> Material:
    """Return the material of patches cut from the images of each split.

    Where a split is later held out of train, it is image after image: at most one of them has patches in both.

    Args:
        material: what the images are; its columns are those of the images, and go with their patches.
        images: by split, each (channels, height, width).
        options: `patches` is their height and width, `patch_values` what their values are, `seed` decides where they lie.
        size: their height and width where `options` has none.
        values: what their values are where `options` has nothing.
        counts: patches of each split.

    Raises:
        InvalidInput: if a patch is larger than an image, or no patch has any variance.
    """
    size, values = options.patches or size, options.patch_values or values
    if size is None:
        raise InvalidInput(f"patch_values= is {values}, and no patches were asked for: give their size, patches=16")
    if values not in VALUES:
        raise InvalidInput(f"patch_values= takes {', '.join(VALUES)}, got {values!r}.{near_matches(values, VALUES)}")
    random = np.random.default_rng(options.seed)
    x: dict[str, NDArray[Any]] = {}
    origins: dict[str, NDArray[np.int64]] = {}
    dropped = []
    for split, of_split in images.items():
        found, origin = cut(of_split, size, counts.get(split, OTHERS), random, values == "whitened")
        x[split], kept = valued(found, values)
        if not kept.any():
            raise InvalidInput(
                f"all {len(kept)} patches of {size} x {size} from {split} of {material.what} are of one value each: choose a"
                " larger size"
            )
        origins[split] = origin[kept]
        dropped.append(f"{int((~kept).sum()):,} of {len(kept):,} from {split}")
    what_values = {
        "pixels": "as they are",
        "contrast": "less their means, divided by their deviations",
        "whitened": f"of images whitened by |f| exp(-(|f| / {CUTOFF})^4)",
    }
    step = (
        f"patches of {size} x {size} cut at random (seed {options.seed}), {what_values[values]}; left out, being of one value:"
        f" {', '.join(dropped)}"
    )
    return replace(
        material,
        x=x,
        takes=material.takes | PATCH_OPTIONS,
        column=None if material.column is None else _of_images(material.column, origins),
        condition=material.condition and {split: c[origins[split]] for split, c in material.condition.items()},
        levels=material.levels if values == "pixels" else None,
        axes=("channel", "height", "width"),
        groups=origins,
        held={},
        cut=True,
        steps=[*material.steps, step],
    )


def _of_images(column: Any, origins: Mapping[str, NDArray[np.int64]]) -> Any:
    """Return a column of patches: each has what its image has."""

    def of_patches(name: str) -> Columns:
        values, names = column(name)
        return {split: cells[origins[split]] for split, cells in values.items()}, names

    return of_patches
