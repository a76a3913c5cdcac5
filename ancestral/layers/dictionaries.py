"""Dictionaries as linear maps: from codes to what they tell, and back; dense ones, and ones that stand at each place."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.layers.lipschitz import convolution_norm_bound

FEW_CHANNELS = 4
"""Below so many channels of the data, overlapping patches are added up faster than a transposed convolution runs."""


class Dictionary:
    """z -> z D: what a solver of sparse codes needs to know of atoms. Codes and data are rows, (batch, atoms or entries).

    Args:
        atoms: entries of a code.
        entries: entries of a datum.
    """

    def __init__(self, atoms: int, entries: int) -> None:
        self.atoms, self.entries = atoms, entries

    def tell(self, z: Tensor) -> Tensor:
        """Return z D, (batch, entries)."""
        raise NotImplementedError

    def correlate(self, x: Tensor) -> Tensor:
        """Return x D', (batch, atoms), the products of data with each atom."""
        raise NotImplementedError

    def norm_squared(self) -> float:
        """Return a number that the largest eigenvalue of D D' is certain not to exceed; infinity where D is not finite."""
        raise NotImplementedError

    def descent(self, step: float) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the function of codes z and t that is t + z - step z D D'; with t = step x D', a step down the error of z."""
        return lambda z, t: torch.add(z + t, self.correlate(self.tell(z)), alpha=-step)


class Dense(Dictionary):
    """A dictionary of atoms that each tell a whole datum.

    Args:
        weight: an atom in each row, (atoms, entries).

    >>> Dense(torch.eye(2)).tell(torch.tensor([[3.0, 4.0]]))
    tensor([[3., 4.]])
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__(*weight.shape)
        self.weight = weight

    def tell(self, z: Tensor) -> Tensor:
        return z @ self.weight

    def correlate(self, x: Tensor) -> Tensor:
        return x @ self.weight.T

    def norm_squared(self) -> float:
        # Both ways round a product has the same eigenvalues but for zeros: take those of the smaller one.
        small = self.weight @ self.weight.T if self.atoms <= self.entries else self.weight.T @ self.weight
        if not bool(small.isfinite().all()):
            return torch.inf
        return float(torch.linalg.eigvalsh(small)[-1])

    def descent(self, step: float) -> Callable[[Tensor, Tensor], Tensor]:
        gram = self.weight @ self.weight.T
        move = torch.eye(self.atoms, dtype=gram.dtype, device=gram.device) - gram * step
        return lambda z, t: torch.addmm(t, z, move)


class Convolutional(Dictionary):
    r"""x = sum_k z_k * d_k: each atom stands at each place where it fits into the image, with a code of its own there.

    Args:
        weight: atoms, (maps, channels, kernel, kernel).
        size: height and width of the images; codes have kernel - 1 places less each way.

    Raises:
        InvalidInput: if an atom is larger than the image.

    >>> dictionary = Convolutional(torch.ones(1, 1, 2, 2), (2, 3))  # two places side by side, which share a column
    >>> dictionary.tell(torch.tensor([[1.0, 10.0]])).view(2, 3)
    tensor([[ 1., 11., 10.],
            [ 1., 11., 10.]])
    """

    def __init__(self, weight: Tensor, size: Sequence[int]) -> None:
        maps, channels, kernel = weight.shape[:3]
        self.shape: tuple[int, ...] = (channels, *size)
        self.places = tuple(side - kernel + 1 for side in size)
        if min(self.places) < 1:
            raise InvalidInput(
                f"atoms of {kernel} x {kernel} do not fit into images of {size[0]} x {size[1]}: make them smaller"
            )
        super().__init__(maps * self.places[0] * self.places[1], channels * size[0] * size[1])
        self.weight = weight

    def tell(self, z: Tensor) -> Tensor:
        codes = z.view(len(z), len(self.weight), *self.places)
        if self.shape[0] < FEW_CHANNELS:
            patches = self.weight.flatten(1).T @ codes.flatten(2)  # (b, channels kernel^2, places)
            return F.fold(patches, self.shape[1:], self.weight.shape[-1]).flatten(1)
        return F.conv_transpose2d(codes, self.weight).flatten(1)

    def correlate(self, x: Tensor) -> Tensor:
        return F.conv2d(x.view(len(x), *self.shape), self.weight).flatten(1)

    @torch.no_grad()
    def norm_squared(self) -> float:
        if not bool(self.weight.isfinite().all()):
            return torch.inf
        return convolution_norm_bound(self.weight, self.places) ** 2


class Pulled(Dictionary):
    r"""z -> (z D, sqrt(a) z): of data (x, sqrt(a) p) the error is 1/2 ||x - z D||^2 + a/2 ||z - p||^2.

    Args:
        base: the dictionary D.
        weight: a, not negative.

    >>> pulled = Pulled(Dense(torch.eye(2)), 4.0)
    >>> pulled.tell(torch.tensor([[1.0, 2.0]])), pulled.data(torch.zeros(1, 2), torch.ones(1, 2))
    (tensor([[1., 2., 2., 4.]]), tensor([[0., 0., 2., 2.]]))
    """

    def __init__(self, base: Dictionary, weight: float) -> None:
        super().__init__(base.atoms, base.entries + base.atoms)
        self.base, self.weight, self.root = base, weight, weight**0.5

    def data(self, x: Tensor, near: Tensor) -> Tensor:
        """Return (x, sqrt(a) p), (batch, entries + atoms), for x, (batch, entries), and p, (batch, atoms)."""
        return torch.cat((x, self.root * near), dim=1)

    def tell(self, z: Tensor) -> Tensor:
        return self.data(self.base.tell(z), z)

    def correlate(self, x: Tensor) -> Tensor:
        told, pulled = x.split((self.base.entries, self.atoms), dim=1)
        return torch.add(self.base.correlate(told), pulled, alpha=self.root)

    def norm_squared(self) -> float:
        return self.base.norm_squared() + self.weight

    def descent(self, step: float) -> Callable[[Tensor, Tensor], Tensor]:
        down = self.base.descent(step)
        return lambda z, t: torch.add(down(z, t), z, alpha=-step * self.weight)
