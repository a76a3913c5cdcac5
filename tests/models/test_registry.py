"""The registry: names, near matches, clashes, and models of other packages."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import Model, registry
from ancestral.models.registry import create, get, names, register


class Toy(Model):
    """A model of a test."""

    def __init__(self, event: Event, condition: Event | None = None, sizes: tuple[int, ...] = (3,)) -> None:
        super().__init__(event, condition)


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a test registers."""
    names()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    name = Toy.name
    yield
    Toy.name = name
    registry._load_all.cache_clear()


def test_names_are_sorted_and_lead_to_classes() -> None:
    assert names() == sorted(names())
    for name in names():
        assert get(name).name == name


def test_an_unknown_name_has_near_matches() -> None:
    with pytest.raises(InvalidInput, match=r"no model 'fvsb'\. Did you mean fvsbn\?"):
        get("fvsb")


def test_an_unknown_option_has_near_matches() -> None:
    register("toy")(Toy)
    with pytest.raises(InvalidInput, match=r"toy has no option 'size'\. Did you mean sizes\? Its options: sizes"):
        create("toy", Event.binary((2,)), size=(3,))


def test_lists_are_taken_as_tuples() -> None:
    register("toy")(Toy)
    assert create("toy", Event.binary((2,)), sizes=[4, 5]).config == {"sizes": (4, 5)}


@pytest.mark.parametrize("name", ["Toy", "a b", "a_b", "-a", "a-", "a--b", ""])
def test_a_name_that_cannot_be_typed_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="lower case"):
        register(name)


def test_only_models_are_registered() -> None:
    with pytest.raises(InvalidInput, match="subclass"):
        register("toy")(dict)  # type: ignore[type-var]


def test_a_name_is_not_taken_twice() -> None:
    with pytest.raises(InvalidInput, match=r"'fvsbn' is taken by ancestral\.models\.autoregressive\.fvsbn\.FVSBN"):
        register("fvsbn")(Toy)
    # Not even by a class of the same name from elsewhere.
    with pytest.raises(InvalidInput, match="taken"):
        register("fvsbn")(type("FVSBN", (Toy,), {"__qualname__": "FVSBN"}))


def test_a_class_may_come_again() -> None:
    assert register("toy")(Toy) is Toy
    assert register("toy")(Toy) is Toy


# Other packages


def offer(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    entries = [EntryPoint(name.replace("_", "-"), value, registry.ENTRY_POINTS) for name, value in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == registry.ENTRY_POINTS else [])
    registry._load_all.cache_clear()


def test_entry_points_add_models(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, other_toy="tests.models.test_registry:Toy")
    assert "other-toy" in names()
    assert get("other-toy").name == "other-toy"
    assert get("other-toy").__qualname__ == "Toy"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("broken", "tests.no_such_module:Toy", "cannot be loaded: No module named"),
        ("broken", "tests.models.test_registry:Event", "subclass"),
        ("fvsbn", "tests.models.test_registry:Toy", "is taken"),
    ],
)
def test_a_broken_package_takes_no_model_away(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    offer(monkeypatch, **{name: value})
    with pytest.warns(UserWarning, match=message):
        found = names()
    assert "fvsbn" in found
    assert "broken" not in found
    assert get("fvsbn").__name__ == "FVSBN"
