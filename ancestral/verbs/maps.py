"""Maps of bits: how surprising each entry of a datum is, given those before it."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.verbs import pictures
from ancestral.verbs.inputs import Named, batches, check_counts, evaluating, open_data, open_model
from ancestral.verbs.sample import Condition, conditions_for
from ancestral.verbs.stream import common_order
from ancestral.verbs.text_pictures import passages, text_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 16
"""Maps drawn where no number is given."""
COLOURS = "inferno"


def score_map(model: Named, x: Tensor, condition: Condition = None) -> Tensor:
    r"""Return the bits of each entry, -log2 p(x_{o(t)} | x_{o(<t)}, c): they sum to -log p(x | c) / ln 2.

    The bits of an entry are those of the mixture, where the model is one: the difference that the entry makes to the
    mixture's own log-probability, which weights each member by its posterior given the entries before.

    Args:
        model: an autoregressive model, or its zoo name, run directory or hub repository.
        x: data, (batch, *event.shape).
        condition: as in `sample`.

    Returns:
        (batch, *event.shape), bits, in float64, on the CPU. Densities of real entries can exceed 1: their bits can be
        negative.

    Raises:
        Unsupported: if the model is not autoregressive, or a mixture over orders.
        InvalidInput: if data or conditions do not fit.

    >>> from ancestral.models import create
    >>> coins = create("fvsbn", Event.binary((3,)))
    >>> score_map(coins, torch.tensor([[1, 0, 1]])).shape
    torch.Size([1, 3])
    """
    opened = open_model(model).model
    if not isinstance(opened, AutoregressiveModel):
        raise Unsupported(
            f"a {opened.name} scores a datum whole: its entries have no bits of their own; take an autoregressive model,"
            " such as made or gated-pixelcnn"
        )
    order = common_order(opened).to(opened.device)
    x = x.to(opened.device)
    given = conditions_for(opened, len(x), condition)
    given = opened.check_batch(x, None if given is None else given.to(opened.device))
    with evaluating(opened):
        each = [
            opened.entry_log_prob(opened.member_forward(k, x, given), x).flatten(1).double() for k in range(opened.members)
        ]
        nats = -each[0]
        if opened.members > 1:
            so_far = torch.stack(each)[:, :, order].cumsum(-1).logsumexp(0) - math.log(opened.members)  # (b, d)
            nats = -so_far.diff(dim=-1, prepend=torch.zeros_like(so_far[:, :1]))[:, order.argsort()]
    return (nats / math.log(2.0)).view(x.shape).cpu()


def draw_score_maps(
    model: Named,
    path: Path | str,
    data: Data | str | None = None,
    split: str = "test",
    *,
    limit: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Draw the maps of the first data of a split and write the picture.

    Images are drawn beside their maps, where the bits of a pixel are those of its channels together; text stands on the
    colour of its bits; other data make one map with a row for each datum.

    Args:
        model: an autoregressive model, or its zoo name, run directory or hub repository.
        path: the file.
        data: data, their name or path; what the model was trained on where None.
        split: name of the split.
        limit: data drawn; 16 where None.
        seed: seed of what is random in the split.

    Returns:
        The maps, (limit, *event.shape), bits.

    Raises:
        Unsupported: if the model is not autoregressive, or a mixture over orders.
        InvalidInput: if there is no such model or split, they do not fit, or the suffix is of no picture.
    """
    check_counts(limit=limit)
    subject = open_model(model)
    found = open_data(data, subject).split(split)
    parts = list(batches(found, subject.model, limit=limit or SHOWN, seed=seed))
    if not parts:
        raise InvalidInput(f"the split {split!r} is empty: there is nothing to draw")
    bits = torch.cat([score_map(subject, x, condition) for _, x, condition in parts])
    event = subject.model.event
    x = torch.cat([x.cpu() for _, x, _ in parts])
    if event.encoding is not None:
        pictures.save_image(text_image(passages(event, x, bits)), path)
    else:
        pictures.save_figure(image_maps(event, x, bits) if event.is_image else entry_maps(bits), path)
    return bits


def image_maps(event: Event, x: Tensor, bits: Tensor) -> "Figure":
    """Return a figure of images, each beside the bits of its pixels.

    Args:
        event: an image event.
        x: (n, channel, height, width).
        bits: of each entry, same shape.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    pixels = pictures.to_pixels(x, event)  # (n, h, w', 3 or 1)
    by_pixel = bits.sum(1).numpy()  # (n, h, w)
    scale = Normalize(min(0.0, float(by_pixel.min())), float(by_pixel.max()))
    heat = (colormaps[COLOURS](scale(by_pixel))[..., :3] * 255.0).round().astype(np.uint8)
    left = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    pairs = torch.from_numpy(np.concatenate((left, heat), axis=2)).permute(0, 3, 1, 2)  # (n, 3, h, w' + w)
    grid = pictures.image_grid(pairs, Event.integers(tuple(pairs.shape[1:]), 256))
    return _figure(
        np.asarray(grid), scale, f"bits of a pixel ({'sum of channels, ' if len(x[0]) > 1 else ''}given those before)"
    )


def entry_maps(bits: Tensor) -> "Figure":
    """Return a figure with a row for each datum and a column for each entry.

    Args:
        bits: (n, *event.shape).
    """
    from matplotlib.colors import Normalize

    rows = bits.flatten(1).numpy()
    scale = Normalize(min(0.0, float(rows.min())), float(rows.max()))
    return _figure(rows, scale, "bits of an entry, given those before", xlabel="entry", ylabel="datum")


def _figure(shown: np.ndarray[Any, Any], scale: Any, label: str, **names: str) -> "Figure":
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    width = 9.0 if names else 1.5 + 6.0 * shown.shape[1] / shown.shape[0]
    figure = Figure(figsize=(width, 4.0 if names else 6.0), layout="constrained")
    axis = figure.subplots()
    look: dict[str, Any] = {"cmap": COLOURS, "norm": scale, "aspect": "auto"} if names else {}
    axis.imshow(shown, interpolation="nearest", **look)
    axis.set(**names)
    axis.set_axis_on() if names else axis.set_axis_off()
    figure.colorbar(ScalarMappable(scale, COLOURS), ax=axis, label=label)
    return figure
