"""Models on disk: `config.json` and `model.safetensors`, loaded without executing anything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

import ancestral
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.files import write_bytes, write_text
from ancestral.layers.int8 import Int8Linear
from ancestral.models import registry
from ancestral.models.base import Model

FORMAT = 1
"""Version of the layout of `config.json`; another one is refused."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"
SCALE = "::scale"
"""Behind the name of a tensor that is stored as bytes: the name of its scales."""
MAX_CONFIG_BYTES = 16 * 2**20
MAX_WEIGHTS_BYTES = 64 * 2**30


def describe(model: Model) -> dict[str, Any]:
    """Return what `config.json` says of a model: enough to rebuild it without its weights."""
    return {
        "format": FORMAT,
        "version": ancestral.__version__,
        "model": {"name": model.name, "options": model.config},
        "event": model.event.to_json(),
        "condition": model.condition.to_json() if model.condition is not None else None,
    }


def save_weights(weights: dict[str, torch.Tensor], path: Path, *, half: bool = False, byte: bool = False) -> None:
    """Write a state dictionary as safetensors.

    Args:
        weights: parameters and buffers by name.
        path: the file.
        half: store floating tensors as float16.
        byte: the same, and matrices and kernels as one byte a number, with a scale for each of their rows.

    Raises:
        InvalidInput: if weights do not fit half precision.
    """
    tensors = {}
    for name, tensor in weights.items():
        value = tensor.detach().cpu().contiguous()
        if byte and value.is_floating_point() and value.dim() >= 2:
            value, tensors[name + SCALE] = bytes_of(name, value)
        elif (half or byte) and value.is_floating_point():
            value = half_of(name, value)
        # A tensor shared under two names is stored twice: safetensors refuses aliases.
        tensors[name] = value.clone()
    write_bytes(path, save_tensors(tensors, metadata={"format": "pt"}))


