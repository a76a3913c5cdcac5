"""VAE: its bounds against the exact likelihood, by quadrature over the code and in closed form."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.convnet import ConvDecoder, ConvEncoder
from ancestral.models import store
from ancestral.models.latent import base
from ancestral.models.latent.vae import VAE
from tests.models.latent.quadrature import exact
from tests.models.learning import learn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spread(model: VAE) -> VAE:
    """Move the decoder so that codes matter; q stays wide, so that its importance weights have a variance."""
    with torch.no_grad():
        for p in model.decoder.parameters():
            p += 0.7 * torch.randn_like(p)
        model.encoder.layers[-1].bias[model.latent :] += 0.2
    return model.double().eval()


@torch.no_grad()
def test_bounds_rise_with_samples_towards_the_exact_likelihood() -> None:
    model = spread(VAE(Event.binary((4,)), latent=2, hidden=(8,)))
    x = torch.cartesian_prod(*[torch.arange(2)] * 4).to(torch.uint8)
    truth = exact(model, x)
    assert float(truth.exp().sum()) == pytest.approx(1.0, abs=1e-9)
    many = x.repeat(1000, 1)
    bounds = {k: model.bound(many, samples=k, generator=generator(k)).view(1000, 16) for k in (1, 2, 5, 50)}
    means = {k: bound.mean(0) for k, bound in bounds.items()}
    errors = {k: bound.std(0) / math.sqrt(1000) for k, bound in bounds.items()}
    for fewer, more in ((1, 2), (2, 5), (5, 50)):
        assert bool((means[more] > means[fewer] - 3.0 * (errors[fewer] + errors[more])).all())
        assert float(means[more].mean()) > float(means[fewer].mean()) + 0.02
    assert bool((means[50] < truth + 3.0 * errors[50]).all())
    assert float((truth - means[50]).mean()) < 0.15 * float((truth - means[1]).mean())
    # The mean of the weights themselves is p(x), with any number of samples.
    p = bounds[50].exp()
    assert bool(((p.mean(0) - truth.exp()).abs() < 5.0 * p.std(0) / math.sqrt(1000)).all())


def linear_gaussian() -> tuple[VAE, MultivariateNormal]:
    """Return a VAE with an affine decoder whose encoder is the exact posterior, and the marginal of its data."""
    loc, scale = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64)
    model = VAE(Event.real((3,), loc.tolist(), scale.tolist()), latent=1, hidden=()).double()
    w = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    deviation = torch.tensor([0.5, 1.0, 0.7], dtype=torch.float64)
    precision = w @ (w / deviation**2) + 1.0
    decoder, encoder = model.decoder.layers[0], model.encoder.layers[0]
    with torch.no_grad():
        decoder.weight.zero_().view(3, 2)[:, 0] = w  # rows: mean, log scale of each entry
        decoder.bias.zero_().view(3, 2)[:, 1] = deviation.log()
        encoder.weight.zero_()[0] = w / deviation**2 / precision
        encoder.bias.zero_()[1] = -0.5 * precision.log()
    covariance = torch.outer(w, w) + torch.diag(deviation**2)
    return model, MultivariateNormal(loc, scale[:, None] * covariance * scale)


@torch.no_grad()
def test_bound_is_tight_where_the_encoder_is_the_posterior() -> None:
    model, marginal = linear_gaussian()
    x = marginal.sample((20,))
    torch.testing.assert_close(model.bound(x, samples=3, generator=generator()), marginal.log_prob(x), rtol=1e-10, atol=1e-10)
    draws = torch.stack([model.bound(x, generator=generator(seed)) for seed in range(500)])
    error = draws.std(0) / math.sqrt(len(draws))
    assert bool(((draws.mean(0) - marginal.log_prob(x)).abs() < 5.0 * error).all())


@torch.no_grad()
def test_samples_of_the_linear_model_have_its_moments() -> None:
    model, marginal = linear_gaussian()
    x = model.sample(20_000, generator=generator()).double()
    torch.testing.assert_close(x.mean(0), marginal.mean, atol=0.05, rtol=0.0)
    torch.testing.assert_close(torch.cov(x.T), marginal.covariance_matrix, atol=0.1, rtol=0.05)


@torch.no_grad()
def test_many_samples_in_parts_are_the_same_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = spread(VAE(Event.binary((4,)), Event.label(2), latent=2, hidden=(8,)))
    x, condition = torch.randint(0, 2, (8, 4)), torch.arange(8) % 2
    at_once = model.bound(x, condition, samples=10, generator=generator())
    # Three samples of 32 raw parameters at a time. Noise comes in multiples of 16, which torch draws as one stream.
    monkeypatch.setattr(base, "CHUNK", 100)
    torch.testing.assert_close(model.bound(x, condition, samples=10, generator=generator()), at_once)


def test_loss_is_the_bound_but_for_beta() -> None:
    x = torch.randint(0, 2, (64, 6))
    model = VAE(Event.binary((6,)), latent=3, hidden=(8,), beta=4.0).double()
    mean, log_scale = model.posterior(x)
    kl = kl_divergence(Normal(mean, log_scale.exp()), Normal(0.0, 1.0)).sum(1).mean()
    values = model.loss(x, generator=generator())
    torch.testing.assert_close(values["kl"], kl.detach())
    torch.testing.assert_close(values["nats"], values["reconstruction"] + values["kl"])
    torch.testing.assert_close(values["loss"].detach(), values["reconstruction"] + 4.0 * values["kl"])
    torch.testing.assert_close(values["nats"], -model.bound(x, generator=generator()).mean().detach())
    assert model.measures(x, generator=generator())["nats"].mean().item() == pytest.approx(values["nats"].item())


def test_free_bits_are_a_floor_of_each_latent_in_the_mean() -> None:
    x = torch.randint(0, 2, (64, 6))
    model = VAE(Event.binary((6,)), latent=3, hidden=(8,), free_bits=0.4).double()
    with torch.no_grad():
        model.encoder.layers[-1].bias[0] += 2.0  # one latent says more than the floor, the others less
    mean, log_scale = model.posterior(x)
    kl = kl_divergence(Normal(mean, log_scale.exp()), Normal(0.0, 1.0)).mean(0)
    assert sorted((kl > 0.4).tolist()) == [False, False, True]
    values = model.loss(x, generator=generator())
    torch.testing.assert_close(values["loss"].detach(), values["reconstruction"] + kl.max().detach() + 2 * 0.4)
    torch.testing.assert_close(values["nats"], values["reconstruction"] + kl.sum().detach())
    values["loss"].backward()
    gradient = model.encoder.layers[-1].bias.grad
    torch.testing.assert_close(values["nats"], -model.bound(x, generator=generator()).mean().detach())
    # Below the floor a latent is free: only the reconstruction speaks of its scale.
    again = VAE(Event.binary((6,)), latent=3, hidden=(8,), beta=0.0).double()
    again.load_state_dict(model.state_dict())
    again.loss(x, generator=generator())["loss"].backward()
    free = torch.tensor([1, 2, 4, 5])
    torch.testing.assert_close(gradient[free], again.encoder.layers[-1].bias.grad[free])
    assert not torch.allclose(gradient[[0, 3]], again.encoder.layers[-1].bias.grad[[0, 3]])


def test_importance_weighted_loss_is_the_bound_of_its_samples() -> None:
    x = torch.randint(0, 2, (32, 6))
    model = VAE(Event.binary((6,)), latent=3, hidden=(8,), importance=5).double()
    assert str(model.likelihood) == "lower bound (5 samples)"
    values = model.loss(x, generator=generator())
    bound = model.bound(x, samples=5, generator=generator()).mean().detach()
    torch.testing.assert_close(values["loss"].detach(), -bound)
    torch.testing.assert_close(values["nats"], -bound)
    torch.testing.assert_close(model.log_prob(x, generator=generator()).mean().detach(), bound)
    torch.testing.assert_close(model.measures(x, generator=generator())["nats"].mean().detach(), -bound)
    # Its gradient is the mean of the samples' own, weighted by how likely each is.
    features = model.recognize(x)
    log_likelihood, ratio = model._terms(x, features, None, 5, generator())
    log_weight = log_likelihood - ratio.sum(2)  # (5, 32)
    share = torch.softmax(log_weight.detach(), dim=0)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(-(share * log_weight).sum(0).mean(), parameters)
    for one, other in zip(torch.autograd.grad(values["loss"], parameters), expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("options", [{}, {"network": "conv", "channels": (4, 6)}])
@torch.no_grad()
def test_memory_of_a_bound_does_not_grow_with_its_samples(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    model = VAE(Event.binary((1, 8, 6)), latent=2, hidden=(16,), **options).eval()
    x = torch.randint(0, 2, (7, 1, 8, 6))
    rows: list[int] = []
    model.decoder.register_forward_hook(lambda _, inputs, out: rows.append(len(out)))
    whole = model.bound(x, samples=64, generator=generator())
    assert rows == [7 * 64]
    for held in (1, 20 * 48, 20 * 64):  # fewer than one row; some samples of all data, with a remainder
        rows.clear()
        monkeypatch.setattr(base, "CHUNK", held)
        parts = model.bound(x, samples=64, generator=generator())
        assert sum(rows) == 7 * 64
        assert max(rows) <= max(1, held // model.elements)
        assert float((whole - parts).abs().max()) < 0.5  # other draws of the same bound


def test_images_get_convolutions_where_asked() -> None:
    image, small, row = Event.binary((1, 8, 9)), Event.binary((1, 3, 9)), Event.binary((72,))
    for event, network, expected in (
        (image, "auto", True),
        (small, "auto", False),
        (row, "auto", False),
        (small, "conv", True),
        (image, "mlp", False),
    ):
        model = VAE(event, latent=2, hidden=(8,), channels=(4, 6), network=network)
        assert isinstance(model.encoder, ConvEncoder) is expected
        assert isinstance(model.decoder, ConvDecoder) is expected
        assert model.raw(model.encode(torch.zeros(2, *event.shape))).shape == (2, *event.shape, 1)
    with pytest.raises(InvalidInput, match=r"convolutions are over images .* use network=mlp"):
        VAE(row, network="conv")


def test_models_saved_before_there_were_convolutions_load(tmp_path: Path) -> None:
    """Their options lack what came later, and their networks are dense, of images too."""
    model = VAE(Event.binary((1, 8, 8)), latent=2, hidden=(8,)).eval()
    store.save(model, tmp_path)
    path = tmp_path / store.CONFIG
    config = json.loads(path.read_text())
    for later in ("network", "channels", "free_bits", "importance"):
        del config["model"]["options"][later]
    path.write_text(json.dumps(config))
    again, _ = store.load(tmp_path)
    names = {f"{side}.layers.{i}.{part}" for side in ("encoder", "decoder") for i in (0, 1) for part in ("weight", "bias")}
    assert set(again.state_dict()) == names
    x = torch.randint(0, 2, (3, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(again.log_prob(x, generator=generator()), model.log_prob(x, generator=generator()))


def test_log_prob_draws_from_the_generator_it_is_given() -> None:
    model = VAE(Event.binary((6,)), latent=3, hidden=(8,))
    x = torch.randint(0, 2, (4, 6))
    assert torch.equal(model.log_prob(x, generator=generator(1)), model.log_prob(x, generator=generator(1)))
    assert not torch.equal(model.log_prob(x, generator=generator(1)), model.log_prob(x, generator=generator(2)))


def test_learns_patterns_and_their_labels() -> None:
    patterns = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0, 1, 0]], dtype=torch.uint8)
    label = torch.randint(0, 3, (600,))
    x = patterns[label]
    blind = learn(VAE(Event.binary((8,)), latent=2, hidden=(32,)), x, steps=500, rate=1e-2)
    told = learn(VAE(Event.binary((8,)), Event.label(3), latent=2, hidden=(32,)), x, label, steps=200, rate=1e-2)
    with torch.no_grad():
        nats = -float(blind.bound(x, samples=50, generator=generator()).mean())
        given = -float(told.bound(x, label, samples=50, generator=generator()).mean())
    assert math.log(3.0) - 0.05 < nats < math.log(3.0) + 0.5
    assert given < 0.2
    assert torch.equal(told.sample(3, torch.arange(3), generator=generator()), patterns)
    assert torch.equal(blind.decode(blind.encode(patterns)), patterns)


def test_decode_gives_the_mode_of_each_discrete_head() -> None:
    event = Event.integers((2,), 5)
    for head in ("softmax", "logistic-mixture"):
        model = VAE(event, latent=1, hidden=(), head=head)
        z = torch.randn(6, 1)
        expected = model.head(model.raw(z)).log_pmf().argmax(-1)
        assert torch.equal(model.decode(z).long(), expected)


def test_bad_options_are_refused() -> None:
    event = Event.binary((4,))
    for options, match in (
        ({"latent": 0}, "latent needs whole numbers of at least 1"),
        ({"beta": -1.0}, "beta is -1.0"),
        ({"beta": math.nan}, "beta is nan"),
        ({"head": "gaussian-mixture"}, "does not fit"),
        ({"activation": "mish"}, "no activation"),
        ({"network": "cnn"}, "no kind of network 'cnn'"),
        ({"free_bits": -0.1}, "free_bits is -0.1"),
        ({"importance": 0}, "importance needs whole numbers"),
        ({"importance": 2, "beta": 0.5}, "no KL term to weigh"),
        ({"importance": 2, "free_bits": 0.5}, "no KL term to weigh"),
    ):
        with pytest.raises(InvalidInput, match=match):
            VAE(event, hidden=(4,), **options)
    with pytest.raises(InvalidInput, match="samples needs"):
        VAE(event, hidden=(4,)).bound(torch.zeros(1, 4), samples=0)
