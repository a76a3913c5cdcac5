"""Local contrast normalisation of maps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput


class ContrastNorm(nn.Module):
    r"""v = x - sum_cpq w_pq x_(c, i+p, j+q), y = v / max(mean of s, s), s_ij^2 = sum_cpq w_pq v_(c, i+p, j+q)^2.

    w is a Gaussian window, divided by the number of channels, so that its weights sum to 1; at the border they are those of
    the places that there are. Where all of v is near 0, y is: a blank image stays blank.

    Args:
        window: rows and columns of w, odd; its deviation is a sixth of that.
        floor: what s is at least, on the scale of x.

    Raises:
        InvalidInput: for a window that is even or not positive, or a floor that is not positive.

    References:
        What is the Best Multi-Stage Architecture for Object Recognition? (Jarrett, Kavukcuoglu, Ranzato & LeCun, 2009),
        https://doi.org/10.1109/ICCV.2009.5459469.

    >>> y = ContrastNorm(3)(torch.tensor([[[[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]]]))
    >>> (10.0 * y).round()[0, 0, 0]
    tensor([  0.,   0., -11.,  11.,   0.,   0.])
    """

    weights: Tensor

    def __init__(self, window: int = 9, floor: float = 1e-3) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise InvalidInput(f"window is {window}, expected an odd number of rows and columns, such as 9")
        if not floor > 0.0:
            raise InvalidInput(f"floor is {floor}, expected a positive contrast, such as 0.001")
        self.floor = floor
        offsets = torch.arange(window) - window // 2
        line = torch.exp(-0.5 * (offsets / (window / 6.0)).square())
        self.register_buffer("weights", torch.outer(line, line)[None, None], persistent=False)  # (1, 1, window, window)

    def blur(self, x: Tensor) -> Tensor:
        """Return means of x, (batch, channels, height, width), over all channels and the window, (batch, 1, height, width)."""
        margin = self.weights.shape[-1] // 2
        inside = F.conv2d(torch.ones_like(x[:1, :1]), self.weights, padding=margin)
        return F.conv2d(x.mean(1, keepdim=True), self.weights, padding=margin) / inside

    def forward(self, x: Tensor) -> Tensor:
        """Return y for x, both (batch, channels, height, width)."""
        with torch.autocast(x.device.type, enabled=False):  # a difference from a mean needs more digits than bf16 has
            x = x - x.mean((1, 2, 3), keepdim=True)  # changes nothing but the digits that are left
            v = x - self.blur(x)
            # The root of 0 has no gradient: the floor is put below it.
            s = self.blur(v.square()).clamp(min=self.floor**2).sqrt()  # (b, 1, h, w)
            return v / torch.maximum(s, s.mean((2, 3), keepdim=True))
