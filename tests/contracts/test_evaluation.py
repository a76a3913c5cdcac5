"""Evaluation mode: figures do not depend on the batch, on earlier calls, or, beyond rounding, on the floating type."""

import torch

from tests.contracts.cases import Case, contract, generator, log_prob


@contract(lambda case: case.exact)
@torch.no_grad()
def test_figures_do_not_depend_on_the_batch(case: Case) -> None:
    model, x, condition = case.build(), case.data(6), case.conditions(6)
    whole = log_prob(model, x, condition)
    assert torch.equal(whole, log_prob(model, x, condition)), "the same data got another figure"
    given = [None] * 6 if condition is None else list(condition.split(1))
    single = torch.cat([log_prob(model, one, c) for one, c in zip(x.split(1), given, strict=True)])
    torch.testing.assert_close(single, whole, rtol=1e-5, atol=1e-5)


@contract(lambda case: case.can("encode"))
@torch.no_grad()
def test_codes_do_not_depend_on_the_batch(case: Case) -> None:
    model, x, condition = case.build(), case.data(6), case.conditions(6)
    code = model.encode(x, condition)
    assert code.dim() == 2
    assert len(code) == 6
    assert code.is_floating_point()
    given = [None] * 6 if condition is None else list(condition.split(1))
    single = torch.cat([model.encode(one, c) for one, c in zip(x.split(1), given, strict=True)])
    torch.testing.assert_close(single, code, rtol=1e-5, atol=1e-5)
    if case.can("decode"):
        decoded = model.decode(code, condition)
        assert decoded.shape == x.shape
        assert decoded.dtype == case.event.dtype
        case.event.check(decoded)


@contract()
def test_double_precision_goes_through(case: Case) -> None:
    model, x, condition = case.build(dtype=torch.float64), case.data(3), case.conditions(3)
    assert model.dtype == torch.float64
    if case.scores:
        assert log_prob(model, x, condition).dtype == torch.float64
    if case.can("encode"):
        assert model.encode(x, condition).dtype == torch.float64
    assert all(v.dtype == torch.float64 for v in model.measures(x, condition, generator=generator()).values())
    model.train()
    for group in model.parameter_groups():
        loss = model.loss(x, condition, group=group, generator=generator())["loss"]
        assert loss.dtype == torch.float64
        loss.backward()


@contract(lambda case: case.exact)
@torch.no_grad()
def test_single_precision_is_close_to_double(case: Case) -> None:
    x, condition = case.data(6), case.conditions(6)
    single = log_prob(case.build(), x, condition)
    double = log_prob(case.build(dtype=torch.float64), x, condition)
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


@contract(lambda case: case.scores)
@torch.no_grad()
def test_whole_numbers_may_come_in_any_type(case: Case) -> None:
    if case.event.levels is None:
        return
    model, x, condition = case.build(), case.data(3), case.conditions(3)
    expected = log_prob(model, x, condition)
    for dtype in (torch.int64, torch.float32):
        torch.testing.assert_close(log_prob(model, x.to(dtype), condition), expected)
