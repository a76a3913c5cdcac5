"""Probabilities sum to 1, densities integrate to 1, bounds lie below, samples come with the frequencies that are claimed."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from ancestral.event import Event
from ancestral.models import Model
from ancestral.verbs.inputs import rounded
from tests.contracts.cases import Case, all_states, contract, frequencies, generator, log_prob, repeat, standardized

DRAWS = 5_000


@contract(lambda case: case.exact and case.enumerable)
def test_probabilities_sum_to_1(case: Case) -> None:
    model = case.build(dtype=torch.float64)
    x = all_states(case.event)
    for condition in case.each_condition(len(x)):
        with torch.no_grad():
            total = log_prob(model, x, condition).exp().sum()
        assert float(total) == pytest.approx(1.0, abs=1e-10)


@contract(lambda case: case.exact and case.enumerable and case.autoregressive)
def test_probabilities_of_features_in_bfloat16_sum_to_1(case: Case) -> None:
    model = rounded(case.build(), "bfloat16")
    x = all_states(case.event)
    for condition in case.each_condition(len(x)):
        with torch.no_grad():
            nats = -log_prob(model, x, condition)
        assert nats.dtype == torch.float32
        assert float((-nats).double().exp().sum()) == pytest.approx(1.0, abs=1e-4)


@contract(lambda case: case.exact and case.enumerable and case.can("sample"))
def test_samples_have_the_frequencies_that_log_prob_claims(case: Case) -> None:
    model = case.build(dtype=torch.float64)
    states = all_states(case.event)
    for seed, condition in enumerate(case.each_condition(DRAWS)):
        x = model.sample(DRAWS, condition, generator=generator(seed))
        observed = frequencies(case.event, x)
        with torch.no_grad():
            given = None if condition is None else condition[: len(states)]
            expected = DRAWS * log_prob(model, states, given).exp()
        # Chi-square needs some expected draws in every cell: put the rare states together.
        rare = expected < 10
        observed = torch.cat((observed[~rare], observed[rare].sum()[None]))
        expected = torch.cat((expected[~rare], expected[rare].sum()[None]))
        if expected[-1] < 10:
            expected[-2] += expected[-1]
            observed[-2] += observed[-1]
            observed, expected = observed[:-1], expected[:-1]
        expected *= observed.sum() / expected.sum()  # log_prob sums to 1 up to rounding, chisquare asks for less
        assert chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-4


# Real data


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor, size: int = 100_000) -> Tensor:
    return torch.cat([function(part) for part in x.split(size)])


def density(model: Model, condition: Tensor | None) -> Callable[[Tensor], Tensor]:
    return lambda x: log_prob(model, x, repeat(condition, len(x)))


def quadrature(model: Model, event: Event, condition: Tensor | None, samples: Tensor) -> float:
    """Integrate the density over a grid that reaches far around `samples`."""
    points = 20_001 if event.numel == 1 else 501
    middle, reach = samples.mean(0), 12.0 * samples.std(0)
    lines = [torch.linspace(-1.0, 1.0, points, dtype=torch.float64) * r + m for m, r in zip(middle, reach, strict=True)]
    x = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).view(-1, *event.shape)
    cell = math.prod(float(line[1] - line[0]) for line in lines)
    return float(in_chunks(density(model, condition), x).exp().sum()) * cell


def importance(model: Model, event: Event, condition: Tensor | None, samples: Tensor) -> tuple[float, float]:
    """Estimate the integral of the density with its standard error."""
    return integral(lambda x: density(model, condition)(x.view(-1, *event.shape)), samples)


def integral(log_density: Callable[[Tensor], Tensor], samples: Tensor, n: int = 50_000) -> tuple[float, float]:
    """Estimate an integral with its standard error, with Student's t around `samples`, (n, d), as the proposal."""
    d = samples.shape[1]
    covariance = torch.atleast_2d(torch.cov(samples.T)) + 1e-9 * torch.eye(d, dtype=torch.float64)
    scale = torch.linalg.cholesky(covariance)
    normal = torch.randn(n, d, dtype=torch.float64, generator=generator(5))
    freedom = 4
    chi2 = torch.randn(n, freedom, dtype=torch.float64, generator=generator(6)).square().sum(1, keepdim=True)
    z = normal * torch.sqrt(freedom / chi2)
    proposal = (
        math.lgamma((freedom + d) / 2)
        - math.lgamma(freedom / 2)
        - 0.5 * d * math.log(freedom * math.pi)
        - 0.5 * (freedom + d) * torch.log1p(z.square().sum(1) / freedom)
        - torch.log(scale.diagonal()).sum()
    )
    weights = (in_chunks(log_density, samples.mean(0) + z @ scale.T) - proposal).exp()
    return float(weights.mean()), float(weights.std()) / math.sqrt(n)


