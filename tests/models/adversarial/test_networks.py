"""Generators and critics: any image size, DCGAN's rules, every normalisation, features, conditions."""

import pytest
import torch
from torch import nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.lipschitz import OrthogonalConv2d, SpectralConv2d
from ancestral.layers.text_encoder import TextEncoder
from ancestral.models.adversarial.gan import GAN
from ancestral.models.adversarial.networks import CRITIC_NORMS, GENERATOR_NORMS, Critic, make_critic, make_generator

SIZES = [(1, 28, 28), (1, 20, 28), (3, 62, 47), (2, 64, 64), (1, 9, 13), (3, 1, 2)]


@pytest.mark.parametrize("network", ["conv", "residual"])
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_networks_fit_any_image(network: str, shape: tuple[int, ...]) -> None:
    event = Event.integers(shape, 256)
    generator = make_generator(event, None, 5, network=network, channels=(4, 6, 8))
    critic = make_critic(event, None, network=network, channels=(4, 6, 8))
    y = generator(torch.randn(3, 5))
    assert y.shape == (3, event.numel)
    features = critic.features(y)
    assert features.shape == (3, critic.width)
    v = critic(y)
    assert v.shape == (3, 1)
    torch.testing.assert_close(critic.of_features(features.detach()).shape, v.shape)
    # Every pixel is made of the noise, and seen by the critic.
    y = y.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(y).square().sum(), y)
    assert bool((gradient != 0).any(0).all()), "a pixel is not seen"
    assert bool((generator(torch.randn(64, 5)).std(0) > 0).all()), "a pixel never changes"


def test_the_rules_of_dcgan() -> None:
    event = Event.integers((3, 32, 32), 256)
    model = GAN(event, network="conv", channels=(8, 16, 32), latent=4)
    generator, critic = model.generator.body, model.critic.trunk
    kinds = [type(m).__name__ for m in model.modules()]
    assert not any("Pool" in kind or "Upsample" in kind for kind in kinds)
    assert [type(m).__name__ for m in generator.norms] == ["BatchNorm2d"] * 3
    assert [type(m).__name__ for m in critic.norms] == ["Identity", "BatchNorm2d", "BatchNorm2d"]
    assert all(m.stride == (2, 2) for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
    weights = torch.cat([m.weight.flatten() for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)])
    assert float(weights.std().detach()) == pytest.approx(0.02, rel=0.03)
    scales = torch.cat([m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)]).detach()
    assert float(scales.mean()) == pytest.approx(1.0, abs=0.01)
    y = model.generate(torch.randn(2, 4)).detach()
    assert float(y.abs().max()) <= 1.0
    slopes = []
    nn.functional.leaky_relu(torch.tensor(-1.0), 0.2)
    with torch.no_grad():
        h = model.critic.features(torch.randn(4, event.numel))
        slopes = torch.sign(h).unique()
    assert len(slopes) >= 2, "leaky ReLU keeps negative values"


@pytest.mark.parametrize("network", ["mlp", "conv", "residual"])
@pytest.mark.parametrize("normalization", CRITIC_NORMS)
@pytest.mark.parametrize("condition", [None, Event.label(3), Event.real((2,))], ids=str)
def test_critics_of_every_kind(network: str, normalization: str, condition: Event | None) -> None:
    event = Event.real((1, 7, 6))
    critic = make_critic(
        event,
        condition,
        network=network,
        hidden=(5, 6),
        channels=(4, 6),
        normalization=normalization,
        minibatch_discrimination=2,
    )
    y = torch.randn(4, event.numel)
    given = {None: None}.get(condition, torch.randn(4, 2) if condition and condition.shape else torch.tensor([0, 1, 2, 1]))
    assert critic(y, given).shape == (4, 1)
    if condition is not None:
        assert not torch.equal(critic.eval()(y, given), critic(y, given.roll(1, 0))), "the condition has no effect"
    kinds = {type(m) for m in critic.modules()}
    if network != "mlp":
        assert (SpectralConv2d in kinds) == (normalization == "spectral")
        assert (OrthogonalConv2d in kinds) == (normalization == "orthogonal")
        assert (nn.GroupNorm in kinds) == (normalization == "layer")


@pytest.mark.parametrize("network", ["mlp", "conv", "residual"])
@pytest.mark.parametrize("normalization", GENERATOR_NORMS)
def test_generators_of_every_kind(network: str, normalization: str) -> None:
    event = Event.real((1, 7, 6))
    generator = make_generator(event, None, 3, network=network, hidden=(5, 6), channels=(4, 6), normalization=normalization)
    z = torch.randn(6, 3)
    whole = generator(z)
    assert whole.shape == (6, 42)
    alone = generator(z[:1]) if not generator.needs_batch else None
    if alone is not None:
        torch.testing.assert_close(alone, whole[:1])


