"""Sharpened distributions agree with brute force: sort, keep, divide by the sum."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ancestral.distributions import Bernoulli, Categorical, DiscretizedLogisticMixture, GaussianMixture, Output, Sharpening
from ancestral.distributions.mixed import Mixed, MixedLayout
from ancestral.errors import InvalidInput, Unsupported


def raw(*shape: int) -> Tensor:
    return 2.0 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def brute(p: list[float], temperature: float, top_k: int | None, top_p: float | None) -> list[float]:
    """Return the sharpened probabilities of one distribution, in plain Python."""
    p = [q ** (1.0 / temperature) for q in p]
    p = [q / sum(p) for q in p]
    ranked = sorted(range(len(p)), key=lambda k: -p[k])
    kept = set(ranked[: top_k or len(p)])
    p = [q if k in kept else 0.0 for k, q in enumerate(p)]
    p = [q / sum(p) for q in p]
    kept, mass = set(), 0.0
    for k in ranked:
        if mass < (top_p or 1.0):
            kept.add(k)
        mass += p[k]
    p = [q if k in kept else 0.0 for k, q in enumerate(p)]
    return [q / sum(p) for q in p]


OUTPUTS: list[Output] = [
    Bernoulli(raw(5)),
    Categorical(raw(5, 7)),
    DiscretizedLogisticMixture(raw(5, 6), levels=7),
]


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 3, 99])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.6, 0.95, 1.0])
def test_it_is_what_brute_force_gives(output: Output, temperature: float, top_k: int | None, top_p: float | None) -> None:
    found = Sharpening(temperature, top_k, top_p)(output).log_pmf().exp()
    expected = [brute(p, temperature, top_k, top_p) for p in output.log_pmf().exp().tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=6), st.integers(1, 6), st.sampled_from([0.1, 0.5, 0.9]))
def test_ties_keep_the_lower_values(numbers: list[int], top_k: int, top_p: float) -> None:
    output = Categorical(torch.tensor(numbers, dtype=torch.float64))
    kept = Sharpening(top_k=top_k)(output).log_pmf().isfinite()
    assert int(kept.sum()) == min(top_k, len(numbers))
    ranked = sorted(range(len(numbers)), key=lambda k: (-numbers[k], k))
    assert set(kept.nonzero()[:, 0].tolist()) == set(ranked[:top_k])
    mass = output.log_pmf().exp()[Sharpening(top_p=top_p)(output).log_pmf().isfinite()]
    assert float(mass.sum()) >= top_p - 1e-12
    assert float(mass.sum() - mass.min()) < top_p + 1e-12, "one value fewer would not have reached top_p"


def test_nothing_to_change_is_the_output_itself() -> None:
    for sharpening in (Sharpening(), Sharpening(top_p=1.0)):
        assert sharpening.exact
        assert sharpening(OUTPUTS[0]) is OUTPUTS[0]
    density = GaussianMixture(raw(2, 3))
    assert Sharpening()(density) is density
    assert not Sharpening(top_k=3).exact


def test_low_temperatures_give_the_mode_and_high_ones_even_odds() -> None:
    output = OUTPUTS[1]
    mode = output.log_pmf().argmax(-1)
    assert torch.equal(Sharpening(1e-3)(output).log_pmf().argmax(-1), mode)
    torch.testing.assert_close(Sharpening(1e6)(output).log_pmf().exp(), torch.full((5, 7), 1 / 7, dtype=torch.float64),
                               rtol=1e-4, atol=0)  # fmt: skip


def test_dropped_values_are_never_drawn() -> None:
    output = Sharpening(top_k=2)(Categorical(torch.tensor([0.0, 3.0, 0.0, 2.0, -1.0])))
    edges = torch.tensor([0.0, 1e-300, 0.5, 1.0 - 2.0**-53], dtype=torch.float64)
    noise = torch.cat((edges, torch.rand(20_000, dtype=torch.float64)))[:, None]
    drawn = Categorical(output.logits.expand(len(noise), -1)).from_noise(noise)
    assert set(drawn.tolist()) == {1.0, 3.0}


def test_it_says_what_was_changed() -> None:
    assert str(Sharpening(0.8)) == "temperature 0.8"
    assert str(Sharpening(0.5, 10, 0.9)) == "temperature 0.5, top-k 10, top-p 0.9"
    assert str(Sharpening()) == ""


def test_densities_are_refused() -> None:
    with pytest.raises(Unsupported, match="GaussianMixture has a density"):
        Sharpening(0.5)(GaussianMixture(raw(3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temperature": 0.0}, "temperature is 0"), ({"temperature": -1.0}, "temperature"), ({"top_k": 0}, "top_k is 0"),
     ({"temperature": float("nan")}, "temperature"), ({"top_p": 0.0}, "top_p is 0"), ({"top_p": 1.5}, "top_p is 1.5")],
)  # fmt: skip
def test_options_out_of_range_are_refused(options, message) -> None:
    with pytest.raises(InvalidInput, match=message):
        Sharpening(**options)


# Bias


@given(bias=st.floats(0.0, 3.0), seed=st.integers(0, 99))
def test_a_bias_narrows_each_gaussian_and_sharpens_the_weights(bias: float, seed: int) -> None:
    torch.manual_seed(seed)
    weights, means, logs = torch.randn(3, 4, dtype=torch.float64)
    layout = MixedLayout(3, 4)
    raw = torch.cat((weights, means, logs))
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=(1.0 + bias) * weights),
        torch.distributions.Normal(means, logs.exp() * math.exp(-bias)),
    )
    x = torch.randn(5, dtype=torch.float64)
    sharpening = Sharpening(bias=bias)
    torch.testing.assert_close(sharpening(GaussianMixture(raw.expand(5, -1))).log_prob(x), mixture.log_prob(x))
    both = sharpening(Mixed(layout.real(raw).expand(5, -1), layout))
    torch.testing.assert_close(both.log_prob(x), mixture.log_prob(x))
    pen = Mixed(layout.whole(torch.randn(3)), layout)
    assert torch.equal(sharpening(pen).log_prob(torch.tensor(1.0)), pen.log_prob(torch.tensor(1.0)))
    assert sharpening.exact == (bias == 0.0)


def test_a_bias_out_of_range_or_of_levels_is_refused() -> None:
    assert str(Sharpening(bias=0.5)) == "bias 0.5"
    for bias in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="expected a number of 0 or more"):
            Sharpening(bias=bias)
    with pytest.raises(Unsupported, match="a bias is for mixtures of Gaussians"):
        Sharpening(bias=1.0)(Categorical(torch.zeros(3)))
