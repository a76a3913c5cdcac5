"""What a latent changes in images of strokes: their slant and their width, from image moments."""

import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.verbs.latents import Traversal

TRAITS = ("slant", "width")
"""What `moments` tells of an image."""


def moments(x: Tensor, event: Event) -> Tensor:
    r"""Return slant and width of each image, from the second moments of its brightness about their centre.

    Slant is -m_xy / m_yy, the shift to the right for each pixel upwards of the line through rows that fits best; width is
    sqrt(m_xx - m_xy^2 / m_yy), pixels, the deviation across that line. Brightness is the sum over channels, from the lowest
    level (or the least value of the image) on; both are 0 where there is none, and slant where it is one row.

    Args:
        x: images, (batch, channel, height, width).
        event: what they are.

    Returns:
        (batch, 2).

    Raises:
        InvalidInput: if the data are no images.

    >>> line = torch.eye(5).flip(1)[None, None]  # one pixel to the right for each pixel upwards
    >>> moments(line, Event.binary((1, 5, 5))).tolist()
    [[1.0, 0.0]]
    """
    if not event.is_image:
        raise InvalidInput(f"slant and width are of images (channel, height, width), got {event}")
    mass = x.double().sum(1)  # (b, h, w)
    if not event.discrete:
        mass = mass - mass.amin((1, 2), keepdim=True)
    mass = mass / mass.sum((1, 2), keepdim=True).clamp(min=1e-300)
    across = torch.arange(mass.shape[2], dtype=torch.float64, device=x.device)
    down = torch.arange(mass.shape[1], dtype=torch.float64, device=x.device)[:, None]
    dx = across - (mass * across).sum((1, 2), keepdim=True)  # (b, 1, w)
    dy = down - (mass * down).sum((1, 2), keepdim=True)  # (b, h, 1)
    m_xx, m_xy, m_yy = ((mass * each).sum((1, 2)) for each in (dx * dx, dx * dy, dy * dy))
    tall = m_yy > 1e-12
    per_row = torch.where(tall, m_xy / torch.where(tall, m_yy, 1.0), 0.0)
    return torch.stack((-per_row, (m_xx - per_row * m_xy).clamp(min=0.0).sqrt()), dim=1)


def correlations(found: Traversal, event: Event) -> dict[int, dict[str, float]]:
    """Return how each latent of a traversal goes with slant and width: Pearson's correlation, within rows.

    Values of the latent, slants and widths are taken less their means over a row, which says what the latent changes and not
    how data differ.

    Args:
        found: images as one latent at a time is changed.
        event: what they are.

    Returns:
        By latent, the correlation with each of `TRAITS`; 0 where nothing changes.

    Raises:
        InvalidInput: if the data are no images.
    """
    rows, steps = found.x.shape[:2]
    traits = moments(found.x.flatten(0, 1), event).view(rows, steps, len(TRAITS))
    traits = traits - traits.mean(1, keepdim=True)
    values = found.values.double()
    values = values - values.mean(1, keepdim=True)
    told = {}
    for latent in dict.fromkeys(found.latents):
        chosen = torch.tensor([each == latent for each in found.latents])
        v, t = values[chosen].flatten(), traits[chosen].flatten(0, 1)
        size = v.norm() * t.norm(dim=0)
        r = torch.where(size > 1e-12, (v @ t) / size.clamp(min=1e-12), 0.0)
        told[latent] = dict(zip(TRAITS, r.tolist(), strict=True))
    return told
