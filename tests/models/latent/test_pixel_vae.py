"""PixelVAE: its bounds against quadrature over the code, draws and modes by steps, and the nats that its code holds."""

import math

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.latent.pixel_vae import PixelVAE
from tests.models.latent.quadrature import assert_bounds_rise, exact
from tests.models.learning import learn

TINY = {"latent": 2, "hidden": (8,), "features": 3, "pixel_channels": 4, "layers": 1, "kernel": 3}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(event: Event, spread: float = 0.6) -> PixelVAE:
    """Return a model whose code matters to its decoder."""
    torch.manual_seed(1)
    model = PixelVAE(event, **TINY)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not name.startswith("encoder"):
                p += spread * torch.randn(p.shape, generator=generator(5))
    return model.double().eval()


def states(*shape: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(2)] * math.prod(shape)).view(-1, *shape).to(torch.uint8)


@torch.no_grad()
def test_bounds_rise_with_samples_towards_the_exact_likelihood() -> None:
    assert_bounds_rise(tiny(Event.binary((1, 2, 2))), states(1, 2, 2), repeats=300)


@torch.no_grad()
def test_samples_have_the_exact_frequencies() -> None:
    model, x = tiny(Event.binary((1, 2, 2))), states(1, 2, 2)
    p = exact(model, x).exp()
    n = 20_000
    drawn = model.sample(n, generator=generator()).flatten(1).long() @ torch.tensor([8, 4, 2, 1])
    share = torch.bincount(drawn, minlength=16) / n
    assert bool(((share - p).abs() < 5.0 * (p * (1.0 - p) / n).sqrt()).all())


@torch.no_grad()
def test_a_code_is_decoded_to_the_likeliest_value_of_each_entry_given_those_before() -> None:
    model = tiny(Event.integers((2, 2, 2), 3), spread=0.8)
    code = torch.randn(20, 2, dtype=torch.float64, generator=generator())
    x = model.decode(code)
    likeliest = model.head(model.pixels(x, model.maps(code))).log_pmf().argmax(-1)
    assert torch.equal(x.long(), likeliest)
    assert len(x.unique(dim=0)) > 1


def test_the_nats_in_the_code_are_measured_and_kept_by_free_bits() -> None:
    """Two halves of one image that are alike: pixels tell all of it, and nothing is left to the code without free bits."""
    x = torch.randint(0, 2, (500, 1, 1, 1), generator=generator()).expand(-1, 1, 2, 4).to(torch.uint8).contiguous()
    torch.manual_seed(0)
    kl = {}
    for free_bits in (0.0, 0.3):
        model = PixelVAE(Event.binary((1, 2, 4)), **TINY, free_bits=free_bits)
        learn(model, x, steps=300, rate=1e-2)
        with torch.no_grad():
            measured = model.measures(x, generator=generator())
        torch.testing.assert_close(measured["nats"], measured["reconstruction"] + measured["kl"])
        assert float(measured["nats"].mean()) < math.log(2.0) + 0.3
        kl[free_bits] = float(measured["kl"].mean())
    assert kl[0.0] < 0.1
    assert kl[0.3] > 0.4


def test_bad_options_are_refused() -> None:
    for options, match in (
        ({"latent": 0}, "latent and features needs"),
        ({"features": 0}, "latent and features needs"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"free_bits": math.inf}, "free_bits is inf"),
    ):
        with pytest.raises(InvalidInput, match=match):
            PixelVAE(Event.binary((1, 2, 2)), **{**TINY, **options})
