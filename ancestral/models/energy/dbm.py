"""Deep Boltzmann machine: layers of binary units with undirected weights, by mean field above and chains below."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_choice, check_sizes
from ancestral.likelihood import Likelihood
from ancestral.models.energy.annealing import AnnealingPath, BipartitePath, LogPartition, coins
from ancestral.models.energy.base import MAX_ENUMERATED, EnergyModel, enumerated, log_odds
from ancestral.models.energy.centering import centered_loss
from ancestral.models.registry import register

PRETRAINED = ("doubled", "first")
"""Ways to train layers before all are trained together."""


@register("dbm")
class DBM(EnergyModel):
    r"""p(x) = sum_h exp(-E(x, h)) / Z, -E = b'x + sum_l c_l'h_l + h_1'W_1 x + sum_l h_{l+1}'W_{l+1} h_l.

    Units of even layers, the data among them, are independent given those of odd layers, and the other way round: a Gibbs step
    draws one half, then the other. The posterior is approximated by a product of Bernoullis, whose means mu are iterated to a
    fixed point of mu_l = sigmoid(W_l mu_{l-1} + W_{l+1}' mu_{l+1} + c_l), with the bound

        log p(x) >= -E(x, mu) + sum_l H(mu_l) - log Z.

    Training descends mean E(x, mu) - mean E of chains that are kept from one update to the next. Before that, each layer in
    turn is trained as an RBM in which a unit with layers on both sides counts its one input twice, for the one to come.

    log Z is that of an RBM of the two halves: exact with at most 20 units in one of these, and estimated otherwise
    (`ancestral partition`); the bound is then one up to the estimate's error, which its note says.

    Args:
        event: a binary event.
        condition: must be None.
        hidden: units of each hidden layer, from the data upwards, at least two layers.
        pretrain_steps: training steps of each layer before all are trained together; 0 for none.
        pretrain: "doubled", one layer after another as above; "first", the first layer alone, as an RBM with persistent
            chains: the others, whose weights are small at the start, then begin where that one is.
        mean_field_steps: iterations of the mean field.
        chain_steps_per_update: steps of Gibbs sampling to each update of the chains, k.
        chains: number of chains.
        centered: take the gradient that units centred at their running means would have: layers then learn together from the
            start, without having been trained one by one (`pretrain_steps` of 0).
        gibbs_steps: steps of Gibbs sampling to a sample, from the chains.
        annealing: distributions of an estimate of log Z at each validation, which then minimises the nats by it; 0 for none,
            and validation minimises the error of reconstructions.

    Raises:
        InvalidInput: if an option is out of range, or the event is not binary.

    References:
        Deep Boltzmann Machines (Salakhutdinov & Hinton, 2009), https://proceedings.mlr.press/v5/salakhutdinov09a.html.
        There layers are pretrained by CD with their own rates; here by the chains or CD-k that all is trained with.
        How to Center Deep Boltzmann Machines (Melchior, Fischer & Wiskott, 2016), https://jmlr.org/papers/v17/14-237.html, for
        the centring, by the mean over data and chains; the pretraining of the first layer alone is ours.

    >>> model = DBM(Event.binary((6,)), hidden=(4, 3)).eval()
    >>> bool(model.log_prob(torch.zeros(1, 6)) <= model.enumerated_log_prob(torch.zeros(1, 6)))
    True
    """

    summary = "layers of binary units with undirected weights, trained by mean field and persistent chains"
    reference = "Salakhutdinov & Hinton 2009"
    takes = ("binary",)
    conditional = False
    monitor = "reconstruction"
    likelihood = Likelihood(
        "lower bound", note=f"with at most {MAX_ENUMERATED} units in one half of the layers, or once log Z is estimated"
    )
    completion = "clamped Gibbs sampling"
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}
    examples = (
        {"event": Event.binary((4,)), "hidden": (3, 2), "pretrain_steps": 1, "chains": 8, "gibbs_steps": 20},
        {"event": Event.binary((1, 2, 2)), "hidden": (3, 3, 2), "pretrain_steps": 0, "chains": 8, "gibbs_steps": 20},
        {
            "event": Event.binary((4,)),
            "hidden": (3, 2),
            "pretrain_steps": 1,
            "pretrain": "first",
            "chains": 8,
            "centered": True,
            "gibbs_steps": 20,
        },
    )

    chain: Tensor

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (500, 1000),
        pretrain_steps: int = 5_000,
        pretrain: str = "doubled",
        mean_field_steps: int = 10,
        chain_steps_per_update: int = 5,
        chains: int = 100,
        centered: bool = False,
        gibbs_steps: int = 1000,
        annealing: int = 0,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("hidden", tuple(hidden))
        if len(hidden) < 2:
            raise InvalidInput(f"a dbm has at least two hidden layers, got hidden={tuple(hidden)}: of one layer it is an rbm")
        counts = (mean_field_steps, chain_steps_per_update, chains, gibbs_steps)
        check_sizes("mean_field_steps, chain_steps_per_update, chains, gibbs_steps", counts)
        if pretrain_steps < 0:
            raise InvalidInput(f"pretrain_steps is {pretrain_steps}, expected at least 0")
        check_choice("pretraining", pretrain, PRETRAINED)
        self.pretrain = pretrain
        self.hidden, self.pretrain_steps, self.mean_field_steps = tuple(hidden), pretrain_steps, mean_field_steps
        self.cd_steps, self.gibbs_steps, self.annealing = chain_steps_per_update, gibbs_steps, annealing
        self.sizes = (event.numel, *hidden)
        self.weights = nn.ParameterList(0.01 * torch.randn(m, n) for n, m in itertools.pairwise(self.sizes))
        self.biases = nn.ParameterList(torch.zeros(n) for n in self.sizes)
        self.centered = centered
        if centered:
            for i, size in enumerate(self.sizes):
                self.register_buffer(f"offset{i}", torch.full((size,), 0.5))
        # The layer that is pretrained; len(hidden) when all are trained together. `groups_at` is told the step and sets it.
        self._stage = len(hidden)
        self.register_buffer("chain", torch.randint(0, 2, (chains, sum(self.sizes)), dtype=torch.uint8))
        if annealing:
            self.monitor = "nats"
        self.update_likelihood()

    # Conditionals: `state` is a list of layers, the data first, each (b, units)

    def _visible(self, x: Tensor) -> Tensor:
        return self.event.to_network(x, self.dtype).flatten(1)  # (b, d)

    def _logits(self, state: Sequence[Tensor], layer: int, from_below: Tensor | None = None) -> Tensor:
        """Return the logits of a layer given those beside it, (b, units); what the one below adds may be given.

        Of a `state` that ends before the last layer, those beyond are as if they had no weights.
        """
        logits = self.biases[layer].expand(len(state[0]), -1)
        if layer > 0:
            logits = logits + (F.linear(state[layer - 1], self.weights[layer - 1]) if from_below is None else from_below)
        if layer + 1 < len(state):
            logits = logits + F.linear(state[layer + 1], self.weights[layer].T)
        return logits.to(self.dtype)

    def energy(self, state: Sequence[Tensor]) -> Tensor:
        """Return E of the layers, (b,), all of them or the first ones; of independent units at their means, its mean."""
        total = sum((-(s * b).sum(1) for s, b in zip(state, self.biases, strict=False)), torch.zeros((), dtype=self.dtype))
        for below, above, weight in zip(state[:-1], state[1:], self.weights, strict=False):
            total = total - (F.linear(below, weight).to(self.dtype) * above).sum(1)
        return total

    @torch.no_grad()
    def mean_field(self, x: Tensor, layers: int | None = None) -> list[Tensor]:
        """Return x and the means of the hidden units, a list of (batch, units), of all layers or the first ones."""
        sizes = self.sizes[:layers]
        state = [self._visible(x)]
        # The data stay as they are, and so does what they add to the layer above.
        data = F.linear(state[0], self.weights[0]).to(self.dtype)
        # Bottom-up first, with doubled weights where the layer above is yet to come.
        for layer in range(1, len(sizes)):
            scale = 2.0 if layer < len(sizes) - 1 else 1.0
            below = data if layer == 1 else F.linear(state[-1], self.weights[layer - 1]).to(self.dtype)
            state.append(torch.sigmoid(scale * below + self.biases[layer]))
        for _ in range(self.mean_field_steps if len(sizes) > 2 else 0):
            for layer in (*range(2, len(sizes), 2), *range(1, len(sizes), 2)):
                state[layer] = torch.sigmoid(self._logits(state, layer, data if layer == 1 else None))
        return state

    @torch.no_grad()
    def gibbs(
        self, state: list[Tensor], steps: int, generator: torch.Generator | None = None, observed: Tensor | None = None
    ) -> list[Tensor]:
        """Return the layers of `state` after so many steps: odd ones given even ones, then even ones given odd ones.

        Data that are `observed`, (b, d), stay as they are.
        """
        state, given = list(state), state[0]
        for _ in range(steps):
            for layer in (*range(1, len(state), 2), *range(0, len(state), 2)):
                state[layer] = coins(self._logits(state, layer), generator)
                if layer == 0 and observed is not None:
                    state[0] = torch.where(observed, given, state[0])
        return state

    # Log Z, by the RBM between the odd layers and the even ones

    def _halves(self) -> tuple[list[int], list[int]]:
        return list(range(1, len(self.sizes), 2)), list(range(0, len(self.sizes), 2))

    def _bipartite(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights between halves, (even units, odd units), and the biases of the odd and of the even ones."""
        odd, even = self._halves()
        rows = []
        for i in even:
            blocks = []
            for j in odd:
                if j == i + 1:
                    blocks.append(self.weights[i].T)  # (i, j)
                elif j == i - 1:
                    blocks.append(self.weights[j])
                else:
                    blocks.append(self.weights[0].new_zeros(self.sizes[i], self.sizes[j]))
            rows.append(torch.cat(blocks, dim=1))
        biases = [torch.cat([self.biases[i] for i in half]) for half in (odd, even)]
        return torch.cat(rows), biases[0], biases[1]

    @property
    def enumerable(self) -> bool:
        return min(sum(self.sizes[i] for i in half) for half in self._halves()) <= MAX_ENUMERATED

    def energy_parameters(self) -> tuple[Tensor, ...]:
        return *self.weights, *self.biases

    def enumerated_log_partition(self) -> Tensor:
        return enumerated(*self._bipartite())

    @torch.no_grad()
    def annealing_path(self, x: Tensor) -> AnnealingPath:
        means = [log_odds(m) for m in self.mean_field(x)]
        odd, even = (torch.cat([means[i] for i in half]) for half in self._halves())
        weight, odd_bias, even_bias = (part.detach() for part in self._bipartite())
        return BipartitePath(weight, odd_bias, even_bias, odd, even)

    def update_likelihood(self) -> None:
        super().update_likelihood()
        if self.enumerable:
            self.likelihood = Likelihood("lower bound", note="mean field")

    def likelihood_by(self, estimate: LogPartition) -> Likelihood:
        note = (
            f"mean field, up to log Z, an estimate, ± {estimate.standard_error:.2f} nats by AIS over"
            f" {estimate.distributions} distributions x {estimate.chains} chains"
        )
        return Likelihood("lower bound", note=note)

    # Chains, of the odd layers: all others follow from these

    def _joined(self, state: Sequence[Tensor]) -> Tensor:
        return torch.cat([state[i] for i in self._halves()[0]], dim=1)

    def _whole(self, odd: Tensor, generator: torch.Generator | None) -> list[Tensor]:
        """Return all layers, the even ones drawn given the odd ones, (b, odd units)."""
        state = [odd.new_zeros(len(odd), n) for n in self.sizes]
        for i, part in zip(self._halves()[0], odd.split([self.sizes[i] for i in self._halves()[0]], dim=1), strict=True):
            state[i] = part
        for i in self._halves()[1]:
            state[i] = coins(self._logits(state, i), generator)
        return state

    def chain_start(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        chosen = self.chain[torch.randint(len(self.chain), (n,), device=self.device, generator=generator)].to(self.dtype)
        return self._joined(chosen.split(self.sizes, dim=1))

    def chain_steps(self, state: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        return self._joined(self.gibbs(self._whole(state, generator), steps, generator))

    def chain_value(self, state: Tensor) -> Tensor:
        weight, odd, even = self._bipartite()
        return -(state @ odd) - F.softplus(F.linear(state, weight, even)).sum(1)

    # Primitives

    def _bound(self, x: Tensor) -> Tensor:
        """Return the bound on log p(x) without log Z, (batch,), nats."""
        state = self.mean_field(x)
        entropy = [-(torch.xlogy(m, m) + torch.xlogy(1.0 - m, 1.0 - m)).sum(1) for m in state[1:]]
        return torch.stack(entropy).sum(0) - self.energy(state)

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_batch(x, condition)
        return self._bound(x) - self.log_partition()

    def enumerated_log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), (batch,), nats, with the hidden units summed out state by state; for tiny machines."""
        weight, odd, even = self._bipartite()
        d = self.event.numel
        v = self._visible(x)
        # Given x the data only shift the biases of the odd layers.
        sums = [enumerated(weight[d:], odd + row @ weight[:d], even[d:]) + row @ even[:d] for row in v]
        return torch.stack(sums) - self.log_partition()

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_condition(condition, n)
        state = self.gibbs(self._whole(self.chain_start(n, generator), generator), self.gibbs_steps, generator)
        return state[0].view(n, *self.event.shape).to(self.event.dtype)

    @torch.no_grad()
    def complete(
        self, x: Tensor, observed: Tensor, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return `gibbs_steps` steps with the observed units held: p(rest | observed) in the limit of many."""
        given, mask = self._visible(x).repeat_interleave(n, 0), observed.flatten(1).repeat_interleave(n, 0)
        state = self._whole(self.chain_start(len(given), generator), generator)
        state[0] = torch.where(mask, given, state[0])
        state = self.gibbs(state, self.gibbs_steps, generator, mask)
        return state[0].view(len(x), n, *self.event.shape).to(self.event.dtype)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        return torch.cat(self.mean_field(x)[1:], dim=1)

    def filters(self) -> Tensor:
        """Return the weights of each unit of the first hidden layer, (hidden[0], *event.shape)."""
        return self.weights[0].detach().view(-1, *self.event.shape)

    # Training

    def groups_at(self, step: int) -> Sequence[str] | None:
        stages = len(self.hidden) if self.pretrain == "doubled" else 1
        stage = min(step // self.pretrain_steps, stages) if self.pretrain_steps else stages
        self._stage = stage if stage < stages else len(self.hidden)
        return None

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        if self._stage < len(self.hidden) and self.pretrain == "doubled":
            return self._layer_loss(x, self._stage, generator)
        # Of the first layer alone, those beyond it stay the fair coins that their chains start as.
        trained = 2 if self._stage < len(self.hidden) else len(self.sizes)
        chain = self.chain.to(self.dtype).split(self.sizes, dim=1)
        means = self.mean_field(x, trained)
        state = self.gibbs(list(chain[:trained]), self.cd_steps, generator)
        if self.training:
            self.chain.copy_(torch.cat((*state, *chain[trained:]), dim=1))
        if trained == 2:
            state[1] = torch.sigmoid(self._logits(state, 1)).detach()  # of one layer the means are known
        if not self.centered:
            positive = self.energy(means).mean()
            return {"loss": positive - self.energy(state).mean(), "energy": positive.detach()}
        with torch.no_grad():
            positive, negative = self.energy(means).mean(), self.energy(state).mean()
        offsets = [self.get_buffer(f"offset{i}") for i in range(trained)]
        weights, biases = self.weights[: trained - 1], self.biases[:trained]
        return {
            "loss": centered_loss(positive - negative, weights, biases, means, state, offsets, moving=self.training),
            "energy": positive,
        }

    def _layer_loss(self, x: Tensor, layer: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Return the loss of one layer as an RBM, with what the layers beyond it will add counted by doubled weights."""
        first, last = layer == 0, layer == len(self.hidden) - 1
        weight, below, above = self.weights[layer], self.biases[layer], self.biases[layer + 1]
        up, down = (1.0 if last else 2.0), (1.0 if first else 2.0)
        with torch.no_grad():
            v = self._visible(x)
            for i in range(layer):
                v = torch.sigmoid(2.0 * F.linear(v, self.weights[i]).to(self.dtype) + self.biases[i + 1])
            h = torch.sigmoid(up * F.linear(v, weight).to(self.dtype) + above)
            negative = coins(torch.logit(h, eps=1e-7), generator)
            for _ in range(self.cd_steps):
                back = coins(down * F.linear(negative, weight.T).to(self.dtype) + below, generator)
                logits = up * F.linear(back, weight).to(self.dtype) + above
                negative = coins(logits.clone(), generator)
            seen = torch.sigmoid(logits)
            # One product for the gradient of both: sum of h v' over the data less that over the negative samples.
        pairs = ((v, h, 1.0 / len(v)), (back, seen, -1.0 / len(back)))
        loss = torch.zeros((), dtype=self.dtype, device=self.device)
        for units, means, share in pairs:
            inner = (F.linear(units, weight).to(self.dtype) * means).sum(1) + units @ below + means @ above
            loss = loss - share * inner.sum()
        return {"loss": loss, "energy": loss.detach()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "reconstruction", the cross-entropy of x from its mean field, and "nats", the negative bound.

        The second is there where log Z is a sum over states, or validation estimates it.
        """
        state = self.mean_field(x)
        logits, v = self._logits(state, 0), state[0]
        out = {}
        if self.enumerable or self.annealing:
            log_z = self.log_partition() if self.enumerable else self.rough_log_partition(x)
            out["nats"] = log_z - self._bound(x)
        return {**out, "reconstruction": F.binary_cross_entropy_with_logits(logits, v, reduction="none").sum(1)}
