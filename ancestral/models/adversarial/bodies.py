"""The bodies of generators and critics: fully connected, convolutional by DCGAN's rules, and residual."""

import itertools
import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.condition import ConditionEmbedding
from ancestral.layers.convnet import halved
from ancestral.layers.lipschitz import OrthogonalConv2d, OrthogonalLinear, SpectralConv2d, SpectralLinear
from ancestral.layers.mlp import ACTIVATIONS, check_choice, check_sizes
from ancestral.layers.virtual_batch_norm import VirtualBatchNorm

REFERENCES = 64
"""Rows of the reference batch of virtual batch normalisation."""
INITIAL_SPREAD = 0.02


# Layers by name of normalization


def linear(inputs: int, outputs: int, normalization: str, bias: bool = True) -> nn.Module:
    """Return a linear layer, spectrally normalised or orthogonal where `normalization` is."""
    if normalization == "spectral":
        return SpectralLinear(inputs, outputs, bias)
    return OrthogonalLinear(inputs, outputs, bias) if normalization == "orthogonal" else nn.Linear(inputs, outputs, bias)


def halving(inputs: int, outputs: int, size: Sequence[int], normalization: str, bias: bool) -> nn.Module:
    """Return a convolution to half the height and width, rounded up."""
    if normalization == "orthogonal":
        return OrthogonalConv2d(inputs, outputs, 2, size, stride=2)
    even = [n + n % 2 for n in size]
    pad = nn.ZeroPad2d((0, size[1] % 2, 0, size[0] % 2)) if even != list(size) else nn.Identity()
    if normalization == "spectral":
        return nn.Sequential(pad, SpectralConv2d(inputs, outputs, 4, even, stride=2, padding=1))
    return nn.Sequential(pad, nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias))


def same(inputs: int, outputs: int, kernel: int, size: Sequence[int], normalization: str, bias: bool = True) -> nn.Module:
    """Return a convolution to the same height and width."""
    if normalization == "orthogonal":
        return OrthogonalConv2d(inputs, outputs, kernel, size)
    if normalization == "spectral":
        return SpectralConv2d(inputs, outputs, kernel, size, padding=kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


def norm(channels: int, normalization: str, images: bool = True) -> nn.Module:
    """Return a layer that normalises what comes, (batch, channels, ...), or nothing."""
    if normalization == "batch":
        return nn.BatchNorm2d(channels) if images else nn.BatchNorm1d(channels)
    if normalization == "layer":
        return nn.GroupNorm(1, channels)
    return VirtualBatchNorm(channels, REFERENCES) if normalization == "virtual-batch" else nn.Identity()


def biased(normalization: str) -> bool:
    """Return whether a bias before `norm` has an effect: a mean over a batch would take it away."""
    return normalization not in ("batch", "virtual-batch")


def initialize(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02^2), and scales of batch normalisation from N(1, 0.02^2); biases are 0: DCGAN's start."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and not parametrize.is_parametrized(part):
            nn.init.normal_(part.weight, 0.0, INITIAL_SPREAD)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, INITIAL_SPREAD)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)


# Fully connected


class DenseTrunk(nn.Module):
    r"""h_l = f(norm(W_l h_{l-1} + b_l)), h_0 = x; an embedding of the condition is added inside the first norm.

    Args:
        inputs: entries of x.
        hidden: units of each h; none makes h = x.
        activation: f, one of `layers.mlp.ACTIVATIONS`.
        normalization: of a critic or a generator, but "auto"; the first layer has no batch or layer norm, by DCGAN's rule.
        condition: the condition's event, or None.
        first_norm: whether the first layer has one after all, as a generator's has.

    Raises:
        InvalidInput: for an unknown activation or a size below 1.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        activation: str,
        normalization: str,
        condition: Event | None,
        first_norm: bool = False,
    ) -> None:
        super().__init__()
        check_choice("activation", activation, tuple(ACTIVATIONS))
        sizes = (inputs, *hidden)
        check_sizes("a network", sizes)
        self.activation, self.width = ACTIVATIONS[activation], sizes[-1]
        kinds = [normalization if i or first_norm or normalization in ("spectral", "orthogonal") else "none"
                 for i in range(len(hidden))]  # fmt: skip
        pairs = list(zip(itertools.pairwise(sizes), kinds, strict=True))
        self.layers = nn.ModuleList(linear(m, n, kind, biased(kind)) for (m, n), kind in pairs)
        self.norms = nn.ModuleList(norm(n, kind, images=False) for (_, n), kind in pairs)
        self.embedding = ConditionEmbedding(condition, sizes[min(1, len(hidden))]) if condition is not None else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return h, (batch, width), for x, (batch, inputs)."""
        given = self.embedding(condition) if self.embedding is not None and condition is not None else None
        if not self.layers:
            return x if given is None else x + given
        h = x
        for layer, normalize in zip(self.layers, self.norms, strict=True):
            h = layer(h)
            if given is not None:
                h, given = h + given, None
            h = self.activation(normalize(h))
        return h


