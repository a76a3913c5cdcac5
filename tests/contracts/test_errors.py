"""What a model cannot use is refused with a sentence, before anything is computed."""

import pytest
import torch

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import registry
from ancestral.models.base import VERBS
from tests.contracts.cases import Case, contract, generator, log_prob

EVENTS = {
    "binary": Event.binary((1, 4, 4)),
    "integer": Event.integers((1, 4, 4), 3),
    "real": Event.real((1, 4, 4)),
    "mixed": Event.drawing(4),
}
NAMES = pytest.mark.parametrize("name", registry.names())


@NAMES
@pytest.mark.parametrize("kind", EVENTS)
def test_events_of_another_kind_are_refused(name: str, kind: str) -> None:
    cls = registry.get(name)
    if kind in cls.takes:
        cls.check_event(EVENTS[kind])
        return
    with pytest.raises(InvalidInput, match=f"{name} takes .* Models that take it: "):
        registry.create(name, EVENTS[kind])


@NAMES
def test_events_of_another_shape_are_refused(name: str) -> None:
    cls = registry.get(name)
    with pytest.raises(InvalidInput, match="at least one axis"):
        registry.create(name, Event.label(2))
    if cls.images_only:
        with pytest.raises(InvalidInput, match="images"):
            registry.create(name, Event((4,), EVENTS[cls.takes[0]].levels))


@NAMES
def test_conditions_are_refused_by_models_that_take_none(name: str) -> None:
    cls = registry.get(name)
    if cls.conditional:
        assert any(example.get("condition") for example in cls.examples), "an example with a condition is missing"
        return
    with pytest.raises(InvalidInput, match="no condition"):
        registry.create(name, cls.examples[0]["event"], Event.label(2))


@NAMES
@pytest.mark.parametrize("primitive", VERBS)
def test_an_absent_primitive_names_models_that_have_it(name: str, primitive: str) -> None:
    cls = registry.get(name)
    if cls.can(primitive):
        return
    example = dict(cls.examples[0])
    model = registry.create(name, example.pop("event"), **example)
    able = [other for other in registry.names() if registry.get(other).can(primitive)]
    with pytest.raises(Unsupported, match=f"has no {primitive}.*{able[0]}"):
        getattr(model, primitive)(3 if primitive == "sample" else torch.zeros(3, *model.event.shape))


@contract(lambda case: case.scores or case.can("encode"))
def test_data_of_another_shape_or_outside_the_support_are_refused(case: Case) -> None:
    model, x, condition = case.build(), case.data(3), case.conditions(3)
    wrong = {"shape": x.flatten(1)[:, :-1], "no batch": x[0]}
    if case.event.levels is not None:
        wrong["support"] = x.long() + case.event.levels
        wrong["fraction"] = x.float() + 0.5
    else:
        wrong["nan"] = torch.full_like(x, float("nan"))
    calls = {"log_prob": lambda bad: log_prob(model, bad, condition)} if case.scores else {}
    if case.can("encode"):
        calls["encode"] = lambda bad: model.encode(bad, condition)
    for name, call in calls.items():
        for what, bad in wrong.items():
            try:
                call(bad)
            except InvalidInput:
                continue
            pytest.fail(f"{name} took data of a wrong {what}")


@contract()
def test_conditions_that_do_not_fit_are_refused(case: Case) -> None:
    model, x = case.build(), case.data(3)
    if case.condition is None:
        wrong = [torch.zeros(3, dtype=torch.uint8)]
    else:
        fine = case.conditions(3)
        wrong = [None, fine[:2], fine[..., None], torch.tensor(0)]
        if case.condition.levels is not None:
            wrong.append(torch.full_like(fine, case.condition.levels))
    for bad in wrong:
        if case.scores:
            with pytest.raises(InvalidInput):
                log_prob(model, x, bad)
        if case.can("sample"):
            with pytest.raises(InvalidInput):
                model.sample(3, bad, generator=generator())
        if case.can("encode"):
            with pytest.raises(InvalidInput):
                model.encode(x, bad)
        if case.can("encode") and case.can("decode"):
            code = model.encode(x, case.conditions(3))
            with pytest.raises(InvalidInput):
                model.decode(code, bad)
