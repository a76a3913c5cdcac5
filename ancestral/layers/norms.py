"""Invertible layers that standardize what passes through them."""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ancestral.layers.invertible import Invertible


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


class BatchNorm(Invertible):
    r"""y = (x - m) / sqrt(v + eps) * exp(log_scale) + shift for each entry; in training m and v are those of the batch.

    Otherwise they are running means. In training the map, and with it the density of a datum, depends on the whole batch;
    evaluated, it is one map, with an exact density. `inverse` is always that of the running means.

    Args:
        entries: length of axis 1 of x, (batch, entries).
        momentum: share of a batch in the running means.
        eps: added to variances.

    References:
        Density estimation using Real NVP (Dinh, Sohl-Dickstein & Bengio, 2017), https://arxiv.org/abs/1605.08803.
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057,
        where the statistics are of the whole training set once it has ended.

    >>> y, _ = BatchNorm(2)(torch.tensor([[1.0, 5.0], [3.0, 9.0]]))
    >>> y.detach().round(decimals=3)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, entries: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.register_buffer("mean", torch.zeros(entries))
        self.register_buffer("variance", torch.ones(entries))
        self.log_scale = nn.Parameter(torch.zeros(entries))
        self.shift = nn.Parameter(torch.zeros(entries))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, variance = self.mean, self.variance
        if self.training and len(x) > 1:  # a single datum has no variance
            mean, variance = x.mean(0), x.var(0, correction=0)
            with torch.no_grad():
                overall = _mean(x.T)
                self.mean.lerp_(overall, self.momentum)
                self.variance.lerp_(_mean((x - overall).T.square()), self.momentum)
        log_scale = self.log_scale - 0.5 * torch.log(variance + self.eps)
        return (x - mean) * torch.exp(log_scale) + self.shift, log_scale.sum().expand(len(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        log_scale = self.log_scale - 0.5 * torch.log(self.variance + self.eps)
        return (y - self.shift) * torch.exp(-log_scale) + self.mean
