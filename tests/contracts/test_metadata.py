"""What a model says of itself: to the command line, to the docs and to the reader of its file."""

import re
from pathlib import Path

import pytest

from ancestral.models import registry
from ancestral.training import TrainConfig

DOCS = Path(__file__).parents[2] / "docs" / "models"
FAMILIES = {"autoregressive", "latent", "flow", "adversarial", "energy", "representation"}
NAMES = pytest.mark.parametrize("name", registry.names())


@NAMES
def test_the_class_describes_itself(name: str) -> None:
    cls = registry.get(name)
    assert cls.name == name
    assert cls.family in FAMILIES
    assert cls.summary
    assert "\n" not in cls.summary
    assert not cls.summary.endswith(".")
    assert re.search(r"\b(19|20)\d\d[a-z]?\b", cls.reference), "the reference needs a year"
    assert cls.takes
    assert set(cls.takes) <= {"binary", "integer", "real", "mixed"}
    TrainConfig.for_model(cls)


@NAMES
def test_the_docstring_has_all_parts(name: str) -> None:
    cls = registry.get(name)
    text = cls.__dict__.get("__doc__") or ""
    for part in ("Args:", "References:", ">>>"):
        assert part in text, f"the docstring of {cls.__name__} has no {part}"
    arguments = text.split("Args:")[1].split("\n\n")[0]
    described = set(re.findall(r"^\s+(\w+):", arguments, flags=re.MULTILINE))
    # A model that is another with other defaults describes those; the rest is said once, by its parent.
    assert described == (set(cls.changed_defaults) or {"event", "condition", *cls.options()})
    assert re.search(r"\((19|20)\d\d\)|, (19|20)\d\d\)", text.split("References:")[1]), "a reference needs its year"


@NAMES
def test_options_have_defaults_and_types(name: str) -> None:
    for option, parameter in registry.get(name).options().items():
        assert parameter.default is not parameter.empty, f"{option} has no default"
        assert parameter.annotation is not parameter.empty, f"{option} has no type"


@NAMES
def test_there_are_examples_of_every_kind_that_it_takes(name: str) -> None:
    cls = registry.get(name)
    assert cls.examples
    kinds = {example["event"].kind for example in cls.examples}
    assert kinds <= set(cls.takes)
    for example in cls.examples:
        assert set(example) - {"event", "condition"} <= set(cls.options())


@NAMES
def test_there_is_a_docs_page(name: str) -> None:
    page = DOCS / f"{name}.md"
    assert page.is_file(), f"write docs/models/{page.name}"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "![" in text, f"docs/models/{page.name} shows no picture"
