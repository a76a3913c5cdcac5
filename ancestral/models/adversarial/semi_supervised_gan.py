"""A GAN whose critic is a classifier: data without labels help it to tell classes apart from few labels."""

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.layers.norms import ActNorm
from ancestral.models.adversarial.base import AdversarialModel
from ancestral.models.adversarial.networks import Critic, make_generator
from ancestral.models.few_labels import classes_of, split_labels
from ancestral.models.registry import register

CANDIDATES = 32
"""Draws of which one is taken where a sample of a class is asked for."""


@register("semi-supervised-gan")
class SemiSupervisedGAN(AdversarialModel):
    r"""p(y | x) over K classes and a last one, "made by the generator", whose logit is 0; the generator matches features.

    Critic: -E[log p(y | x, y <= K)] - w/2 (E_x[log D(x)] + E_z[log(1 - D(G(z)))]), D = Z / (Z + 1), Z = sum_k exp l_k(x).
    So V = log Z is the log-odds that x is a datum. Generator: || E_x[f(x)] - E_z[f(G(z))] ||^2 / width, f the features of the
    critic. The first expectation is over labelled data, those over x over data without label.

    A condition is a class and whether it is known, which is 0 for data without label: load data with `labelled=n`
    (`--data.labelled n`). `sample` draws for a known class one of 32 draws by p(y | x), and for an unknown one any.
    Validation measures the energy score, which needs no labels, and beside it the error on those that there are.

    Args:
        event: what a datum is.
        condition: labels of K classes and of 2.
        latent: length of z.
        hidden: units of the critic's hidden layers.
        generator_hidden: units of the generator's hidden layers, with softplus and batch normalisation.
        input_noise: standard deviation of the noise on the critic's input, on the scale of `Event.to_network`, in training.
        noise: the same on the input of each of its other layers.
        unlabelled_weight: w.
        critic_rate: learning rate of the critic over that of the generator.

    Raises:
        InvalidInput: if an option is out of range, or the condition is another.

    References:
        Improved Techniques for Training GANs (Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen, 2016),
        https://arxiv.org/abs/1606.03498, 5 and 3.1, with the networks for MNIST of its code. There the noise on the input is
        0.3 for data in [0, 1], which is 0.6 on [-1, 1], and the generator's last layer is weight-normalised, too.

    >>> model = SemiSupervisedGAN(Event.real((2,)), Event.labels((3, 2)), latent=2, hidden=(8,), generator_hidden=(8,)).eval()
    >>> model.classify(torch.zeros(5, 2)).shape, model.sample(4, torch.tensor([[2, 1]] * 4)).shape
    (torch.Size([5, 3]), torch.Size([4, 2]))
    """

    summary = "GAN whose critic classifies data, from few labels and many data without"
    reference = "Salimans et al. 2016"
    labelled = True
    training_defaults: ClassVar[dict[str, Any]] = {
        **AdversarialModel.training_defaults,
        "learning_rate": 3e-3,
        "schedule": "linear",
        "batch_size": 200,
    }
    examples = (
        {
            "event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)),
            "condition": Event.labels((2, 2)),
            "latent": 2,
            "hidden": (8,),
            "generator_hidden": (8,),
        },
        {
            "event": Event.integers((1, 2, 2), 5),
            "condition": Event.labels((2, 2)),
            "latent": 3,
            "hidden": (8, 6),
            "generator_hidden": (8, 8),
            "noise": 0.0,
            "unlabelled_weight": 0.5,
        },
    )
    critic: "NoisyClassifier"

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 100,
        hidden: Sequence[int] = (1000, 500, 250, 250, 250),
        generator_hidden: Sequence[int] = (500, 500),
        input_noise: float = 0.6,
        noise: float = 0.5,
        unlabelled_weight: float = 1.0,
        critic_rate: float = 1.0,
    ) -> None:
        super().__init__(event, condition, latent=latent, objective="non-saturating", critic_rate=critic_rate)
        self.classes = classes_of(condition, self.name)
        if min(input_noise, noise) < 0.0 or unlabelled_weight <= 0.0:
            raise InvalidInput(
                f"noise is not negative and unlabelled_weight positive, got input_noise={input_noise}, noise={noise} and"
                f" unlabelled_weight={unlabelled_weight}"
            )
        self.unlabelled_weight = unlabelled_weight
        generator = make_generator(
            event, None, latent, network="mlp", hidden=generator_hidden, activation="softplus", normalization="batch"
        )
        self.pair(generator, NoisyClassifier(event.numel, hidden, self.classes, input_noise, noise))

    # The game: the generator knows of no class

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().generate(z)

    def criticize(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.logits(y).logsumexp(dim=1, keepdim=True)

    def logits(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return l, (batch, classes), of data on the scale of `Event.to_network`, (batch, numel); with noise in training."""
        return self.critic(y, None, generator).to(self.dtype)

    def critic_loss(
        self, real: Tensor, z: Tensor, condition: Tensor | None, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        label, known, unknown = self._labels(condition, len(real))
        with torch.no_grad():
            fake = self.generate(z)
        on_real, on_fake = self.logits(real, generator), self.logits(fake, generator)  # each (b, K)
        v_real, v_fake = on_real.logsumexp(1), on_fake.logsumexp(1)
        supervised = (known * F.cross_entropy(on_real, label, reduction="none")).sum()
        # log D = -softplus(-V), log(1 - D) = -softplus(V)
        game = 0.5 * ((unknown * F.softplus(-v_real)).sum() + F.softplus(v_fake).mean())
        margin = (unknown * v_real).sum() - v_fake.mean()
        values = {"supervised": supervised.detach(), "margin": margin.detach()}
        return {"loss": supervised + self.unlabelled_weight * game, **values}

    def generator_loss(
        self, real: Tensor, z: Tensor, condition: Tensor | None, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        _, _, unknown = self._labels(condition, len(real))
        fake = self.critic.features(self.generate(z), None, generator).to(self.dtype).mean(0)  # (width,)
        with torch.no_grad():
            wanted = unknown @ self.critic.features(real, None, generator).to(self.dtype)
        return {"loss": (fake - wanted).square().mean()}

    def _labels(self, condition: Tensor | None, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return classes, (n,), and weights that make means of sums over data with a label, (n,), and over those without."""
        condition = self.check_condition(condition, n)
        if condition is None:
            raise InvalidInput("a loss needs a class and whether it is known for each datum, got none")
        label, which = split_labels(condition)
        known = which.to(self.dtype)
        # A batch may have data of one kind alone: the other's mean is then 0.
        known, unknown = (each / each.sum().clamp(min=1.0) for each in (known, 1.0 - known))
        return label, known, unknown

    # Primitives

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        label, known, _ = self._labels(condition, n)
        y = self.generate(self.noise(n * CANDIDATES, generator))  # (n * m, d)
        logs = self.logits(y).log_softmax(1).view(n, CANDIDATES, self.classes)
        of_label = logs.gather(2, label[:, None, None].expand(n, CANDIDATES, 1))[:, :, 0]  # log p(y | x), (n, m)
        weights = torch.where(known[:, None] > 0.0, of_label, 0.0).softmax(1)
        chosen = torch.multinomial(weights, 1, generator=generator)[:, 0]
        y = y.view(n, CANDIDATES, -1)[torch.arange(n, device=y.device), chosen]
        return self.event.from_network(y.view(n, *self.event.shape)).to(self.event.dtype)

    def classify(self, x: Tensor) -> Tensor:
        """Return l, the logit of each class, (batch, classes)."""
        (self.event.check_shape if self.training else self.event.check)(x)
        return self.logits(self.event.to_network(x, self.dtype).flatten(1))

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the energy score, as other models of the family, and "error", 1 where a known class is told wrong, else 0."""
        values = super().measures(x, condition, generator=generator)
        label, known, _ = self._labels(condition, len(x))
        wrong = (self.classify(x).argmax(1) != label) & (known > 0.0)
        return {**values, "error": wrong.to(self.dtype)}


class NoisyClassifier(Critic):
    r"""h_l = relu(W_l (h_(l-1) + s_l e_l) + b_l), h_0 = x, e_l standard normal in training and 0 else; l = W h_L + b.

    Each row of W is weight-normalised, g v / ||v||; with the first batch of training, g and b make W h + b of mean 0 and
    variance 1 over it. Layers that shrink what they pass on would drown it in the noise.

    Args:
        inputs: entries of x.
        hidden: units of each h.
        classes: K.
        input_noise: s_1.
        noise: s_l of the other layers, the last one included.

    References:
        Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural Networks (Salimans & Kingma,
        2016), https://arxiv.org/abs/1602.07868.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], classes: int, input_noise: float, noise: float) -> None:
        sizes = (inputs, *hidden)
        check_sizes("a network", sizes)
        super().__init__(_NoisyTrunk(sizes, input_noise, noise), inputs, outputs=classes)
        self.noise = input_noise if len(sizes) == 1 else noise
        self.last = NormalizedLinear(self.width, classes)

    def features(self, y: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        h: Tensor = self.trunk(y, generator)
        return h

    def forward(self, y: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        h = self.features(y, condition, generator)
        return self.of_features(_noisy(h, self.noise, generator) if self.training else h)


class NormalizedLinear(nn.Module):
    """y = g (v / ||v||) x + b, an `ActNorm` of a linear layer whose rows have length 1; arguments as of `nn.Linear`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(outputs, inputs))
        self.scale = ActNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (batch, outputs), of x, (batch, inputs)."""
        y, _ = self.scale(F.linear(x, F.normalize(self.direction, dim=1)))
        return y


class _NoisyTrunk(nn.Module):
    def __init__(self, sizes: Sequence[int], input_noise: float, noise: float) -> None:
        super().__init__()
        self.width = sizes[-1]
        self.noises = (input_noise, *[noise] * (len(sizes) - 1))
        self.layers = nn.ModuleList(NormalizedLinear(m, n) for m, n in itertools.pairwise(sizes))

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return h_L, (batch, width), of x, (batch, inputs)."""
        h = x
        for layer, spread in zip(self.layers, self.noises, strict=False):
            h = F.relu(layer(_noisy(h, spread, generator) if self.training else h))
        return h


def _noisy(x: Tensor, spread: float, generator: torch.Generator | None) -> Tensor:
    """Return x + spread e, e standard normal."""
    return x if not spread else x + spread * torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
