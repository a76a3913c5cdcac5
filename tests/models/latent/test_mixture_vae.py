"""MixtureVAE: its bounds against quadrature and against a VAE, the weights of the stick, and what responsibilities are for."""

import math

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.latent.mixture_vae import MixtureVAE
from ancestral.models.latent.vae import VAE
from tests.models.latent.quadrature import assert_bounds_rise, exact
from tests.models.learning import learn

STATES = torch.cartesian_prod(*[torch.arange(2)] * 4).to(torch.uint8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(members: int = 3, latent: int = 2) -> MixtureVAE:
    """Return a model whose autoencoders differ, with a network of responsibilities that counts."""
    torch.manual_seed(3)
    model = MixtureVAE(Event.binary((4,)), autoencoders=members, latent=latent, hidden=(8,), memory=100)
    with torch.no_grad():
        for p in [*model.decoders.parameters(), *model.gate.parameters()]:
            p += 0.7 * torch.randn(p.shape, generator=generator(5))
        model.counts.copy_(torch.arange(1.0, members + 1) * 100 / (members * (members + 1) / 2))
    return model.double().eval()


def alone(model: MixtureVAE, k: int) -> VAE:
    """Return autoencoder `k` as a model of its own."""
    vae = VAE(model.event, latent=model.latent, hidden=(8,)).double().eval()
    with torch.no_grad():
        for one, all_ in ((vae.encoder, model.encoders), (vae.decoder, model.decoders)):
            for layer, weight, bias in zip(one.layers, all_.weights, all_.biases, strict=True):
                layer.weight.copy_(weight[k].T)
                layer.bias.copy_(bias[k, 0])
    return vae


def truth(model: MixtureVAE, x: Tensor) -> Tensor:
    """Return log sum_k pi_k p_k(x), (batch,), each p_k by quadrature."""
    parts = torch.stack([exact(model, x, part=k) for k in range(model.autoencoders)])
    return torch.logsumexp(parts + model.log_weights()[:, None], dim=0)


@torch.no_grad()
def test_bounds_rise_with_samples_towards_the_exact_likelihood() -> None:
    model = tiny()
    assert_bounds_rise(model, STATES, truth=truth(model, STATES))


@torch.no_grad()
def test_one_autoencoder_is_a_vae_to_the_digit() -> None:
    model = tiny(members=1)
    vae = alone(model, 0)
    for samples in (1, 7):
        ours, theirs = (m.bound(STATES, samples=samples, generator=generator()) for m in (model, vae))
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    ours, theirs = (m.measures(STATES, generator=generator()) for m in (model, vae))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.encode(STATES)[:, 1:], vae.encode(STATES))
    assert torch.equal(model.decode(model.encode(STATES)), vae.decode(vae.encode(STATES)))


@torch.no_grad()
def test_the_bound_of_one_sample_is_that_of_each_autoencoder_weighed_by_who_is_responsible() -> None:
    model = tiny()
    noise = generator()
    bounds = torch.stack([alone(model, k).bound(STATES, generator=noise) for k in range(3)])  # 3 draws of 16 x 2 numbers
    r, log_pi = model.responsibilities(STATES).T, model.log_weights()[:, None]
    expected = (r * (bounds + log_pi - r.log())).sum(0)
    torch.testing.assert_close(model.bound(STATES, generator=generator()), expected)
    torch.testing.assert_close(r.sum(0), torch.ones(16, dtype=torch.float64))
    assert float(r.std(1).min()) > 0.01, "responsibilities must depend on x for the test to say something"
    # No other responsibilities than those in proportion to pi_k exp(L_k) are better.
    assert bool((expected < torch.logsumexp(bounds + log_pi, dim=0)).all())


@torch.no_grad()
def test_codes_are_drawn_from_a_posterior_that_is_normalised() -> None:
    """The mean of p(x, k, z) / q(k, z | x) over codes from q is p(x)."""
    model, draws = tiny(), 4000
    x = STATES.repeat(draws, 1)
    z, log_q = model.draw_posterior(model.recognize(x), generator=generator())
    weights = (model.log_likelihood(x, z) + (model.log_prior(z) - log_q).sum(1)).exp().view(draws, -1)
    error = weights.std(0) / math.sqrt(draws)
    assert bool(((weights.mean(0) - truth(model, STATES).exp()).abs() < 5.0 * error).all())
    assert sorted(z[:, 0].unique().tolist()) == [0.0, 1.0, 2.0]


