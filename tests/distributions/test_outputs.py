"""Output distributions: they normalise, agree with torch.distributions, draw what they say, and stay finite."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest
from torch import Tensor

from ancestral.distributions import Bernoulli, Categorical, DiscretizedLogisticMixture, GaussianMixture, Output
from ancestral.errors import Unsupported

DRAWS = 20_000
LEVELS = (2, 3, 256)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def raw(*shape: int, scale: float = 2.0, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return (scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(dtype)


def discrete(dtype: torch.dtype = torch.float64, scale: float = 2.0) -> list[tuple[Output, int]]:
    """Return a batch of (2, 3) of each discrete distribution, with its number of levels."""
    outputs: list[tuple[Output, int]] = [(Bernoulli(raw(2, 3, scale=scale, dtype=dtype)), 2)]
    for levels in LEVELS:
        outputs.append((Categorical(raw(2, 3, levels, scale=scale, dtype=dtype)), levels))
        for parameters in (2, 3, 12):  # a component, a component with a weight, four components
            outputs.append((DiscretizedLogisticMixture(raw(2, 3, parameters, scale=scale, dtype=dtype), levels), levels))
    return outputs


CASES = range(len(discrete()))


def mixture(output: GaussianMixture) -> torch.distributions.MixtureSameFamily:
    return torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=output.logits),
        torch.distributions.Normal(output.means, output.log_scales.exp()),
    )


# Normalisation


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [0.1, 2.0, 10.0])
@dtypes
def test_probabilities_sum_to_1(case: int, scale: float, dtype: torch.dtype) -> None:
    output, levels = discrete(dtype, scale)[case]
    table = output.log_pmf()
    assert table.shape == (2, 3, levels)
    assert table.dtype == dtype
    total = table.exp().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12 if dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize("case", CASES)
@dtypes
def test_the_table_is_the_log_prob_of_each_level(case: int, dtype: torch.dtype) -> None:
    output, levels = discrete(dtype)[case]
    table = output.log_pmf()
    for level in {0, 1, levels // 2, levels - 1}:
        for storage in (torch.uint8, torch.int64, dtype):
            value = torch.full((2, 3), level, dtype=storage)
            torch.testing.assert_close(output.log_prob(value), table[..., level])


@pytest.mark.parametrize("case", CASES)
def test_the_mean_is_that_of_the_table(case: int) -> None:
    output, levels = discrete()[case]
    expected = (output.log_pmf().exp() * torch.arange(levels)).sum(-1)
    torch.testing.assert_close(output.mean, expected)


def test_a_gaussian_mixture_integrates_to_1() -> None:
    output = GaussianMixture(raw(5, 9, scale=1.0))
    x = torch.linspace(-100.0, 100.0, 400_001, dtype=torch.float64)
    density = output.log_prob(x[:, None].expand(-1, 5)).exp()
    total = torch.trapezoid(density, x, dim=0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-9)


# Equivalents of torch.distributions


def test_bernoulli_is_torchs() -> None:
    logits = raw(50, scale=5.0)
    value = (raw(50, seed=1) > 0).double()
    expected = torch.distributions.Bernoulli(logits=logits).log_prob(value)
    torch.testing.assert_close(Bernoulli(logits).log_prob(value), expected)


def test_categorical_is_torchs() -> None:
    logits = raw(50, 7)
    value = torch.arange(50) % 7
    expected = torch.distributions.Categorical(logits=logits).log_prob(value)
    torch.testing.assert_close(Categorical(logits).log_prob(value), expected)


def test_gaussian_mixture_is_torchs() -> None:
    output = GaussianMixture(raw(50, 12))
    value = raw(50, seed=1)
    torch.testing.assert_close(output.log_prob(value), mixture(output).log_prob(value))
    torch.testing.assert_close(output.mean, mixture(output).mean)


@pytest.mark.parametrize("levels", LEVELS)
def test_the_discretized_logistic_is_the_mass_of_each_cell(levels: int) -> None:
    output = DiscretizedLogisticMixture(raw(4, 6, scale=0.7), levels)
    edges = (2.0 * torch.arange(levels + 1, dtype=torch.float64) - 1.0) / (levels - 1) - 1.0
    edges[0], edges[-1] = -math.inf, math.inf
    cdf = torch.sigmoid((edges - output.means[..., None]) * torch.exp(-output.log_scales)[..., None])
    mass = (torch.softmax(output.logits, -1)[..., None] * cdf.diff(dim=-1)).sum(-2)
    torch.testing.assert_close(output.log_pmf().exp(), mass, rtol=1e-6, atol=1e-12)


# Draws


@pytest.mark.parametrize("case", CASES)
def test_draws_have_the_frequencies_of_the_table(case: int) -> None:
    output, levels = discrete(scale=1.0)[case]
    parameters = output.log_pmf()[0, 0].exp() * DRAWS
    kind, arguments = type(output), ([levels] if isinstance(output, DiscretizedLogisticMixture) else [])
    fields = [output.logits] if not arguments else [output.logits, output.means, output.log_scales]
    one = torch.cat([f[0, 0].reshape(-1) for f in fields]) if kind is not Bernoulli else output.logits[0, 0]
    drawn = kind(one.expand(DRAWS, *one.shape), *arguments).draw(torch.Generator().manual_seed(1))
    assert drawn.shape == (DRAWS,)
    observed = torch.bincount(drawn.long(), minlength=levels).double()
    rare = parameters < 10
    observed = torch.cat((observed[~rare], observed[rare].sum()[None] + 1e-9))
    expected = torch.cat((parameters[~rare], parameters[rare].sum()[None] + 1e-9))
    assert chisquare(observed.numpy(), (expected * observed.sum() / expected.sum()).numpy()).pvalue > 1e-4


def test_draws_of_a_gaussian_mixture_follow_its_distribution_function() -> None:
    one = raw(9, scale=1.0)
    output = GaussianMixture(one.expand(DRAWS, 9))
    drawn = output.draw(torch.Generator().manual_seed(1))
    function = mixture(GaussianMixture(one)).cdf
    assert kstest(drawn.numpy(), lambda x: function(torch.from_numpy(x)).numpy()).pvalue > 1e-4


@pytest.mark.parametrize("case", [*CASES, "gaussian"])
def test_draws_follow_their_generator_alone(case) -> None:
    output = GaussianMixture(raw(2, 3, 6)) if case == "gaussian" else discrete(scale=0.1)[case][0]
    before = torch.random.get_rng_state()
    one, again = (output.draw(torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == output.batch_shape
    assert one.dtype == torch.float64
    assert torch.equal(one, again)
    assert torch.equal(torch.random.get_rng_state(), before)


# Draws from given noise


def inverse_cdf(p: list[float], u: float) -> int:
    """Return the first level whose cumulative probability is above u."""
    total = 0.0
    for level, q in enumerate(p):
        total += q
        if total > u:
            return level
    raise AssertionError("the noise is above all levels")


@pytest.mark.parametrize("levels", LEVELS)
def test_a_level_is_that_of_the_inverse_distribution_function(levels: int) -> None:
    output = Categorical(raw(levels).expand(500, levels))
    noise = torch.rand(500, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p = torch.softmax(raw(levels), 0).tolist()
    assert output.from_noise(noise).tolist() == [inverse_cdf(p, u) for u in noise[:, 0].tolist()]


def test_a_coin_shows_heads_where_the_noise_is_below_its_probability() -> None:
    output = Bernoulli(torch.logit(torch.tensor([0.3, 0.3, 0.0, 1.0], dtype=torch.float64)))
    highest = 1.0 - 2.0**-53
    assert output.from_noise(torch.tensor([[0.29], [0.31], [0.0], [highest]], dtype=torch.float64)).tolist() == [1, 0, 0, 1]


@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_levels_of_probability_0_are_never_drawn(numbers: list[float], before: int, after: int) -> None:
    logits = torch.tensor([-math.inf] * before + numbers + [-math.inf] * after)
    for dtype in (torch.float32, torch.float64):
        highest = 1.0 - torch.finfo(dtype).eps / 2.0
        noise = torch.tensor([[0.0], [0.5], [highest]], dtype=dtype)
        assert float(noise.max()) < 1.0
        for parameters in (logits, logits.double()):
            drawn = Categorical(parameters.expand(3, -1)).from_noise(noise)
            assert bool(((drawn >= before) & (drawn < before + len(numbers))).all())


@pytest.mark.parametrize("case", [*CASES, "gaussian"])
@dtypes
def test_a_draw_is_a_function_of_its_own_noise(case, dtype: torch.dtype) -> None:
    output = GaussianMixture(raw(2, 3, 6, dtype=dtype)) if case == "gaussian" else discrete(dtype)[case][0]
    noise = torch.rand(2, 3, output.noises, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    drawn = output.from_noise(noise)
    assert drawn.shape == output.batch_shape
    assert drawn.dtype == dtype
    other = noise.clone()
    other[0] = 0.5
    assert torch.equal(output.from_noise(other)[1], drawn[1])


def test_the_ends_of_the_noise_give_finite_values() -> None:
    for dtype in (torch.float32, torch.float64):
        ends = torch.tensor([0.0, 1.0 - torch.finfo(dtype).eps / 2.0], dtype=dtype)
        noise = torch.stack((ends, ends), dim=-1)
        assert bool(GaussianMixture(torch.zeros(2, 6)).from_noise(noise).isfinite().all())
        assert DiscretizedLogisticMixture(torch.zeros(2, 6), 256).from_noise(noise).tolist() == [0.0, 255.0]


# Extremes

extreme = st.floats(-1e4, 1e4, width=32)


def assert_finite(output: Output, parameters: Tensor, value: Tensor) -> None:
    log_prob = output.log_prob(value)
    assert bool(torch.isfinite(log_prob).all()), log_prob
    (gradient,) = torch.autograd.grad(log_prob.sum(), parameters)
    assert bool(torch.isfinite(gradient).all()), gradient


@given(extreme, st.sampled_from([0.0, 1.0]))
def test_bernoulli_is_finite(logit: float, value: float) -> None:
    logits = torch.tensor(logit, requires_grad=True)
    assert_finite(Bernoulli(logits), logits, torch.tensor(value))


@given(st.lists(extreme, min_size=3, max_size=3), st.integers(0, 2))
def test_categorical_is_finite(numbers: list[float], value: int) -> None:
    logits = torch.tensor(numbers, requires_grad=True)
    assert_finite(Categorical(logits), logits, torch.tensor(value))


@given(st.lists(extreme, min_size=6, max_size=6), st.sampled_from(LEVELS), st.data())
def test_discretized_logistic_is_finite(numbers: list[float], levels: int, data: st.DataObject) -> None:
    """Each edge and a level between: nothing that `where` leaves out may put a NaN into the gradient."""
    value = torch.tensor(data.draw(st.sampled_from(sorted({0, levels // 2, levels - 1}))))
    parameters = torch.tensor(numbers, requires_grad=True)
    assert_finite(DiscretizedLogisticMixture(parameters, levels), parameters, value)


@given(st.lists(extreme, min_size=6, max_size=6), st.floats(-1e6, 1e6, width=32))
def test_gaussian_mixture_is_finite(numbers: list[float], value: float) -> None:
    parameters = torch.tensor(numbers, requires_grad=True)
    assert_finite(GaussianMixture(parameters), parameters, torch.tensor(value))


@given(st.floats(-60, 60), st.sampled_from([0.0, 1.0]))
def test_small_surprises_keep_their_digits(logit: float, value: float) -> None:
    """log sigmoid(40) is -4e-18, not 0: compare in float32 with float64."""
    single = Bernoulli(torch.tensor(logit, dtype=torch.float32)).log_prob(torch.tensor(value))
    exact = -math.log1p(math.exp(-float(torch.tensor(logit, dtype=torch.float32)) * (2 * value - 1)))
    assert float(single) == pytest.approx(exact, rel=1e-5)


@given(st.lists(st.floats(-50, 50), min_size=6, max_size=6), st.sampled_from(LEVELS))
def test_discretized_logistic_always_normalises(numbers: list[float], levels: int) -> None:
    output = DiscretizedLogisticMixture(torch.tensor(numbers, dtype=torch.float64), levels)
    assert float(output.log_pmf().exp().sum()) == pytest.approx(1.0, abs=1e-9)


@given(
    st.lists(st.floats(-300, 300), min_size=6, max_size=6),
    st.sampled_from(LEVELS),
    st.sampled_from((torch.float32, torch.float64)),
)
def test_the_table_of_discretized_logistics_keeps_the_tails(numbers: list[float], levels: int, dtype: torch.dtype) -> None:
    """Probabilities far below the smallest float have their logarithms all the same."""
    parameters = torch.tensor(numbers, dtype=torch.float64)
    exact = DiscretizedLogisticMixture(parameters.expand(levels, 6), levels).log_prob(torch.arange(levels))
    found = DiscretizedLogisticMixture(parameters.to(dtype), levels).log_pmf()
    torch.testing.assert_close(
        found.double(), exact, rtol=3e-4 if dtype == torch.float32 else 1e-9, atol=1e-5 if dtype == torch.float32 else 1e-12
    )


@pytest.mark.parametrize("output", [Bernoulli, Categorical, GaussianMixture, lambda r: DiscretizedLogisticMixture(r, 4)])
def test_sixteen_bits_are_widened(output) -> None:
    made = output(raw(5, 6).bfloat16())
    value = torch.zeros(made.batch_shape)
    assert made.log_prob(value).dtype == torch.float32
    assert made.draw(torch.Generator().manual_seed(0)).dtype == torch.float32


def test_a_single_distribution_has_no_batch() -> None:
    for output in (Bernoulli(raw(1)[0]), Categorical(raw(3)), GaussianMixture(raw(3)), DiscretizedLogisticMixture(raw(3), 3)):
        assert output.batch_shape == ()
        assert output.log_prob(torch.tensor(1)).shape == ()
        assert output.draw().shape == ()


def test_a_density_has_no_table() -> None:
    with pytest.raises(Unsupported, match="continuous"):
        GaussianMixture(raw(3)).log_pmf()


@pytest.mark.parametrize("levels", [2, 256, 1000, 65536])
def test_the_sharpest_logistic_is_on_one_level_however_many_there_are(levels: int) -> None:
    raw = torch.tensor([-1.0 / (levels - 1), -100.0], dtype=torch.float64)  # its mean is the middle of level levels // 2 - 1
    output = DiscretizedLogisticMixture(raw, levels)
    assert float(output.log_prob(torch.tensor(levels // 2 - 1)).exp()) > 0.95
