"""What all adversarial models share: the game of a generator and a critic, an objective, and regularisers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.models.adversarial.generation import GeneratorModel, check_batch_size, renew_norms
from ancestral.models.adversarial.networks import Critic, Generator
from ancestral.models.adversarial.objectives import objective as objective_of
from ancestral.models.adversarial.regularisers import LabelSmoothing, Play, Regulariser, make_regularisers, slopes

COLLAPSED = 0.01
"""Diversity below which samples are as good as one."""
LOST = {True: 30.0, False: 1e4}
"""Margin of the critic above which the generator has lost, where outputs are log-odds or squares, and where not."""


class AdversarialModel(GeneratorModel):
    r"""A generator G and a critic V that play: V lowers the objective's loss for critics, G the one for generators.

    A subclass builds its networks and hands them to `pair`. What it may override: `noise` (what G is given), `generate`,
    `observe`, `criticize`, `generator_objective`; `extended`, to add terms of its own to losses, or `critic_loss` and
    `generator_loss`; `parameter_groups`, where it has more networks. The rest, regularisers, steps, measures and warnings, is
    here.

    Args:
        event: what a datum is.
        condition: what generator and critic are also given; None for none.
        latent: length of z.
        objective: a name of `objectives.NAMES`.
        critic_steps: k, updates of the critic for each of the generator; each has a batch of its own.
        critic_rate: learning rate of the critic over that of the generator.
        regularisers: each "name" or "name=weight", of `regularisers.REGULARISERS`.

    Raises:
        InvalidInput: if an option is out of range.

    References:
        Generative Adversarial Nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661, Algorithm 1.
        GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
        https://arxiv.org/abs/1706.08500, for the critic's rate.
    """

    training_defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 2e-4,
        "betas": (0.5, 0.999),
        "schedule": "constant",
        "batch_size": 100,
    }
    needs_condition: ClassVar[bool] = False
    """Whether the model is not without a condition."""
    sees_data: ClassVar[bool] = False
    """Whether the generator's loss depends on what the critic says of data."""
    critic: Critic

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int,
        objective: str,
        critic_steps: int = 1,
        critic_rate: float = 1.0,
        regularisers: Sequence[str] = (),
    ) -> None:
        super().__init__(event, condition, latent=latent)
        if self.needs_condition and condition is None:
            raise InvalidInput(
                f"{self.name} needs a condition of each datum, got none: give one, such as --data.condition label"
            )
        check_sizes("critic_steps", (critic_steps,))
        if not 0.0 < critic_rate < math.inf:
            raise InvalidInput(f"critic_rate is the critic's learning rate over the generator's, got {critic_rate}")
        self.critic_steps, self.critic_rate = critic_steps, critic_rate
        self.objective = objective_of(objective)
        self.regularisers = make_regularisers(regularisers)
        self.smoothing = sum(part.weight for part in self.parts() if isinstance(part, LabelSmoothing))
        if self.smoothing and not self.objective.classifies:
            raise InvalidInput(f"label-smoothing is for objectives with labels, got {objective}: leave it out")

    def parts(self) -> Iterator[Regulariser]:
        """Yield the regularisers."""
        yield from (part for part in self.regularisers if isinstance(part, Regulariser))

    @property
    def per_datum(self) -> bool:
        """Whether a regulariser needs a critic that judges each datum by itself."""
        return any(part.per_datum for part in self.parts())

    def pair(self, generator: Generator, critic: Critic) -> None:
        """Take the two networks of the game.

        Raises:
            InvalidInput: if the critic cannot see what the generator makes.
        """
        if generator.outputs != critic.inputs:
            raise InvalidInput(
                f"the generator makes {generator.outputs} numbers and the critic takes {critic.inputs}: both must be those of"
                f" one datum, {self.event.numel}"
            )
        self.generator, self.critic = generator, critic
        for part in self.parts():
            part.prepare(self.parameter_groups())

    # The game

    def observe(self, x: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Return what the critic sees of data, (batch, *event.shape): the scale of `Event.to_network`, (batch, numel)."""
        return self.event.to_network(x, self.dtype).flatten(1)

    def criticize(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return V of data on the scale of `Event.to_network`, (batch, numel): (batch, 1), larger where they seem real."""
        # Losses are means over a batch: leave autocast's type here.
        return self.critic(y, condition).to(self.dtype)

    def features(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the critic's features of data, (batch, critic.width)."""
        return self.critic.features(y, condition).to(self.dtype)

    # Training

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        check_batch_size(len(x), (self.generator, self.critic))
        real = self.observe(x, condition, generator)  # (b, d)
        z = self.noise(len(x), generator)
        if group == "generator":
            with frozen(self.critic):
                return self.generator_loss(real, z, condition, generator)
        return self.critic_loss(real, z, condition, generator)

    def critic_loss(
        self, real: Tensor, z: Tensor, condition: Tensor | None, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """Return the critic's "loss", and scalars to log.

        Args:
            real: data on the scale of the network, (batch, numel).
            z: what the generator is given, (batch, latent).
            condition: (batch, *condition.shape), where the model has one.
            generator: source of randomness.
        """
        with torch.no_grad():
            fake = self.generate(z, condition)  # (b, d)
        play = self.play("critic", real, fake, condition, generator)
        on_real = play.on_real if play.on_real is not None else play.on_fake  # each (b, 1)
        loss = self.objective.critic_loss(on_real, play.on_fake, self.smoothing)
        values = self._regularised(loss, [part.critic_loss(play) for part in self.parts()])
        values["margin"] = (on_real.mean() - play.on_fake.mean()).detach()
        return self.extended(values, play, z, condition)

    def generator_loss(
        self, real: Tensor, z: Tensor, condition: Tensor | None, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """Return the generator's "loss", and scalars to log; arguments as of `critic_loss`. The critic has no gradients."""
        play = self.play("generator", real, self.generate(z, condition), condition, generator)
        loss = self.generator_objective(play)
        if any(part.replaces_generator_loss for part in self.parts()):
            loss = torch.zeros_like(loss)
        values = self._regularised(loss, [part.generator_loss(play) for part in self.parts()])
        return self.extended(values, play, z, condition)

    def extended(self, values: dict[str, Tensor], play: Play, z: Tensor, condition: Tensor | None) -> dict[str, Tensor]:
        """Return the "loss" of `play.group` and scalars to log, with what a subclass adds; `z` is what samples came from."""
        return values

    def generator_objective(self, play: Play) -> Tensor:
        """Return what the generator minimises, a scalar, before regularisers."""
        return self.objective.generator_loss(play.on_fake)

    def play(
        self, group: str, real: Tensor, fake: Tensor, condition: Tensor | None, generator: torch.Generator | None
    ) -> Play:
        """Return what the critic says of data and samples, in a loss of `group`; of data in its own, or where `sees_data`."""

        def seen(y: Tensor) -> Tensor:
            for part in self.parts():
                y = part.critic_input(y, generator)
            return self.criticize(y, condition)

        on_real = seen(real) if group == "critic" or self.sees_data else None
        return Play(
            group=group,
            real=real,
            fake=fake,
            on_real=on_real,
            on_fake=seen(fake),
            criticize=lambda y: self.criticize(y, condition),
            features=lambda y: self.features(y, condition),
            parameters=self.parameter_groups()[group] if len(self.regularisers) else (),
            generator=generator,
        )

    def _regularised(self, loss: Tensor, terms: Sequence[Tensor | None]) -> dict[str, Tensor]:
        present = [term for term in terms if term is not None]
        if not present:
            return {"loss": loss}
        penalty = torch.stack(present).sum()
        return {"loss": loss + penalty, "penalty": penalty.detach()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the measures of `GeneratorModel`, and the norm of the critic's gradient at each datum."""
        measured = super().measures(x, condition, generator=generator)
        real = self.observe(x, condition, generator)
        slope = slopes(lambda y: self.criticize(y, condition), real).detach()
        return {**measured, "gradient_norm": slope}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"critic": list(self.critic.parameters()), "generator": list(self.generator.parameters())}

    def groups_at(self, step: int) -> Sequence[str]:
        return ("critic", "generator") if (step + 1) % self.critic_steps == 0 else ("critic",)

    def learning_rate_factor(self, group: str) -> float:
        return self.critic_rate if group == "critic" else 1.0

    def after_step(self, group: str) -> None:
        if len(self.regularisers):
            parameters = self.parameter_groups()[group]
            for part in self.parts():
                part.after_step(group, parameters)
        if group == "critic":
            renew_norms(self.critic)

    def warnings_of(self, values: Mapping[str, float]) -> list[str]:
        diversity = values.get("validation diversity", math.inf)
        margin = values.get("train critic/margin", 0.0)
        said = []
        if diversity < COLLAPSED:
            said.append(
                "the generator has collapsed: its samples hardly differ from each other; try a regulariser (gradient-penalty,"
                " feature-matching), minibatch_discrimination, or a lower learning rate"
            )
        if margin > LOST[self.objective.classifies]:
            said.append(
                "the critic tells samples from data without doubt, and the generator learns little from it: try a lower"
                " critic_rate, instance-noise, or gradient-penalty"
            )
        return said


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through `module` in the context, but not into its parameters, which halves its backward pass."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