def real(case: Case) -> bool:
    return case.exact and case.event.kind == "real" and case.can("sample")


def mixed(case: Case) -> bool:
    return case.exact and case.event.kind == "mixed" and case.can("sample")


@contract(real)
@pytest.mark.parametrize("scaled", [False, True], ids=["", "scaled"])
@torch.no_grad()
def test_densities_integrate_to_1(case: Case, scaled: bool) -> None:
    case = standardized(case) if scaled else case
    model = case.build(dtype=torch.float64)
    for condition in case.each_condition(1):
        samples = model.sample(4000, repeat(condition, 4000), generator=generator()).flatten(1).double()
        if case.event.numel <= 2:
            assert quadrature(model, case.event, condition, samples) == pytest.approx(1.0, abs=2e-3)
        estimate, error = importance(model, case.event, condition, samples)
        assert error < 0.02, "the proposal does not cover the density: the estimate says nothing"
        assert abs(estimate - 1.0) < 5.0 * error


@contract(real)
@torch.no_grad()
def test_real_samples_follow_the_density(case: Case) -> None:
    """The share of samples in a box is the integral of the density over it, here a mean over uniform points."""
    model = case.build(dtype=torch.float64)
    points = 50_000
    for condition in case.each_condition(1):
        x = model.sample(DRAWS, repeat(condition, DRAWS), generator=generator()).flatten(1).double()
        for quantiles in ((0.05, 0.5), (0.4, 0.95)):
            low, high = x.quantile(torch.tensor(quantiles, dtype=torch.float64), dim=0)
            share = float(((x > low) & (x < high)).all(1).double().mean())
            u = low + (high - low) * torch.rand(points, case.event.numel, dtype=torch.float64, generator=generator(1))
            p = in_chunks(density(model, condition), u.view(-1, *case.event.shape)).exp() * (high - low).prod()
            error = math.sqrt(share * (1.0 - share) / DRAWS + float(p.var()) / points)
            assert error < 0.02
            assert abs(float(p.mean()) - share) < 5.0 * error


# Data of mixed columns: sums over what is whole, integrals over what is real


def whole_parts(event: Event) -> Tensor:
    """Return every state of the whole columns of data, with zeros in the real ones, each once, (states, *shape)."""
    columns = [i for i, n in enumerate(event.columns or ()) if n is not None]
    levels = [range((event.columns or ())[i] or 0) for i in columns] * event.shape[0]
    states = torch.tensor(list(itertools.product(*levels)), dtype=torch.float64)
    x = torch.zeros(len(states), *event.shape, dtype=torch.float64)
    x[..., columns] = states.view(len(states), event.shape[0], len(columns))
    return event.closed(x).unique(dim=0)


def free(event: Event, x: Tensor) -> Tensor:
    """Return which entries of data are real and not over, (n, *shape): those that are integrated over."""
    live = (torch.arange(event.numel) < event.counted(x)[:, None]).view(x.shape)
    return live & torch.tensor([n is None for n in event.columns or ()])


