"""What a conditional of an autoregressive model depends on, measured and drawn.

    python -m ancestral.verbs.receptive_field docs/assets/receptive-field.png

draws the picture of the documentation: the blind spot of a PixelCNN, and its absence in a Gated PixelCNN.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import registry
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model
from ancestral.verbs.pictures import example_conditions, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = 16
"""Random data over which the Jacobian is summed: a ReLU that is off for one is on for another."""


def receptive_field(model: Model, position: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
    r"""Return how strongly the conditional of one entry depends on each entry of a datum.

    sum_n |d (w . raw_position(x_n)) / d x_n|, over random data x_n, relaxed to real numbers, and a random direction w
    of the entry's raw parameters. It is zero where the conditional cannot see.

    Args:
        model: an autoregressive model.
        position: index of the entry: (channel, row, column) for an image.
        generator: source of the data and of w.

    Returns:
        (*event.shape), not negative, of the model's type.

    Raises:
        Unsupported: if the model is not autoregressive.
        InvalidInput: if the position is not in the event.

    >>> from ancestral.models import registry
    >>> receptive_field(registry.create("made", Event.binary((4,)), hidden=(64,)), (2,)) > 0
    tensor([ True,  True, False, False])
    """
    if not isinstance(model, AutoregressiveModel):
        raise Unsupported(f"a receptive field is of a conditional, and {model.name} has none: give an autoregressive model")
    shape = model.event.shape
    if len(position) != len(shape) or not all(0 <= i < n for i, n in zip(position, shape, strict=True)):
        raise InvalidInput(f"got position {tuple(position)}, expected one index for each axis of {shape}")
    x = torch.rand(DRAWS, *shape, dtype=model.dtype, generator=generator).to(model.device)
    x = (x * ((model.event.levels or 2) - 1)).requires_grad_()
    training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            raw = model(x, example_conditions(model.condition, DRAWS, model.device))[(slice(None), *position)]  # (n, P)
            direction = torch.randn(raw.shape, dtype=model.dtype, generator=generator).to(model.device)
            (gradient,) = torch.autograd.grad((raw * direction).sum(), x, allow_unused=True)
    finally:
        model.train(training)
    return x.new_zeros(shape) if gradient is None else gradient.abs().sum(0)


def figure(models: Mapping[str, AutoregressiveModel], position: Sequence[int]) -> "Figure":
    """Return maps of what a pixel sees, side by side: the pixel, those it sees, and earlier ones that it does not.

    Args:
        models: models of one image event, by title; the first image channel is drawn.
        position: (channel, row, column) of the pixel.

    Raises:
        InvalidInput: if a model is of another kind of data, or the position is not in the event.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    kinds = {
        "later pixels": "#eceff1",
        "seen": "#5c7f95",
        "earlier, but never seen": "#e4572e",
        "the pixel": "#111111",
    }
    drawn = Figure(figsize=(3.6 * len(models), 4.3), layout="constrained")
    axes = drawn.subplots(1, len(models), squeeze=False)[0]
    for axis, (title, model) in zip(axes, models.items(), strict=True):
        if not model.event.is_image:
            raise InvalidInput(f"got a model of {model.event}, expected one of images")
        order, flat = model.order.tolist(), torch.arange(model.event.numel).view(model.event.shape)
        steps = torch.empty(model.event.numel, dtype=torch.long).scatter_(0, model.order, torch.arange(len(order)))
        earlier = steps[flat[0]] < steps[flat[tuple(position)]]
        seen = receptive_field(model, position, torch.Generator().manual_seed(0))[0].cpu() > 0
        kind = torch.where(seen, 1, torch.where(earlier, 2, 0))  # (h, w)
        kind[tuple(position[1:])] = 3
        axis.imshow(kind.numpy(), cmap=ListedColormap(list(kinds.values())), vmin=0, vmax=len(kinds) - 1)
        axis.set_xticks([i - 0.5 for i in range(kind.shape[1] + 1)], labels=[])
        axis.set_yticks([i - 0.5 for i in range(kind.shape[0] + 1)], labels=[])
        axis.grid(color="white", linewidth=1.0)
        axis.tick_params(length=0)
        for side in axis.spines.values():
            side.set_visible(False)
        axis.set_title(title)
    handles = [Patch(facecolor=color, label=label) for label, color in reversed(kinds.items())]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(kinds), frameon=False)
    return drawn


def main(path: Path | str) -> None:
    """Draw the receptive fields of a PixelCNN and a Gated PixelCNN, deep enough to reach all pixels, to `path`."""
    event = Event.binary((1, 19, 19))
    models = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for title, name in (("PixelCNN", "pixelcnn"), ("Gated PixelCNN", "gated-pixelcnn")):
            model = registry.create(name, event, channels=32, layers=7, positions=False)
            if isinstance(model, AutoregressiveModel):
                models[title] = model.double()
    save_figure(figure(models, (0, 9, 9)), path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "receptive-field.png")
