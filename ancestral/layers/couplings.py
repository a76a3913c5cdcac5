"""Invertible layers of normalizing flows; each has `forward` with its log-determinant, and `inverse`."""

import math
from typing import Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ancestral.layers.elementwise import Elementwise


class Invertible(nn.Module):
    """A map x -> y with a tractable inverse and log |det dy/dx|, given a condition where there is one."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return y, (batch, ...), and log |det dy/dx|, (batch,), nats."""
        raise NotImplementedError

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the x whose image is y."""
        raise NotImplementedError


class Chain(Invertible):
    """Invertible maps, one after another.

    Args:
        *layers: the maps, the first one first.
    """

    def __init__(self, *layers: Invertible) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, log_det = layer(x, condition)
            total = total + log_det
        return x, total

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        for layer in list(self.layers)[::-1]:
            y = cast(Invertible, layer).inverse(y, condition)
        return y


class Partition(Protocol):
    """Which entries a coupling changes, and which it is given.

    Args:
        channels: channels (entries of axis 1) of x.
        given: channels of the given entries.
        changed: channels of the changed ones.
    """

    channels: int
    given: int
    changed: int

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the given and the changed entries of x."""
        ...

    def join(self, given: Tensor, changed: Tensor) -> Tensor:
        """Undo `split`."""
        ...

    def restrict(self, t: Tensor) -> Tensor:
        """Return `t`, a tensor for the changed entries, with zeros wherever it reaches others."""
        ...


