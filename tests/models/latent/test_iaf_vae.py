"""IAF-VAE: its density against autograd's Jacobian, its bounds against quadrature, and what the flow is for."""

import math

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.latent.iaf_vae import IAFVAE
from ancestral.models.latent.vae import VAE
from tests.models.latent.quadrature import assert_bounds_rise
from tests.models.learning import learn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(steps: int = 2, latent: int = 2, spread: float = 0.5) -> IAFVAE:
    """Return a model whose flow and decoder are far from the identity."""
    torch.manual_seed(3)
    model = IAFVAE(Event.binary((4,)), latent=latent, hidden=(8,), flow_hidden=(8,), context=3, flow_steps=steps)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not name.startswith("encoder"):
                p += spread * torch.randn(p.shape, generator=generator(5))
    return model.double().eval()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_log_q_is_that_of_the_change_of_variables(steps: int) -> None:
    model = tiny(steps, latent=4)
    x = torch.randint(0, 2, (3, 4), generator=generator())
    features = model.recognize(x).detach()
    mean, log_scale = model.posterior(x)
    noise = torch.randn(3, 4, dtype=torch.float64, generator=generator(7))
    z, log_q = model.draw_posterior(features, generator=generator(7))

    def code(noise: Tensor, row: int) -> Tensor:
        start = mean[row] + log_scale[row].exp() * noise
        return model.flow(start[None], features[row : row + 1, 8:])[0][0]

    for row in range(3):
        torch.testing.assert_close(code(noise[row], row), z[row])
        jacobian = torch.autograd.functional.jacobian(lambda e, row=row: code(e, row), noise[row])
        assert int((jacobian.abs() > 1e-12).sum()) > 4, "the flow must mix entries for the test to say something"
        base = -0.5 * noise[row].square().sum() - 2.0 * math.log(2.0 * math.pi)
        torch.testing.assert_close(log_q[row].sum(), base - torch.linalg.slogdet(jacobian).logabsdet)
        # Each latent adds what its own noise and its entry of the diagonal do.
        order = jacobian.flip(0) if steps % 2 else jacobian
        own = -0.5 * (noise[row].square() + math.log(2.0 * math.pi))
        if steps == 1:
            torch.testing.assert_close(log_q[row].flip(0), own - order.diagonal().log())


def test_every_entry_of_the_code_sees_every_other_after_two_steps() -> None:
    model = tiny(steps=2, latent=4, spread=1.0)
    context = torch.randn(1, 3, dtype=torch.float64, generator=generator())
    jacobian = torch.autograd.functional.jacobian(lambda z: model.flow(z[None], context)[0][0], torch.zeros(4).double())
    seen = jacobian.abs() > 1e-12
    assert bool(seen.triu().any())
    assert bool(seen.tril(-1).any())


@torch.no_grad()
def test_bounds_rise_with_samples_towards_the_exact_likelihood() -> None:
    # Near the prior, so that the weights of its draws have a variance: the test compares their mean with their spread.
    assert_bounds_rise(tiny(spread=0.25), torch.cartesian_prod(*[torch.arange(2)] * 4).to(torch.uint8))


def test_the_flow_tightens_the_bound_of_a_posterior_that_is_no_gaussian() -> None:
    """One decoder, which leaves codes on a curve; two posteriors for it, trained alike: the flow's loses fewer nats."""
    event = Event.real((1,))
    gaps = []
    for cls, options in ((VAE, {}), (IAFVAE, {"flow_steps": 4, "flow_hidden": (32,), "context": 4})):
        torch.manual_seed(0)
        model = cls(event, latent=2, hidden=(16,), **options)
        with torch.no_grad():
            first, second = model.decoder.layers
            first.weight.copy_(torch.randn(first.weight.shape, generator=generator(1)) * 2.0)
            first.bias.copy_(torch.randn(first.bias.shape, generator=generator(2)))
            second.weight.copy_(torch.randn(second.weight.shape, generator=generator(3)))
            second.bias.copy_(torch.tensor([0.0, -1.5]))
            second.weight[1] = 0.0
        for p in model.decoder.parameters():
            p.requires_grad_(False)
        x = model.sample(2000, generator=generator(4))
        learn(model, x, steps=500, rate=5e-3)
        with torch.no_grad():
            one, many = (model.bound(x, samples=k, generator=generator(6)).mean() for k in (1, 200))
        gaps.append(float(many - one))
    assert gaps[1] < 0.7 * gaps[0]


def test_code_is_where_the_flow_takes_the_mean() -> None:
    model = tiny()
    x = torch.randint(0, 2, (3, 4), generator=generator())
    features = model.recognize(x)
    features[:, 2:4] = -60.0  # a Gaussian without width: draws are its mean
    torch.testing.assert_close(model.draw_posterior(features, generator=generator())[0], model.encode(x))


def test_bad_options_are_refused() -> None:
    for options, match in (
        ({"latent": 1}, "a flow of one latent only rescales it"),
        ({"flow_steps": 0}, "flow_steps and context needs"),
        ({"flow_hidden": (0,)}, "a network needs"),
        ({"importance": 2, "free_bits": 0.1}, "no KL term to weigh"),
    ):
        with pytest.raises(InvalidInput, match=match):
            IAFVAE(Event.binary((4,)), hidden=(4,), **options)
