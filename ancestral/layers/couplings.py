"""Couplings: invertible layers that change some entries given the others, which stay as they are."""

from typing import Protocol

import torch
from torch import Tensor, nn

from ancestral.layers.elementwise import Elementwise
from ancestral.layers.invertible import Invertible


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


class PackedCheckerboard:
    """The colours of a checkerboard, each as channels of an image of half the height and width: (2 c, h / 2, w / 2).

    In each 2x2 block of pixels two are given and two changed. A network sees both as channels of one pixel: where a
    `Checkerboard` has it compute every second pixel in vain, it computes a quarter as many, each of which sees more.

    Args:
        channels: channels of the image, of even height and width.
        flip: change the colour of the upper left pixel.
    """

    def __init__(self, channels: int, flip: bool) -> None:
        self.channels = channels
        self.given = self.changed = 2 * channels
        self.flip = flip

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        b, c, h, w = x.shape
        blocks = x.reshape(b, c, h // 2, 2, w // 2, 2)
        colours = (
            torch.stack((blocks[..., 0, :, i], blocks[..., 1, :, 1 - i]), dim=2).reshape(b, 2 * c, h // 2, w // 2)
            for i in (0, 1)
        )
        first, second = colours
        return (second, first) if self.flip else (first, second)

    def join(self, given: Tensor, changed: Tensor) -> Tensor:
        b, c, h, w = given.shape
        first, second = (t.view(b, c // 2, 2, h, w) for t in ((changed, given) if self.flip else (given, changed)))
        upper = torch.stack((first[:, :, 0], second[:, :, 0]), dim=-1)  # (b, c / 2, h, w, 2)
        lower = torch.stack((second[:, :, 1], first[:, :, 1]), dim=-1)
        return torch.stack((upper, lower), dim=3).reshape(b, c // 2, 2 * h, 2 * w)

    def restrict(self, t: Tensor) -> Tensor:
        return t


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
        amplitude: k at first.

    References:
        Density estimation using Real NVP (Dinh, Sohl-Dickstein & Bengio, 2017), https://arxiv.org/abs/1605.08803.

    >>> from ancestral.layers.mlp import MLP
    >>> layer = AffineCoupling(MLP(2, (8,), 4), Halves(4, flip=False))
    >>> x = torch.randn(3, 4)
    >>> torch.allclose(layer.inverse(layer(x)[0]), x, atol=1e-6)
    True
    """

    def __init__(self, network: nn.Module, partition: Partition, dimensions: int = 0, amplitude: float = 1.0) -> None:
        super().__init__(network, partition, values=2)
        self.amplitude = nn.Parameter(torch.full((partition.changed, *(1,) * dimensions), amplitude))

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
