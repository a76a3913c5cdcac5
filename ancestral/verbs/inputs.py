"""What every verb starts with: a model by name, its data, and the data batch by batch."""

import copy
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ancestral.data import Data, load
from ancestral.data.base import Split
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.int8 import replace_linear
from ancestral.layers.mlp import check_choice
from ancestral.models import registry, store
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model
from ancestral.models.store import half_of
from ancestral.zoo import find

BATCH_ELEMENTS = 2**23
"""Raw parameters or features of entries held at once, about, where no batch size is given: 32 MiB in single precision. More
would not be faster, and memory of that size is asked for anew by every layer."""
ENCODING = {"event", "level", "vocabulary", "words"}
"""Options of data that decide what a token of text is."""
SAMPLES = {"event", "levels", "length"}
"""Options of data that decide what a sound is."""
WEIGHTS = ("half", "int8", "bfloat16")
"""Kinds of weights that a loaded model can be given in place of its own."""
_MANY = 258
"""Levels that bfloat16, of eight bits, cannot tell apart any more."""
T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """A model with the name its figures are shown under, and what it was trained on.

    Args:
        model: the model.
        name: what a person called it: a zoo name, a folder, a repository.
        data: name of the data it was trained on, where known.
        options: how those data were loaded.
        training: the settings that it was trained with, where known.
    """

    model: Model
    name: str
    data: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


Named = Model | Subject | str | os.PathLike[str]
"""What verbs take for a model: one, or the zoo name, run directory or hub repository of one."""


def open_model(model: Named, device: str = "cpu", weights: str | None = None) -> Subject:
    """Return a model, or load it by its zoo name, run directory or hub repository.

    Args:
        model: the model or its name.
        device: where a loaded model is put; "auto" is the GPU where there is one.
        weights: "half" to round the weights of a loaded model to half precision, "int8" to round those of its linear layers to
            eight bits, "bfloat16" to compute with weights and features of that type; as they are where None.

    Raises:
        InvalidInput: if there is no such model, its files cannot be used, there are no such weights, or its own do not fit.
        Unsupported: if the model's weights cannot be rounded.
    """
    if isinstance(model, Subject):
        return model
    if isinstance(model, Model):
        return Subject(model, model.name or type(model).__name__)
    loaded, config = store.load(find(model))
    recorded = config.get("data") or {}
    options = (recorded.get("record") or {}).get("options") or {}
    place = pick_device("cpu" if weights is not None and device == "auto" else device)
    training = config.get("training") or {}
    return Subject(rounded(loaded.to(place), weights), str(model), recorded.get("name"), options, training)


def rounded(model: Model, weights: str | None) -> Model:
    """Return a model with weights of another kind, or the model itself where none is asked for; see `open_model`."""
    if weights is None:
        return model
    check_choice("kind of weights", weights, WEIGHTS)
    if weights == "int8" and not model.plain_linear:
        able = ", ".join(name for name in registry.names() if registry.get(name).plain_linear)
        raise Unsupported(f"the weights of a {model.name} cannot be rounded: leave weights= out, or take one of {able}")
    if weights == "bfloat16" and not (isinstance(model, AutoregressiveModel) and (model.event.levels or _MANY) < _MANY):
        raise Unsupported(
            f"a {model.name} of {model.event} cannot compute in bfloat16: leave weights= out, or take an autoregressive model"
            f" of at most {_MANY - 1} levels, which that type can tell apart"
        )
    other = copy.deepcopy(model)
    if weights == "bfloat16":
        return other.to(torch.bfloat16)
    if weights == "int8":
        replace_linear(other)
        return other
    for name, parameter in other.named_parameters():
        parameter.data = half_of(name, parameter.data).to(parameter.dtype)
    return other


def pick_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is the GPU where there is one.

    Raises:
        InvalidInput: if there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise InvalidInput(f"there is no device {name!r} here: use auto or cpu") from error
    return torch.device(name)


def open_data(data: Data | str | None, subject: Subject, options: dict[str, Any] | None = None) -> Data:
    """Return data for a model: those it was trained on where none are named.

    Args:
        data: the data, their name or path, or None.
        subject: the model.
        options: how to load them, in place of how the model's own data were loaded.

    Raises:
        InvalidInput: if there are no such data, or the model is for another event.
    """
    if not isinstance(data, Data):
        name = data or subject.data
        if name is None:
            raise InvalidInput(f"it is not recorded what {subject.name} was trained on: name the data")
        chosen = dict(subject.options) if name == subject.data else {}
        if subject.model.condition is not None and subject.model.condition.end:
            kept = {key: subject.options.get(key) for key in ("languages", "condition")}
            chosen.update({key: value for key, value in kept.items() if value is not None})
        elif subject.model.condition is not None:
            chosen.setdefault("condition", subject.options.get("condition") or "label")
        chosen.update(options or {})
        data = load(name, **chosen) if name == subject.data else _load_for(subject.model.event, name, chosen)
    check_fit(subject, data)
    return data


def _load_for(event: Event, name: str, options: dict[str, Any]) -> Data:
    """Load data other than those that a model was trained on, for its event, where reading them depends on one.

    That is so of text (its tokens), drawings and sounds (their length, levels and rate), if another is not asked for.
    """

    def kind(event: Event) -> tuple[bool, ...]:
        return event.encoding is not None, event.is_drawing, event.pcm is not None

    if not any(kind(event)) or (ENCODING if event.pcm is None else SAMPLES) & options.keys():
        return load(name, **options)
    try:
        return load(name, **options, event=event)
    except InvalidInput as error:
        try:
            data = load(name, **options)
        except InvalidInput:
            raise error from None
        # Points that are no drawing for the model are a table to who knows no better.
        if kind(data.event) == kind(event) or (event.is_drawing and not data.event.is_image and not any(kind(data.event))):
            raise error from None
        return data  # something else: what it is in place of that is said by who compares