class DenseGenerator(nn.Module):
    """A `DenseTrunk` and a linear layer to the datum; arguments as there."""

    def __init__(
        self, latent: int, hidden: Sequence[int], outputs: int, activation: str, normalization: str, condition: Event | None
    ) -> None:
        super().__init__()
        self.trunk = DenseTrunk(latent, hidden, activation, normalization, condition, first_norm=True)
        self.last = nn.Linear(self.trunk.width, outputs)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return (batch, outputs) for z, (batch, latent)."""
        y: Tensor = self.last(self.trunk(z, condition))
        return y


# DCGAN


class ConvGenerator(nn.Module):
    r"""h_0 = relu(norm(W z + e(c))), h_l = relu(norm(W_l * h_{l-1})) of twice the height and width, y = W_L * h_{L-1} + b.

    Fractionally strided convolutions of 4 x 4, cut to fit; no other way up, no hidden fully connected layer, a norm on every
    layer but the last.

    Args:
        latent: entries of z.
        channels: channels of each h, the smallest size's first.
        shape: channels, height and width of y.
        normalization: batch, virtual-batch or none.
        condition: the condition's event, or None.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (Radford, Metz &
        Chintala, 2016), https://arxiv.org/abs/1511.06434, section 3. There kernels are 5 x 5; those of 4 x 4 reach each pixel
        evenly.

    >>> import torch
    >>> ConvGenerator(6, (8, 4), (3, 9, 14), "batch", None)(torch.zeros(2, 6)).shape
    torch.Size([2, 378])
    """

    def __init__(
        self, latent: int, channels: Sequence[int], shape: Sequence[int], normalization: str, condition: Event | None
    ) -> None:
        super().__init__()
        self.sizes = halved(shape[1:], len(channels))[::-1]
        self.start = (channels[0], *self.sizes[0]) if channels else tuple(shape)
        self.dense = nn.Linear(latent, math.prod(self.start))
        self.embedding = ConditionEmbedding(condition, math.prod(self.start)) if condition is not None else None
        widths = (*channels, shape[0])
        self.norms = nn.ModuleList(norm(n, normalization) for n in channels)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(m, n, 4, stride=2, padding=1, bias=i == len(channels) or biased(normalization))
            for i, (m, n) in enumerate(itertools.pairwise(widths), start=1)
        )
        initialize(self)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return y, (batch, channels * height * width), for z, (batch, latent)."""
        h = self.dense(z)
        if self.embedding is not None and condition is not None:
            h = h + self.embedding(condition)
        h = h.view(-1, *self.start)  # (b, channels[0], h, w)
        for normalize, convolution, (height, width) in zip(self.norms, self.convolutions, self.sizes[1:], strict=True):
            h = convolution(F.relu(normalize(h)))[..., :height, :width]
        return h.flatten(1)


class ConvTrunk(nn.Module):
    r"""h_l = f(norm(W_l * h_{l-1} + b_l)) of half the height and width, h_0 = x; f is leaky ReLU of slope 0.2.

    Strided convolutions of 4 x 4, no pooling, no norm on the first layer, to which an embedding of the condition is added.

    Args:
        shape: channels, height and width of x.
        channels: channels of each h.
        normalization: of `CRITIC_NORMS`, but "auto".
        condition: the condition's event, or None.

    References:
        As of `ConvGenerator`.

    >>> import torch
    >>> ConvTrunk((3, 9, 14), (4, 8), "batch", None)(torch.zeros(2, 378)).shape
    torch.Size([2, 96])
    """

    def __init__(self, shape: Sequence[int], channels: Sequence[int], normalization: str, condition: Event | None) -> None:
        super().__init__()
        if not channels:
            raise InvalidInput("a convolutional network needs the channels of at least one layer, got none")
        self.shape = tuple(shape)
        sizes = halved(shape[1:], len(channels))
        pairs = list(itertools.pairwise((shape[0], *channels)))
        self.convolutions = nn.ModuleList(
            halving(m, n, size, normalization, bias=not i or biased(normalization))
            for i, ((m, n), size) in enumerate(zip(pairs, sizes[:-1], strict=True))
        )
        self.norms = nn.ModuleList(norm(n, normalization) if i else nn.Identity() for i, n in enumerate(channels))
        self.embedding = ConditionEmbedding(condition, channels[0]) if condition is not None else None
        self.width = channels[-1] * math.prod(sizes[-1])

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return h, (batch, width), for x, (batch, channels * height * width)."""
        h = x.view(-1, *self.shape)  # (b, c, h, w)
        for i, (convolution, normalize) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            h = convolution(h)
            if not i and self.embedding is not None and condition is not None:
                h = h + self.embedding(condition)[:, :, None, None]
            h = F.leaky_relu(normalize(h), 0.2)
        return h.flatten(1)


# Residual


class UpBlock(nn.Module):
    r"""y = S * up(x) + V * relu(norm(U * up(relu(norm(x))))), up: each pixel four times, cut to `size`; S is 1 x 1."""

    def __init__(self, inputs: int, outputs: int, size: Sequence[int], normalization: str) -> None:
        super().__init__()
        bias = biased(normalization)
        self.size = tuple(size)
        self.norms = nn.ModuleList((norm(inputs, normalization), norm(outputs, normalization)))
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def _up(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")[..., : self.size[0], : self.size[1]]

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (batch, outputs, *size)."""
        h = self.first(self._up(F.relu(self.norms[0](x))))
        y: Tensor = self._up(self.shortcut(x)) + self.second(F.relu(self.norms[1](h)))
        return y


