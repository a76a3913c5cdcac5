"""Restricted Boltzmann machine: an energy over binary data and hidden units, trained by contrastive divergence."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.distributions import Bernoulli
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.likelihood import Likelihood
from ancestral.models.energy.annealing import AnnealingPath, BipartitePath, coins
from ancestral.models.energy.base import MAX_ENUMERATED, EnergyModel, enumerated, log_odds
from ancestral.models.energy.centering import centered_loss
from ancestral.models.energy.chains import Tempering
from ancestral.models.registry import register

_FLIPS = 10
"""Entries of each datum whose conditionals `RBM.measures` computes."""


@register("rbm")
class RBM(EnergyModel):
    r"""p(v) = exp(-F(v)) / Z, F(v) = -b'v - sum_j log(1 + exp(c_j + v'W_j)), Z = sum_v exp(-F(v)).

    Contrastive divergence descends mean F(data) - mean F(v_k), where v_k is k steps of Gibbs sampling away: from the
    data (CD-k), from chains that are kept from one update to the next (persistent, PCD-k), or from such chains that
    exchange their states with hotter ones, which mix faster (parallel tempering).

    Z is a sum over all states of a layer. With at most 20 visible or 20 hidden units it is computed and `log_prob` is
    exact; otherwise `log_prob` is an estimate once log Z has been estimated (`ancestral partition`), and the model has no
    likelihood before. Validation minimises the pseudo-likelihood (see `measures`).

    Args:
        event: a binary event.
        condition: must be None.
        hidden: hidden units.
        cd_steps: k, steps of Gibbs sampling to each negative sample.
        persistent: go on from the chains of the last update instead of the data.
        chains: number of persistent chains.
        temperatures: inverse temperatures of parallel tempering, even from 1 to 0 (`Tempering`): so many times the persistent
            chains are kept, and those at 1 are the negative samples; 1 for no tempering.
        centered: take the gradient that units centred at their running means would have: it does not depend on which of two
            states of a unit is called 1, and learns faster where most entries are 0, or most are 1.
        gibbs_steps: steps of Gibbs sampling to a sample, from the persistent chains or from fair coins.
        annealing: distributions of an estimate of log Z at each validation, which then minimises the nats by it in place of
            the pseudo-likelihood; 0 for none. Where log Z is a sum over states, it is used whatever is given here.

    Raises:
        InvalidInput: if an option is out of range, or the event is not binary.

    References:
        Training Products of Experts by Minimizing Contrastive Divergence (Hinton, 2002),
        https://doi.org/10.1162/089976602760128018. Here the visible units of the negative sample are drawn, not
        replaced by their probabilities.
        Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient (Tieleman, 2008),
        https://doi.org/10.1145/1390156.1390290, for the persistent chains.
        How to Center Deep Boltzmann Machines (Melchior, Fischer & Wiskott, 2016), https://jmlr.org/papers/v17/14-237.html, for
        the centring, by the mean over data and negative samples.
        Tempered Markov Chain Monte Carlo for Training of Restricted Boltzmann Machines (Desjardins et al., 2010),
        https://proceedings.mlr.press/v9/desjardins10a.html, for the tempering.

    >>> model = RBM(Event.binary((6,)), hidden=4)
    >>> states = torch.cartesian_prod(*[torch.arange(2)] * 6)
    >>> round(float(model.log_prob(states).exp().sum().detach()), 4)
    1.0
    """

    summary = "energy over binary data with a layer of hidden units, trained by contrastive divergence"
    reference = "Hinton 2002"
    takes = ("binary",)
    conditional = False
    monitor = "pseudo_nats"
    likelihood = Likelihood(
        "none", note=f"exact with at most {MAX_ENUMERATED} hidden or visible units, an estimate once log Z is estimated"
    )
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"event": Event.binary((5,)), "hidden": 4, "gibbs_steps": 20},
        {"event": Event.binary((1, 2, 3)), "hidden": 3, "cd_steps": 2, "persistent": True, "chains": 8, "gibbs_steps": 20},
        {"event": Event.binary((4,)), "hidden": 3, "persistent": True, "chains": 8, "temperatures": 4, "gibbs_steps": 20},
        {"event": Event.binary((4,)), "hidden": 3, "centered": True, "gibbs_steps": 20},
    )

    completion = "clamped Gibbs sampling"
    chain: Tensor
    replicas: Tensor
    visible_offset: Tensor
    hidden_offset: Tensor

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: int = 500,
        cd_steps: int = 1,
        persistent: bool = False,
        chains: int = 100,
        temperatures: int = 1,
        centered: bool = False,
        gibbs_steps: int = 1000,
        annealing: int = 0,
    ) -> None:
        super().__init__(event, condition)
        for what, size in {"hidden": hidden, "cd_steps": cd_steps, "chains": chains, "gibbs_steps": gibbs_steps}.items():
            check_sizes(what, (size,))
        check_sizes("temperatures", (temperatures,))
        if temperatures > 1 and not persistent:
            raise InvalidInput("tempering is of chains that are kept: give persistent=True, or temperatures=1")
        if annealing < 0:
            raise InvalidInput(f"annealing is {annealing}, expected the number of distributions, or 0 for no estimate")
        self.hidden, self.cd_steps, self.persistent, self.gibbs_steps = hidden, cd_steps, persistent, gibbs_steps
        self.annealing, self.temperatures, self.centered = annealing, temperatures, centered
        if annealing:
            self.monitor = "nats"
        self.weight = nn.Parameter(0.01 * torch.randn(hidden, event.numel))
        self.visible_bias = nn.Parameter(torch.zeros(event.numel))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        if persistent:
            # Saved with the weights: a resumed run goes on with its chains, and samples start from them.
            self.register_buffer("chain", self._fresh(chains).to(event.dtype))
        if temperatures > 1:
            self.register_buffer("replicas", self._fresh((temperatures - 1) * chains).to(event.dtype))
        if centered:
            self.register_buffer("visible_offset", torch.full((event.numel,), 0.5))
            self.register_buffer("hidden_offset", torch.full((hidden,), 0.5))
        self.update_likelihood()

    # The energy and its conditionals

    def _visible(self, x: Tensor) -> Tensor:
        return self.event.to_network(x, self.dtype).flatten(1)  # (b, d)

    def _data(self, v: Tensor) -> Tensor:
        return self.event.from_network(v.view(-1, *self.event.shape)).to(self.event.dtype)

    def _hidden_logits(self, v: Tensor) -> Tensor:
        # Free energies are sums over all units: leave autocast's type here.
        return F.linear(v, self.weight, self.hidden_bias).to(self.dtype)  # (b, h)

    def _visible_logits(self, h: Tensor) -> Tensor:
        return F.linear(h, self.weight.T, self.visible_bias).to(self.dtype)  # (b, d)

    def _free_energy(self, v: Tensor) -> Tensor:
        return -(v * self.visible_bias).sum(1) - F.softplus(self._hidden_logits(v)).sum(1)  # (b,)

    def _fresh(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return visible units that know nothing of the model, (n, d)."""
        return torch.randint(0, 2, (n, self.event.numel), device=self.device, generator=generator).to(self.dtype)

    def _draw_visible(self, h: Tensor, generator: torch.Generator | None) -> Tensor:
        return coins(self._visible_logits(h), generator)

    def free_energy(self, x: Tensor) -> Tensor:
        """Return F(x) = -log p(x) - log Z, (batch,), nats, for data, (batch, *event.shape)."""
        return self._free_energy(self._visible(x))

    def hidden_given_visible(self, x: Tensor) -> Tensor:
        """Return P(h_j = 1 | x), (batch, hidden), for data, (batch, *event.shape)."""
        return torch.sigmoid(self._hidden_logits(self._visible(x)))

    def visible_given_hidden(self, h: Tensor) -> Tensor:
        """Return the mean of p(v | h), (batch, *event.shape), as `Event.to_network` scales, for units (batch, hidden)."""
        return torch.sigmoid(self._visible_logits(h.to(self.dtype))).view(-1, *self.event.shape)

    @torch.no_grad()
    def gibbs(
        self,
        v: Tensor,
        steps: int,
        generator: torch.Generator | None = None,
        *,
        given: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Return `v`, (batch, numel), after `steps` steps of Gibbs sampling: all hidden units, then all visible ones.

        Where `observed`, (batch, numel), is given, visible units there are `given` after each step.
        """
        for _ in range(steps):
            v = self._draw_visible(coins(self._hidden_logits(v), generator), generator)  # (b, d)
            if observed is not None and given is not None:
                v = torch.where(observed, given, v)
        return v

    def filters(self) -> Tensor:
        """Return the weights of each hidden unit, (hidden, *event.shape)."""
        return self.weight.detach().view(-1, *self.event.shape)

    # Chains

    def chain_start(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return where samples start from, (n, numel): persistent chains where there are any, else noise."""
        if not self.persistent:
            return self._fresh(n, generator)
        return self.chain[torch.randint(len(self.chain), (n,), device=self.device, generator=generator)].to(self.dtype)

    def near_model(self, x: Tensor, n: int, generator: torch.Generator) -> Tensor:
        if self.persistent:
            return super().near_model(x, n, generator)
        return self._visible(x[torch.randint(len(x), (n,), device=self.device, generator=generator)])

    def chain_steps(self, state: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        return self.gibbs(state, steps, generator)

    def chain_value(self, state: Tensor) -> Tensor:
        return self._free_energy(state)

    def _negative(self, v: Tensor, generator: torch.Generator | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative samples of a step, (chains or batch, d), and what is to be logged of how they were made."""
        if not self.persistent:
            return self.gibbs(v, self.cd_steps, generator), {}
        if self.temperatures == 1:
            negative, logged = self.gibbs(self.chain.to(self.dtype), self.cd_steps, generator), {}
        else:
            replicas = torch.cat((self.chain, self.replicas)).to(self.dtype).view(self.temperatures, -1, self.event.numel)
            replicas, swaps = Tempering(self._path(self._tempered_base()), self.temperatures).steps(
                replicas, self.cd_steps, generator
            )
            negative, logged = replicas[0], {"swaps": swaps.mean(), "least_swaps": swaps.min()}
            if self.training:
                self.replicas.copy_(replicas[1:].flatten(0, 1))
        if self.training:
            self.chain.copy_(negative)
        return negative, logged

    # Log Z

    @property
    def enumerable(self) -> bool:
        return min(self.event.numel, self.hidden) <= MAX_ENUMERATED

    def energy_parameters(self) -> tuple[Tensor, ...]:
        return self.weight, self.visible_bias, self.hidden_bias

    def enumerated_log_partition(self) -> Tensor:
        return enumerated(self.weight, self.visible_bias, self.hidden_bias)

    @torch.no_grad()
    def annealing_path(self, x: Tensor) -> AnnealingPath:
        return self._path(log_odds(self._visible(x)))

    def _tempered_base(self) -> Tensor:
        return torch.zeros_like(self.visible_bias)  # fair coins

    def _path(self, base: Tensor) -> BipartitePath:
        return BipartitePath(self.weight.detach(), self.visible_bias.detach(), self.hidden_bias.detach(), base.detach())

    # Primitives

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_batch(x, condition)
        return -self.free_energy(x) - self.log_partition()

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_condition(condition, n)
        return self._data(self.gibbs(self.chain_start(n, generator), self.gibbs_steps, generator))

    @torch.no_grad()
    def complete(
        self, x: Tensor, observed: Tensor, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return `gibbs_steps` steps from noise with the observed units held: p(rest | observed) in the limit of many."""
        given = self._visible(x).repeat_interleave(n, 0)
        mask = observed.flatten(1).repeat_interleave(n, 0)
        start = torch.where(mask, given, self._fresh(len(given), generator))
        v = self.gibbs(start, self.gibbs_steps, generator, given=given, observed=mask)
        return self._data(v).view(len(x), n, *self.event.shape)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        return self.hidden_given_visible(x)

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_condition(condition, len(code))
        return self.event.from_network(self.visible_given_hidden(code)).to(self.event.dtype)

    # Training

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        v = self._visible(x)
        negative, logged = self._negative(v, generator)
        if self.centered:
            return {**self._centered_loss(v, negative), **logged}
        # The negative sample is a constant: the gradient is contrastive divergence's, the value is no objective. Both
        # samples go through the layer as one, as one large product takes less time than two.
        energies = self._free_energy(torch.cat((v, negative)))  # (b + chains,)
        positive, contrast = energies[: len(v)].mean(), energies[len(v) :].mean()
        return {"loss": positive - contrast, "free_energy": positive.detach(), **logged}

    def _centered_loss(self, v: Tensor, negative: Tensor) -> dict[str, Tensor]:
        """Return a loss with the gradient of centred parameters, in terms of these; its value is that of the other loss."""
        with torch.no_grad():
            h, seen = (torch.sigmoid(self._hidden_logits(units)) for units in (v, negative))
            energies = self._free_energy(v).mean(), self._free_energy(negative).mean()
        biases, offsets = (self.visible_bias, self.hidden_bias), (self.visible_offset, self.hidden_offset)
        value = energies[0] - energies[1]
        loss = centered_loss(value, (self.weight,), biases, (v, h), (negative, seen), offsets, moving=self.training)
        return {"loss": loss, "free_energy": energies[0]}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        r"""Return "pseudo_nats", "reconstruction", and "nats" where the likelihood is exact or validation estimates it.

        The first is minus the log pseudo-likelihood, -sum_i log p(v_i | v_{-i}), an unbiased estimate from 10 entries
        drawn at random for each datum; unlike the reconstruction it grows when the energy is low where there are no
        data. The second is the cross-entropy of v under p(v | h), h drawn from p(h | v). All are in nats.
        """
        v = self._visible(x)
        pre = self._hidden_logits(v)  # (b, h)
        d, m = self.event.numel, min(self.event.numel, _FLIPS)
        scores = torch.rand(v.shape, dtype=v.dtype, device=v.device, generator=generator)
        entries = scores.topk(m, dim=1).indices  # (b, m), without replacement
        change = 1.0 - 2.0 * v.gather(1, entries)  # (b, m)
        flipped = pre[:, None] + change[..., None] * self.weight.T[entries]  # (b, m, h)
        # F(flipped) - F(v) is the log-odds of v_i given the rest.
        odds = F.softplus(pre).sum(1, keepdim=True) - F.softplus(flipped).sum(2) - change * self.visible_bias[entries]
        reconstructed = Bernoulli(self._visible_logits(Bernoulli(pre).draw(generator)))  # (b, d)
        return {
            **self._nats(x),
            "pseudo_nats": F.softplus(-odds).sum(1) * (d / m),
            "reconstruction": -reconstructed.log_prob(v).sum(1),
        }

    def _nats(self, x: Tensor) -> dict[str, Tensor]:
        """Return "nats", where log Z is a sum over states or validation estimates it."""
        if self.enumerable:
            return {"nats": self.free_energy(x) + self.log_partition()}
        return {"nats": self.free_energy(x) + self.rough_log_partition(x)} if self.annealing else {}
