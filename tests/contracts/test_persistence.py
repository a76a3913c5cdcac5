"""The configuration rebuilds the model, and a saved model comes back to the bit."""

import copy
import json
from pathlib import Path

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.models import Model, registry, store
from tests.contracts.cases import Case, contract, generator, log_prob


def assert_same(one: Model, other: Model, case: Case) -> None:
    """Raise unless all primitives of two models agree to the bit."""
    x, condition = case.data(4), case.conditions(4)
    if case.scores:
        assert torch.equal(log_prob(one, x, condition), log_prob(other, x, condition))
    if case.can("sample"):
        draws = [model.sample(4, condition, generator=generator()) for model in (one, other)]
        assert torch.equal(*draws)
    if case.can("encode"):
        codes = [model.encode(x, condition) for model in (one, other)]
        assert torch.equal(*codes)
        if case.can("decode"):
            assert torch.equal(one.decode(codes[0], condition), other.decode(codes[1], condition))
    measured = [model.measures(x, condition, generator=generator()) for model in (one, other)]
    for name, value in measured[0].items():
        assert torch.equal(value, measured[1][name]), name


@contract()
def test_the_configuration_rebuilds_the_model(case: Case) -> None:
    model = case.build()
    config = json.loads(json.dumps(model.config))
    again = registry.create(model.name, case.event, case.condition, **config)
    assert again.config == model.config
    assert set(again.config) == set(case.cls.options())
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    again.load_state_dict(model.state_dict())
    assert_same(model, again.eval(), case)


@contract()
def test_a_saved_model_comes_back_to_the_bit(case: Case, tmp_path: Path) -> None:
    model = case.build()
    if case.can("sample"):
        model.sample(2, case.conditions(2), generator=generator())  # what sampling leaves behind must not matter
    store.save(model, tmp_path)
    again, config = store.load(tmp_path)
    assert type(again) is type(model)
    assert (again.event, again.condition, again.config) == (model.event, model.condition, model.config)
    assert config["model"]["name"] == case.name
    assert not again.training
    assert_same(model, again, case)


@contract()
def test_a_trained_model_comes_back_to_the_bit(case: Case, tmp_path: Path) -> None:
    """What training leaves in buffers (statistics, flags, chains) is saved too."""
    model = case.build().train()
    for group in model.parameter_groups():
        model.loss(case.data(8), case.conditions(8), group=group, generator=generator())["loss"].backward()
        model.after_step(group)
    store.save(model.eval(), tmp_path)
    again, _ = store.load(tmp_path)
    assert_same(model, again, case)


@contract()
def test_a_copy_is_the_same_model(case: Case) -> None:
    model = case.build()
    assert_same(model, copy.deepcopy(model), case)


@contract()
def test_an_unknown_option_is_refused(case: Case) -> None:
    with pytest.raises(InvalidInput, match="no option"):
        registry.create(case.name, case.event, case.condition, hiden=(3,))
