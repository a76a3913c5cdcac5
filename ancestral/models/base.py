"""The one interface of every model: a distribution over one kind of datum."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.likelihood import NONE, Likelihood

VERBS = ("log_prob", "sample", "encode", "decode", "classify")


class Model(nn.Module):
    """A distribution over the data of one `Event`, given a condition where there is one.

    A subclass takes `event` and `condition` first, and its configuration as keyword arguments, which are
    recorded in `config` when it is built. It implements those primitives that it has: `log_prob`, `sample`,
    `encode`, `decode`, `classify`; the verbs of the library are written over them. It owns its losses: `loss`, and where it
    has more than one group of parameters, `parameter_groups` and `groups_at`. A class that is its parent with other
    defaults names these, `class DCGAN(GAN, defaults={"network": "conv"})`, and has no constructor.

    Args:
        event: what a datum is.
        condition: what the model is conditioned on (`Event.label(10)` for ten classes), or None.

    Raises:
        InvalidInput: if the model cannot take the event or the condition.

    >>> from ancestral.models import create
    >>> model = create("fvsbn", Event.binary((4,)))
    >>> model.eval().log_prob(model.sample(3, generator=torch.Generator().manual_seed(0))).shape
    torch.Size([3])
    """

    name: ClassVar[str] = ""
    """The registered name."""
    family: ClassVar[str] = ""
    """autoregressive, latent, flow, adversarial, energy or representation."""
    summary: ClassVar[str] = ""
    """One line for `ancestral models`."""
    reference: ClassVar[str] = ""
    """Short cite, such as "Germain et al. 2015"."""
    takes: ClassVar[tuple[str, ...]] = ("binary", "integer", "real")
    """Kinds of support that the model takes."""
    sentences: ClassVar[bool] = False
    """Whether the model takes sequences that end (`Event.sentences`), of which some entries follow from those before."""
    images_only: ClassVar[bool] = False
    """Whether the event must be an image (channel, height, width)."""
    conditional: ClassVar[bool] = True
    """Whether the model takes a condition."""
    labelled: bool = False
    """Whether the model learns from labels, so that the classes of `classify` are theirs, by number."""
    monitor: str = "nats"
    """The per-example measure (of `measures`) that validation minimises."""
    training_defaults: ClassVar[dict[str, Any]] = {}
    """Training settings that suit the model where a person gives none, such as {"learning_rate": 1e-3}."""
    plain_linear: ClassVar[bool] = False
    """Whether every `nn.Linear` is called as it is, in passes and steps, so that another layer can take its place."""
    examples: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Tiny instances for the contract tests: constructor arguments, `event` and `condition` included."""

    changed_defaults: ClassVar[dict[str, Any]] = {}
    """Options whose defaults differ from those of the parent's constructor, as named in the class statement."""

    likelihood: Likelihood = NONE
    """What `log_prob` returns."""

    _config: dict[str, Any]

    def __init_subclass__(cls, defaults: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if defaults:
            cls.changed_defaults = {name: list_to_tuple(value) for name, value in defaults.items()}
            cls.__init__ = _with_defaults(cls, cls.changed_defaults)  # type: ignore[method-assign]
        if "__init__" in cls.__dict__:
            for parameter in inspect.signature(cls.__init__).parameters.values():
                if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    raise TypeError(f"{cls.__name__} takes {parameter}: name each option, they are its configuration")
            cls.__init__ = _recorded(cls.__init__)  # type: ignore[method-assign]

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__()
        self.__dict__.setdefault("_config", {})  # a subclass without a constructor has no options
        self.check_event(event, condition)
        self.event = event
        self.condition = condition

    # Configuration

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's keyword arguments, defaults included, without `event` and `condition`.

        JSON-able; lists are held as tuples.
        """
        return dict(self._config)

    @classmethod
    def options(cls) -> dict[str, inspect.Parameter]:
        """Return the constructor's keyword arguments by name, without `event` and `condition`."""
        parameters = dict(inspect.signature(cls.__init__).parameters)
        return {key: p for key, p in parameters.items() if key not in ("self", "event", "condition")}

    @classmethod
    def check_event(cls, event: Event, condition: Event | None = None) -> None:
        """Raise unless the model can take data of `event` and the condition.

        Raises:
            InvalidInput: naming what the model takes.
        """
        name = cls.name or cls.__name__
        kind = event.kind
        problem = ""
        if not event.shape:
            problem = "data of at least one axis"
        elif cls.images_only and not event.is_image:
            problem = "images (channel, height, width)"
        elif kind not in cls.takes:
            problem = f"{' or '.join(cls.takes)} data"
        elif event.end and not cls.sentences:
            problem = "data of one length"
        if problem:
            how = ""
            if cls.takes == ("binary",) and kind in ("integer", "real"):
                how = ". Or make them binary: binarize=0.5 is by a threshold, binarize=dynamic at random"
            raise InvalidInput(f"{name} takes {problem}, got {event} with axes {event.axes}{_takers(event, kind)}{how}")
        if condition is not None and not cls.conditional:
            raise InvalidInput(f"{name} takes no condition, got one of {condition}: train it without --data.condition")

    # Primitives

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Return log p(x | condition), of the kind that `likelihood` says.

        Args:
            x: data, (batch, *event.shape).
            condition: (batch, *condition.shape), where the model has a condition.
            generator: source of the samples of a bound or an estimate, torch's default one where None.

        Returns:
            (batch,), nats.

        Raises:
            Unsupported: if the model has no likelihood.
        """
        raise self._unsupported("log_prob")

    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` data from the model.

        Args:
            n: number of data.
            condition: (n, *condition.shape), where the model has a condition.
            generator: source of randomness.

        Returns:
            (n, *event.shape), of type `event.dtype`.

        Raises:
            Unsupported: if the model cannot be sampled.
        """
        raise self._unsupported("sample")

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the code of `x`, (batch, code); a mean where codes are random.

        Raises:
            Unsupported: if the model has no codes.
        """
        raise self._unsupported("encode")

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the datum of a code, (batch, *event.shape), of type `event.dtype`; the mode or mean, not a draw.

        Raises:
            Unsupported: if the model cannot decode.
        """
        raise self._unsupported("decode")

    def classify(self, x: Tensor) -> Tensor:
        """Return a score of each class for each datum, (batch, classes), the largest for the likeliest one.

        Raises:
            Unsupported: if the model tells no classes.
        """
        raise self._unsupported("classify")

    # Training

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return what a training step minimises over the parameters of `group`, as "loss", and scalars to log.

        The default is the mean negative log-likelihood in nats per datum.
        """
        return {"loss": -self.log_prob(x, condition, generator=generator).mean()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return per-example measures, each (batch,), for validation; `monitor` names the one that is minimised.

        The default is {"nats": negative log-likelihood}.
        """
        return {"nats": -self.log_prob(x, condition, generator=generator)}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters by group; each group has an optimizer of its own."""
        return {"model": [p for p in self.parameters() if p.requires_grad]}

    def groups_at(self, step: int) -> Sequence[str] | None:
        """Return the groups that training step `step` (from 0) updates, in order; None for all of them."""
        return None

    def after_step(self, group: str) -> None:
        """Called after the optimizer has changed the parameters of `group`; for projections and clipping."""

    def learning_rate_factor(self, group: str) -> float:
        """Return what the learning rate of a run is multiplied with for `group`; called once, so constant."""
        return 1.0

    def warnings_of(self, values: Mapping[str, float]) -> list[str]:
        """Return sentences on what has gone wrong in a run, each shown once, or none.

        Args:
            values: the latest figures by split and name, as in the log: "train loss", "validation nats".
        """
        return []

    # Helpers for subclasses

    def check_batch(self, x: Tensor, condition: Tensor | None = None) -> Tensor | None:
        """Return `condition`, or raise unless it and `x` are data of this model.

        In training mode only shapes are looked at: looking at values waits for the device, and the data of a run
        were checked when they were read.

        Args:
            x: data, (batch, *event.shape).
            condition: (batch, *condition.shape), where the model has a condition.

        Raises:
            InvalidInput: for another shape, a value outside the support, or a condition that does not fit.
        """
        if self.training:
            self.event.check_shape(x)
        else:
            self.event.check(x)
        return self.check_condition(condition, len(x))

    def check_condition(self, condition: Tensor | None, n: int) -> Tensor | None:
        """Return `condition`, or raise unless it fits `n` data of this model.

        In training mode only its shape is looked at, as in `check_batch`.

        Args:
            condition: (n, *condition.shape), or None where the model has no condition.
            n: number of data.

        Raises:
            InvalidInput: if it is missing, superfluous, of another shape, or out of range.
        """
        name = self.name or type(self).__name__
        if self.condition is None:
            if condition is not None:
                raise InvalidInput(f"this {name} was trained without a condition, got one: leave it out")
            return None
        if condition is None:
            raise InvalidInput(f"this {name} needs a condition ({self.condition}) for each datum, got none: give one")
        if self.training:
            self.condition.check_shape(condition, "condition")
        else:
            self.condition.check(condition, "condition")
        if len(condition) != n:
            raise InvalidInput(f"got {len(condition)} conditions for {n} data: give one for each")
        return condition

    def _unsupported(self, verb: str) -> Unsupported:
        from ancestral.models import registry

        able = [name for name in registry.names() if registry.get(name).can(verb)]
        why = f"{self.name or type(self).__name__} ({self.family or 'custom'}) has no {verb}"
        return Unsupported(f"{why}. Models that have: {', '.join(able) or 'none'}")

    @classmethod
    def can(cls, verb: str) -> bool:
        """Return whether the model has the primitive `verb`: log_prob, sample, encode, decode or classify."""
        return getattr(cls, verb) is not getattr(Model, verb)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(_parameters_of(self)).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the parameters."""
        return next(_parameters_of(self)).dtype


def _parameters_of(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield what `module.parameters()` does, and repeats: the first comes in a tenth of the time, and steps ask often."""
    for parameter in module._parameters.values():
        if parameter is not None:
            yield parameter
    for child in module._modules.values():
        if child is not None:
            yield from _parameters_of(child)


def _recorded(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor so that the outermost call records its arguments in `_config`."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapper(self: Model, *args: Any, **kwargs: Any) -> None:
        if "_config" not in self.__dict__:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            config = {k: v for k, v in bound.arguments.items() if k not in ("self", "event", "condition")}
            object.__setattr__(self, "_config", {k: list_to_tuple(v) for k, v in config.items()})
        init(self, *args, **kwargs)

    return wrapper


def _with_defaults(cls: type[Model], defaults: dict[str, Any]) -> Callable[..., None]:
    """Return the constructor that `cls` inherits, with other defaults in its signature."""
    if "__init__" in cls.__dict__:
        raise TypeError(f"{cls.__name__} has a constructor and changed defaults: put the defaults into the constructor")
    inherited = cls.__init__
    signature = inspect.signature(inherited)
    for name in defaults:
        if name not in signature.parameters:
            raise TypeError(f"{cls.__name__} changes the default of {name}, which its parent does not have")
    changed = signature.replace(
        parameters=[p.replace(default=defaults.get(name, p.default)) for name, p in signature.parameters.items()]
    )

    @functools.wraps(inherited)
    def init(self: Model, *args: Any, **kwargs: Any) -> None:
        bound = changed.bind(self, *args, **kwargs)
        bound.apply_defaults()
        inherited(*bound.args, **bound.kwargs)

    init.__signature__ = changed  # type: ignore[attr-defined]
    return init


def list_to_tuple(value: Any) -> Any:
    """Return lists, nested ones too, as tuples, anything else unchanged: configurations hold tuples, JSON and YAML lists.

    >>> list_to_tuple([[1, 2], [3]])
    ((1, 2), (3,))
    """
    return tuple(list_to_tuple(item) for item in value) if isinstance(value, list | tuple) else value


def _takers(event: Event, kind: str) -> str:
    """Return a clause naming the models that take data of `event`."""
    from ancestral.models import registry

    classes = (registry.get(name) for name in registry.names()) if event.shape else ()
    able = [
        cls.name
        for cls in classes
        if kind in cls.takes and (event.is_image or not cls.images_only) and (cls.sentences or not event.end)
    ]
    return f". Models that take it: {', '.join(able) or 'none'}"


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """Return the number of scalar parameters."""
    return sum(p.numel() for p in parameters)
