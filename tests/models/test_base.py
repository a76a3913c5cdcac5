"""What every model inherits: recorded configuration, checks, and errors that name who can."""

import copy
import pickle
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.base import Model, count_parameters, list_to_tuple

EVENT = Event.binary((3,))


class Scorer(Model):
    """A model with a likelihood and nothing else."""

    family = "latent"

    def __init__(
        self, event: Event, condition: Event | None = None, sizes: Sequence[int] = (3,), *, rate: float = 0.5
    ) -> None:
        super().__init__(event, condition)
        self.logit = nn.Parameter(torch.zeros(3))

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_batch(x, condition)
        return nn.functional.logsigmoid((2 * x.to(self.dtype) - 1) * self.logit).sum(1)


class Child(Scorer):
    """A model that fixes an option of its parent."""

    def __init__(self, event: Event, condition: Event | None = None, depth: int = 2) -> None:
        super().__init__(event, condition, sizes=(depth,) * 2)


class Heir(Scorer):
    """A model without a constructor of its own."""


class Deeper(Child, defaults={"depth": 4}):
    """A model that is its parent with another default."""


class Bare(Model):
    """A model without any constructor."""


# Configuration


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (lambda: Scorer(EVENT), {"sizes": (3,), "rate": 0.5}),
        (lambda: Scorer(EVENT, None, [4, 5], rate=1.0), {"sizes": (4, 5), "rate": 1.0}),
        (lambda: Scorer(condition=Event.label(2), event=EVENT), {"sizes": (3,), "rate": 0.5}),
        (lambda: Child(EVENT, depth=3), {"depth": 3}),
        (lambda: Heir(EVENT, sizes=(1,)), {"sizes": (1,), "rate": 0.5}),
        (lambda: Bare(EVENT), {}),
    ],
)
def test_the_constructors_arguments_are_the_configuration(model, config) -> None:
    built = model()
    assert built.config == config
    assert set(built.options()) == set(config)
    assert copy.deepcopy(built).config == config
    assert pickle.loads(pickle.dumps(built)).config == config


def test_the_configuration_cannot_be_changed_from_outside() -> None:
    model = Scorer(EVENT)
    model.config["rate"] = 7.0
    assert model.config["rate"] == 0.5


@pytest.mark.parametrize("kind", ["*args", "**kwargs"])
def test_options_without_a_name_are_refused(kind: str) -> None:
    scope: dict[str, object] = {}
    exec(f"def __init__(self, event, condition=None, {kind}): pass", scope)
    with pytest.raises(TypeError, match="name each option"):
        type("Loose", (Model,), {"__init__": scope["__init__"]})


def test_lists_become_tuples_at_any_depth() -> None:
    assert list_to_tuple([1, [2, [3]], ([4],)]) == (1, (2, (3,)), ((4,),))
    assert list_to_tuple("ab") == "ab"
    assert list_to_tuple(None) is None


# Checks


class Pictures(Bare):
    """A model of binary images without a condition."""

    name = "pictures"
    takes = ("binary",)
    images_only = True
    conditional = False


