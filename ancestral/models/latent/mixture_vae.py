"""Infinite mixture of variational autoencoders: a Dirichlet process says how many of them the data need."""

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.grouped import GroupedMLP
from ancestral.layers.mlp import MLP, check_sizes
from ancestral.models.latent.base import LatentModel, draw_gaussian, gaussian_divergence, log_standard_normal, repeat
from ancestral.models.registry import register

_SPREAD = 3.0
"""Standard deviation of the logits of a datum's responsibilities before any training, nats: one of ten has most of it."""


@register("mixture-vae")
class MixtureVAE(LatentModel):
    r"""p(x | c) = sum_k pi_k p_k(x | c), where each p_k is a `vae`, and pi breaks a stick: pi_k = v_k prod_(j < k) (1 - v_j).

    The fractions have the prior v_k ~ Beta(1, alpha), so that data decide how many of the K parts are used. Who is
    responsible for a datum is guessed by a network, r_k(x, c) = q(k | x, c); with L_k the bound of autoencoder k,
    log p(x | c) >= sum_k r_k (L_k(x | c) + log pi_k - log r_k).
    Given responsibilities with sums n_k over `memory` data, q(v_k) = Beta(1 + n_k, alpha + sum_(j > k) n_j) is the best
    posterior, and pi_k is its mean. With S samples the bound is
    log (1/S) sum_s sum_k pi_k p_k(x | z_sk) p(z_sk) / q_k(z_sk | x, c), z_sk from q_k, which needs no r.

    Responsibilities begin as a partition of the data by likeness to the first K of them; what the network of r adds to that
    counts once `memory` data have been seen.

    A code as q and p draw it is (k, z); the code of a datum is (r_1, ..., r_K, mu_1, ..., mu_K), the responsibilities and
    what each autoencoder would say, and is decoded by the autoencoder whose responsibility is largest.

    Args:
        event: what a datum is.
        condition: what all networks are also given; None for none.
        autoencoders: K, where the process is cut off; those that no datum needs stay empty.
        latent: length of each autoencoder's z.
        hidden: units of each hidden layer of an encoder, input first; decoders mirror them, the network of r has them, too.
        activation: nonlinearity of all networks.
        concentration: alpha: the larger, the more autoencoders share the data.
        memory: data that the weights pi are of, the last ones seen in training; also those before r is learned.
        head: output distribution of each entry given z, one of `ancestral.distributions.HEADS`.
        components: mixture components of the head, where it is a mixture.
        beta: weight of the KL terms in the loss; a departure from the bound where it is not 1.
        free_bits: nats of each KL term, in the mean over a batch, that cost nothing in the loss: likewise.

    Raises:
        InvalidInput: if an option is out of range, or the head does not fit the event.

    References:
        Infinite Variational Autoencoder for Semi-Supervised Learning (Abbasnejad, Dick & van den Hengel, 2017),
        https://arxiv.org/abs/1611.07800. There assignments are drawn by Gibbs sampling; here their probabilities are
        amortized, as z is, and the process is cut off at K.
        Variational Inference for Dirichlet Process Mixtures (Blei & Jordan, 2006), https://doi.org/10.1214/06-BA104, for
        the truncation and the posterior of the fractions.

    >>> model = MixtureVAE(Event.binary((1, 4, 4)), autoencoders=3, latent=2, hidden=(8,))
    >>> x = torch.zeros(5, 1, 4, 4)
    >>> model.responsibilities(x).shape, model.encode(x).shape, round(float(model.log_weights().exp().sum()), 4)
    (torch.Size([5, 3]), torch.Size([5, 9]), 1.0)
    """

    summary = "variational autoencoders that share the data, as many as a Dirichlet process lets grow"
    reference = "Abbasnejad et al. 2017"
    examples = (
        {"event": Event.binary((5,)), "autoencoders": 3, "latent": 2, "hidden": (8,), "memory": 20},
        {
            "event": Event.integers((1, 2, 2), 3),
            "condition": Event.label(3),
            "autoencoders": 2,
            "latent": 1,
            "hidden": (8, 8),
            "memory": 20,
        },
        {
            "event": Event.real((2,), loc=(1.0, 2.0), scale=(2.0, 0.5)),
            "autoencoders": 3,
            "latent": 1,
            "hidden": (8,),
            "memory": 20,
        },
        {"event": Event.binary((4,)), "autoencoders": 2, "latent": 2, "hidden": (), "memory": 20},
    )
    counts: Tensor
    seats: Tensor
    offsets: Tensor

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        autoencoders: int = 10,
        latent: int = 16,
        hidden: Sequence[int] = (200, 200),
        activation: str = "relu",
        concentration: float = 1.0,
        memory: int = 20_000,
        head: str = "auto",
        components: int = 1,
        beta: float = 1.0,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("autoencoders, latent and memory", (autoencoders, latent, memory))
        if not 0.0 < concentration < math.inf:
            raise InvalidInput(f"concentration is {concentration}, expected a finite number above 0, such as 1")
        self.set_objective(beta, free_bits, importance=1)
        self.autoencoders, self.latent, self.concentration, self.memory = autoencoders, latent, concentration, memory
        self.head = make_head(event, head, components)
        d, values = event.numel, event.numel * self.head.parameters
        self.gate = MLP(d, hidden, autoencoders, activation, condition)
        self.encoders = GroupedMLP(autoencoders, d, hidden, 2 * latent, activation, condition)
        self.decoders = GroupedMLP(autoencoders, latent, hidden[::-1], values, activation, condition)
        self.register_buffer("counts", torch.zeros(autoencoders))
        self.register_buffer("seats", torch.zeros(autoencoders, d))
        self.register_buffer("offsets", torch.zeros(autoencoders))
        # Reading whether seats are taken waits for the device: remember in Python when it has been seen.
        self._seated = False

    @property
    def elements(self) -> int:
        return self.autoencoders * super().elements

    # The weights, and who is responsible

    def log_weights(self) -> Tensor:
        """Return log pi_k, (K,), nats, at the mean of the posterior of the fractions v_k."""
        above = (self.counts.sum() - self.counts.cumsum(0)).clamp(min=0.0)  # n of all that come after k
        whole = 1.0 + self.concentration + self.counts + above
        log_kept = torch.log((1.0 + self.counts) / whole)
        log_passed = torch.log((self.concentration + above) / whole).cumsum(0)
        # The last one takes all that is left of the stick.
        log_kept = torch.cat((log_kept[:-1], log_kept.new_zeros(1)))
        return log_kept + torch.cat((log_passed.new_zeros(1), log_passed[:-1]))

    def responsibilities(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return r_k(x, condition) = q(k | x, condition), (batch, K), which sum to 1, for x, (batch, *event.shape)."""
        condition = self.check_batch(x, condition)
        return self._split(self.recognize(x, condition))[0].exp()

    @torch.no_grad()
    def _seat(self, y: Tensor) -> None:
        """Give each autoencoder one of the first data, (batch, d), as its seat: logits of r that agree with it, y . seat.

        Over these data each logit has mean 0 and standard deviation `_SPREAD`, so that all start with a share.
        """
        if not bool(self.seats.any()):
            seats = y[torch.arange(self.autoencoders, device=y.device) % len(y)]
            if dist.is_available() and dist.is_initialized():
                dist.broadcast(seats, 0)
            spread = (y @ seats.T).std(0, correction=0)
            self.seats.copy_(seats * torch.where(spread > 0.0, _SPREAD / spread, 0.0)[:, None])
            self.offsets.copy_(-(y @ self.seats.T).mean(0))
        self._seated = True

    @torch.no_grad()
    def _remember(self, responsibilities: Tensor) -> None:
        """Add responsibilities, (rows, K), to the sums over the last `memory` data."""
        seen = responsibilities.sum(0)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(seen)
        total = seen.sum()
        kept = (self.memory / (self.counts.sum() + total)).clamp(max=1.0)
        self.counts.copy_(kept * (self.counts + seen))

    # q and p

    def recognize(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        dtype = self.dtype
        y = self.event.to_network(x, dtype).flatten(1)  # (b, d)
        if self.training and not self._seated:
            self._seat(y)
        of_each = self.encoders(y, condition).transpose(0, 1).flatten(1)  # (b, k 2 l)
        # Sums over a datum need more digits than bf16 has: leave autocast's type here and in `_decoded`.
        return torch.cat((self._logits(y, condition).to(dtype), of_each.to(dtype)), dim=1)

    def _logits(self, y: Tensor, condition: Tensor | None) -> Tensor:
        """Return log r + const, (batch, K), nats, for data on the scale of the network, (batch, d).

        At first they follow from the seats alone, and what is learned is added once `memory` data have been seen: else
        whoever is a little better early would have all data before the others know any.
        """
        settled = self.counts.sum() > 0.999 * self.memory  # but for rounding
        return y @ self.seats.T + self.offsets + settled * self.gate(y, condition)

    def _split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return log r, (rows, K), and each autoencoder's means and log standard deviations, (K, rows, 2 latent)."""
        logits, of_each = features.split((self.autoencoders, 2 * self.autoencoders * self.latent), dim=1)
        return torch.log_softmax(logits, dim=1), of_each.view(len(features), self.autoencoders, -1).transpose(0, 1)

    def draw_posterior(
        self, features: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        log_r, of_each = self._split(features)
        k = torch.multinomial(log_r.exp(), 1, generator=generator)  # (n, 1)
        z, log_q = draw_gaussian(of_each[k[:, 0], torch.arange(len(k), device=k.device)], generator)  # (n, l) each
        return torch.cat((k.to(z.dtype), z), dim=1), torch.cat((log_r.gather(1, k), log_q), dim=1)

    def log_prior(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.cat((self.log_weights()[z[:, :1].long()], log_standard_normal(z[:, 1:])), dim=1)

    def draw_prior(self, n: int, condition: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        k = torch.multinomial(self.log_weights().exp(), n, replacement=True, generator=generator).to(self.dtype)
        noise = torch.randn(n, self.latent, dtype=self.dtype, device=self.device, generator=generator)
        return torch.cat((k[:, None], noise), dim=1)

    def code(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        log_r, of_each = self._split(features)
        means = of_each[..., : self.latent].transpose(0, 1).flatten(1)  # (b, k l)
        return torch.cat((log_r.exp(), means), dim=1)

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        condition, code = self.check_condition(condition, len(code)), code.to(self.dtype)
        shares, means = code.split((self.autoencoders, self.autoencoders * self.latent), dim=1)
        k = shares.argmax(1, keepdim=True)  # (b, 1)
        chosen = means.view(len(code), self.autoencoders, -1).gather(1, k[..., None].expand(-1, -1, self.latent))
        return self.head.point(self.raw(torch.cat((k.to(code.dtype), chosen[:, 0]), dim=1), condition))

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        k = z[:, 0].long()
        out = z.new_empty(len(z), self.event.numel * self.head.parameters)
        for member in k.unique().tolist():
            rows = k == member
            given = None if condition is None else condition[rows]
            out[rows] = self.decoders.member(member, z[rows, 1:], given).to(self.dtype)
        return self._decoded(out)

    def _decoded(self, out: Tensor) -> Tensor:
        """Return what a decoder gives, (..., numel parameters), as raw parameters of the head, (rows, *shape, parameters)."""
        return out.to(self.dtype).view(-1, *self.event.shape, self.head.parameters)

    # The bound: all autoencoders at once, weighed by their responsibilities

    def _terms(
        self,
        x: Tensor,
        features: Tensor,
        condition: Tensor | None,
        samples: int,
        generator: torch.Generator | None,
        *,
        known: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return sum_k r_k log p_k(x | z_k), (samples, batch), and the KL terms, (samples, batch, latent + 1).

        These are sum_k r_k KL(q_k || p) of each latent, and KL(r || pi). Where not `known`, r follows from the draw itself:
        in proportion to pi_k p_k(x, z_k) / q_k(z_k | x), so that the difference of both is the log of the sum of these.
        """
        given = None if condition is None else repeat(condition, samples)
        log_r, of_each = self._split(repeat(features, samples))  # (s b, k), (k, s b, 2 l)
        z, log_q = draw_gaussian(of_each, generator)  # (k, s b, l) each
        ratio = gaussian_divergence(of_each) if known else log_q - log_standard_normal(z)  # (k, s b, l)
        raw = self._decoded(self.decoders(z, given))  # (k s b, *shape, p)
        rows = repeat(x, samples * self.autoencoders)  # (k s b, *shape)
        log_likelihood = self.head.log_prob(raw, rows).flatten(1).sum(1).view(self.autoencoders, -1)  # (k, s b)
        log_pi = self.log_weights()[:, None]
        log_r = log_r.T if known else torch.log_softmax(log_pi + log_likelihood - ratio.sum(2), dim=0)  # (k, s b)
        r = log_r.exp()
        if known and self.training:
            self._remember(r.detach().T)
        terms = torch.cat(((r[..., None] * ratio).sum(0), (r * (log_r - log_pi)).sum(0)[:, None]), dim=1)  # (s b, l + 1)
        return (r * log_likelihood).sum(0).view(samples, -1), terms.view(samples, len(x), -1)
