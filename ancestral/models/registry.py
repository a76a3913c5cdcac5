"""Names to model classes; other packages add theirs through the entry-point group `ancestral.models`."""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, TypeVar

from ancestral.errors import InvalidInput, near_matches
from ancestral.event import Event
from ancestral.models.base import Model, list_to_tuple

ENTRY_POINTS = "ancestral.models"
_classes: dict[str, type[Model]] = {}
M = TypeVar("M", bound=type[Model])


def register(name: str) -> Callable[[M], M]:
    """Return a class decorator that puts a model into the registry under `name`.

    Args:
        name: what a person types, in lower case with hyphens.

    Raises:
        InvalidInput: if another class has the name.
    """

    def add(cls: M) -> M:
        if name in _classes and _classes[name].__qualname__ != cls.__qualname__:
            raise InvalidInput(f"the model name {name!r} is taken by {_classes[name].__qualname__}")
        cls.name = name
        _classes[name] = cls
        return cls

    return add


@functools.cache
def _load_all() -> None:
    import ancestral.models as package

    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name not in _classes:
            register(entry.name)(entry.load())


def names() -> list[str]:
    """Return the names of all models, sorted."""
    _load_all()
    return sorted(_classes)


def get(name: str) -> type[Model]:
    """Return the class registered under `name`.

    Raises:
        InvalidInput: if there is none; the message has near matches.

    >>> get("made").family
    'autoregressive'
    """
    _load_all()
    if name not in _classes:
        raise InvalidInput(
            f"there is no model {name!r}.{near_matches(name, _classes)} `ancestral models` lists all {len(_classes)}"
        )
    return _classes[name]


def create(name: str, event: Event, condition: Event | None = None, **config: Any) -> Model:
    """Build the model `name` for `event`; `config` holds the constructor's keyword arguments.

    Raises:
        InvalidInput: if there is no such model, it cannot take the event, or an option is unknown or unfit.

    >>> model = create("made", Event.binary((6,)), hidden=(16,))
    >>> model.config["hidden"]
    (16,)
    """
    cls = get(name)
    unknown = sorted(set(config) - set(cls.options()))
    if unknown:
        options = cls.options()
        raise InvalidInput(
            f"{name} has no option {unknown[0]!r}.{near_matches(unknown[0], options)} Its options: {', '.join(options)}"
        )
    return cls(event, condition=condition, **{key: list_to_tuple(value) for key, value in config.items()})
