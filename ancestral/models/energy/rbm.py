"""Restricted Boltzmann machine: an energy over binary data and hidden units, trained by contrastive divergence."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.distributions import Bernoulli
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.likelihood import Likelihood
from ancestral.models.energy.annealing import AnnealingPath, BipartitePath
from ancestral.models.energy.base import MAX_ENUMERATED, EnergyModel, coins, enumerated, log_odds
from ancestral.models.registry import register

_FLIPS = 10
"""Entries of each datum whose conditionals `RBM.measures` computes."""


@register("rbm")
class RBM(EnergyModel):
    r"""p(v) = exp(-F(v)) / Z, F(v) = -b'v - sum_j log(1 + exp(c_j + v'W_j)), Z = sum_v exp(-F(v)).

    Contrastive divergence descends mean F(data) - mean F(v_k), where v_k is k steps of Gibbs sampling away: from the
    data (CD-k), or from chains that are kept from one update to the next (persistent, PCD-k).

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

    >>> model = RBM(Event.binary((6,)), hidden=4)
    >>> states = torch.cartesian_prod(*[torch.arange(2)] * 6)
    >>> round(float(model.log_prob(states).exp().sum().detach()), 4)
    1.0
    """

    summary = "energy over binary data with a layer of hidden units, trained by contrastive divergence"
    reference = "Hinton 2002"
    takes = ("binary",)
    conditional = False
    monitor: str = "pseudo_nats"
    likelihood = Likelihood(
        "none", note=f"exact with at most {MAX_ENUMERATED} hidden or visible units, an estimate once log Z is estimated"
    )
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}
    examples = (
        {"event": Event.binary((5,)), "hidden": 4, "gibbs_steps": 20},
        {"event": Event.binary((1, 2, 3)), "hidden": 3, "cd_steps": 2, "persistent": True, "chains": 8, "gibbs_steps": 20},
    )

    chain: Tensor

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: int = 500,
        cd_steps: int = 1,
        persistent: bool = False,
        chains: int = 100,
        gibbs_steps: int = 1000,
        annealing: int = 0,
    ) -> None:
        super().__init__(event, condition)
        for what, size in {"hidden": hidden, "cd_steps": cd_steps, "chains": chains, "gibbs_steps": gibbs_steps}.items():
            check_sizes(what, (size,))
        if annealing < 0:
            raise InvalidInput(f"annealing is {annealing}, expected the number of distributions, or 0 for no estimate")
        self.hidden, self.cd_steps, self.persistent, self.gibbs_steps = hidden, cd_steps, persistent, gibbs_steps
        self.annealing = annealing
        if annealing:
            self.monitor = "nats"
        self.weight = nn.Parameter(0.01 * torch.randn(hidden, event.numel))
        self.visible_bias = nn.Parameter(torch.zeros(event.numel))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        if persistent:
            # Saved with the weights: a resumed run goes on with its chains, and samples start from them.
            self.register_buffer("chain", torch.randint(0, 2, (chains, event.numel), dtype=torch.uint8))
        self.update_likelihood()

    # The energy and its conditionals

    def _visible(self, x: Tensor) -> Tensor:
        return self.event.to_network(x, self.dtype).flatten(1)  # (b, d)

    def _hidden_logits(self, v: Tensor) -> Tensor:
        # Free energies are sums over all units: leave autocast's type here.
        return F.linear(v, self.weight, self.hidden_bias).to(self.dtype)  # (b, h)

    def _visible_logits(self, h: Tensor) -> Tensor:
        return F.linear(h, self.weight.T, self.visible_bias)  # (b, d)

    def _free_energy(self, v: Tensor) -> Tensor:
        return -(v * self.visible_bias).sum(1) - F.softplus(self._hidden_logits(v)).sum(1)  # (b,)

    def free_energy(self, x: Tensor) -> Tensor:
        """Return F(x) = -log p(x) - log Z, (batch,), nats, for data, (batch, *event.shape)."""
        return self._free_energy(self._visible(x))

    @torch.no_grad()
    def gibbs(self, v: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """Return `v`, (batch, numel), after `steps` steps of Gibbs sampling: all hidden units, then all visible ones."""
        for _ in range(steps):
            h = coins(self._hidden_logits(v), generator)  # (b, h)
            v = coins(self._visible_logits(h).to(self.dtype), generator)  # (b, d)
        return v

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
        return BipartitePath(self.weight, self.visible_bias, self.hidden_bias, log_odds(self._visible(x)))

    # Primitives

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_batch(x, condition)
        return -self.free_energy(x) - self.log_partition()

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_condition(condition, n)
        if self.persistent:
            v = self.chain[torch.randint(len(self.chain), (n,), device=self.device, generator=generator)]
        else:
            v = torch.randint(0, 2, (n, self.event.numel), device=self.device, generator=generator)
        v = self.gibbs(v.to(self.dtype), self.gibbs_steps, generator)
        return v.view(n, *self.event.shape).to(self.event.dtype)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        return torch.sigmoid(self._hidden_logits(self._visible(x)))

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_condition(condition, len(code))
        return (self._visible_logits(code.to(self.dtype)) > 0).view(-1, *self.event.shape).to(self.event.dtype)

    # Training

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        v = self._visible(x)
        negative = self.gibbs(self.chain.to(self.dtype) if self.persistent else v, self.cd_steps, generator)
        if self.persistent and self.training:
            self.chain.copy_(negative)
        # The negative sample is a constant: the gradient is contrastive divergence's, the value is no objective. Both
        # samples go through the layer as one, as one large product takes less time than two.
        energies = self._free_energy(torch.cat((v, negative)))  # (b + chains,)
        positive, contrast = energies[: len(v)].mean(), energies[len(v) :].mean()
        return {"loss": positive - contrast, "free_energy": positive.detach()}

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
        known = {}
        if self.enumerable or self.annealing:
            log_z = self.log_partition() if self.enumerable else self.rough_log_partition(x)
            known = {"nats": self._free_energy(v) + log_z}
        return {
            **known,
            "pseudo_nats": F.softplus(-odds).sum(1) * (d / m),
            "reconstruction": -reconstructed.log_prob(v).sum(1),
        }
