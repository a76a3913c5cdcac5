import json
import math

import pytest
import torch

from ancestral.cli.main import main
from ancestral.data import load
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.ais import Annealer, _Chain, ais, choose_sigma, schedule_of
from ancestral.verbs.decoders import Decoder, open_decoder
from ancestral.verbs.inputs import Subject

from ..models.latent.quadrature import exact

SIGMA = 0.3


def linear_gan(weight, bias):
    """A GAN of two real entries whose generator is G(z) = W z + b."""
    model = create("gan", Event.real((2,)), latent=len(weight[0]), hidden=()).double().eval()
    (layer,) = [module for module in model.generator.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return model


@pytest.fixture
def linear():
    """A decoder whose data are Gaussian, N(b, W W^T + sigma^2 I), and points."""
    weight, bias = [[1.0, 0.5, 0.0], [-0.5, 2.0, 1.0]], [0.5, -1.0]
    w = torch.tensor(weight, dtype=torch.float64)
    covariance = w @ w.T + SIGMA**2 * torch.eye(2, dtype=torch.float64)
    truth = torch.distributions.MultivariateNormal(torch.tensor(bias, dtype=torch.float64), covariance)
    x = torch.tensor([[0.5, -1.0], [2.0, 1.0], [-1.5, 3.0]], dtype=torch.float64)
    return Decoder(linear_gan(weight, bias), SIGMA), x, truth.log_prob(x), truth


def means(values, repeats):
    values = values.view(repeats, -1)
    return values.mean(0), values.std(0) / math.sqrt(repeats)


@pytest.mark.parametrize("schedule", ["linear", "sigmoid"])
def test_the_lower_bound_of_a_linear_decoder_is_below_the_closed_form_and_near(linear, schedule):
    decoder, x, truth, _ = linear
    repeats = 60
    found = {}
    for steps in (10, 200):
        annealer = Annealer(schedule_of(schedule, steps), chains=1, leapfrogs=5)
        bounds, _ = annealer.forward(decoder, x.repeat(repeats, 1))
        mean, error = means(bounds, repeats)
        assert bool((mean < truth + 4 * error).all()), "a lower bound above the exact value"
        # The weight itself is an unbiased estimate of p(x).
        weight, deviation = means((bounds - truth.repeat(repeats)).exp(), repeats)
        if steps == 200:
            assert bool(((weight - 1).abs() < 4 * deviation).all())
        found[steps] = mean
    assert float((truth - found[200]).mean()) < 0.3 * float((truth - found[10]).mean())


def test_bounds_of_data_that_were_drawn_enclose_the_closed_form(linear):
    decoder, _, _, distribution = linear
    z, x = decoder.simulated(200, None, torch.Generator().manual_seed(0))
    truth = distribution.log_prob(x)
    annealer = Annealer(schedule_of("sigmoid", 15), chains=2, leapfrogs=5)
    lower, _ = annealer.forward(decoder, x)
    upper = annealer.backward(decoder, x, None, z)
    for off in (truth - lower, upper - truth):
        assert float(off.mean()) > -4 * float(off.std()) / math.sqrt(200)
    assert float((upper - lower).mean()) > 0.0
    closer = Annealer(schedule_of("sigmoid", 150), chains=2, leapfrogs=5)
    nearer = closer.backward(decoder, x, None, z) - closer.forward(decoder, x)[0]
    assert 0.0 < float(nearer.mean()) < 0.3 * float((upper - lower).mean())


def test_moves_leave_the_posterior_as_it_is(linear):
    decoder, _, _, _ = linear
    x = torch.tensor([[1.0, 1.0]], dtype=torch.float64).expand(4000, 2)
    weight = decoder.model.generator.state_dict()
    w, b = (next(value for name, value in weight.items() if name.endswith(end)) for end in ("weight", "bias"))
    precision = torch.eye(3, dtype=torch.float64) + w.T @ w / SIGMA**2
    covariance = torch.linalg.inv(precision)
    mean = covariance @ w.T @ (x[0] - b) / SIGMA**2
    generator = torch.Generator().manual_seed(1)
    chain = _Chain(decoder, x, None, generator)
    z = mean + torch.randn(4000, 3, dtype=torch.float64, generator=generator) @ torch.linalg.cholesky(covariance).T
    start = z
    for _ in range(5):
        z, _ = chain.step(z, 1.0, torch.full((4000,), 0.15), 5)
    assert float((z - start).abs().mean()) > 0.1
    assert float((z.mean(0) - mean).abs().max()) < 4 * float(covariance.diagonal().max()) ** 0.5 / 4000**0.5
    assert float((torch.cov(z.T) - covariance).abs().max()) < 0.1 * float(covariance.abs().max())


@pytest.mark.parametrize("event", [Event.binary((3,)), Event.integers((2,), 3)])
def test_bounds_of_a_vae_with_its_own_head_meet_the_quadrature(event):
    torch.manual_seed(1)
    model = create("vae", event, latent=2, hidden=(8,)).double().eval()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(4.0)
    states = torch.cartesian_prod(*[torch.arange(event.levels)] * event.numel).to(event.dtype)
    with torch.no_grad():
        truth = exact(model, states)
    repeats = 20
    annealer = Annealer(schedule_of("sigmoid", 150), chains=4, leapfrogs=5)
    with torch.no_grad():
        bounds, accepted = annealer.forward(Decoder(model), states.repeat(repeats, 1))
        mean, error = means(bounds, repeats)
        assert bool((mean < truth + 4 * error).all())
        assert float((truth - mean).mean()) < 0.05
        assert bool((truth - mean < 0.05 + 4 * error).all())
        assert 0.5 < accepted < 0.95
        decoder = Decoder(model)
        z, x = decoder.simulated(300, None, torch.Generator().manual_seed(0))
        upper = annealer.backward(decoder, x, None, z)
        off = upper - exact(model, x)
    assert -4 * float(off.std()) / math.sqrt(300) < float(off.mean()) < 0.1


def test_the_gaussian_around_a_nonlinear_generator_meets_the_quadrature():
    torch.manual_seed(2)
    model = create("gan", Event.integers((3,), 8), latent=1, hidden=(8,)).double().eval()
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.mul_(3.0)
        decoder = Decoder(model, 0.1)
        u = decoder.prepared(torch.tensor([[0, 3, 7], [4, 4, 4]]), 0)
        line = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
        log_prior = decoder.log_prior(line, None) + math.log(16 / 4000)
        truth = torch.stack(
            [torch.logsumexp(decoder.log_likelihood(one.expand(4001, 3), line, None) + log_prior, 0) for one in u]
        )
        bounds, _ = Annealer(schedule_of("sigmoid", 80), chains=4, leapfrogs=5).forward(decoder, u.repeat(40, 1))
    mean, error = means(bounds, 40)
    assert bool((mean < truth + 4 * error).all())
    assert float((truth - mean).max()) < 0.2


def test_the_gaussian_is_around_the_middle_of_cells():
    event = Event.integers((1, 2, 2), 256)
    gan = create("gan", event, latent=2, hidden=(4,)).eval()
    z = torch.randn(5, 2)
    with torch.no_grad():
        mean = Decoder(gan, 0.1)._mean(z, None)
        assert float((mean - event.midpoint(gan.decode(z), torch.float32).flatten(1)).abs().max()) <= 0.5 / 256 + 1e-6
        vae = create("vae", event, latent=2, hidden=(4,)).eval()
        pixels = (vae.head(vae.raw(z)).mean.flatten(1) + 0.5) / 256
        assert torch.allclose(Decoder(vae, 0.1)._mean(z, None), pixels, atol=1e-6)


def test_sigma_is_that_of_the_validation_data():
    model = linear_gan([[1.0], [1.0]], [0.0, 0.0])
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(300, 1, generator=generator)
    data = load((z + 0.16 * torch.randn(300, 2, generator=generator)).numpy(), standardize=False)
    chosen = choose_sigma(Decoder(model.float(), 0.1), data, sigmas=(0.04, 0.16, 0.64))
    assert chosen == 0.16


# The verb


def test_the_verb_says_what_its_figures_are():
    data = load("digits", limit=30)
    vae = create("vae", data.event, latent=2, hidden=(8,))
    found = ais(vae, data, steps=20, chains=2, leapfrogs=2, limit=5, simulated=4)
    assert (found.kind, found.count, found.simulated, found.steps) == ("lower bound", 5, 4, 20)
    assert "log-probability of x" in found.observation
    assert found.gap == pytest.approx(found.upper - found.lower)
    again = ais(vae, data, steps=20, chains=2, leapfrogs=2, limit=5, simulated=4)
    assert again == found
    assert ais(vae, data, steps=20, chains=2, leapfrogs=2, limit=5, simulated=4, seed=1) != found
    gan = create("gan", data.event, latent=2, hidden=(8,))
    found = ais(gan, data, steps=20, chains=2, leapfrogs=2, limit=5, simulated=4, sigma=0.2)
    assert "sigma 0.2" in found.observation
    assert f"{64 * math.log(17):.2f} nats less a bound" in found.observation
    assert "stochastic lower bound" in str(found)


def test_conditions_go_with_the_data():
    data = load("digits", condition="label", limit=30)
    for name in ("vae", "gan"):
        model = create(name, data.event, data.condition, latent=2, hidden=(8,))
        found = ais(model, data, steps=5, chains=2, leapfrogs=2, limit=5, simulated=3, sigma=0.3)
        assert math.isfinite(found.nats)


def test_batches_hold_all_data():
    data = load("digits", limit=30)
    vae = create("vae", data.event, latent=2, hidden=(8,))
    options = {"steps": 40, "chains": 4, "leapfrogs": 3, "limit": 7, "simulated": 5}
    one, other = ais(vae, data, **options), ais(vae, data, batch_size=3, **options)
    assert one.count == other.count == 7
    assert one.nats == pytest.approx(other.nats, abs=1.0)


def test_bad_input():
    data = load("digits")
    with pytest.raises(Unsupported, match=r"made \(autoregressive\) decodes no real codes .* Models that do: .*gan.*vae"):
        ais(create("made", data.event), data)
    with pytest.raises(Unsupported, match=r"helmholtz.* decodes no real codes"):
        open_decoder(Subject(create("helmholtz", Event.binary((4,))), "it"))
    gan = create("gan", data.event, latent=2, hidden=(8,))
    with pytest.raises(Unsupported, match=r"gan has no distribution of data given a code: use observation=gaussian"):
        ais(gan, data, observation="own")
    with pytest.raises(InvalidInput, match=r"sigma is -1, expected a positive"):
        ais(gan, data, sigma=-1)
    with pytest.raises(InvalidInput, match=r"there is no schedule 'cosine'"):
        ais(gan, data, schedule="cosine")
    with pytest.raises(InvalidInput, match=r"there is no observation 'gauss'.*gaussian"):
        ais(gan, data, observation="gauss")
    with pytest.raises(InvalidInput, match=r"steps is 0"):
        ais(gan, data, steps=0)
    with pytest.raises(InvalidInput, match=r"sigma is of the gaussian observation model"):
        ais(create("vae", data.event, latent=2, hidden=(8,)), data, observation="own", sigma=0.1)
    pixels = create("pixel-vae", load("shapes").event)
    with pytest.raises(Unsupported, match=r"has no mean that a Gaussian could be around"):
        ais(pixels, "shapes", observation="gaussian")


def test_command(tmp_path, capsys):
    folder = tmp_path / "run"
    argv = ["fit", "vae", "digits", "--model.hidden", "8", "--model.latent", "2", "--train.steps", "2", "-o", str(folder)]
    assert main([*argv, "--train.samples", "0", "--quiet"]) == 0
    capsys.readouterr()
    options = ["--steps", "5", "--chains", "2", "--limit", "4", "--simulated", "3", "--quiet"]
    assert main(["ais", str(folder), *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["count"], found["chains"], found["split"]) == (4, 2, "test")
    assert main(["ais", str(folder), *options, "--split", "validation"]) == 0
    assert "on 3 data that the model drew" in capsys.readouterr().out


def test_a_uniform_code_is_made_of_a_normal_one():
    model = create("gmmn", Event.real((2,)), latent=3, hidden=(4,)).eval()
    u = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))
    z = model.of_normal(u)
    assert bool((z.abs() <= 1).all())
    # Quartiles of a uniform distribution on [-1, 1].
    for share, value in ((0.25, -0.5), (0.5, 0.0), (0.75, 0.5)):
        assert abs(float(z.quantile(share)) - value) < 0.02
    decoder = Decoder(model, SIGMA)
    expected = model.event.continuous(model.generate(model.of_normal(u[:4])))
    assert torch.equal(decoder._mean(u[:4], None), expected)


@pytest.mark.parametrize("name", ["infogan", "bayesian-gan"])
def test_codes_that_are_partly_discrete_are_refused(name):
    model = create(name, Event.real((2,)), hidden=(4,))
    with pytest.raises(Unsupported, match="no codes of real numbers alone"):
        open_decoder(Subject(model, name, None, {}))
