"""What adversarial models share: rates of two time scales, what a run warns of, certified critics, and named models."""

from pathlib import Path

import pytest
import torch

from ancestral.data.base import ArraySplit, Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.adversarial.gan import GAN
from ancestral.training import TrainConfig, fit


def data(n: int = 64) -> Data:
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return Data("toy", Event.real((2,)), {"train": ArraySplit(x, None), "validation": ArraySplit(x[:16], None)})


def config(**changes) -> TrainConfig:
    settings = dict(steps=4, batch_size=16, samples=0, loggers=("csv",), log_every=1, schedule="constant")
    return TrainConfig(**{**settings, **changes})


def test_the_critic_has_a_rate_of_its_own(tmp_path: Path) -> None:
    """SGD moves weights by rate times gradient: a critic at twice the rate goes twice as far in its first step."""
    moved = {}
    for ratio in (1.0, 2.0):
        torch.manual_seed(0)
        model = GAN(Event.real((2,)), latent=2, hidden=(4,), critic_rate=ratio)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        fit(model, data(), tmp_path / str(ratio), config(steps=1, optimizer="sgd", betas=(0.0, 0.9)), progress=False)
        moved[ratio] = {name: p.detach() - before[name] for name, p in model.named_parameters()}
    for name, one in moved[1.0].items():
        if name.startswith("critic"):
            torch.testing.assert_close(moved[2.0][name], 2.0 * one, rtol=1e-3, atol=1e-7)


def test_a_collapsed_generator_is_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GAN(Event.real((2,)), latent=2, hidden=(4,))
    with torch.no_grad():
        model.generator.body.last.weight.zero_()
    run = fit(model, data(), tmp_path / "run", config(steps=2, learning_rate=1e-6), progress=False)
    assert "warning: the generator has collapsed" in (run.path / "README.md").read_text()
    sound = GAN(Event.real((2,)), latent=2, hidden=(4,))
    run = fit(sound, data(), tmp_path / "sound", config(steps=2, learning_rate=1e-6), progress=False)
    assert "warning" not in (run.path / "README.md").read_text()
    figures = run.metrics
    assert {"diversity", "gradient_norm", "energy_score"} <= set(figures[figures["split"] == "validation"]["metric"])


def test_a_critic_that_has_won_is_said() -> None:
    logits, slope_one = GAN(Event.real((2,))), create("wgan-gp", Event.real((2,)))
    assert logits.warnings_of({"train critic/margin": 5.0, "validation diversity": 1.0}) == []
    assert "without doubt" in logits.warnings_of({"train critic/margin": 50.0})[0]
    assert slope_one.warnings_of({"train critic/margin": 50.0}) == []


@torch.no_grad()
def test_diversity_and_gradient_norm_of_known_networks() -> None:
    """G(z) = a z in one dimension: E|Y - Y'| = 2 a / sqrt(pi); V(y) = w y has the slope |w|."""
    model = GAN(Event.real((1,)), latent=1, hidden=()).double()
    model.generator.body.last.weight.fill_(0.5)
    model.critic.last.weight.fill_(-3.0)
    x = torch.zeros(3000, 1, dtype=torch.float64)
    values = model.measures(x, generator=torch.Generator().manual_seed(0))
    assert float(values["diversity"].mean()) == pytest.approx(1.0 / torch.pi**0.5, rel=0.01)
    torch.testing.assert_close(values["gradient_norm"], torch.full((3000,), 3.0, dtype=torch.float64))


def test_published_settings() -> None:
    image = Event.integers((1, 28, 28), 256)
    wgan = create("wgan-gp", image)
    assert wgan.config["critic_steps"] == 5
    assert wgan.config["regularisers"] == ("gradient-penalty=10",)
    settings = TrainConfig.for_model(type(wgan))
    assert (settings.learning_rate, settings.betas) == (1e-4, (0.0, 0.9))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in wgan.critic.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in wgan.generator.modules())
    dcgan = create("dcgan", image, channels=(4, 8))
    settings = TrainConfig.for_model(type(dcgan))
    assert (settings.learning_rate, settings.betas, settings.batch_size) == (2e-4, (0.5, 0.999), 128)


def test_the_critic_of_the_dudley_gan_is_in_the_unit_ball() -> None:
    model = create("dudley-gan", Event.integers((1, 8, 8), 256), channels=(4, 8))
    with torch.no_grad():
        for p in model.critic.parameters():
            p += 0.3 * torch.randn_like(p)
        for _ in range(200):
            model.after_step("critic")
        certified = torch.tensor([m.constant() for m in model.critic.modules() if hasattr(m, "constant")]).prod()
        x, step = torch.randn(300, 64), torch.randn(300, 64)
        h, moved = (-model.objective.real(model.criticize(y)) for y in (x, x + step))
    lipschitz = float(((moved - h).abs().flatten() / step.norm(dim=1)).max())
    assert lipschitz <= 0.5 * float(certified) + 1e-6
    assert float(h.abs().max()) <= 0.5


def test_a_conditional_gan_needs_a_condition() -> None:
    with pytest.raises(InvalidInput, match="conditional-gan needs a condition"):
        create("conditional-gan", Event.real((2,)))
    with pytest.raises(InvalidInput, match="critic_rate"):
        GAN(Event.real((2,)), critic_rate=0.0)