class Halves:
    """The first half of the channels (axis 1) is given and the second changed, or the other way round.

    Args:
        channels: length of axis 1, at least 2.
        flip: change the first half.
    """

    def __init__(self, channels: int, flip: bool) -> None:
        self.channels = channels
        self.sizes = ((channels + 1) // 2, channels // 2)
        self.flip = flip
        self.given, self.changed = self.sizes[::-1] if flip else self.sizes

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.split(self.sizes, dim=1)
        return (second, first) if self.flip else (first, second)

    def join(self, given: Tensor, changed: Tensor) -> Tensor:
        return torch.cat((changed, given) if self.flip else (given, changed), dim=1)

    def restrict(self, t: Tensor) -> Tensor:
        return t


class Checkerboard(nn.Module):
    """Pixels of one colour of a checkerboard are given, those of the other changed.

    Args:
        channels: channels of the image.
        height: rows.
        width: columns.
        flip: change the colour of the upper left pixel.
    """

    mask: Tensor

    def __init__(self, channels: int, height: int, width: int, flip: bool) -> None:
        super().__init__()
        self.channels = self.given = self.changed = channels
        colour = (torch.arange(height)[:, None] + torch.arange(width)[None, :]) % 2  # (h, w)
        # Made from the arguments: not part of the saved state.
        self.register_buffer("mask", (colour == int(flip)).float(), persistent=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        given = x * self.mask
        return given, x - given

    def join(self, given: Tensor, changed: Tensor) -> Tensor:
        return given + changed

    def restrict(self, t: Tensor) -> Tensor:
        return t * (1.0 - self.mask)


class Coupling(Invertible):
    r"""y_given = x_given, y_changed = tau(x_changed; network(x_given, c)), log |det| = sum log dtau/dx over what is changed.

    A subclass says what tau is, an increasing function of one entry.

    Args:
        network: from the given entries and the condition to the parameters of tau, `values` times as many channels as are
            changed: one parameter of all of them after another.
        partition: which entries are given.
        values: parameters of tau.
    """

    def __init__(self, network: nn.Module, partition: Partition, values: int) -> None:
        super().__init__()
        self.network = network
        self.partition = partition
        self.values = values
        # Near the identity at first, however deep the flow; not at it, where factors of the outputs would have no gradient.
        *_, last = (m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d))
        with torch.no_grad():
            last.weight.mul_(0.1)
            if last.bias is not None:
                last.bias.zero_()

    def change(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return tau(x) and log dtau/dx, of the shape of x, (batch, changed, ...), for raw, (batch, changed, ..., values)."""
        raise NotImplementedError

    def restore(self, y: Tensor, raw: Tensor) -> Tensor:
        """Return the x whose image under tau is y."""
        raise NotImplementedError

    def _raw(self, given: Tensor, condition: Tensor | None) -> Tensor:
        # Log-determinants add up over many layers: leave autocast's type here.
        raw: Tensor = self.network(given, condition).to(given.dtype)
        return raw.unflatten(1, (self.values, self.partition.changed)).movedim(1, -1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        given, changed = self.partition.split(x)
        y, log_det = self.change(changed, self._raw(given, condition))
        y = self.partition.join(given, self.partition.restrict(y))
        return y, self.partition.restrict(log_det).flatten(1).sum(1)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        given, changed = self.partition.split(y)
        x = self.restore(changed, self._raw(given, condition))
        return self.partition.join(given, self.partition.restrict(x))


class AffineCoupling(Coupling):
    r"""y_given = x_given, y_changed = x_changed * exp(s) + t, with (a, t) = network(x_given) and s = k tanh(a).

    log |det| = sum(s). k is learned, one number for each channel, and bounds the scales.

    Args:
        network: from the given entries and the condition to twice as many channels as are changed.
        partition: which entries are given.
        dimensions: axes of x after the channels: 0 for vectors, 2 for images.

    References:
        Density estimation using Real NVP (Dinh, Sohl-Dickstein & Bengio, 2017), https://arxiv.org/abs/1605.08803.

    >>> from ancestral.layers.mlp import MLP
    >>> layer = AffineCoupling(MLP(2, (8,), 4), Halves(4, flip=False))
    >>> x = torch.randn(3, 4)
    >>> torch.allclose(layer.inverse(layer(x)[0]), x, atol=1e-6)
    True
    """

    def __init__(self, network: nn.Module, partition: Partition, dimensions: int = 0) -> None:
        super().__init__(network, partition, values=2)
        self.amplitude = nn.Parameter(torch.ones(partition.changed, *(1,) * dimensions))

    def change(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        a, shift = raw.unbind(-1)
        log_scale = self.amplitude * torch.tanh(a)
        return x * torch.exp(log_scale) + shift, log_scale

    def restore(self, y: Tensor, raw: Tensor) -> Tensor:
        a, shift = raw.unbind(-1)
        return (y - shift) * torch.exp(-self.amplitude * torch.tanh(a))


class ElementwiseCoupling(Coupling):
    """A coupling whose function of one entry has no parameters but those that the network gives.

    Args:
        network: from the given entries and the condition to `tau.values` times as many channels as are changed.
        partition: which entries are given.
        tau: the function.

    References:
        NICE: Non-linear Independent Components Estimation (Dinh, Krueger & Bengio, 2015), https://arxiv.org/abs/1410.8516.

    >>> from ancestral.layers.elementwise import Shift
    >>> from ancestral.layers.mlp import MLP
    >>> layer = ElementwiseCoupling(MLP(2, (8,), 2), Halves(4, flip=False), Shift())
    >>> x = torch.randn(3, 4)
    >>> torch.allclose(layer.inverse(layer(x)[0]), x, atol=1e-6)
    True
    """

    def __init__(self, network: nn.Module, partition: Partition, tau: Elementwise) -> None:
        super().__init__(network, partition, tau.values)
        self.tau = tau

    def change(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return self.tau.forward(x, raw)

    def restore(self, y: Tensor, raw: Tensor) -> Tensor:
        return self.tau.inverse(y, raw)


class ActNorm(Invertible):
    r"""y = (x - loc) * exp(log_scale) for each channel; the first training batch leaves with mean 0 and variance 1.

    That batch's statistics are buffers, `loc_0` and `log_scale_0`, saved with the flag that says they are set; what is
    learned is added to them, loc = loc_0 + loc_1, and starts at zero. So a loaded layer is not initialized again, and a
    moving average of the parameters begins where the layer does.

    Args:
        channels: length of axis 1.
        dimensions: axes of x after the channels: 0 for vectors, 2 for images.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma & Dhariwal, 2018),
        https://arxiv.org/abs/1807.03039.

    >>> y, _ = ActNorm(2)(torch.tensor([[1.0, 5.0], [3.0, 9.0]]))
    >>> y.detach().round(decimals=4)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """

    loc_0: Tensor
    log_scale_0: Tensor
    initialized: Tensor

    def __init__(self, channels: int, dimensions: int = 0) -> None:
        super().__init__()
        shape = (channels, *(1,) * dimensions)
        self.register_buffer("loc_0", torch.zeros(shape))
        self.register_buffer("log_scale_0", torch.zeros(shape))
        self.register_buffer("initialized", torch.tensor(False))
        self.loc_1 = nn.Parameter(torch.zeros(shape))
        self.log_scale_1 = nn.Parameter(torch.zeros(shape))
        # Reading the flag waits for the device: remember in Python when it has been seen set.
        self._seen = False
        self.register_load_state_dict_post_hook(ActNorm._forget)  # type: ignore[no-untyped-call]

    @staticmethod
    def _forget(layer: nn.Module, _: object) -> None:
        layer._seen = False  # type: ignore[assignment]

    @torch.no_grad()
    def _initialize(self, x: Tensor) -> None:
        values = x.transpose(0, 1).flatten(1).to(self.loc_0.dtype)  # (channels, n)
        mean = _mean(values)
        variance = _mean((values - mean[:, None]).square())
        # A channel that is constant, but for rounding, keeps its scale.
        rounding = torch.finfo(mean.dtype).eps * (1.0 + mean.abs())
        variance = torch.where(variance > rounding.square(), variance, 1.0)
        self.loc_0.copy_(mean.view_as(self.loc_0))
        self.log_scale_0.copy_(-0.5 * torch.log(variance).view_as(self.log_scale_0))
        self.initialized.fill_(True)

    def _affine(self) -> tuple[Tensor, Tensor]:
        return self.loc_0 + self.loc_1, self.log_scale_0 + self.log_scale_1

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.training and not self._seen:
            if not bool(self.initialized):
                self._initialize(x)
            self._seen = True
        loc, log_scale = self._affine()
        log_det = log_scale.sum() * (math.prod(x.shape[1:]) // len(log_scale))
        return (x - loc) * torch.exp(log_scale), log_det.expand(len(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        loc, log_scale = self._affine()
        return y * torch.exp(-log_scale) + loc


def _mean(values: Tensor) -> Tensor:
    """Return the mean over axis 1 and over all processes, which must start from the same numbers."""
    mean = values.mean(1)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(mean)
        mean /= dist.get_world_size()
    return mean


class Squeeze(Invertible):
    """Each 2x2 block of pixels becomes four channels of one pixel: (c, h, w) -> (4 c, h / 2, w / 2)."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        b, c, h, w = x.shape
        # As F.pixel_unshuffle, which loses the shape of an empty batch.
        blocks = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)
        return blocks.reshape(b, 4 * c, h // 2, w // 2), x.new_zeros(b)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        b, c, h, w = y.shape
        return y.reshape(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * h, 2 * w)


class Permutation(Invertible):
    """The entries of axis 1 in another order.

    Args:
        order: index into x of each entry of y, (channels,).
    """

    order: Tensor
    inverse_order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        # Made from the arguments: not part of the saved state.
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse_order", torch.argsort(order), persistent=False)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.index_select(1, self.order), x.new_zeros(len(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        return y.index_select(1, self.inverse_order)
