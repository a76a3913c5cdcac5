"""Entries of which some are real and some are levels: each is what it says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.distributions import Categorical, GaussianMixture, Sharpening, make_head
from ancestral.distributions.mixed import IMPOSSIBLE, Mixed, MixedLayout
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event


@given(levels=st.integers(2, 5), components=st.integers(1, 3), seed=st.integers(0, 99))
def test_each_entry_has_the_density_of_its_kind(levels: int, components: int, seed: int) -> None:
    torch.manual_seed(seed)
    layout = MixedLayout(levels, components)
    mixture, logits = torch.randn(4, 3 * components if components > 1 else 2).double(), torch.randn(4, levels).double()
    both = Mixed(torch.stack((layout.real(mixture), layout.whole(logits))), layout)
    value = torch.stack((torch.randn(4).double(), torch.randint(levels, (4,)).double()))
    expected = torch.stack((GaussianMixture(mixture).log_prob(value[0]), Categorical(logits).log_prob(value[1])))
    torch.testing.assert_close(both.log_prob(value), expected)
    noise = torch.rand(2, 4, 2, dtype=torch.float64)
    drawn = torch.stack((GaussianMixture(mixture).from_noise(noise[0]), Categorical(logits).from_noise(noise[1, :, :1])))
    torch.testing.assert_close(both.from_noise(noise), drawn)
    torch.testing.assert_close(both.mean[1], logits.argmax(-1).double())


def test_what_is_no_level_has_no_probability() -> None:
    layout = MixedLayout(3, 1)
    entries = Mixed(layout.whole(torch.zeros(5, 3)), layout)
    found = entries.log_prob(torch.tensor([0.5, -1.0, 3.0, float("nan"), 1.0]))
    assert found[:4].tolist() == [IMPOSSIBLE] * 4
    assert float(found[4].exp()) == pytest.approx(1 / 3)


def test_a_real_entry_can_be_certain() -> None:
    head = make_head(Event.drawing(1), components=2)
    zero = head(head.certain(0, torch.zeros(1)))
    assert float(zero.log_prob(torch.tensor(0.0))) == 0.0
    assert float(zero.log_prob(torch.tensor(0.1))) == IMPOSSIBLE
    assert float(zero.draw(torch.Generator().manual_seed(0))) == 0.0


def test_a_density_is_not_sharpened_as_a_table() -> None:
    head = make_head(Event.drawing(1))
    with pytest.raises(Unsupported, match="has a density"):
        Sharpening(temperature=0.5)(head(torch.zeros(head.parameters)))


def test_other_heads_are_refused() -> None:
    with pytest.raises(InvalidInput, match="does not fit an event of drawings"):
        make_head(Event.drawing(1), "softmax")
