"""What is added to the game of critic and generator: penalties, noise, smoothed labels, matched features, averages."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.layers.mlp import check_choice


@dataclass(frozen=True)
class Play:
    """What one loss has of the game: a batch of data, one of samples, and what the critic says of both.

    Args:
        group: whose loss it is, "critic" or "generator".
        real: data on the scale of the network, (batch, numel).
        fake: samples, (batch, numel); without a graph in the critic's loss.
        on_real: the critic's output on data, (batch, 1); None in the generator's loss where that does not need it.
        on_fake: its output on samples, (batch, 1).
        criticize: the critic given the batch's condition, from (batch, numel) to (batch, 1), without noise on its input.
        features: its features, from (batch, numel) to (batch, features).
        parameters: of the group.
        generator: source of randomness.
    """

    group: str
    real: Tensor
    fake: Tensor
    on_real: Tensor | None
    on_fake: Tensor
    criticize: Callable[[Tensor], Tensor]
    features: Callable[[Tensor], Tensor]
    parameters: Sequence[Tensor]
    generator: torch.Generator | None


class Regulariser(nn.Module):
    """A part that changes the game; each hook does nothing by default.

    Args:
        weight: how much of it: a factor of a loss, a standard deviation, a bound, as each one says.
    """

    default: ClassVar[float] = 1.0
    """The weight where a name comes without one: the paper's."""
    replaces_generator_loss: ClassVar[bool] = False
    """Whether `generator_loss` stands in the place of the objective's."""
    per_datum: ClassVar[bool] = False
    """Whether the critic's output on a datum must depend on that datum alone, so that batch normalisation is refused."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def prepare(self, groups: dict[str, list[nn.Parameter]]) -> None:
        """Make buffers for the parameters of the groups; called once, when the networks are built."""

    def critic_input(self, y: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return what the critic sees in place of `y`, (batch, numel)."""
        return y

    def critic_loss(self, play: Play) -> Tensor | None:
        """Return a scalar to add to the critic's loss, or None."""
        return None

    def generator_loss(self, play: Play) -> Tensor | None:
        """Return a scalar to add to the generator's loss, or None."""
        return None

    def after_step(self, group: str, parameters: Sequence[nn.Parameter]) -> None:
        """Change parameters or buffers after the optimizer's step of a group."""


