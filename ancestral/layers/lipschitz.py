"""Linear and convolutional layers of Lipschitz constant 1: by spectral normalisation, or orthogonal."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ancestral.layers.mlp import check_sizes

STARTING_STEPS = 20
"""Steps of the power iteration when a layer is built; `iterate` adds one."""


def _unit(x: Tensor) -> Tensor:
    return x / x.norm().clamp(min=1e-12)


class Spectral(nn.Module):
    """y = A x / s + b with s = v'A u, the largest singular value of A by power iteration; u and v are kept as buffers.

    The gradient passes through s. `iterate` moves u and v by a step of the power iteration: call it after each step of the
    optimizer; a pass changes nothing. s approaches the norm from below: `constant` says what the layer has at most.

    References:
        Spectral Normalization for Generative Adversarial Networks (Miyato, Kataoka, Koyama & Yoshida, 2018),
        https://arxiv.org/abs/1802.05957. There a step is taken at each pass in training.
    """

    u: Tensor
    v: Tensor

    def start(self, shape: Sequence[int]) -> None:
        """Make u, of the operator's input without a batch, and v, and bring them near to the singular vectors."""
        self.register_buffer("u", _unit(torch.randn(tuple(shape))))
        with torch.no_grad(), self._in_full():
            self.register_buffer("v", _unit(self.operate(self.u)))
        for _ in range(STARTING_STEPS):
            self.iterate()

    def operate(self, x: Tensor) -> Tensor:
        """Return A x; x has no batch axis."""
        raise NotImplementedError

    def adjoint(self, y: Tensor) -> Tensor:
        """Return A' y; y has no batch axis."""
        raise NotImplementedError

    def norm_bound(self) -> float:
        """Return a number that ||A|| is certain not to exceed."""
        raise NotImplementedError

    @torch.no_grad()
    def iterate(self) -> None:
        """Take one step of the power iteration."""
        with self._in_full():
            self.u.copy_(_unit(self.adjoint(self.v)))
            self.v.copy_(_unit(self.operate(self.u)))

    def _in_full(self) -> torch.autocast:
        """Return a context without autocast: half precision would move s by a percent."""
        return torch.autocast(self.u.device.type, enabled=False)

    def scale(self) -> Tensor:
        """Return s, a scalar with a gradient."""
        with self._in_full():
            return (self.v * self.operate(self.u)).sum()

    @torch.no_grad()
    def constant(self) -> float:
        """Return the certified Lipschitz constant: `norm_bound` over s."""
        return self.norm_bound() / abs(float(self.scale()))


class SpectralLinear(Spectral):
    r"""y = W x / s + b, s = ||W|| by power iteration (see `Spectral`).

    Args:
        inputs: entries of x.
        outputs: entries of y.
        bias: whether there is b.

    Raises:
        InvalidInput: for a size below 1.

    >>> SpectralLinear(3, 4)(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        check_sizes("a layer", (inputs, outputs))
        plain = nn.Linear(inputs, outputs, bias)
        self.weight, self.bias = plain.weight, plain.bias
        self.start((inputs,))

    def operate(self, x: Tensor) -> Tensor:
        return self.weight @ x

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.weight

    @torch.no_grad()
    def norm_bound(self) -> float:
        return float(torch.linalg.matrix_norm(self.weight, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (batch, outputs), for x, (batch, inputs)."""
        return F.linear(x, self.weight / self.scale(), self.bias)


