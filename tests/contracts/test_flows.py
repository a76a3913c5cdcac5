"""Flows: the map and its inverse, and the log-determinant against automatic differentiation."""

import math

import torch
from torch import Tensor

from tests.contracts.cases import Case, contract, generator, log_prob


def flow(case: Case) -> bool:
    return case.cls.family == "flow"


def log_determinant(function: object, x: Tensor) -> Tensor:
    """Return log |det d function(x) / dx| of each datum, (batch,)."""

    def single(x: Tensor) -> Tensor:
        return function(x).flatten(1)  # type: ignore[operator]

    rows = []
    for i in range(len(x)):
        matrix = torch.autograd.functional.jacobian(single, x[i : i + 1]).flatten(2)[0].reshape(x[i].numel(), -1)
        rows.append(torch.linalg.slogdet(matrix).logabsdet)
    return torch.stack(rows)


@contract(flow)
@torch.no_grad()
def test_decode_inverts_encode(case: Case) -> None:
    model = case.build(dtype=torch.float64)
    x, condition = case.data(20), case.conditions(20)
    code = model.encode(x, condition)
    assert code.shape == (20, case.event.numel)
    back = model.decode(code, condition)
    if case.event.discrete:
        assert torch.equal(back, x)
    else:
        torch.testing.assert_close(back.double(), x.double(), rtol=1e-5, atol=1e-5)


@contract(lambda case: flow(case) and case.event.levels is None)
def test_log_prob_is_the_change_of_variables(case: Case) -> None:
    model = case.build(dtype=torch.float64)
    x, condition = case.data(4).double(), case.conditions(4)

    def encode(x: Tensor) -> Tensor:
        return model.encode(x, None if condition is None else condition[: len(x)])

    if condition is not None:
        condition = condition[:1].expand_as(condition)
    z = model.encode(x, condition)
    normal = -0.5 * (z.square().sum(1) + case.event.numel * math.log(2 * math.pi))
    torch.testing.assert_close(log_prob(model, x, condition), normal + log_determinant(encode, x), rtol=1e-9, atol=1e-9)


@contract(lambda case: flow(case) and hasattr(case.cls, "transform"))
def test_the_log_determinant_agrees_with_autograd(case: Case) -> None:
    """On the scale of `Event.dequantize`, for discrete events as well."""
    model = case.build(dtype=torch.float64)
    u = torch.rand(4, *case.event.shape, dtype=torch.float64, generator=generator(7))
    condition = case.conditions(1)

    def transform(u: Tensor) -> tuple[Tensor, Tensor]:
        given = None if condition is None else condition.expand(len(u), *condition.shape[1:])
        return model.transform(u, given)

    expected = log_determinant(lambda u: transform(u)[0], u)
    torch.testing.assert_close(transform(u)[1], expected, rtol=1e-9, atol=1e-9)
