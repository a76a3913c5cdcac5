"""Streams and maps: the figure so far and the bits of each entry add up to the batch's log-probability."""

import math

import pytest
import torch
from torch import Tensor

from ancestral.errors import Unsupported
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.verbs.maps import score_map
from ancestral.verbs.stream import stream_log_prob, stream_log_probs
from tests.contracts.cases import Case, contract, standardized

dtypes = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["f64", "f32"])


def autoregressive(case: Case) -> bool:
    return case.autoregressive


def of_many_orders(model: AutoregressiveModel) -> bool:
    return len({tuple(model.member_order(k).tolist()) for k in range(model.members)}) > 1


def prepared(case: Case, n: int, dtype: torch.dtype) -> tuple[AutoregressiveModel, Tensor, Tensor | None, Tensor]:
    """Return a model, data, conditions and their log-probabilities; real data have a scale of their own."""
    case = case if case.event.discrete else standardized(case)
    model, x, condition = case.build(dtype=dtype), case.data(n), case.conditions(n)
    assert isinstance(model, AutoregressiveModel)
    with torch.no_grad():
        return model, x, condition, model.log_prob(x, condition).double()


@contract(autoregressive)
@dtypes
def test_a_stream_ends_at_the_log_prob(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    model, x, condition, expected = prepared(case, 3, dtype)
    entries = x.flatten(1)[:, model.order].T
    if of_many_orders(model):
        with pytest.raises(Unsupported, match=r"mixture over .* orders"):
            stream_log_probs(model, entries, condition)
        return
    running = list(stream_log_probs(model, entries, condition))
    assert len(running) == case.event.numel
    torch.testing.assert_close(running[-1], expected, rtol=tolerance, atol=tolerance)
    given = None if condition is None else condition[:1]
    single = torch.tensor(list(stream_log_prob(model, entries[:, 0].tolist(), given)), dtype=torch.float64)
    torch.testing.assert_close(single, torch.stack(running)[:, 0], rtol=tolerance, atol=tolerance)


@contract(autoregressive)
@dtypes
def test_a_map_adds_up_to_the_log_prob_and_to_the_stream(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    model, x, condition, expected = prepared(case, 3, dtype)
    if of_many_orders(model):
        with pytest.raises(Unsupported, match=r"mixture over .* orders"):
            score_map(model, x, condition)
        return
    bits = score_map(model, x, condition)
    assert bits.shape == x.shape
    torch.testing.assert_close(-math.log(2.0) * bits.flatten(1).sum(1), expected, rtol=tolerance, atol=tolerance)
    running = torch.stack(list(stream_log_probs(model, x.flatten(1)[:, model.order].T, condition)), dim=1)
    by_step = -math.log(2.0) * bits.flatten(1)[:, model.order].cumsum(1)
    torch.testing.assert_close(by_step, running, rtol=tolerance, atol=tolerance)


@contract(lambda case: not case.autoregressive)
def test_models_of_whole_data_have_neither(case: Case) -> None:
    model = case.build()
    with pytest.raises(Unsupported, match="scores a datum whole"):
        stream_log_prob(model, [])
    with pytest.raises(Unsupported, match="scores a datum whole"):
        score_map(model, case.data(1), case.conditions(1))