def bytes_of(name: str, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a tensor of at least two axes as whole numbers from -127 to 127, and the scale of each row in float16.

    Rows are along the first axis that is longer than 1.

    Args:
        name: what it is called in an error.
        tensor: the tensor, (1, ..., rows, ...).

    Raises:
        InvalidInput: if a scale does not fit half precision.

    >>> whole, scale = bytes_of("w", torch.tensor([[1.0, -0.5], [0.0, 0.0]]))
    >>> whole.tolist(), (whole * scale.float()).tolist()[1]
    ([[127, -64], [0, 0]], [0.0, 0.0])
    """
    rows = tensor.float()
    largest = rows.abs().amax(_within_rows(tensor.shape), keepdim=True)
    # Of the scale as it is stored, so that rounding it costs nothing; a row that is too small for one is zero.
    scale = half_of(name, largest / 127.0)
    whole = (rows / scale.float().clamp_min(2.0**-24)).round().clamp(-127, 127)
    return whole.to(torch.int8), scale


def _within_rows(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the axes that a row of a tensor has: all behind the first that is longer than 1."""
    first = next((axis for axis, n in enumerate(shape[:-1]) if n > 1), len(shape) - 2)
    return tuple(range(first + 1, len(shape)))


def from_bytes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors of a file with those that were stored as bytes put back to numbers, float32.

    Raises:
        InvalidInput: if a scale belongs to no tensor of bytes, or does not fit it.
    """
    scales = {name.removesuffix(SCALE): tensor for name, tensor in tensors.items() if name.endswith(SCALE)}
    numbers = {name: tensor for name, tensor in tensors.items() if not name.endswith(SCALE)}
    for name, scale in scales.items():
        whole = numbers.get(name)
        if whole is None or whole.dtype != torch.int8:
            raise InvalidInput(f"there is a scale for {name}, and no bytes to scale: restore the file, or train again")
        needed = tuple(1 if axis in _within_rows(whole.shape) else n for axis, n in enumerate(whole.shape))
        if scale.shape != needed:
            raise InvalidInput(f"the scale of {name} has shape {tuple(scale.shape)}, expected {needed}, a number for each row")
        numbers[name] = whole.float() * scale.float()
    return numbers


def replace_tensor(name: str, tensor: torch.Tensor, path: Path) -> None:
    """Write one tensor anew in a file of weights that has one of this name; what else is in it stays as it is.

    Args:
        name: its name in the state of the model.
        tensor: what takes its place.
        path: the file.

    Raises:
        InvalidInput: if the file has none of this name.
    """
    tensors = load_tensors(path.read_bytes())
    if name not in tensors:
        raise InvalidInput(f"{path} has no {name}: it holds the weights of another model")
    save_weights({**tensors, name: tensor}, path)


def half_of(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in half precision.

    Args:
        name: what it is called in an error.
        tensor: the tensor.

    Raises:
        InvalidInput: if a number is too large for it.
    """
    half = tensor.half()
    if not bool(torch.isfinite(half).all()):
        raise InvalidInput(f"{name} does not fit half precision: keep it in full precision")
    return half


def save(
    model: Model, folder: Path | str, extra: dict[str, Any] | None = None, *, half: bool = False, byte: bool = False
) -> None:
    """Save a model's description and weights in `folder`.

    Args:
        model: the model.
        folder: the folder; it is made where absent.
        extra: further JSON-able facts for `config.json` (data, training).
        half: store weights as float16.
        byte: the same, and matrices and kernels as one byte a number.

    Raises:
        InvalidInput: if weights do not fit half precision, or are of eight bits.
    """
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        raise InvalidInput("weights of eight bits are made when a model is loaded: save the model that they were made from")
    folder = Path(folder)
    save_weights(model.state_dict(), folder / WEIGHTS, half=half, byte=byte)
    write_text(folder / CONFIG, json.dumps({**describe(model), **(extra or {})}, indent=2) + "\n")


def read_config(folder: Path | str) -> dict[str, Any]:
    """Return the checked content of `config.json` in `folder`.

    Raises:
        InvalidInput: if it is missing, too large, not JSON, or of another format.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise InvalidInput(f"{folder} is not a run directory or a saved model: it has no {CONFIG}; `ancestral fit` makes one")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise InvalidInput(f"{path} has {path.stat().st_size} bytes, expected at most {MAX_CONFIG_BYTES}: it is not ours")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput(f"{path} is not JSON ({error}): restore it, or train again") from error
    if not isinstance(config, dict) or not {"format", "model", "event"} <= config.keys():
        raise InvalidInput(f"{path} does not describe a model: expected the keys format, model and event")
    if config["format"] != FORMAT:
        raise InvalidInput(
            f"{path} has format {config['format']!r}, this version of ancestral ({ancestral.__version__}) reads format"
            f" {FORMAT}: use the version that wrote it ({config.get('version', 'unknown')})"
        )
    return config


def build(config: dict[str, Any]) -> Model:
    """Build the model that `read_config` described, with fresh weights."""
    try:
        name, options, event = config["model"]["name"], config["model"]["options"], Event.from_json(config["event"])
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"not the description of a model: {config.get('model')!r}") from error
    condition = config.get("condition")
    # The weights are about to be replaced: leave the caller's random state alone.
    with torch.random.fork_rng(devices=[]):
        return registry.create(name, event, Event.from_json(condition) if condition else None, **options)


def load_weights(model: Model, path: Path) -> None:
    """Put the weights of `path` into `model`.

    Raises:
        InvalidInput: if the file is missing, damaged, or of another model's shapes.
    """
    if not path.is_file():
        raise InvalidInput(f"{path.parent} has no {path.name}: the run saved no model yet; resume it, or train again")
    size = path.stat().st_size
    if size > MAX_WEIGHTS_BYTES:
        raise InvalidInput(f"{path} has {size} bytes, expected at most {MAX_WEIGHTS_BYTES}")
    try:
        tensors = load_tensors(path.read_bytes())
    except SafetensorError as error:
        raise InvalidInput(f"{path} is damaged ({error}): restore it, or train again") from error
    try:
        tensors = from_bytes(tensors)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    check_tensors(model, tensors, str(path))
    state = model.state_dict()
    model.load_state_dict({name: tensor.to(state[name].dtype) for name, tensor in tensors.items()})


def check_tensors(model: Model, tensors: dict[str, torch.Tensor], where: str) -> None:
    """Raise unless tensors have the names and shapes of a model's state.

    Raises:
        InvalidInput: naming the first that differs, and `where` they come from.
    """
    state = model.state_dict()
    missing, unexpected = sorted(state.keys() - tensors.keys()), sorted(tensors.keys() - state.keys())
    if missing or unexpected:
        problem = f"lacks {missing[0]}" if missing else f"has {unexpected[0]}, which the model lacks"
        raise InvalidInput(f"{where} holds the weights of another model: it {problem}; give the folder that it was saved in")
    for name, needed in state.items():  # in the model's order: safetensors keeps none
        if tensors[name].shape != needed.shape:
            raise InvalidInput(
                f"{where}: {name} has shape {tuple(tensors[name].shape)}, the model needs {tuple(needed.shape)};"
                " it was saved with other options"
            )


def load(folder: Path | str) -> tuple[Model, dict[str, Any]]:
    """Load a saved model.

    Args:
        folder: a run directory or any folder written by `save`.

    Returns:
        The model in evaluation mode, and the content of `config.json`.

    Raises:
        InvalidInput: if the folder is not one, or its files are damaged or do not fit together.
    """
    config = read_config(folder)
    model = build(config)
    load_weights(model, Path(folder) / WEIGHTS)
    model.eval()
    return model, config
