"""Deep belief network: a stack of RBMs trained one after another; the top one is the prior of a directed network."""

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ancestral.distributions import Bernoulli
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.likelihood import Likelihood
from ancestral.models.energy.annealing import AnnealingPath, BipartitePath, LogPartition, coins
from ancestral.models.energy.base import MAX_ENUMERATED, EnergyModel, log_odds
from ancestral.models.energy.rbm import RBM
from ancestral.models.registry import register


@register("dbn")
class DBN(EnergyModel):
    r"""p(x, h_1, ..., h_L) = p(x | h_1) p(h_1 | h_2) ... p(h_{L-1}, h_L), of which the last is an RBM.

    Every layer is the RBM of what the layer below makes of the data, and is trained as such while those below stay as they
    are. With q(h_1 | x) q(h_2 | h_1) ..., the conditionals of these RBMs upwards,

        log p(x) >= E_q[ log p(x | h_1) + ... + log p(h_{L-1}) - log q(h_1 | x) - ... ],

    in which log p(h_{L-1}) = -F(h_{L-1}) - log Z of the top RBM. With at most 20 units in a layer of that log Z is exact and
    the bound is one. Otherwise log Z is estimated (`ancestral partition`), and the bound is one up to the estimate's error,
    which its note says.

    Args:
        event: a binary event.
        condition: must be None.
        hidden: units of each hidden layer, from the data upwards, at least two layers.
        layer_steps: training steps of each layer but the last, which gets the rest of the run.
        fade: let the loss of each layer but the last fade to nothing over its steps: with sgd, as a rate that falls to zero.
        transposed: start every layer but the first from the one below turned around, its weights transposed and its chains
            drawn on: at first the stack is then the density that the layers below have learned. A layer needs at least as many
            units as the one two below; those beyond start with small weights, which change next to nothing.
        top_rate: what the learning rate is multiplied with for the last layer.
        cd_steps: k, steps of Gibbs sampling to each negative sample.
        persistent: go on from the chains of the last update instead of the data.
        chains: number of persistent chains of each layer.
        centered: take the gradient that units centred at their running means would have, as `rbm` does.
        gibbs_steps: steps of Gibbs sampling in the top layers to a sample.
        annealing: distributions of an estimate of log Z at each validation, which then minimises the nats by it; 0 for none,
            and validation minimises the error of reconstructions from the top layer.

    Raises:
        InvalidInput: if an option is out of range, or the event is not binary.

    References:
        A Fast Learning Algorithm for Deep Belief Nets (Hinton, Osindero & Teh, 2006),
        https://doi.org/10.1162/neco.2006.18.7.1527, also for the transposed start. There weights are refined by wake and sleep
        after the greedy training; here they are not.
        On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov & Murray, 2008),
        https://doi.org/10.1145/1390156.1390266, for the bound.

    >>> model = DBN(Event.binary((6,)), hidden=(4, 3)).eval()
    >>> model.log_prob(torch.zeros(2, 6), generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2])
    """

    summary = "stack of RBMs trained layer by layer, the top one being the prior of a directed network"
    reference = "Hinton, Osindero & Teh 2006"
    takes = ("binary",)
    conditional = False
    monitor = "reconstruction"
    likelihood = Likelihood(
        "lower bound", note=f"with at most {MAX_ENUMERATED} units in one of the top layers, or once log Z is estimated"
    )
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}
    examples = (
        {"event": Event.binary((5,)), "hidden": (4, 3), "layer_steps": 2, "gibbs_steps": 20},
        {
            "event": Event.binary((1, 2, 2)),
            "hidden": (3, 4, 5),
            "layer_steps": 2,
            "transposed": True,
            "persistent": True,
            "centered": True,
            "chains": 8,
            "gibbs_steps": 20,
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (500, 2000),
        layer_steps: int = 10_000,
        fade: bool = False,
        transposed: bool = False,
        top_rate: float = 1.0,
        cd_steps: int = 1,
        persistent: bool = False,
        chains: int = 100,
        centered: bool = False,
        gibbs_steps: int = 1000,
        annealing: int = 0,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("hidden", tuple(hidden))
        if len(hidden) < 2:
            raise InvalidInput(f"a dbn has at least two hidden layers, got hidden={tuple(hidden)}: of one layer it is an rbm")
        check_sizes("layer_steps", (layer_steps,))
        self.hidden, self.layer_steps, self.gibbs_steps, self.annealing = tuple(hidden), layer_steps, gibbs_steps, annealing
        if transposed:
            for layer, (turned, units) in enumerate(zip((event.numel, *hidden), hidden[1:], strict=False), start=2):
                if units < turned:
                    raise InvalidInput(
                        f"layer {layer} has {units} units and the one two below {turned}: turned around, it needs as many"
                    )
        if not top_rate > 0.0:
            raise InvalidInput(f"top_rate is {top_rate}, expected a positive factor of the learning rate, such as 0.5")
        self.transposed, self.top_rate = transposed, top_rate
        # The share of its loss that the layer of a step has; `groups_at` is told the step and sets it.
        self.fade, self._share = fade, 1.0
        sizes = (event.numel, *hidden)
        self.layers = nn.ModuleList(
            RBM(
                Event.binary((below,)),
                hidden=above,
                cd_steps=cd_steps,
                persistent=persistent,
                chains=chains,
                centered=centered,
                gibbs_steps=gibbs_steps,
                annealing=annealing,
            )
            for below, above in itertools.pairwise(sizes)
        )
        if annealing:
            self.monitor = "nats"
        self.update_likelihood()

    # The layers

    @property
    def machines(self) -> list[RBM]:
        """The RBMs, from the data upwards."""
        return [cast(RBM, layer) for layer in self.layers]

    @property
    def top(self) -> RBM:
        """The RBM of the last two layers."""
        return self.machines[-1]

    def _visible(self, x: Tensor) -> Tensor:
        return self.event.to_network(x, self.dtype).flatten(1)  # (b, d)

    @torch.no_grad()
    def up(self, x: Tensor, layers: int, generator: torch.Generator | None = None) -> Tensor:
        """Return units of hidden layer `layers`, drawn from q upwards, (batch, hidden[layers - 1]); the data of layer 0."""
        h = self._visible(x)
        for machine in self.machines[:layers]:
            h = coins(machine._hidden_logits(h), generator)
        return h

    # Log Z is that of the top layer

    @property
    def enumerable(self) -> bool:
        return self.top.enumerable

    def energy_parameters(self) -> tuple[Tensor, ...]:
        return self.top.energy_parameters()

    def enumerated_log_partition(self) -> Tensor:
        return self.top.enumerated_log_partition()

    @torch.no_grad()
    def annealing_path(self, x: Tensor) -> AnnealingPath:
        h = self._visible(x)
        for machine in self.machines[:-1]:
            h = torch.sigmoid(machine._hidden_logits(h))
        # A layer that was turned around has the data's units above: both sides begin at the means of the data.
        weight, visible_bias, hidden_bias = (part.detach() for part in self.top.energy_parameters())
        above = torch.sigmoid(self.top._hidden_logits(h))
        return BipartitePath(weight, visible_bias, hidden_bias, log_odds(h), log_odds(above))

    def update_likelihood(self) -> None:
        super().update_likelihood()
        if self.enumerable:
            self.likelihood = Likelihood("lower bound", samples=1)

    def likelihood_by(self, estimate: LogPartition) -> Likelihood:
        note = (
            f"up to log Z of the top layers, an estimate, ± {estimate.standard_error:.2f} nats by AIS over"
            f" {estimate.distributions} distributions x {estimate.chains} chains"
        )
        return Likelihood("lower bound", samples=1, note=note)

    def chain_start(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.top.chain_start(n, generator)

    def chain_steps(self, state: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        return self.top.chain_steps(state, steps, generator)

    def chain_value(self, state: Tensor) -> Tensor:
        return self.top.chain_value(state)

    # Primitives

    def bound(
        self, x: Tensor, condition: Tensor | None = None, *, samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Return log (1/K) sum_k p(x, h^k) / q(h^k | x) for K draws from q, a lower bound in expectation; (batch,), nats."""
        self.check_batch(x, condition)
        log_z = self.log_partition()
        weights = torch.stack([self._log_weight(x, generator) for _ in range(samples)])  # (samples, b)
        return torch.logsumexp(weights, dim=0) - torch.log(torch.tensor(float(samples), dtype=self.dtype)) - log_z

    def _log_weight(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return log p(x, h) - log q(h | x) up to log Z, (batch,), for one draw of h_1 ... h_{L-1}."""
        below = self._visible(x)
        total = torch.zeros(len(below), dtype=self.dtype, device=self.device)
        for machine in self.machines[:-1]:
            q = Bernoulli(machine._hidden_logits(below))
            h = q.draw(generator)
            total = total + Bernoulli(machine._visible_logits(h)).log_prob(below).sum(1) - q.log_prob(h).sum(1)
            below = h
        return total - self.top._free_energy(below)

    def log_prob(self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        return self.bound(x, condition, samples=1, generator=generator)

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_condition(condition, n)
        h = self.chain_steps(self.chain_start(n, generator), self.gibbs_steps, generator)
        for machine in self.machines[-2::-1]:
            h = coins(machine._visible_logits(h), generator)
        return h.view(n, *self.event.shape).to(self.event.dtype)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        h = self._visible(x)
        for machine in self.machines:
            h = torch.sigmoid(machine._hidden_logits(h))
        return h

    def _down(self, code: Tensor) -> Tensor:
        """Return logits of the data, (batch, d), for probabilities of the top units, layers between being at their means."""
        for machine in self.machines[:0:-1]:
            code = torch.sigmoid(machine._visible_logits(code))
        return self.machines[0]._visible_logits(code)

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_condition(condition, len(code))
        return (self._down(code.to(self.dtype)) > 0).view(-1, *self.event.shape).to(self.event.dtype)

    def filters(self) -> Tensor:
        """Return the weights of each unit of the first hidden layer, (hidden[0], *event.shape)."""
        return self.machines[0].weight.detach().view(-1, *self.event.shape)

    # Training

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {f"layer{i + 1}": list(layer.parameters()) for i, layer in enumerate(self.layers)}

    def learning_rate_factor(self, group: str) -> float:
        return self.top_rate if group == f"layer{len(self.layers)}" else 1.0

    @torch.no_grad()
    def _turn(self, layer: int) -> None:
        """Start a layer from the one below turned around: what units of `below` are visible here hidden, and the other way."""
        below, above, n = self.machines[layer - 1], self.machines[layer], self.machines[layer - 1].event.numel
        above.weight[:n] = below.weight.T
        above.hidden_bias[:n] = below.visible_bias
        above.visible_bias.copy_(below.hidden_bias)
        if above.centered:
            above.visible_offset.copy_(below.hidden_offset)
            above.hidden_offset[:n] = below.visible_offset
        if above.persistent:
            # The seed need only be the same in a run that is resumed at this step.
            draws = torch.Generator(self.device).manual_seed(layer)
            above.chain.copy_(coins(below._hidden_logits(below.chain.to(self.dtype)), draws))

    def groups_at(self, step: int) -> Sequence[str]:
        layer = min(step // self.layer_steps, len(self.layers) - 1)
        if self.transposed and layer > 0 and step == layer * self.layer_steps:
            self._turn(layer)
        fades = self.fade and layer < len(self.layers) - 1
        self._share = 1.0 - (step % self.layer_steps) / self.layer_steps if fades else 1.0
        return (f"layer{layer + 1}",)

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the loss of the RBM of one layer, of data that the layers below made; for any other group, the sum of all."""
        names = list(self.parameter_groups())
        chosen = [names.index(group)] if group in names else range(len(names))
        values = [self.machines[i].loss(self.up(x, i, generator), generator=generator) for i in chosen]
        total = {key: torch.stack([v[key] for v in values]).sum() for key in values[0]}
        return {**total, "loss": self._share * total["loss"]}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "reconstruction", the cross-entropy of x from its code in the top layer, and "nats", the negative bound.

        The second is there where log Z is a sum over states, or validation estimates it.
        """
        out = {}
        if self.enumerable or self.annealing:
            log_z = self.log_partition() if self.enumerable else self.rough_log_partition(x)
            out["nats"] = log_z - self._log_weight(x, generator)
        logits = self._down(self.encode(x))
        return {**out, "reconstruction": -Bernoulli(logits).log_prob(self._visible(x)).sum(1)}
