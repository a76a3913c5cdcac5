"""Helmholtz machine: layers of random binary units, and a recognition network that dreams teach."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ancestral.distributions import Bernoulli, Output, make_head
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.mlp import MLP, check_sizes
from ancestral.models.latent.base import LatentModel
from ancestral.models.registry import register


@register("helmholtz")
class HelmholtzMachine(LatentModel):
    r"""p(x) = sum over h of p(h_L) p(h_{L-1} | h_L) ... p(x | h_1), with q(h | x) = q(h_1 | x) ... q(h_L | h_{L-1}), h binary.

    Every conditional is a layer of independent units, linear in the layer that it is given. Nothing is differentiated through
    a draw: the generative weights (group "wake") descend -log p(x, h) at an h that q draws for a datum, the recognition
    weights (group "sleep") -log q(h | x) at a pair that p dreams. So q comes near p(h | x) from the other side than in a VAE:
    by KL(p || q), on dreams. The likelihood is importance-weighted by q, as in every `LatentModel`:
    log p(x) >= E[log (1/K) sum_k p(x, h_k) / q(h_k | x)].

    Args:
        event: what a datum is.
        condition: what every conditional of p and q is also given, added to its logits; None for none.
        hidden: units of h_1, h_2, ...; at least one layer.
        head: output distribution of each entry given h_1, one of `ancestral.distributions.HEADS`.
        components: mixture components of the head, where it is a mixture.

    Raises:
        InvalidInput: if there is no hidden layer, a size is below 1, or the head does not fit the event.

    References:
        The Helmholtz Machine (Dayan, Hinton, Neal & Zemel, 1995), https://doi.org/10.1162/neco.1995.7.5.889.
        The "Wake-Sleep" Algorithm for Unsupervised Neural Networks (Hinton, Dayan, Frey & Neal, 1995),
        https://doi.org/10.1126/science.7761831. Here with minibatches and any optimizer.
        Importance Weighted Autoencoders (Burda, Grosse & Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519, for the
        bound.

    >>> import torch
    >>> model = HelmholtzMachine(Event.binary((6,)), hidden=(4, 3))
    >>> sorted(model.parameter_groups()), model.encode(torch.zeros(2, 6)).shape
    (['sleep', 'wake'], torch.Size([2, 3]))
    """

    factorial = True
    summary = "layers of random binary units, with a recognition network, trained by wake and sleep"
    reference = "Dayan et al. 1995"
    examples = (
        {"event": Event.binary((5,)), "hidden": (4,)},
        {"event": Event.binary((1, 2, 2)), "condition": Event.label(3), "hidden": (4, 3)},
        {"event": Event.integers((3,), 4), "hidden": (3, 2), "head": "logistic-mixture", "components": 2},
        {"event": Event.real((2,), loc=(1.0, 0.0), scale=(2.0, 0.5)), "hidden": (4,)},
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int] = (200, 100),
        head: str = "auto",
        components: int = 1,
    ) -> None:
        super().__init__(event, condition)
        if not hidden:
            raise InvalidInput("helmholtz got no hidden layers, expected at least one, such as hidden=(200, 100)")
        check_sizes("hidden", tuple(hidden))
        self.hidden = tuple(hidden)
        self.head = make_head(event, head, components)

        def layer(inputs: int, outputs: int) -> MLP:
            return MLP(inputs, (), outputs, condition=condition)

        self.recognition = nn.ModuleList(layer(below, above) for below, above in pairwise((event.numel, *hidden)))
        self.prior = nn.Parameter(torch.zeros(hidden[-1]))
        self.prior_embedding = ConditionEmbedding(condition, hidden[-1]) if condition is not None else None
        self.generation = nn.ModuleList(layer(above, below) for below, above in pairwise(hidden))
        self.visible = layer(hidden[0], event.numel * self.head.parameters)

    # p and q; codes are all layers side by side, h_1 first

    def _top_logits(self, n: int, condition: Tensor | None) -> Tensor:
        if self.prior_embedding is None or condition is None:
            return self.prior.expand(n, -1)
        return self.prior + self.prior_embedding(condition).to(self.dtype)  # (n, hidden[-1])

    def recognize(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the logits of q(h_1 | x), (batch, hidden[0]): the layers above it follow from what is drawn."""
        logits: Tensor = self.recognition[0](self.event.to_network(x, self.dtype).flatten(1), condition)
        # Sums over a datum need more digits than bf16 has: leave autocast's type here and wherever logits are made.
        return logits.to(self.dtype)

    def draw_posterior(
        self, features: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        q = Bernoulli(features)
        layers = [q.draw(generator)]
        log_q = [q.log_prob(layers[0])]
        for recognize in list(self.recognition)[1:]:
            q = Bernoulli(recognize(layers[-1], condition).to(self.dtype))
            layers.append(q.draw(generator))
            log_q.append(q.log_prob(layers[-1]))
        return torch.cat(layers, dim=1), torch.cat(log_q, dim=1)

    @property
    def code_layers(self) -> tuple[int, ...]:
        return self.hidden

    def layer_posterior(self, layer: int, below: Tensor, condition: Tensor | None = None) -> Output:
        if layer == 0:
            return Bernoulli(self.recognize(below, condition))
        return Bernoulli(self.recognition[layer](below, condition).to(self.dtype))

    def layer_prior(self, layer: int, rows: int, above: Tensor | None, condition: Tensor | None = None) -> Output:
        if above is None:
            return Bernoulli(self._top_logits(rows, condition))
        return Bernoulli(self.generation[layer](above, condition).to(self.dtype))

    def log_posterior(self, x: Tensor, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what each unit adds to log q(z | x, condition), (batch, units), nats, for given codes z, (batch, units)."""
        layers = z.split(self.hidden, dim=1)
        logits = [self.recognize(x, condition)]
        for recognize, below in zip(list(self.recognition)[1:], layers[:-1], strict=True):
            logits.append(recognize(below, condition).to(self.dtype))
        return Bernoulli(torch.cat(logits, dim=1)).log_prob(z)

    def log_prior(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        layers = z.split(self.hidden, dim=1)
        logits = [g(above, condition).to(self.dtype) for g, above in zip(self.generation, layers[1:], strict=True)]
        return Bernoulli(torch.cat((*logits, self._top_logits(len(z), condition)), dim=1)).log_prob(z)

    def draw_prior(self, n: int, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        layers = [Bernoulli(self._top_logits(n, condition)).draw(generator)]
        for generate in list(self.generation)[::-1]:
            layers.append(Bernoulli(generate(layers[-1], condition).to(self.dtype)).draw(generator))
        return torch.cat(layers[::-1], dim=1)

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        out = self.visible(z[:, : self.hidden[0]], condition).to(self.dtype)  # (n, d p)
        return out.view(-1, *self.event.shape, self.head.parameters)

    # Codes are the top layer's probabilities, layers below being at their means

    def code(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        mean = torch.sigmoid(features)
        for recognize in list(self.recognition)[1:]:
            mean = torch.sigmoid(recognize(mean, condition).to(self.dtype))
        return mean

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        condition, mean = self.check_condition(condition, len(code)), code.to(self.dtype)
        for generate in list(self.generation)[::-1]:
            mean = torch.sigmoid(generate(mean, condition).to(self.dtype))
        return self.head.point(self.raw(mean, condition))

    # Training

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        sleep = list(self.recognition.parameters())
        recognition = set(sleep)
        return {"wake": [p for p in self.parameters() if p not in recognition], "sleep": sleep}

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the loss of "wake" or of "sleep", or for any other group the sum of both, which no weight shares."""
        losses = []
        values: dict[str, Tensor] = {}
        if group != "sleep":
            with torch.no_grad():
                z, log_q = self.draw_posterior(self.recognize(x, condition), condition, generator)
            log_likelihood, log_prior = self.log_likelihood(x, z, condition), self.log_prior(z, condition).sum(1)
            losses.append(-(log_likelihood + log_prior).mean())
            kl = (log_q.sum(1) - log_prior).mean().detach()
            values = {"nats": kl - log_likelihood.mean().detach(), "reconstruction": -log_likelihood.mean().detach(), "kl": kl}
        if group != "wake":
            with torch.no_grad():
                z = self.draw_prior(len(x), condition, generator)
                dream = self.draw_data(z, condition, generator)
            losses.append(-self.log_posterior(dream, z, condition).sum(1).mean())
            values["dream_code"] = losses[-1].detach()
        return {"loss": torch.stack(losses).sum(), **values}
