"""Orders of entries that a saved model finds again."""

import numpy as np
import torch
from torch import Tensor


def random_orders(numel: int, count: int, seed: int) -> Tensor:
    """Draw `count` orders, (count, numel): the flat index of the entry at each step.

    Args:
        numel: entries of a datum.
        count: orders to draw.
        seed: seed of the draw; the first orders are the same for every `count`.

    >>> random_orders(4, 2, seed=0)
    tensor([[2, 3, 1, 0],
            [0, 2, 1, 3]])
    """
    # The stream of RandomState is frozen: the orders are the same under any later release.
    random = np.random.RandomState(seed)
    return torch.from_numpy(np.stack([random.permutation(numel) for _ in range(count)]))