def find_image_files(sources: Sequence[str]) -> list[Path]:
    """Return the image files that `sources` are or, of folders, hold; none where they are something else.

    Raises:
        InvalidInput: if one of several is neither.
    """
    from ancestral.data.images import SUFFIXES, find_images

    found: list[Path] = []
    for path in map(Path, sources):
        files = find_images(path) if path.is_dir() else [path] if path.suffix.lower() in SUFFIXES else []
        if not files and len(sources) > 1:
            raise InvalidInput(f"{path} is no image and no folder of images: give images, or the name of one data set")
        found.extend(files)
    return found


def read_images(paths: Sequence[Path], event: Event) -> Tensor:
    """Return image files as data of an event: colours as luma where it has one channel, and levels reduced where it has fewer.

    Args:
        paths: the files.
        event: of images with at most 256 levels.

    Returns:
        (n, *event.shape).

    Raises:
        InvalidInput: if one cannot be read, or is not of the event's height, width and channels.
    """
    from ancestral.data.images import ImageDecoder, ImageFormat
    from ancestral.data.material import Options
    from ancestral.data.values import values_of

    if not event.is_image or event.levels is None or event.levels > 256:
        raise InvalidInput(f"images have height, width and at most 256 levels, the model is of {event} data: name a data set")
    decoder = ImageDecoder(ImageFormat(gray=event.shape[0] == 1))
    pixels = torch.from_numpy(decoder([{"path": str(path)} for path in paths], ["the image"] * len(paths)))
    if tuple(pixels.shape[1:]) != event.shape:
        raise InvalidInput(
            f"{paths[0]} is an image of {'x'.join(map(str, pixels.shape[1:]))} (channels, height, width), the model is of"
            f" {event} data: bring it to that size first"
        )
    pixels = pixels if decoder.levels == 256 else pixels * 255
    if event.levels == 256:
        return pixels
    options = Options(binarize=128) if event.is_binary else Options(levels=event.levels)
    return values_of(Event.integers(event.shape, 256), options, False, "the image").fixed(pixels)


def check_fit(subject: Subject, data: Data) -> None:
    """Raise unless the model is for data of this event and has the condition that it needs.

    Raises:
        InvalidInput: saying what the model is for and what the data are.
    """
    model = subject.model
    if not same_space(model.event, data.event):
        advice = "choose data or a model that fit"
        if str(model.event) == str(data.event):
            advice = "its tokens are another vocabulary's; load it for the model's own event"
        raise InvalidInput(f"{subject.name} is a model of {model.event} data, {data.name} is {data.event}: {advice}")
    if model.condition is None:
        return
    if data.condition is None:
        raise InvalidInput(
            f"{subject.name} needs a condition ({model.condition}) for each datum, {data.name} was loaded without:"
            " name its column with --data.condition"
        )
    if not same_space(model.condition, data.condition):
        raise InvalidInput(
            f"{subject.name} is conditioned on {model.condition}, {data.name} has {data.condition}: choose data that fit"
        )


def same_space(a: Event, b: Event) -> bool:
    """Return whether data of both events are of one shape and support, and figures on one measure.

    Text must be in one encoding, sequences all have an end or none, and sounds of one rate and companding.

    >>> same_space(Event.integers((4,), 256, ("time",)), Event.integers((4,), 256))
    True
    """
    one, other = ((e.shape, e.levels, e.columns, e.encoding, e.pcm, e.end) for e in (a, b))
    return one == other


def auto_batch_size(event: Event) -> int:
    """Return a batch size at which a model of `event` needs some hundred megabytes."""
    return max(1, min(1000, BATCH_ELEMENTS // (event.numel * min(max(event.levels or 0, 64), 256))))


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Put a model in evaluation mode, without gradients, and back."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def batches(
    split: Split, model: Model, *, batch_size: int | None = None, limit: int | None = None, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yield this process's part of a split, as (indices, x, condition) on the model's device.

    With several processes (torch.distributed) every example is in exactly one of them. Splits that have randomness
    draw it from `seed` alone, so that two models see the same data.

    Args:
        split: the data.
        model: whose device, event and need of a condition count.
        batch_size: examples in a batch; a size that fits in memory where None.
        limit: examples used, the first ones; all where None.
        seed: seed of the split's own randomness.
    """
    n = len(split) if limit is None else min(limit, len(split))
    rank, world = processes()
    generator = torch.Generator().manual_seed(seed + rank)
    for indices in torch.arange(rank, n, world).split(batch_size or auto_batch_size(model.event)):
        x, condition = split.batch(indices, generator)
        condition = None if condition is None or model.condition is None else condition.to(model.device)
        yield indices, x.to(model.device), condition


def count_batches(split: Split, model: Model, batch_size: int | None, limit: int | None) -> int:
    """Return how many batches `batches` yields."""
    n = len(split) if limit is None else min(limit, len(split))
    rank, world = processes()
    return math.ceil(len(range(rank, n, world)) / (batch_size or auto_batch_size(model.event)))


def processes() -> tuple[int, int]:
    """Return the number of this process and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def check_counts(**counts: int | None) -> None:
    """Raise unless each count is at least 1 or None.

    Raises:
        InvalidInput: naming the first that is not.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise InvalidInput(f"{name} is {value}, expected at least 1")


def track(items: Iterable[T], what: str, total: int, *, progress: bool) -> Iterator[T]:
    """Yield `items`, with a progress bar on stderr where it is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    quiet = not progress or not console.is_terminal or processes()[0] > 0
    with Progress(console=console, transient=True, disable=quiet) as bar:
        yield from bar.track(items, total=total, description=what)
