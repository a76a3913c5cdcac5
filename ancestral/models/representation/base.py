"""What autoencoders share: the two halves, the error, and layers that are trained one after another."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mirrored import MirroredMLP
from ancestral.models.base import Model


class AutoencoderModel(Model):
    r"""min E[L(x, g(f(x)))], f(x) the code, g the reconstruction, the mirror image of f.

    L is the cross-entropy, -sum_d log sigmoid(+-g_d), in nats for binary data, and the squared error, sum_d (g_d - x_d)^2,
    on the scale of `Event.to_network` for others. There is no likelihood, and nothing to sample from.

    With `pretrain_steps` the layers are stacked: for so many steps the first is an autoencoder of the data, for as many the
    second one of its codes, and so on, each with an optimizer of its own (groups "layer0", "layer1", ...); the steps after
    that train all of them together (group "model"). Which group a step updates follows from its number alone, so that a
    resumed run goes on where it was.

    A subclass may corrupt what goes in (`corrupt`), and add to the error (`penalty`).

    Args:
        event: what a datum is.
        condition: must be None.
        hidden: units of each layer of f, input first; the last is the length of the code.
        activation: of each layer, one of `ancestral.layers.mlp.ACTIVATIONS`.
        code_activation: of the code; the same where empty.
        tied: let each layer of g have the transpose of the weights of its layer of f.
        pretrain_steps: steps in which each layer is trained alone before all are.

    Raises:
        InvalidInput: if an option is out of range.
    """

    family = "representation"
    conditional = False
    monitor = "reconstruction"
    training_defaults = {"learning_rate": 1e-3, "batch_size": 100}

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        hidden: Sequence[int],
        activation: str,
        code_activation: str = "",
        tied: bool = True,
        pretrain_steps: int = 0,
    ) -> None:
        super().__init__(event, condition)
        if not hidden:
            raise InvalidInput("hidden is empty, expected the units of at least one layer: the last is the code")
        if pretrain_steps < 0:
            raise InvalidInput(f"pretrain_steps is {pretrain_steps}, expected a number of steps for each layer, or 0 for none")
        self.network = MirroredMLP((event.numel, *hidden), activation, code_activation, tied)
        self.pretrain_steps = pretrain_steps

    # What a subclass may change

    def corrupt(self, h: Tensor, generator: torch.Generator | None = None, layer: int | None = None) -> Tensor:
        """Return what training puts in for `h`, (batch, m): the input of a layer that is trained alone, or of all for None."""
        return h

    def penalty(self, h: Tensor, layer: int | None = None) -> Tensor | None:
        """Return what is added to the errors of a layer, or of all of them, for the input `h`, (batch,); None for nothing."""
        return None

    # The error

    def flat(self, x: Tensor) -> Tensor:
        """Return data, (batch, *event.shape), as the input of the first layer, (batch, numel)."""
        return self.event.to_network(x, self.dtype).flatten(1)

    def span(self, layer: int | None) -> tuple[int, int]:
        """Return the first layer and the one after the last of an autoencoder of one layer, or of all of them for None."""
        return (0, len(self.network)) if layer is None else (layer, layer + 1)

    def lowest(self, layer: int | None) -> float:
        """Return what masking puts in: the lowest level of the data where there is one, else 0, as in codes."""
        return -1.0 if not layer and self.event.discrete and not self.event.is_binary else 0.0

    def errors(self, h: Tensor, generator: torch.Generator | None = None, layer: int | None = None) -> Tensor:
        """Return L of a layer, or of all of them for None, as an autoencoder of the input `h`, (batch,), once corrupted."""
        start, stop = self.span(layer)
        code = self.network.encode(self.corrupt(h, generator, layer), start, stop)
        # Sums over a datum need more digits than bf16 has: leave autocast's type here.
        out = self.network.decode(code, start, stop).to(self.dtype)  # (b, m)
        if start > 0:
            return (self.network.activation(out) - h).square().sum(1)  # the input is an output of s
        if self.event.is_binary:
            return F.binary_cross_entropy_with_logits(out, h, reduction="none").sum(1)
        return (out - h).square().sum(1)

    def filters(self) -> Tensor:
        """Return what each unit of the first layer looks for: its weights as data, (hidden[0], *event.shape)."""
        return self.network.layer(0).weight.detach().view(-1, *self.event.shape)

    # Primitives

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        return self.network.encode(self.flat(x))

    def decode(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_condition(condition, len(code))
        y = self.network.decode(code.to(self.dtype)).to(self.dtype).view(-1, *self.event.shape)
        return self.event.from_network(torch.sigmoid(y) if self.event.is_binary else y).to(self.event.dtype)

    # Training

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = {"model": list(self.network.parameters())}
        if self.pretrain_steps:
            groups.update({f"layer{k}": self.network.layer_parameters(k) for k in range(len(self.network))})
        return groups

    def groups_at(self, step: int) -> Sequence[str]:
        layer = step // self.pretrain_steps if self.pretrain_steps else len(self.network)
        return (f"layer{layer}" if layer < len(self.network) else "model",)

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        layer = None if group == "model" else int(group.removeprefix("layer"))
        with torch.no_grad():
            h = self.network.encode(self.flat(x), 0, layer or 0).to(self.dtype)  # (b, m)
        reconstruction = self.errors(h, generator, layer).mean()
        penalty = self.penalty(h, layer)
        if penalty is None:
            return {"loss": reconstruction}
        added = penalty.mean()
        return {"loss": reconstruction + added, "reconstruction": reconstruction.detach(), "penalty": added.detach()}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "reconstruction", the error of each datum, (batch,), its input corrupted as in training."""
        return {"reconstruction": self.errors(self.flat(x), generator)}


def masked(h: Tensor, amount: float, lowest: float, generator: torch.Generator | None = None) -> Tensor:
    """Return a copy of `h` of which each entry is put to `lowest` with probability `amount`."""
    noise = torch.rand(h.shape, dtype=h.dtype, device=h.device, generator=generator)
    return torch.where(noise < amount, lowest, h)
