"""Generative adversarial network: a generator trained against a critic, without a likelihood."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.layers.mlp import MLP, check_choice, check_sizes
from ancestral.models.base import Model
from ancestral.models.registry import register

OBJECTIVES = ("non-saturating", "minimax")
"""What the generator minimises: -log D(G(z)), or log(1 - D(G(z)))."""
DRAWS = 32
"""Draws from the generator for each datum in `GAN.measures`."""


@register("gan")
class GAN(Model):
    r"""min_G max_D E_x[log D(x | c)] + E_z[log(1 - D(G(z, c) | c))], z ~ N(0, I).

    The critic D gives the probability that a datum is real; its loss is minus the value above. The generator
    minimises the value (minimax) or -E_z[log D(G(z, c) | c)] (non-saturating), which has the same fixed point and
    larger gradients while the critic wins. There is no likelihood; validation minimises the energy score of the
    generator's draws (see `measures`).

    The generator's output is continuous, on the scale of `Event.to_network`; samples are the nearest data. A critic
    can tell a binary datum from one between 0 and 1, however good the rest is: prefer data of many levels, or real.

    Args:
        event: what a datum is.
        condition: what generator and critic are also given; None for none.
        latent: length of z.
        hidden: units of each hidden layer of the generator, input first; the critic mirrors them.
        activation: nonlinearity of both networks.
        objective: the generator's, one of `OBJECTIVES`.
        critic_steps: k, updates of the critic for each of the generator; each has a batch of its own.

    Raises:
        InvalidInput: if an option is out of range.

    References:
        Generative Adversarial Nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661, Algorithm 1. There the
        critic has maxout units and dropout; here leaky ReLU in both networks by default.
        Conditional Generative Adversarial Nets (Mirza & Osindero, 2014), https://arxiv.org/abs/1411.1784.
        Strictly Proper Scoring Rules, Prediction, and Estimation (Gneiting & Raftery, 2007),
        https://doi.org/10.1198/016214506000001437, for the energy score.

    >>> model = GAN(Event.real((2,)), latent=4, hidden=(8,))
    >>> model.sample(3).shape
    torch.Size([3, 2])
    """

    family = "adversarial"
    summary = "generator of data from noise, trained against a critic"
    reference = "Goodfellow et al. 2014"
    monitor = "energy_score"
    training_defaults = {"learning_rate": 2e-4, "betas": (0.5, 0.999), "schedule": "constant", "batch_size": 100}
    examples = (
        {"event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)), "latent": 2, "hidden": (8,)},
        {"event": Event.integers((1, 2, 2), 5), "condition": Event.label(3), "latent": 2, "hidden": (8,), "critic_steps": 2},
        {"event": Event.binary((5,)), "latent": 2, "hidden": (8,), "objective": "minimax"},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        latent: int = 64,
        hidden: Sequence[int] = (256, 256),
        activation: str = "leaky-relu",
        objective: str = "non-saturating",
        critic_steps: int = 1,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("latent", (latent,))
        check_sizes("critic_steps", (critic_steps,))
        check_choice("objective", objective, OBJECTIVES)
        self.latent, self.objective, self.critic_steps = latent, objective, critic_steps
        self.generator = MLP(latent, hidden, event.numel, activation, condition)
        self.critic = MLP(event.numel, hidden[::-1], 1, activation, condition)

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return G(z, condition) on the scale of `Event.to_network`, (batch, numel), for z, (batch, latent)."""
        out: Tensor = self.generator(z, condition)
        if not self.event.discrete:
            return out
        return torch.sigmoid(out) if self.event.is_binary else torch.tanh(out)

    def criticize(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the log-odds that data on the scale of `Event.to_network`, (batch, numel), are real, (batch, 1)."""
        # Losses are means over a batch: leave autocast's type here.
        return self.critic(y, condition).to(self.dtype)

    def _noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(n, self.latent, dtype=self.dtype, device=self.device, generator=generator)

    # Primitives

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        return self.decode(self._noise(n, generator), condition)

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.generate(code.to(self.dtype), self.check_condition(condition, len(code)))
        return self.event.from_network(y.view(-1, *self.event.shape)).to(self.event.dtype)

    # Training

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        z = self._noise(len(x), generator)
        if group == "generator":
            with _frozen(self.critic):
                logits = self.criticize(self.generate(z, condition), condition)  # (b, 1)
            # log D = -softplus(-logit), log(1 - D) = -softplus(logit): finite at any logit.
            return {"loss": F.softplus(-logits).mean() if self.objective == "non-saturating" else -F.softplus(logits).mean()}
        real = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        with torch.no_grad():
            fake = self.generate(z, condition)  # (b, d)
        on_real, on_fake = self.criticize(real, condition), self.criticize(fake, condition)  # each (b, 1)
        loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        return {"loss": loss, "margin": (on_real.mean() - on_fake.mean()).detach()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        r"""Return the energy score of each datum, E||Y - x|| - E||Y - Y'|| / 2, Y and Y' drawn given its condition.

        It is estimated without bias from 32 samples, as a person would get them, on the scale of `Event.to_network`.
        It is a strictly proper scoring rule: its mean over data is least for the distribution of the data and no other,
        which neither loss can say of itself.
        """
        b, m = len(x), DRAWS
        repeated = None if condition is None else condition.repeat_interleave(m, dim=0)
        drawn = self.event.to_network(self.decode(self._noise(b * m, generator), repeated), self.dtype)
        y = drawn.view(b, m, -1)  # (b, m, d)
        to_datum = (y - self.event.to_network(x, self.dtype).view(b, 1, -1)).norm(dim=2).mean(1)  # (b,)
        among = torch.cdist(y, y, compute_mode="donot_use_mm_for_euclid_dist").sum((1, 2)) / (m * (m - 1))  # (b,)
        return {"energy_score": to_datum - 0.5 * among}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"critic": list(self.critic.parameters()), "generator": list(self.generator.parameters())}

    def groups_at(self, step: int) -> Sequence[str]:
        return ("critic", "generator") if (step + 1) % self.critic_steps == 0 else ("critic",)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through `module` in the context, but not into its parameters, which halves its backward pass."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