def test_a_critic_of_lipschitz_layers_is_certified() -> None:
    event = Event.real((1, 8, 8))
    for normalization in ("spectral", "orthogonal"):
        critic = make_critic(event, None, network="conv", channels=(4, 8), normalization=normalization)
        layers = [m for m in critic.modules() if hasattr(m, "constant")]
        assert len(layers) == 3
        certified = torch.tensor([layer.constant() for layer in layers]).prod()
        x = torch.randn(200, 64)
        step = torch.randn(200, 64)
        rise = (critic(x + step) - critic(x)).abs().flatten().detach()
        assert float((rise / step.norm(dim=1)).max()) <= float(certified) + 1e-6


@pytest.mark.parametrize("kind", ["mlp", "conv", "residual"])
def test_a_projection_is_linear_in_the_features(kind: str) -> None:
    event = Event.real((1, 8, 8))
    critic = make_critic(event, Event.label(3), network=kind, channels=(4, 8), hidden=(6,), projection=True).eval()
    x, c = torch.randn(5, 64), torch.tensor([0, 1, 2, 2, 1])
    h = critic.features(x)
    torch.testing.assert_close(critic.features(x, c), h)  # the trunk is not told
    expected = critic.of_features(h)[:, 0] + (critic.projection.map.weight[c] * h).sum(1) / critic.width**0.5
    torch.testing.assert_close(critic(x, c)[:, 0], expected)


@pytest.mark.parametrize("kind", ["mlp", "conv", "residual"])
@pytest.mark.parametrize("projection", [False, True])
def test_networks_read_sentences_by_an_encoder_of_their_own(kind: str, projection: bool) -> None:
    event, text = Event.real((1, 8, 8)), Event.sentences(3, 4)
    options = {"network": kind, "channels": (4, 8), "hidden": (6,), "text": "gru"}
    made = make_generator(event, text, 2, **options).eval()
    critic = make_critic(event, text, projection=projection, **options).eval()
    with torch.no_grad():
        for network in (made, critic):
            encoders = [m for m in network.modules() if isinstance(m, TextEncoder)]
            assert len(encoders) == 1
            x = torch.randn(1, network.inputs).expand(2, -1)
            one, other = network(x, torch.tensor([[0, 1, 4], [1, 0, 4]]))
            assert not torch.equal(one, other)
            # Words count by what the encoder makes of them alone.
            encoders[0].words.weight.zero_()
            one, other = network(x, torch.tensor([[0, 1, 4], [1, 0, 4]]))
            torch.testing.assert_close(one, other)


def test_networks_that_do_not_fit_are_refused() -> None:
    event = Event.real((4,))
    for call, match in (
        (lambda: make_generator(event, None, 2, network="conv"), "images"),
        (lambda: make_critic(event, None, network="cnv"), "Did you mean conv"),
        (lambda: make_critic(event, None, normalization="spectal"), "Did you mean spectral"),
        (lambda: make_generator(event, None, 2, normalization="layer"), "no normalization of a generator"),
        (lambda: make_generator(event, Event.label(2), 2, normalization="virtual-batch"), "no conditions for it"),
        (lambda: make_critic(event, None, minibatch_discrimination=-1), "number of kernels"),
        (lambda: make_critic(Event.real((1, 4, 4)), None, network="conv", channels=()), "at least one"),
        (lambda: make_critic(event, Event.label(2), text="gruu"), "Did you mean gru"),
        (lambda: make_critic(event, Event.label(2), text="gru"), "reads sentences"),
        (lambda: make_generator(event, None, 2, text="gru"), "a condition that is a sentence, got none"),
        (lambda: make_critic(event, None, projection=True), "projection is of a condition, got none"),
    ):
        with pytest.raises(InvalidInput, match=match):
            call()
    model = GAN(event, latent=2, hidden=(4,))
    with pytest.raises(InvalidInput, match="makes 4 numbers and the critic takes 6"):
        model.pair(model.generator, make_critic(Event.real((6,)), None))
    assert isinstance(model.critic, Critic)


def test_a_batch_of_one_is_refused_with_batch_normalisation() -> None:
    model = GAN(Event.integers((1, 8, 8), 4), network="conv", channels=(4, 6), latent=2)
    x = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(InvalidInput, match="at least 2 data in a batch"):
        model.train().loss(x, group="critic")
    other = GAN(model.event, network="conv", channels=(4, 6), latent=2, generator_normalization="none",
                critic_normalization="layer")  # fmt: skip
    assert bool(torch.isfinite(other.train().loss(x, group="critic")["loss"]))
