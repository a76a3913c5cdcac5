"""Features of images from a model of patches: its codes at each place, pooled."""

import itertools

import numpy as np
import torch
from torch import Tensor

from ancestral.data.patches import contrasted, whiten
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.verbs.codes import encoded
from ancestral.verbs.inputs import Subject

PLACES = 8192
"""Patches encoded at once, about."""


def sees_patches(subject: Subject, event: Event) -> bool:
    """Return whether a model is of patches that are smaller than images of an event, with as many channels."""
    own = subject.model.event
    if not (own.is_image and event.is_image):
        return False
    (channels, *size), (others, *sizes) = own.shape, event.shape
    return channels == others and size != sizes and all(a <= b for a, b in zip(size, sizes, strict=True))


def pooled_codes(subject: Subject, x: Tensor, stride: int = 4, pools: int = 2) -> Tensor:
    """Return the codes of a model of patches at each place of images, their two signs apart, averaged over parts of the image.

    Patches are given the values that those were given which the model was trained on: as they are, of one contrast, or of
    whitened images (`patch_values` of `load`).

    Args:
        subject: an unconditional model of patches with `encode`.
        x: images, (n, channels, height, width).
        stride: pixels from one place to the next.
        pools: parts of the height, and of the width, that codes are averaged over; 2 are quadrants.

    Returns:
        (n, pools * pools * 2 * code): of each part the means of max(z, 0) and of max(-z, 0).

    Raises:
        InvalidInput: if a part has no place in it.

    References:
        An Analysis of Single-Layer Networks in Unsupervised Feature Learning (Coates, Lee & Ng, 2011),
        https://proceedings.mlr.press/v15/coates11a.html. There codes are summed, which is the same once they are standardized.
    """
    own = subject.model.event
    side_y, side_x = own.shape[1:]
    down, across = ((size - side) // stride + 1 for size, side in zip(x.shape[2:], (side_y, side_x), strict=True))
    if min(down, across) < pools:
        raise InvalidInput(
            f"images of {x.shape[2]} x {x.shape[3]} hold {down} x {across} places of {subject.name} at a stride of {stride},"
            f" expected {pools} x {pools} at least: take a smaller stride"
        )
    edges_y, edges_x = (np.linspace(0, n, pools + 1).round().astype(int) for n in (down, across))
    values = subject.options.get("patch_values") or _usual(subject)
    features = []
    for images in x.split(max(1, PLACES // (down * across))):
        pixels = images.numpy()
        if values == "whitened":
            pixels = np.stack([whiten(image) for image in pixels]).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (side_y, side_x), axis=(2, 3))[:, :, ::stride, ::stride]
        patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, *own.shape)  # (n * places, c, h, w)
        given = torch.from_numpy(contrasted(patches) if values == "contrast" else patches.copy())
        z = encoded(subject.model, given.to(own.dtype), None).view(len(images), down, across, -1)  # (n, h, w, code)
        both = torch.cat((z.clamp(min=0), (-z).clamp(min=0)), dim=3)
        parts = [
            both[:, top:bottom, left:right].mean((1, 2))
            for top, bottom in itertools.pairwise(edges_y)
            for left, right in itertools.pairwise(edges_x)
        ]
        features.append(torch.cat(parts, dim=1))
    return torch.cat(features)


def _usual(subject: Subject) -> str:
    """Return what the values of patches are in data that are patches by themselves, else pixels."""
    return {"natural-patches": "whitened", "texture-patches": "contrast"}.get(subject.data or "", "pixels")