@torch.no_grad()
def test_samples_have_the_frequencies_of_the_exact_likelihood() -> None:
    model, n = tiny(), 20_000
    x = model.sample(n, generator=generator()).long()
    counts = torch.bincount((x * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16).double()
    p = truth(model, STATES).exp()
    assert bool(((counts / n - p).abs() < 5.0 * (p * (1.0 - p) / n).sqrt()).all())


def test_weights_break_a_stick() -> None:
    model = MixtureVAE(Event.binary((4,)), autoencoders=4, concentration=0.5, hidden=(4,))
    torch.testing.assert_close(model.log_weights().exp(), torch.tensor([2 / 3, 2 / 9, 2 / 27, 1 / 27]))
    model.counts.copy_(torch.tensor([3.0, 0.0, 5.0, 2.0]))
    left, expected = 1.0, []
    for k in range(3):
        after = float(model.counts[k + 1 :].sum())
        v = (1.0 + float(model.counts[k])) / (1.0 + float(model.counts[k]) + 0.5 + after)
        expected.append(left * v)
        left *= 1.0 - v
    torch.testing.assert_close(model.log_weights().exp(), torch.tensor([*expected, left]))


def test_what_no_datum_uses_stays_empty_and_the_rest_is_remembered() -> None:
    model = MixtureVAE(Event.binary((4,)), autoencoders=5, hidden=(4,), memory=1000)
    shares = torch.tensor([0.7, 0.3, 0.0, 0.0, 0.0])
    for _ in range(50):
        model._remember(shares.expand(100, 5))
    torch.testing.assert_close(model.counts, 1000.0 * shares)
    assert model.log_weights().exp().tolist() == pytest.approx([0.7, 0.3, 0.0, 0.0, 0.0], abs=2e-3)
    assert bool(torch.isfinite(model.log_weights()).all())
    model._remember(shares.flip(0).expand(1000, 5))  # as many data as are remembered
    torch.testing.assert_close(model.counts, 500.0 * (shares + shares.flip(0)))


def test_seats_are_taken_once_and_kept() -> None:
    model = MixtureVAE(Event.binary((4,)), autoencoders=3, hidden=(4,), memory=1000).train()
    first, other = STATES[[1, 2, 4, 8, 15]], STATES[[0, 3, 7]]
    with torch.no_grad():
        before = model.eval().responsibilities(other)
        torch.testing.assert_close(before, torch.full((3, 3), 1.0 / 3.0))
        model.train().loss(first, generator=generator())
        seats = model.seats.clone()
        logits = model._logits(model.event.to_network(first, torch.float32), None)
        torch.testing.assert_close(logits.mean(0), torch.zeros(3), atol=1e-5, rtol=0.0)
        torch.testing.assert_close(logits.std(0, correction=0), torch.full((3,), 3.0))
        assert logits[:3].argmax(1).tolist() == [0, 1, 2]
        model.loss(other, generator=generator())
    assert torch.equal(model.seats, seats)
    assert float(model.counts.sum()) == pytest.approx(8.0)
    again = MixtureVAE(Event.binary((4,)), autoencoders=3, hidden=(4,), memory=1000)
    again.load_state_dict(model.state_dict())
    again.train().loss(other, generator=generator())
    assert torch.equal(again.seats, seats)


def three_groups(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return points around three centres, and which each is of."""
    noise = generator(seed)
    y = torch.randint(3, (n,), generator=noise)
    angle = y * 2.0 * math.pi / 3.0
    return 4.0 * torch.stack((angle.cos(), angle.sin()), dim=1) + 0.4 * torch.randn(n, 2, generator=noise), y


def test_a_mixture_of_linear_autoencoders_finds_groups_and_is_surprised_elsewhere() -> None:
    (x, _), (held, of_held) = three_groups(1000, 1), three_groups(300, 2)
    torch.manual_seed(0)
    event = Event.real((2,), (0.0, 0.0), (3.0, 3.0))
    one = VAE(event, latent=1, hidden=())
    many = MixtureVAE(event, autoencoders=8, latent=1, hidden=(), memory=3000)
    for model in (one, many):
        learn(model, x, steps=800, rate=2e-2)
        model.eval()
    with torch.no_grad():
        nats, nats_of_one = (-m.bound(held, samples=20, generator=generator()).mean() for m in (many, one))
        middle = many.bound(torch.zeros(1, 2), samples=20, generator=generator())
        likeliest = many.responsibilities(held).argmax(1)
    assert float(nats) < float(nats_of_one) - 1.0
    assert float(middle) < -float(nats) - 3.0, "between the groups there are no data"
    # One label for each autoencoder tells all data: every one keeps to one group.
    told = torch.stack([of_held[likeliest == k].mode().values for k in likeliest.unique()])
    right = told[torch.searchsorted(likeliest.unique(), likeliest)] == of_held
    assert float(right.float().mean()) > 0.98


def test_bad_options_are_refused() -> None:
    for options, match in (
        ({"autoencoders": 0}, "autoencoders, latent and memory needs"),
        ({"latent": 0}, "autoencoders, latent and memory needs"),
        ({"concentration": 0.0}, "concentration is 0.0, expected a finite number above 0"),
        ({"concentration": math.inf}, "concentration is inf"),
        ({"beta": -1.0}, "beta is -1.0"),
    ):
        with pytest.raises(InvalidInput, match=match):
            MixtureVAE(Event.binary((4,)), hidden=(4,), **options)
