"""Names to model classes; other packages add theirs through the entry-point group `ancestral.models`."""

import functools
import importlib
import pkgutil
import re
import warnings
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
        InvalidInput: if the name is no such name, another class has it, or what is registered is not a model.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise InvalidInput(f"the model name {name!r} cannot be used: take lower case letters, digits and single hyphens")

    def add(cls: M) -> M:
        if not (isinstance(cls, type) and issubclass(cls, Model)):
            raise InvalidInput(f"{cls!r} cannot be registered as {name!r}: expected a subclass of ancestral.models.Model")
        taken = _classes.get(name)
        # A class that comes again, from a module that was reloaded, replaces itself.
        if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InvalidInput(
                f"the model name {name!r} is taken by {taken.__module__}.{taken.__qualname__}: choose another for"
                f" {cls.__module__}.{cls.__qualname__}"
            )
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
        try:
            register(entry.name)(entry.load())
        except Exception as error:  # another package's defect must not take our models away
            warnings.warn(f"the model {entry.name!r} ({entry.value}) cannot be loaded: {error}", stacklevel=2)


def names() -> list[str]:
    """Return the names of all models, sorted.

    >>> "fvsbn" in names()
    True
    """
    _load_all()
    return sorted(_classes)


def get(name: str) -> type[Model]:
    """Return the class registered under `name`.

    Args:
        name: the registered name.

    Raises:
        InvalidInput: if there is none; the message has near matches.

    >>> get("fvsbn").family
    'autoregressive'
    """
    _load_all()
    if name not in _classes:
        raise InvalidInput(
            f"there is no model {name!r}.{near_matches(name, _classes)} `ancestral models` lists all {len(_classes)}"
        )
    return _classes[name]


def create(name: str, event: Event, condition: Event | None = None, **config: Any) -> Model:
    """Build the model `name` for `event`.

    Args:
        name: the registered name.
        event: what a datum is.
        condition: what the model is conditioned on, or None.
        config: the constructor's keyword arguments; lists stand for tuples.

    Raises:
        InvalidInput: if there is no such model, it cannot take the event, or an option is unknown or unfit.

    >>> create("fvsbn", Event.binary((6,)), condition=Event.label(10)).config
    {'l1': 0.0}
    """
    cls = get(name)
    unknown = sorted(set(config) - set(cls.options()))
    if unknown:
        options = cls.options()
        raise InvalidInput(
            f"{name} has no option {unknown[0]!r}.{near_matches(unknown[0], options)} Its options: {', '.join(options)}"
        )
    return cls(event, condition=condition, **{key: list_to_tuple(value) for key, value in config.items()})