def slice_of(log_density: Callable[[Tensor], Tensor], state: Tensor, entries: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a density of data as one of some entries alone, (n, entries), the others being as in `state`."""

    def of_entries(y: Tensor) -> Tensor:
        x = state.repeat(len(y), 1, 1)
        x[:, entries] = y
        return log_density(x)

    return of_entries


@contract(mixed)
@pytest.mark.parametrize("scaled", [False, True], ids=["", "scaled"])
@torch.no_grad()
def test_mixed_data_integrate_and_sum_to_1(case: Case, scaled: bool) -> None:
    """For each state of the whole columns the density in the real ones is integrated; their sum is 1."""
    case = standardized(case) if scaled else case
    model = case.build(dtype=torch.float64)
    for condition in case.each_condition(1):
        samples = model.sample(4000, repeat(condition, 4000), generator=generator()).double()
        total, variance = 0.0, 0.0
        for state in whole_parts(case.event):
            entries = free(case.event, state[None])[0]
            long = free(case.event, samples)[:, entries].all(1)  # those that have these entries

            estimate, error = integral(slice_of(density(model, condition), state, entries), samples[long][:, entries], 10_000)
            total, variance = total + estimate, variance + error**2
        assert math.sqrt(variance) < 0.02, "the proposals do not cover the density: the estimate says nothing"
        assert abs(total - 1.0) < 5.0 * math.sqrt(variance)


@contract(mixed)
@torch.no_grad()
def test_mixed_samples_follow_the_density(case: Case) -> None:
    """The share of samples of a state and in a box is the integral of the density over it, a mean over uniform points."""
    model = case.build(dtype=torch.float64)
    points = 10_000
    for condition in case.each_condition(1):
        x = model.sample(DRAWS, repeat(condition, DRAWS), generator=generator()).double()
        for state in whole_parts(case.event):
            entries = free(case.event, state[None])[0]
            alike = ((x == state) | entries).flatten(1).all(1)
            if int(alike.sum()) < 50:
                continue
            y = x[:, entries]
            low, high = y[alike].quantile(torch.tensor((0.1, 0.8), dtype=torch.float64), dim=0)
            share = float((alike & ((y > low) & (y < high)).all(1)).double().mean())
            u = state.repeat(points, 1, 1)
            u[:, entries] = low + (high - low) * torch.rand(points, len(low), dtype=torch.float64, generator=generator(1))
            p = in_chunks(density(model, condition), u).exp() * (high - low).prod()
            error = math.sqrt(share * (1.0 - share) / DRAWS + float(p.var()) / points)
            assert error < 0.02
            assert abs(float(p.mean()) - share) < 5.0 * error + 1e-3


@contract(lambda case: case.scores and case.event.levels is None)
@torch.no_grad()
def test_figures_are_on_the_measure_of_the_event(case: Case) -> None:
    """The same weights on scaled data give the same figures less the log of the scale, of entries that are not over."""
    plain = replace(case, event=replace(case.event, loc=None, scale=None))
    scaled = standardized(case)
    one, other = plain.build(dtype=torch.float64), scaled.build(dtype=torch.float64)
    other.load_state_dict(one.state_dict())
    y, condition = plain.data(7).double(), case.conditions(7)
    x = scaled.event.closed(scaled.event.from_network(y))
    live = torch.arange(case.event.numel) < case.event.counted(y)[:, None]
    expected = log_prob(one, y, condition) - (live * torch.tensor(scaled.event.scale, dtype=torch.float64).log()).sum(1)
    torch.testing.assert_close(log_prob(other, x, condition), expected, rtol=1e-9, atol=1e-9)


# Bounds


def bounded(case: Case) -> bool:
    return case.scores and case.likelihood.kind == "lower bound" and case.enumerable


@contract(bounded)
@torch.no_grad()
def test_a_bound_lies_below_the_truth(case: Case) -> None:
    """The exponentials of a lower bound's means, over all states, sum to at most 1."""
    model = case.build(dtype=torch.float64)
    states = all_states(case.event)
    repeats = 200
    x = states.repeat(repeats, *[1] * len(case.event.shape))
    for condition in case.each_condition(len(x)):
        draws = log_prob(model, x, condition).view(repeats, -1)  # (repeats, states)
        p = draws.mean(0).exp()
        error = (p * draws.std(0) / math.sqrt(repeats)).square().sum().sqrt()
        assert 0.0 < float(p.sum()) <= 1.0 + 5.0 * float(error)


@contract(lambda case: bounded(case) and hasattr(case.cls, "bound"))
@torch.no_grad()
def test_a_bound_with_many_samples_approaches_the_truth(case: Case) -> None:
    """exp(bound) of K samples has the true probability as its mean, so that over all states these sum to 1.

    A flow of dequantized data may leave some of its mass outside of the data's range: hence the 0.9. The parameters
    stay close to the initial ones, where the samples of an encoder reach all of the posterior.
    """
    model = case.build(dtype=torch.float64, spread=0.05)
    states = all_states(case.event)
    repeats = 40
    x = states.repeat(repeats, *[1] * len(case.event.shape))
    for condition in case.each_condition(len(x)):
        draws = model.bound(x, condition, samples=20, generator=generator()).view(repeats, -1)
        totals = draws.exp().sum(1)  # (repeats,)
        error = float(totals.std()) / math.sqrt(repeats)
        assert error < 0.03
        assert 0.9 < float(totals.mean()) < 1.0 + 5.0 * error


def fitted(case: Case, states: Tensor, steps: int = 300) -> Model:
    """Return a model fitted to two data: a bound that is loose hides a term that is too small."""
    model = case.build(spread=0.0).train()
    x, condition = states[[0, -1]].repeat(8, *[1] * len(case.event.shape)), case.conditions(16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    noise = generator()
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(x, condition, generator=noise)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.double().eval()


@contract(lambda case: bounded(case) and hasattr(case.cls, "bound"))
def test_more_samples_never_loosen_a_bound(case: Case) -> None:
    """For each state the mean of the bound grows with the samples, on a fitted model, where it is tight."""
    states = all_states(case.event)
    model = fitted(case, states)
    repeats = 60
    x = states.repeat(repeats, *[1] * len(case.event.shape))
    for condition in case.each_condition(len(x)):
        with torch.no_grad():
            few, many = (model.bound(x, condition, samples=k, generator=generator()).view(repeats, -1) for k in (1, 20))
        error = ((few.var(0) + many.var(0)) / repeats).sqrt()
        assert bool((few.mean(0) <= many.mean(0) + 5.0 * error).all())
        assert float(few.mean()) < float(many.mean())
