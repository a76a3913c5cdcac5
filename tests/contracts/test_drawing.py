"""Drawing with noise of each datum's own: the same data in any batch and by either method; their frequencies."""

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.verbs.drawing import DrawOptions
from ancestral.verbs.sample import draw, sample
from tests.contracts.cases import Case, all_states, contract, frequencies, log_prob, repeat, standardized


def autoregressive(case: Case) -> bool:
    return case.autoregressive


def real(case: Case) -> bool:
    return case.autoregressive and case.event.levels is None


def assert_same(case: Case, x: Tensor, other: Tensor) -> None:
    """Integers to the bit; real numbers, which show how a product was rounded, to that rounding."""
    assert x.dtype == other.dtype == case.event.dtype
    tolerance = 0.0 if case.event.discrete else 1e-5
    torch.testing.assert_close(x, other, rtol=tolerance, atol=tolerance)


@contract(autoregressive)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
def test_a_datum_is_the_same_in_any_batch(case: Case, dtype: torch.dtype) -> None:
    model, condition = case.build(dtype=dtype), case.conditions(7)
    x = sample(model, 7, condition, seed=3)
    for size in (1, 3):
        assert_same(case, sample(model, 7, condition, seed=3, batch_size=size), x)
    fewer = None if condition is None else condition[:4]
    assert_same(case, sample(model, 4, fewer, seed=3), x[:4])


@contract(autoregressive)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
def test_parallel_sampling_gives_the_sample_of_the_steps(case: Case, dtype: torch.dtype) -> None:
    for seed in range(2):
        # Entries that depend on each other strongly; real ones would be chaotic, and rounding would show.
        model = case.build(seed, dtype=dtype, spread=1.0 if case.event.discrete else 0.3)
        condition = case.conditions(9)
        stepped = draw(model, 9, condition, DrawOptions(seed=seed))
        for size in (None, 4):
            drawn = draw(model, 9, condition, DrawOptions(seed=seed, method="parallel", batch_size=size))
            assert_same(case, drawn.x, stepped.x)
            assert drawn.calls <= drawn.steps
    assert stepped.calls <= stepped.steps if case.event.end else stepped.calls == stepped.steps  # sentences may end early


@contract(real)
def test_the_methods_agree_on_data_with_a_scale(case: Case) -> None:
    case = standardized(case)
    model, condition = case.build(dtype=torch.float64), case.conditions(9)
    assert_same(case, sample(model, 9, condition, method="parallel"), sample(model, 9, condition))


@contract(lambda case: case.autoregressive and case.enumerable)
@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_samples_have_the_models_frequencies(case: Case, method: str) -> None:
    n, model, condition = 4000, case.build(spread=1.0), repeat(case.conditions(1), 4000)
    assert isinstance(model, AutoregressiveModel)
    states = all_states(case.event)
    with torch.no_grad():
        expected = n * log_prob(model, states, repeat(case.conditions(1), len(states))).double().exp()
    observed = frequencies(case.event, sample(model, n, condition, method=method))
    rare = expected < 10
    observed, expected = (torch.cat((v[~rare], v[rare].sum()[None] + 1e-9)) for v in (observed, expected))
    assert chisquare(observed.numpy(), (expected * observed.sum() / expected.sum()).numpy()).pvalue > 1e-4


@contract(lambda case: case.autoregressive and len(case.event.shape) == 1)
def test_after_a_prompt_a_datum_goes_on_as_it_would_have(case: Case) -> None:
    model, condition = case.build(dtype=torch.float64), case.conditions(5)
    assert isinstance(model, AutoregressiveModel)
    x, numel = sample(model, 5, condition, seed=3), case.event.numel
    if model.members > 1 or not torch.equal(model.order, torch.arange(numel)):
        with pytest.raises(Unsupported, match="another order"):
            sample(model, 5, condition, prompt=x[:, :1])
        return
    for size in (1, numel - 1):
        length = numel - size if case.event.is_sequence else None
        rest = sample(model, 5, condition, seed=3, prompt=x[:, :size], length=length, batch_size=2)
        assert torch.equal(rest[:, :size], x[:, :size])
        assert_same(case, rest, x)
        for_all = sample(model, 5, condition, seed=3, prompt=x[2, :size], length=length)
        assert torch.equal(for_all[:, :size], x[2:3, :size].expand(5, -1))
        assert_same(case, for_all[2], x[2])


@contract(lambda case: case.autoregressive and case.event.is_drawing)
def test_after_a_prompt_a_drawing_goes_on_as_it_would_have(case: Case) -> None:
    model, condition = case.build(dtype=torch.float64), case.conditions(9)
    x = sample(model, 9, condition, seed=3)
    live = x[:, 0, 2] < case.event.end_symbol
    rows = live.nonzero()[:, 0].tolist()
    assert rows, "all drawings are over at once: nothing is shown"
    for i in rows:
        rest = sample(model, 9, condition, seed=3, prompt=x[i, :1], batch_size=2)
        assert torch.equal(rest[:, 0], x[i, :1].expand(9, -1))
        assert_same(case, rest[i], x[i])
    with pytest.raises(InvalidInput, match="expected points"):
        sample(model, 9, condition, prompt=x[0].flatten())
    with pytest.raises(InvalidInput, match="drawings that are over"):
        sample(model, 9, condition, prompt=torch.tensor([[1.0, 1.0, 2.0]]))


@contract(lambda case: case.autoregressive and len(case.event.shape) > 1 and not case.event.is_drawing)
def test_data_of_several_axes_take_no_prompt(case: Case) -> None:
    with pytest.raises(Unsupported, match="one entry after another"):
        sample(case.build(), 1, case.conditions(1), prompt=[0])