def slopes(criticize: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Return the norm of the critic's gradient at each y, (batch,), with a graph; y is (batch, numel)."""
    y = y.detach().requires_grad_()
    with torch.enable_grad():
        # The outputs of a batch are separate functions: the gradient of their sum is that of each.
        (gradient,) = torch.autograd.grad(criticize(y).sum(), y, create_graph=True)
    # The norm has no derivative at 0; the root of a small number has.
    return (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()


def _between(play: Play) -> Tensor:
    """Return points between each datum and a sample, uniform on the line."""
    shape = (len(play.real), 1)
    share = torch.rand(shape, dtype=play.real.dtype, device=play.real.device, generator=play.generator)
    return torch.lerp(play.fake.detach(), play.real, share)


class GradientPenalty(Regulariser):
    r"""weight E[(||grad D(y)|| - 1)^2], y uniform on the line from a sample to a datum.

    References:
        Improved Training of Wasserstein GANs (Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, 2017),
        https://arxiv.org/abs/1704.00028, Algorithm 1, with weight 10.
    """

    default = 10.0
    per_datum = True

    def critic_loss(self, play: Play) -> Tensor:
        return self.weight * (slopes(play.criticize, _between(play)) - 1.0).square().mean()


class OneSidedGradientPenalty(Regulariser):
    r"""weight E[max(0, ||grad D(y)|| - 1)^2]: only slopes above 1 cost.

    References:
        On the regularization of Wasserstein GANs (Petzka, Fischer & Lukovnikov, 2018), https://arxiv.org/abs/1709.08894.
    """

    default = 10.0
    per_datum = True

    def critic_loss(self, play: Play) -> Tensor:
        return self.weight * F.relu(slopes(play.criticize, _between(play)) - 1.0).square().mean()


class R1(Regulariser):
    r"""weight / 2 E_x[||grad D(x)||^2], over data alone.

    References:
        Which Training Methods for GANs do actually Converge? (Mescheder, Geiger & Nowozin, 2018),
        https://arxiv.org/abs/1801.04406, with weight 10.
    """

    default = 10.0
    per_datum = True

    def critic_loss(self, play: Play) -> Tensor:
        return 0.5 * self.weight * slopes(play.criticize, play.real).square().mean()


class Consistency(Regulariser):
    r"""weight E_x[max(0, |D(x') - D(x'')| / ||x' - x''|| - 1)^2], x' and x'' two noisy copies of a datum.

    The gradient penalty looks between data and samples; this term looks around the data.

    References:
        Improving the Improved Training of Wasserstein GANs: A Consistency Term and Its Dual Effect (Wei, Gong, Liu, Lu & Wang,
        2018), https://arxiv.org/abs/1803.01541, eq. 4, with weight 2. There the copies come of dropout in the critic, here of
        normal noise of standard deviation 0.1 on its input, so that a critic needs no dropout and the quotient is known.
    """

    default = 2.0
    per_datum = True
    spread: ClassVar[float] = 0.1

    def critic_loss(self, play: Play) -> Tensor:
        one, other = (_noisy(play.real, self.spread, play.generator) for _ in range(2))  # each (b, d)
        rise = (play.criticize(one) - play.criticize(other)).abs().flatten()  # (b,)
        return self.weight * F.relu(rise / (one - other).norm(dim=1).clamp(min=1e-12) - 1.0).square().mean()


class WeightClipping(Regulariser):
    r"""w <- min(max(w, -weight), weight) for each of the critic's parameters after its step.

    References:
        Wasserstein GAN (Arjovsky, Chintala & Bottou, 2017), https://arxiv.org/abs/1701.07875, Algorithm 1, with c = 0.01.
    """

    default = 0.01

    @torch.no_grad()
    def after_step(self, group: str, parameters: Sequence[nn.Parameter]) -> None:
        if group == "critic":
            for parameter in parameters:
                parameter.clamp_(-self.weight, self.weight)


class FeatureMatching(Regulariser):
    r"""The generator minimises weight ||E_x[f(x)] - E_z[f(G(z))]||^2 in place of its objective; f, the critic's features.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498, 3.1.
    """

    replaces_generator_loss = True

    def generator_loss(self, play: Play) -> Tensor:
        with torch.no_grad():
            target = play.features(play.real).mean(0)
        return self.weight * (play.features(play.fake).mean(0) - target).square().sum()


class AddedFeatureMatching(FeatureMatching):
    r"""weight ||E_x[f(x)] - E_z[f(G(z))]||^2, added to the generator's objective.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498, 3.1, where it replaces
        the objective.
    """

    replaces_generator_loss = False


class HistoricalAveraging(Regulariser):
    r"""weight ||w - 1/t sum_{i<=t} w_i||^2 in the loss of each group; w_i are its parameters after its step i.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498, 3.3.
    """

    def prepare(self, groups: dict[str, list[nn.Parameter]]) -> None:
        for group, parameters in groups.items():
            self.register_buffer(f"steps_{group}", torch.zeros((), dtype=torch.long))
            for i, parameter in enumerate(parameters):
                self.register_buffer(f"mean_{group}_{i}", parameter.detach().clone())

    def _loss(self, play: Play) -> Tensor:
        means = [self.get_buffer(f"mean_{play.group}_{i}") for i in range(len(play.parameters))]
        distances = [(w - m).square().sum() for w, m in zip(play.parameters, means, strict=True)]
        return self.weight * torch.stack(distances).sum()

    def critic_loss(self, play: Play) -> Tensor:
        return self._loss(play)

    def generator_loss(self, play: Play) -> Tensor:
        return self._loss(play)

    @torch.no_grad()
    def after_step(self, group: str, parameters: Sequence[nn.Parameter]) -> None:
        steps = self.get_buffer(f"steps_{group}")
        steps += 1
        for i, parameter in enumerate(parameters):
            mean = self.get_buffer(f"mean_{group}_{i}")
            mean += (parameter - mean) / steps


class LabelSmoothing(Regulariser):
    r"""The critic's label of data is 1 - weight in place of 1; that of samples stays 0.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498, 3.4.
    """

    default = 0.1


class InstanceNoise(Regulariser):
    r"""The critic sees y + weight e, e standard normal, of data and samples alike.

    References:
        Amortised MAP Inference for Image Super-resolution (Sonderby, Caballero, Theis, Shi & Huszar, 2017),
        https://arxiv.org/abs/1610.04490, 3.2. There the noise is annealed, here it stays.
    """

    default = 0.1

    def critic_input(self, y: Tensor, generator: torch.Generator | None) -> Tensor:
        return _noisy(y, self.weight, generator)


class SupNorm(Regulariser):
    r"""weight E[max(0, |D(y)| - 1)^2] over data and samples: keeps the critic in the unit ball of the supremum norm.

    Together with a Lipschitz bound this is the ball of the Dudley metric; a squashed output (the objective dudley) holds the
    bound exactly, and this term keeps its gradients from vanishing.

    References:
        Deep Lipschitz networks and Dudley GANs (Abbasnejad, Shi & van den Hengel, 2018),
        https://paperswithcode.com/paper/deep-lipschitz-networks-and-dudley-gans.
    """

    def critic_loss(self, play: Play) -> Tensor:
        outputs = play.on_fake if play.on_real is None else torch.cat((play.on_real, play.on_fake))
        return self.weight * F.relu(outputs.abs() - 1.0).square().mean()


def _noisy(y: Tensor, spread: float, generator: torch.Generator | None) -> Tensor:
    return y + spread * torch.randn(y.shape, dtype=y.dtype, device=y.device, generator=generator)


REGULARISERS: dict[str, type[Regulariser]] = {
    "gradient-penalty": GradientPenalty,
    "one-sided-gradient-penalty": OneSidedGradientPenalty,
    "r1": R1,
    "consistency": Consistency,
    "weight-clipping": WeightClipping,
    "feature-matching": FeatureMatching,
    "added-feature-matching": AddedFeatureMatching,
    "historical-averaging": HistoricalAveraging,
    "label-smoothing": LabelSmoothing,
    "instance-noise": InstanceNoise,
    "sup-norm": SupNorm,
}
"""Regularisers by name."""


def make_regularisers(names: Sequence[str]) -> nn.ModuleList:
    """Return regularisers by what a person writes.

    Args:
        names: each "name" or "name=weight", such as "gradient-penalty=10"; without a weight, the paper's.

    Raises:
        InvalidInput: for an unknown name, one given twice, or a weight that is no positive number.

    >>> [type(part).__name__ for part in make_regularisers(("r1=5", "instance-noise"))]
    ['R1', 'InstanceNoise']
    """
    if isinstance(names, str):
        raise InvalidInput(f"regularisers are a list of names, got the text {names!r}: write [{names!r}]")
    parts, seen = nn.ModuleList(), set()
    for written in names:
        name, equals, number = str(written).partition("=")
        check_choice("regulariser", name, tuple(REGULARISERS))
        if name in seen:
            raise InvalidInput(f"the regulariser {name} is given twice: give it once")
        seen.add(name)
        kind = REGULARISERS[name]
        try:
            weight = float(number) if equals else kind.default
        except ValueError:
            weight = math.nan
        if not 0.0 < weight < math.inf:
            raise InvalidInput(f"{name} needs a positive number, got {written!r}: write such as {name}={kind.default:g}")
        if kind is LabelSmoothing and weight >= 0.5:
            raise InvalidInput(f"label-smoothing needs a number below 0.5, got {written!r}: data would be labelled as samples")
        parts.append(kind(weight))
    return parts
