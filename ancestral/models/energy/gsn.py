"""Generative stochastic network: a Markov chain that is trained to walk back to the data."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.distributions import Bernoulli
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes
from ancestral.models.base import Model
from ancestral.models.energy.annealing import coins
from ancestral.models.registry import register

_MEAN_RATE = 0.01
"""How far the running mean of the data moves to that of a step."""
_RAREST = 1e-3
"""The running mean is taken to be at least so far from 0 and from 1."""


@register("gsn")
class GSN(Model):
    r"""A chain x_t, h_t: h_{t+1} = f(h_t, corrupted x_t, noise), x_{t+1} ~ p(x | h_{t+1}), whose stationary x is the model.

    Hidden layers h_1 ... h_L are drawn anew in turn, odd ones, then even ones, each from the layers beside it:
    h_l = tanh(W_l h_{l-1} + W_{l+1}' h_{l+1} + c_l + noise) + noise. Then p(x | h) = Bernoulli(sigmoid(W_1' h_1 + b + o)),
    where o are the log-odds of the data's running mean.

    Without o, the chain can settle in the complement of the data: tanh is odd and weights go both ways, so that where hidden
    units say the background, their negatives are as stable and say its opposite. With o, they need not say it.

    Training runs the chain from each datum with h = 0 and asks every p(x | h_t) on the way for the datum that it started from
    (walkback): wherever the chain strays to, it learns the way back. There is no energy and no likelihood, and samples are
    states of a chain, no exact draws; validation measures the same cross-entropy.

    Args:
        event: a binary event.
        condition: must be None.
        hidden: units of each hidden layer, from the data upwards.
        walkback: steps of the chain from each datum, at least the number of hidden layers, for the top one to see it.
        corruption: share of the entries of x that are replaced by fair coins before each step, in [0, 1).
        noise: standard deviation of the Gaussian noise before and after the nonlinearity of every hidden layer but the first.
        chain_length: steps of the chain to a sample, from fair coins.

    Raises:
        InvalidInput: if an option is out of range, or the event is not binary.

    References:
        Deep Generative Stochastic Networks Trainable by Backprop (Bengio, Thibodeau-Laufer, Alain & Yosinski, 2014),
        https://arxiv.org/abs/1306.1091; there the log-odds are not set apart from b, and chains start from data.
        Generalized Denoising Auto-Encoders as Generative Models (Bengio, Yao, Alain & Vincent, 2013),
        https://arxiv.org/abs/1305.6663, for the walkback.

    >>> model = GSN(Event.binary((6,)), hidden=(8,), walkback=2, chain_length=5)
    >>> model.sample(3, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([3, 6])
    """

    family = "energy"
    summary = "Markov chain with noisy hidden layers, trained to walk back to the data"
    reference = "Bengio et al. 2014"
    takes = ("binary",)
    conditional = False
    monitor = "walkback"
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}
    completion = "a chain with the observed entries held"
    mean: Tensor
    examples = (
        {"event": Event.binary((5,)), "hidden": (4,), "walkback": 2, "chain_length": 5},
        {"event": Event.binary((1, 2, 3)), "hidden": (4, 4, 3), "walkback": 4, "chain_length": 5},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (1500, 1500),
        walkback: int = 4,
        corruption: float = 0.4,
        noise: float = 2.0,
        chain_length: int = 200,
    ) -> None:
        super().__init__(event, condition)
        if not hidden:
            raise InvalidInput("hidden is empty, expected the units of at least one layer")
        check_sizes("hidden", tuple(hidden))
        check_sizes("walkback", (walkback,))
        check_sizes("chain_length", (chain_length,))
        if walkback < len(hidden):
            raise InvalidInput(f"walkback is {walkback}, expected at least {len(hidden)}: the top layer sees no datum before")
        if not 0.0 <= corruption < 1.0:
            raise InvalidInput(f"corruption is {corruption}, expected a share in [0, 1), such as 0.4")
        if noise < 0.0:
            raise InvalidInput(f"noise is {noise}, expected a deviation of at least 0")
        self.hidden, self.walkback, self.gibbs_steps = tuple(hidden), walkback, chain_length
        self.corruption, self.noise = corruption, noise
        self.sizes = (event.numel, *hidden)
        self.weights = nn.ParameterList(torch.empty(m, n) for n, m in itertools.pairwise(self.sizes))
        for weight in self.weights:
            nn.init.xavier_uniform_(weight)
        self.biases = nn.ParameterList(torch.zeros(n) for n in self.sizes)
        self.register_buffer("mean", torch.full((event.numel,), 0.5))

    # The chain; a state is x and all hidden layers, (b, sum of sizes)

    def _corrupted(self, v: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return data, (b, d), of which some entries are fair coins."""
        noise = torch.rand(v.shape, dtype=v.dtype, device=v.device, generator=generator)
        # One number says both: whether an entry is changed, and to what.
        half = 0.5 * self.corruption
        return torch.where(noise < half, 0.0, torch.where(noise < self.corruption, 1.0, v))

    def _update(self, layers: list[Tensor], i: int, generator: torch.Generator | None) -> Tensor:
        """Return a hidden layer drawn anew given those beside it, (b, units)."""
        pre = F.linear(layers[i - 1], self.weights[i - 1], self.biases[i])
        if i < len(self.hidden):
            pre = pre + F.linear(layers[i + 1], self.weights[i].T)
        pre = pre.to(self.dtype)
        if i == 1 or self.noise == 0.0:  # the first layer has its noise from the corruption of the data
            return torch.tanh(pre)
        before, after = torch.randn((2, *pre.shape), dtype=pre.dtype, device=pre.device, generator=generator)
        return torch.tanh(pre + self.noise * before) + self.noise * after

    def _step(self, layers: list[Tensor], generator: torch.Generator | None) -> Tensor:
        """Draw all hidden layers anew, in place of those in the list, and return the logits of the data, (b, d)."""
        layers[0] = self._corrupted(layers[0], generator)
        for i in (*range(1, len(self.sizes), 2), *range(2, len(self.sizes), 2)):
            layers[i] = self._update(layers, i, generator)
        odds = torch.logit(self.mean.clamp(_RAREST, 1.0 - _RAREST))
        return F.linear(layers[1], self.weights[0].T, self.biases[0]).to(self.dtype) + odds

    def _around(self, v: Tensor) -> list[Tensor]:
        """Return data, (b, d), with hidden layers at 0."""
        return [v, *(v.new_zeros(len(v), n) for n in self.hidden)]

    def chain_start(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return fair coins, with hidden layers at 0, (n, units)."""
        v = coins(torch.zeros(n, self.event.numel, dtype=self.dtype, device=self.device), generator)
        return torch.cat(self._around(v), dim=1)

    @torch.no_grad()
    def chain_steps(
        self, state: Tensor, steps: int, generator: torch.Generator | None = None, *, observed: Tensor | None = None
    ) -> Tensor:
        """Return states after so many steps, (n, units); data that are `observed`, (n, d), are put back after each."""
        layers = list(state.split(self.sizes, dim=1))
        given = layers[0]
        for _ in range(steps):
            layers[0] = coins(self._step(layers, generator), generator)
            if observed is not None:
                layers[0] = torch.where(observed, given, layers[0])
        return torch.cat(layers, dim=1)

    def chain_value(self, state: Tensor) -> Tensor:
        """Return the mean of the data of states, (n,): there is no energy to watch."""
        return state[:, : self.event.numel].mean(1)

    # Primitives

    def _data(self, state: Tensor) -> Tensor:
        return state[:, : self.event.numel].reshape(-1, *self.event.shape).to(self.event.dtype)

    @torch.no_grad()
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        self.check_condition(condition, n)
        return self._data(self.chain_steps(self.chain_start(n, generator), self.gibbs_steps, generator))

    @torch.no_grad()
    def complete(
        self, x: Tensor, observed: Tensor, n: int, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return where chains are after `chain_length` steps with the observed entries put back after each."""
        given, mask = (t.flatten(1).repeat_interleave(n, 0) for t in (x.to(self.dtype), observed))
        state = self.chain_start(len(given), generator)
        state[:, : self.event.numel] = torch.where(mask, given, state[:, : self.event.numel])
        state = self.chain_steps(state, self.gibbs_steps, generator, observed=mask)
        return self._data(state).view(len(x), n, *self.event.shape)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        h = self.event.to_network(x, self.dtype).flatten(1)
        for weight, bias in zip(self.weights, list(self.biases)[1:], strict=True):
            h = torch.tanh(F.linear(h, weight, bias))
        return h

    def filters(self) -> Tensor:
        """Return the weights of each unit of the first hidden layer, (hidden[0], *event.shape)."""
        return self.weights[0].detach().view(-1, *self.event.shape)

    # Training

    def _walk(self, x: Tensor, generator: torch.Generator | None) -> list[Tensor]:
        """Return the cross-entropy of x, (b,), by each p(x | h_t) of a walk from it."""
        v = self.event.to_network(x, self.dtype).flatten(1)  # (b, d)
        layers, found = self._around(v), []
        for _ in range(self.walkback):
            logits = self._step(layers, generator)
            found.append(-Bernoulli(logits).log_prob(v).sum(1))
            layers[0] = coins(logits.detach().clone(), generator)
        return found

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        if self.training:
            self.mean.lerp_(self.event.to_network(x, self.mean.dtype).flatten(1).mean(0), _MEAN_RATE)
        found = self._walk(x, generator)
        return {"loss": torch.stack(found).mean(0).mean(), "last": found[-1].detach().mean()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "walkback", the cross-entropy of each datum in nats, mean over the steps of a walk from it: no likelihood."""
        return {"walkback": torch.stack(self._walk(x, generator)).mean(0)}