class DownBlock(nn.Module):
    r"""y = pool(S * x) + pool(V * relu(norm(U * relu(norm(x))))), pool: means of 2 x 2; of the first block U sees x itself."""

    def __init__(self, inputs: int, outputs: int, size: Sequence[int], normalization: str, *, first: bool, pool: bool) -> None:
        super().__init__()
        # Batch and layer norm follow DCGAN's rule: none at the critic's input.
        self.start = nn.Identity() if first else nn.Sequential(norm(inputs, normalization), nn.ReLU())
        self.middle = nn.Sequential(nn.Identity() if first else norm(outputs, normalization), nn.ReLU())
        self.first = same(inputs, outputs, 3, size, normalization, bias=first or biased(normalization))
        self.second = same(outputs, outputs, 3, size, normalization)
        self.shortcut = same(inputs, outputs, 1, size, normalization) if inputs != outputs or pool else nn.Identity()
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (batch, outputs, height', width')."""
        h = self.second(self.middle(self.first(self.start(x))))
        y: Tensor = self.pool(self.shortcut(x) + h)
        return y


class ResidualGenerator(nn.Module):
    r"""h_0 = W z + e(c), h_l = UpBlock(h_{l-1}), y = V * relu(norm(h_L)).

    Args:
        latent: entries of z.
        channels: channels of each h, the smallest size's first; the last of them are of the full size.
        shape: channels, height and width of y.
        normalization: batch, virtual-batch or none.
        condition: the condition's event, or None.

    References:
        Improved Training of Wasserstein GANs (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028, appendix F.

    >>> import torch
    >>> ResidualGenerator(6, (8, 4), (3, 9, 14), "batch", None)(torch.zeros(2, 6)).shape
    torch.Size([2, 378])
    """

    def __init__(
        self, latent: int, channels: Sequence[int], shape: Sequence[int], normalization: str, condition: Event | None
    ) -> None:
        super().__init__()
        if not channels:
            raise InvalidInput("a residual network needs the channels of at least one block, got none")
        sizes = halved(shape[1:], len(channels))[::-1]
        self.start = (channels[0], *sizes[0])
        self.dense = nn.Linear(latent, math.prod(self.start))
        self.embedding = ConditionEmbedding(condition, math.prod(self.start)) if condition is not None else None
        pairs = itertools.pairwise((channels[0], *channels))
        self.blocks = nn.ModuleList(UpBlock(m, n, size, normalization) for (m, n), size in zip(pairs, sizes[1:], strict=True))
        self.norm = norm(channels[-1], normalization)
        self.last = nn.Conv2d(channels[-1], shape[0], 3, padding=1)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return y, (batch, channels * height * width), for z, (batch, latent)."""
        h = self.dense(z)
        if self.embedding is not None and condition is not None:
            h = h + self.embedding(condition)
        h = h.view(-1, *self.start)  # (b, channels[0], h, w)
        for block in self.blocks:
            h = block(h)
        y: Tensor = self.last(F.relu(self.norm(h)))
        return y.flatten(1)


class ResidualTrunk(nn.Module):
    r"""h_l = DownBlock(h_{l-1}), the last one without pooling, h = mean over places of relu(h_L); h_0 = x.

    Args:
        shape: channels, height and width of x.
        channels: channels of each block that halves height and width; one block more keeps the last ones.
        normalization: of `CRITIC_NORMS`, but "auto".
        condition: the condition's event, or None; its embedding is added to the first block's output.

    References:
        As of `ResidualGenerator`.

    >>> import torch
    >>> ResidualTrunk((3, 9, 14), (4, 8), "none", None)(torch.zeros(2, 378)).shape
    torch.Size([2, 8])
    """

    def __init__(self, shape: Sequence[int], channels: Sequence[int], normalization: str, condition: Event | None) -> None:
        super().__init__()
        if not channels:
            raise InvalidInput("a residual network needs the channels of at least one block, got none")
        self.shape = tuple(shape)
        sizes = halved(shape[1:], len(channels))
        pairs = itertools.pairwise((shape[0], *channels, channels[-1]))
        self.blocks = nn.ModuleList(
            DownBlock(m, n, size, normalization, first=not i, pool=i < len(channels))
            for i, ((m, n), size) in enumerate(zip(pairs, sizes, strict=True))
        )
        self.embedding = ConditionEmbedding(condition, channels[0]) if condition is not None else None
        self.width = channels[-1]

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return h, (batch, width), for x, (batch, channels * height * width)."""
        h = x.view(-1, *self.shape)  # (b, c, h, w)
        for i, block in enumerate(self.blocks):
            h = block(h)
            if not i and self.embedding is not None and condition is not None:
                h = h + self.embedding(condition)[:, :, None, None]
        return F.relu(h).mean((2, 3))
