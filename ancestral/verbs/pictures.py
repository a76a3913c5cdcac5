"""Pictures of data and of training: what is drawn follows from the event alone."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.files import replacing

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure
    from PIL import Image

MAX_CORNER = 6
"""Entries shown in a corner plot, the first ones."""
GRID_SIDE = 640
"""Smallest side, in pixels, that a grid of images is enlarged to."""
CAPTION = (48, 15)
"""Width and height, in pixels, that a caption below an image takes."""


def samples(event: Event, x: Tensor, path: Path | str, names: tuple[str, ...] = ()) -> None:
    """Draw data of any event and write the picture; its format follows from the suffix.

    Images and drawings make a grid, sounds their spectrograms, text is printed. Tables of real numbers make a histogram (1
    entry), a scatter plot (2) or a corner plot of the first six entries; any other data make a map, with a row for each.

    Args:
        event: what a datum is.
        x: data, (n, *event.shape).
        path: the file, such as samples.png.
        names: of the entries, for the axes of a plot.

    Raises:
        InvalidInput: if there are no data, or the suffix is of no known format.
    """
    event.check(x, "the data to draw")
    if len(x) == 0:
        raise InvalidInput("there are no data to draw: give at least one")
    x = x.detach().cpu()
    if event.is_image:
        save_image(image_grid(x, event), path)
    elif event.encoding is not None:
        from ancestral.verbs.text_pictures import passages, text_image

        save_image(text_image(passages(event, x)), path)
    elif event.pcm is not None:
        from ancestral.verbs.audio_pictures import spectrograms

        save_figure(spectrograms(x, event.pcm), path)
    elif event.is_drawing:
        from ancestral.verbs.stroke_pictures import drawings

        save_figure(drawings(x, event), path)
    elif not event.discrete and len(event.shape) == 1:
        save_figure(corner_plot(x, names or tuple(f"{event.axes[0]} {i}" for i in range(event.numel))), path)
    else:
        save_figure(heat_map(x, event), path)


def to_pixels(x: Tensor, event: Event) -> np.ndarray[Any, Any]:
    """Return images as 8-bit pixels, (n, height, width, 3 or 1).

    Discrete events are scaled so that their highest level is white; real ones so that the range of the data fits.

    Args:
        x: (n, channel, height, width).
        event: an image event.
    """
    value = x.detach().cpu().double()
    low, high = (0.0, event.levels - 1.0) if event.levels is not None else (float(value.min()), float(value.max()))
    value = (value - low) / max(high - low, 1e-12) * 255.0
    if value.shape[1] not in (1, 3):  # other channels have no colour: show them side by side
        value = value.transpose(1, 2).flatten(2).unsqueeze(1)  # (n, 1, h, c * w)
    return value.round().byte().permute(0, 2, 3, 1).numpy()


def image_grid(x: Tensor, event: Event, columns: int | None = None) -> "Image.Image":
    """Return images as one picture, row by row, enlarged without smoothing.

    Args:
        x: (n, channel, height, width).
        event: an image event.
        columns: images in a row; about as many as rows where None.

    >>> image_grid(torch.zeros(4, 1, 8, 8), Event.binary((1, 8, 8))).mode
    'L'
    """
    pixels = to_pixels(x, event)
    n, h, w, _ = pixels.shape
    return _tiled(pixels, min(n, columns or math.ceil(math.sqrt(n * h / w))))


def captioned_grid(x: Tensor, event: Event, captions: Sequence[str], columns: int) -> "Image.Image":
    """Return images as one picture, row by row, with a caption below each.

    Args:
        x: (n, channel, height, width).
        event: an image event.
        captions: of each, (n,); short ones, of about eight characters.
        columns: images in a row.

    >>> captioned_grid(torch.zeros(2, 1, 8, 8), Event.binary((1, 8, 8)), ["a", "b"], columns=2).mode
    'L'
    """
    return _tiled(to_pixels(x, event), columns, captions)


def _tiled(pixels: np.ndarray[Any, Any], columns: int, captions: Sequence[str] = ()) -> "Image.Image":
    """Return pixels, (n, height, width, 3 or 1), as one enlarged picture, with a caption below each where there are some."""
    from PIL import Image, ImageDraw, ImageFont

    n, h, w, c = pixels.shape
    rows = math.ceil(n / columns)
    gap = 1 if h < 64 else 2
    zoom = max(1, math.ceil(GRID_SIDE / max(rows * (h + gap) + gap, columns * (w + gap) + gap)))
    if captions:
        zoom = max(zoom, math.ceil(CAPTION[0] / w))
    strip = math.ceil(CAPTION[1] / zoom) if captions else 0
    canvas = np.full((rows * (h + gap + strip) + gap, columns * (w + gap) + gap, c), 128, np.uint8)
    corners = [(gap + i // columns * (h + gap + strip), gap + i % columns * (w + gap)) for i in range(n)]
    for image, (top, left) in zip(pixels, corners, strict=True):
        canvas[top : top + h, left : left + w] = image
    picture = Image.fromarray(canvas.squeeze(-1) if c == 1 else canvas)
    picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    if captions:
        pen, font = ImageDraw.Draw(picture), ImageFont.load_default(CAPTION[1] - 4)
        for text, (top, left) in zip(captions, corners, strict=True):
            pen.text(
                ((left + w / 2) * zoom, (top + h) * zoom + 1), text, fill=0 if c == 1 else (0, 0, 0), font=font, anchor="ma"
            )
    return picture


def completion_grid(
    event: Event, x: Tensor, observed: Tensor, log_prob: Tensor | None = None, truth: Tensor | None = None
) -> "Image.Image":
    """Return completed images as one picture, a row for each: what was given, the completions, and the truth if known.

    What was not observed is hatched; below each completion is its log-probability.

    Args:
        event: an image event.
        x: (batch, n, *event.shape).
        observed: (batch, *event.shape), bool.
        log_prob: log p(completion | observed), (batch, n), nats.
        truth: (batch, *event.shape).

    >>> event = Event.binary((1, 8, 8))
    >>> completion_grid(event, torch.ones(2, 3, 1, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.bool)).mode
    'L'
    """
    shown = torch.cat((x[:, :1], x) if truth is None else (x[:, :1], x, truth[:, None].to(x.dtype)), dim=1)
    columns = shown.shape[1]
    pixels = to_pixels(shown.flatten(0, 1), event)
    seen = to_pixels(observed, Event.binary(event.shape))
    height, width = np.ogrid[: pixels.shape[1], : pixels.shape[2]]
    hatch = np.where((height + width) % 3 == 0, 96, 160).astype(np.uint8)[..., None]
    pixels[::columns] = np.where(seen > 0, pixels[::columns], hatch)
    captions: list[str] = []
    if log_prob is not None:
        last = [] if truth is None else ["truth"]
        captions = [text for row in log_prob.tolist() for text in ("given", *(f"{value:.1f}" for value in row), *last)]
    return _tiled(pixels, columns, captions)


def corner_plot(x: Tensor, names: tuple[str, ...]) -> "Figure":
    """Return histograms of the entries on the diagonal and scatter plots of pairs below it.

    Args:
        x: real data, (n, d); the first `MAX_CORNER` entries are shown.
        names: of the d entries.
    """
    columns = x.double().numpy()[:, :MAX_CORNER]
    d = columns.shape[1]
    figure = _figure(max(3.5, 2.0 * d), max(3.5, 2.0 * d))
    style: dict[str, Any] = {"s": max(1.0, min(9.0, 6000 / len(columns))), "linewidths": 0, "alpha": 0.6}
    if d == 2:
        axis = figure.subplots()
        axis.scatter(columns[:, 0], columns[:, 1], **style)
        axis.set(xlabel=names[0], ylabel=names[1])
        return figure
    for i in range(d):
        for j in range(i + 1):
            axis = figure.add_subplot(d, d, i * d + j + 1)
            if i == j:
                axis.hist(columns[:, i], bins=30)
            else:
                axis.scatter(columns[:, j], columns[:, i], **style)
            if i == d - 1:
                axis.set_xlabel(names[j])
            if j == 0 and i > 0:
                axis.set_ylabel(names[i])
            axis.tick_params(labelsize=6)
    return figure


def heat_map(x: Tensor, event: Event) -> "Figure":
    """Return a map with one row for each datum and one column for each entry.

    Args:
        x: data, (n, *event.shape).
        event: what a datum is.
    """
    rows = x.reshape(len(x), -1).double().numpy()
    figure = _figure(min(14.0, 3.0 + 0.08 * rows.shape[1]), min(10.0, 2.0 + 0.08 * len(rows)))
    axis = figure.subplots()
    limits: dict[str, Any] = {"vmin": 0, "vmax": event.levels - 1} if event.levels is not None else {}
    shown = axis.imshow(
        rows, cmap="gray_r" if event.is_binary else "viridis", aspect="auto", interpolation="nearest", **limits
    )
    axis.set(xlabel="entry", ylabel="datum")
    if not event.is_binary:
        figure.colorbar(shown, label="value")
    return figure


def learning_curve(metrics: "pandas.DataFrame", path: Path | str, monitor: str = "nats") -> None:
    """Draw the course of the monitored metric over the steps, one line for each split, and write the picture.

    Args:
        metrics: of a run: columns step, split, metric and value.
        path: the file.
        monitor: the metric of the validation split. The training loss is drawn with it where both are in nats.
    """
    figure = _figure(6.4, 4.0)
    axis = figure.subplots()
    wanted = [("train", "loss"), ("validation", monitor)] if monitor == "nats" else [("validation", monitor)]
    for split, name in wanted:
        rows = metrics[(metrics["split"] == split) & (metrics["metric"] == name)]
        if len(rows):
            marker = "o" if len(rows) < 30 else None
            axis.plot(rows["step"], rows["value"], label=split, marker=marker, markersize=3)
    axis.set(xlabel="step", ylabel="negative log-likelihood (nats per datum)" if monitor == "nats" else monitor)
    if axis.lines:
        axis.legend()
    axis.grid(alpha=0.3)
    save_figure(figure, path)


def example_conditions(condition: Event | None, n: int, device: torch.device | str = "cpu") -> Tensor | None:
    """Return `n` conditions that show what there is: each class in turn for labels, else the middle of the support.

    Of several labels, the first one changes first.

    Args:
        condition: a model's condition event, or None.
        n: number of conditions.
        device: of the result.

    >>> example_conditions(Event.label(3), 5)
    tensor([0, 1, 2, 0, 1], dtype=torch.uint8)
    """
    if condition is None:
        return None
    if condition.levels is None:
        centre = torch.tensor(condition.loc or (0.0,) * condition.numel, device=device)
        return centre.view(condition.shape).expand(n, *condition.shape)
    numbers = torch.arange(n, device=device)
    if condition.classes is not None:
        before = [math.prod(condition.classes[:i]) for i in range(condition.numel)]
        labels = [numbers // b % count for b, count in zip(before, condition.classes, strict=True)]
        return torch.stack(labels, dim=1).to(condition.dtype)
    if condition.shape == ():
        return (numbers % condition.levels).to(condition.dtype)
    return torch.zeros(n, *condition.shape, dtype=condition.dtype, device=device)


def save_figure(figure: "Figure", path: Path | str) -> None:
    """Write a figure so that the file is whole or unchanged.

    Raises:
        InvalidInput: if the suffix is of no format that matplotlib writes.
    """
    suffix = Path(path).suffix[1:].lower()
    known = figure.canvas.get_supported_filetypes()
    if suffix not in known:
        raise InvalidInput(f"{path} has no suffix of a picture: use .png, or one of {', '.join(sorted(known))}")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def save_image(image: "Image.Image", path: Path | str) -> None:
    """Write an image so that the file is whole or unchanged.

    Raises:
        InvalidInput: if the suffix is of no format that pillow writes.
    """
    from PIL import Image

    suffix = Path(path).suffix.lower()
    known = Image.registered_extensions()
    if known.get(suffix) not in Image.SAVE:
        raise InvalidInput(f"{path} has no suffix of a picture: use .png")
    with replacing(path) as temporary:
        image.save(temporary)


def _figure(width: float, height: float) -> "Figure":
    # A Figure of its own, not pyplot's: no global state, and no window system.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