class SpectralConv2d(Spectral):
    r"""y = W * x / s + b, s the norm of the convolution itself, for images of one size, by power iteration (see `Spectral`).

    The norm of the kernel as a matrix, (outputs, inputs * kernel^2), which is often taken in its place, is another number:
    it can be smaller than the convolution's by a factor of up to kernel / stride, so that the layer is not 1-Lipschitz.

    Args:
        inputs: channels of x.
        outputs: channels of y.
        kernel: height and width of the kernel.
        size: height and width of x.
        stride: step between places of the kernel.
        padding: rows and columns of zeros on each side.

    Raises:
        InvalidInput: for a size below 1.

    >>> SpectralConv2d(3, 4, 4, (8, 6), stride=2, padding=1)(torch.zeros(2, 3, 8, 6)).shape
    torch.Size([2, 4, 4, 3])
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, size: Sequence[int], *, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        check_sizes("a layer", (inputs, outputs, kernel, *size, stride))
        plain = nn.Conv2d(inputs, outputs, kernel)
        self.weight, self.bias = plain.weight, plain.bias
        self.size, self.stride, self.padding = tuple(size), stride, padding
        # Rows and columns that a stride leaves out at the end; the transpose must give them back.
        self.left_over = tuple((n + 2 * padding - kernel) % stride for n in size)
        self.start((inputs, *size))

    def operate(self, x: Tensor) -> Tensor:
        return F.conv2d(x[None], self.weight, stride=self.stride, padding=self.padding)[0]

    def adjoint(self, y: Tensor) -> Tensor:
        return F.conv_transpose2d(
            y[None], self.weight, stride=self.stride, padding=self.padding, output_padding=self.left_over
        )[0]

    @torch.no_grad()
    def norm_bound(self) -> float:
        places = [(n + 2 * self.padding - self.weight.shape[-1]) // self.stride + 1 for n in self.size]
        return convolution_norm_bound(self.weight, places, self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (batch, outputs, height', width'), for x, (batch, inputs, height, width)."""
        return F.conv2d(x, self.weight / self.scale(), self.bias, self.stride, self.padding)


def convolution_norm_bound(weight: Tensor, places: Sequence[int], stride: int = 1) -> float:
    """Return an upper bound of the norm of a zero-padded convolution, which it nears as the image grows.

    A convolution of stride s is one of stride 1 over the s^2 phases of its input. With zeros around it is a part of the
    circular one of the same kernel over a period long enough for no place to meet itself, and no part has a larger norm; the
    circular one is block-diagonal over frequencies, where its norm is the largest singular value of all blocks.

    Args:
        weight: (outputs, inputs, kernel, kernel).
        places: height and width of the output.
        stride: step between places.

    References:
        The Singular Values of Convolutional Layers (Sedghi, Gupta & Long, 2019), https://arxiv.org/abs/1805.10408, for the
        blocks of circular convolutions.

    >>> convolution_norm_bound(torch.ones(1, 1, 1, 1), (5, 5))
    1.0
    """
    short = -weight.shape[-1] % stride
    weight = F.pad(weight.double(), (0, short, 0, short))
    phases = F.pixel_unshuffle(weight, stride)  # (o, i s^2, taps, taps)
    period = [n + phases.shape[-1] - 1 for n in places]
    blocks = torch.fft.fft2(phases, s=period).permute(2, 3, 0, 1)  # (h, w, o, i s^2)
    return float(torch.linalg.matrix_norm(blocks, 2).max())


class OrthogonalLinear(nn.Module):
    r"""y = W x + b with orthonormal rows or columns, whichever are fewer: 1-Lipschitz, and isometric where W is tall.

    Args:
        inputs: entries of x.
        outputs: entries of y.
        bias: whether there is b.

    Raises:
        InvalidInput: for a size below 1.

    References:
        Sorting out Lipschitz function approximation (Anil, Lucas & Grosse, 2019), https://arxiv.org/abs/1811.05381, for
        orthonormal layers; W is a Cayley map of free parameters, as in `torch.nn.utils.parametrizations.orthogonal`.

    >>> layer = OrthogonalLinear(3, 4)
    >>> x = torch.tensor([[1.0, 2.0, 2.0]])
    >>> (layer(x) - layer(0.0 * x)).norm().round(decimals=4)
    tensor(3., grad_fn=<RoundBackward1>)
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        check_sizes("a layer", (inputs, outputs))
        self.map = nn.Linear(inputs, outputs, bias)
        parametrizations.orthogonal(self.map, orthogonal_map="cayley", use_trivialization=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (batch, outputs), for x, (batch, inputs)."""
        with torch.autocast(x.device.type, enabled=False):
            weight = self.map.weight
        return F.linear(x, weight, self.map.bias)

    @torch.no_grad()
    def constant(self) -> float:
        """Return the Lipschitz constant, 1 but for rounding."""
        return float(torch.linalg.matrix_norm(self.map.weight, 2))


