"""Samples: shape, type and support, and that they and every other random call follow their generator alone."""

import pytest
import torch
from torch import Tensor

from tests.contracts.cases import Case, contract, generator, log_prob


def samples(case: Case) -> bool:
    return case.can("sample")


@contract(samples)
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_samples_are_data_of_the_event(case: Case, n: int, dtype: torch.dtype) -> None:
    x = case.build(dtype=dtype).sample(n, case.conditions(n), generator=generator())
    assert x.shape == (n, *case.event.shape)
    assert x.dtype == case.event.dtype
    assert not x.requires_grad
    case.event.check(x)


@contract(samples)
def test_samples_follow_the_seed(case: Case) -> None:
    model, condition = case.build(), case.conditions(30)
    first, again, other = (model.sample(30, condition, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@contract(samples)
def test_samples_differ_from_each_other(case: Case) -> None:
    x = case.build().sample(30, case.conditions(30), generator=generator())
    assert len(x.flatten(1).unique(dim=0)) > 1


@contract()
def test_random_calls_leave_the_global_generator_alone(case: Case) -> None:
    model, x, condition = case.build(), case.data(3), case.conditions(3)
    before = torch.random.get_rng_state()

    def unchanged(what: str) -> None:
        assert torch.equal(torch.random.get_rng_state(), before), f"{what} drew from the global generator"

    if case.can("sample"):
        model.sample(3, condition, generator=generator())
        unchanged("sample")
    if case.scores:
        log_prob(model, x, condition)
        unchanged("log_prob")
    if hasattr(model, "bound"):
        model.bound(x, condition, samples=3, generator=generator())
        unchanged("bound")
    if case.can("encode"):
        code = model.encode(x, condition)
        unchanged("encode")
        if case.can("decode"):
            model.decode(code, condition)
            unchanged("decode")
    model.measures(x, condition, generator=generator())
    unchanged("measures")
    for group in model.parameter_groups():
        model.loss(x, condition, group=group, generator=generator())
        unchanged(f"the loss of {group}")


@contract()
def test_losses_and_measures_follow_the_seed(case: Case) -> None:
    x, condition = case.data(3), case.conditions(3)

    def values(seed: int) -> dict[str, Tensor]:
        model = case.build()  # anew: a model may keep samples between losses
        measured = model.measures(x, condition, generator=generator(seed))
        losses = {
            group: model.loss(x, condition, group=group, generator=generator(seed)) for group in model.parameter_groups()
        }
        return {**measured, **{f"{g}/{k}": v for g, each in losses.items() for k, v in each.items()}}

    one, again = values(4), values(4)
    assert one.keys() == again.keys()
    for name, value in one.items():
        assert torch.equal(value, again[name]), name