@pytest.mark.parametrize(
    ("event", "condition", "message"),
    [
        (Event.binary((4,)), None, r"pictures takes images.*got 4 binary.*Models that take it: .*fvsbn"),
        (Event.real((1, 2, 2)), None, r"pictures takes binary data, got 1x2x2 real"),
        (Event.binary((1, 2, 2)), Event.label(3), "takes no condition"),
        (Event.label(3), None, "at least one axis"),
    ],
)
def test_what_a_model_cannot_take_is_refused(event: Event, condition: Event | None, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Pictures(event, condition)


def test_models_that_cannot_take_it_are_not_named() -> None:
    with pytest.raises(InvalidInput) as error:
        Pictures(Event.real((4,)))
    assert "fvsbn" not in str(error.value)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, "needs a condition"),
        (torch.zeros(2, dtype=torch.long), "2 conditions for 3 data"),
        (torch.zeros(3, 1), r"condition has shape \(3, 1\)"),
        (torch.tensor(1), r"condition has shape \(\)"),
        (torch.tensor([0, 1, 4]), r"expected integers in \[0, 3\]"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(condition: Tensor | None, message: str) -> None:
    model = Scorer(EVENT, Event.label(4)).eval()
    with pytest.raises(InvalidInput, match=message):
        model.log_prob(torch.zeros(3, 3), condition)


def test_a_superfluous_condition_is_refused() -> None:
    with pytest.raises(InvalidInput, match="without a condition"):
        Scorer(EVENT).log_prob(torch.zeros(3, 3), torch.zeros(3))


def test_values_are_looked_at_in_evaluation_alone() -> None:
    """Looking waits for the device; the data of a run were checked when they were read."""
    model = Scorer(EVENT, Event.label(4))
    x, condition = torch.full((2, 3), 5), torch.tensor([0, 9])
    model.train().check_batch(x, condition)
    with pytest.raises(InvalidInput, match="expected integers"):
        model.eval().check_batch(x, torch.zeros(2))
    with pytest.raises(InvalidInput, match="condition has values"):
        model.check_batch(torch.zeros(2, 3), condition)
    with pytest.raises(InvalidInput, match="shape"):
        model.train().check_batch(x[:, :2], condition)


# Primitives and training


def test_an_absent_primitive_names_those_who_have_it() -> None:
    model = Scorer(EVENT)
    assert (Scorer.can("log_prob"), Scorer.can("sample")) == (True, False)
    with pytest.raises(Unsupported, match=r"Scorer \(latent\) has no sample\. Models that have: .*fvsbn"):
        model.sample(3)
    with pytest.raises(Unsupported, match="has no encode"):
        model.encode(torch.zeros(1, 3))
    with pytest.raises(Unsupported, match="has no decode"):
        model.decode(torch.zeros(1, 3))
    with pytest.raises(Unsupported, match="has no log_prob"):
        Bare(EVENT).log_prob(torch.zeros(1, 3))


def test_the_default_loss_and_measure_are_negative_log_likelihoods() -> None:
    model, x = Scorer(EVENT), torch.zeros(2, 3)
    assert float(model.loss(x)["loss"].detach()) == pytest.approx(3 * 0.693147, rel=1e-5)
    torch.testing.assert_close(model.measures(x)["nats"], -model.log_prob(x))


def test_the_default_group_holds_what_is_trained() -> None:
    model = Scorer(EVENT)
    assert [p is model.logit for p in model.parameter_groups()["model"]] == [True]
    model.logit.requires_grad_(False)
    assert model.parameter_groups()["model"] == []
    assert count_parameters(model.parameters()) == 3


def test_device_and_type_are_the_parameters() -> None:
    model = Scorer(EVENT)
    assert (model.device.type, model.dtype, model.double().dtype) == ("cpu", torch.float32, torch.float64)


# Changed defaults


def test_a_changed_default_is_configuration() -> None:
    assert Deeper(EVENT).config == {"depth": 4}
    assert Deeper(EVENT, depth=3).config == {"depth": 3}
    assert Deeper.options()["depth"].default == 4
    assert Child.options()["depth"].default == 2
    assert (Deeper.changed_defaults, Child.changed_defaults) == ({"depth": 4}, {})


def test_lists_among_changed_defaults_are_tuples() -> None:
    class Wide(Scorer, defaults={"sizes": [1, 2]}):
        """Another default."""

    assert Wide(EVENT).config == {"sizes": (1, 2), "rate": 0.5}


def test_a_default_of_an_option_that_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match="changes the default of width, which its parent does not have"):

        class Wrong(Scorer, defaults={"width": 2}):
            """No such option."""


def test_changed_defaults_beside_a_constructor_are_refused() -> None:
    with pytest.raises(TypeError, match="put the defaults into the constructor"):

        class Both(Scorer, defaults={"rate": 0.1}):
            """Both."""

            def __init__(self, event: Event) -> None:
                super().__init__(event)