class OrthogonalConv2d(nn.Module):
    r"""y = W * x + b, circular, W an orthogonal operator: 1-Lipschitz, and isometric where y has as many numbers as x.

    With stride s the s^2 phases of x are its channels; a height or width that s does not divide is filled with zeros. At each
    frequency the matrix of the convolution is the Cayley map of free ones: (I + A)^-1 (I - A), A = U - U* + V* V, over
    -2 V (I + A)^-1, where U is square and V the rest of a tall matrix.

    Args:
        inputs: channels of x.
        outputs: channels of y.
        kernel: height and width of the kernel whose Cayley map is taken, at the size of y; the map itself reaches further.
        size: height and width of x.
        stride: height and width of x over those of y, rounded up.

    Raises:
        InvalidInput: for a size below 1.

    References:
        Orthogonalizing Convolutional Layers with the Cayley Transform (Trockman & Kolter, 2021),
        https://arxiv.org/abs/2104.07167.

    >>> OrthogonalConv2d(3, 4, 3, (8, 7), stride=2)(torch.zeros(2, 3, 8, 7)).shape
    torch.Size([2, 4, 4, 4])
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, size: Sequence[int], *, stride: int = 1) -> None:
        super().__init__()
        check_sizes("a layer", (inputs, outputs, kernel, *size, stride))
        self.stride, self.short = stride, tuple(-n % stride for n in size)
        self.size = tuple(-(-n // stride) for n in size)
        # A kernel larger than the image would meet itself.
        taps = [min(kernel, n) for n in self.size]
        self.weight = nn.Parameter(torch.empty(outputs, inputs * stride**2, *taps))
        nn.init.normal_(self.weight, std=(inputs * stride**2) ** -0.5 / kernel)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def blocks(self) -> Tensor:
        """Return the matrix at each frequency, (height, width // 2 + 1, outputs, inputs stride^2), complex."""
        free = torch.fft.rfft2(self.weight, s=self.size).permute(2, 3, 0, 1)
        return cayley(free)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (batch, outputs, height', width'), for x, (batch, inputs, height, width)."""
        with torch.autocast(x.device.type, enabled=False):
            phases = F.pixel_unshuffle(F.pad(x.to(self.weight.dtype), (0, self.short[1], 0, self.short[0])), self.stride)
            spectrum = torch.fft.rfft2(phases).permute(2, 3, 1, 0)  # (h, w', i, b)
            y = torch.fft.irfft2((self.blocks() @ spectrum).permute(3, 2, 0, 1), s=self.size)  # (b, o, h, w)
            return y + self.bias[:, None, None]

    @torch.no_grad()
    def constant(self) -> float:
        """Return the Lipschitz constant, 1 but for rounding."""
        return float(torch.linalg.matrix_norm(self.blocks(), 2).max())


def cayley(free: Tensor) -> Tensor:
    """Return matrices with orthonormal rows or columns, whichever are fewer, of any matrices, (..., m, n), complex or real."""
    m, n = free.shape[-2:]
    if n > m:
        return cayley(free.mH).mH
    square, rest = free[..., :n, :], free[..., n:, :]
    one = torch.eye(n, dtype=free.dtype, device=free.device)
    a = square - square.mH + rest.mH @ rest
    inverse = torch.linalg.inv(one + a)
    return torch.cat((inverse @ (one - a), -2.0 * rest @ inverse), dim=-2)
