"""Causal self-attention under one part of a sparse pattern: block by block, or by FlexAttention on a GPU."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ancestral.layers.attention import CausalSelfAttention, KeyValueMemory, Places
from ancestral.layers.sparse_patterns import Part

FLEX_FEATURES = 16
"""Features that a head needs at least for the kernel of FlexAttention."""


class SparseSelfAttention(CausalSelfAttention):
    r"""y_t = W_o sum_{s in A_t} softmax_s(q_t . k_s / sqrt(d)) v_s in each head, for the A_t of one part of a pattern.

    On a GPU the sum is FlexAttention's, where it takes the type and the size of a head; elsewhere it goes block by block.

    Args:
        width: features of a position.
        heads: heads, which share the features evenly.
        part: which positions A_t a position t attends to.
        dropout: probability of dropping a weight of the attention, in training.

    Raises:
        InvalidInput: if the features cannot be shared evenly, an odd number to a head.

    References:
        Generating Long Sequences with Sparse Transformers (Child, Gray, Radford & Sutskever, 2019),
        https://arxiv.org/abs/1904.10509.
        Flex Attention: A Programming Model for Generating Optimized Attention Kernels (Dong et al., 2024),
        https://arxiv.org/abs/2412.05496.

    >>> from ancestral.layers.sparse_patterns import Columns
    >>> SparseSelfAttention(8, heads=2, part=Columns(3))(torch.zeros(1, 10, 8)).shape
    torch.Size([1, 10, 8])
    """

    def __init__(self, width: int, heads: int, part: Part, dropout: float = 0.0) -> None:
        super().__init__(width, heads, dropout=dropout)
        self.part = part

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        flexible = v.dtype != torch.float64 and v.shape[3] >= FLEX_FEATURES and dropout == 0.0
        if v.is_cuda and flexible:
            # Under autocast, rotation makes single precision of queries and keys; this kernel takes one type alone.
            return flex_attend(self.part, q.to(v.dtype), k.to(v.dtype), v, _compiled_flex_attention())
        return self.part.attend(q, k, v, dropout)

    def start(self, like: Tensor, positions: int) -> KeyValueMemory:
        part = self.part
        places = Places(functools.partial(part.slots, positions), functools.partial(part.held, positions), part.attends)
        return self._memory(like, part.kept(positions), places)


# FlexAttention


def flex_attend(part: Part, q: Tensor, k: Tensor, v: Tensor, kernel: Callable[..., Tensor]) -> Tensor:
    """Return what each position gathers, as `Part.attend` does, by FlexAttention.

    Positions are put in the order of `Part.layout`, in which the kernel can leave out whole tiles of the mask.

    Args:
        part: which positions a position attends to.
        q: queries, (batch, heads, n, features).
        k: keys, of the same shape.
        v: values, of the same shape.
        kernel: `torch.nn.attention.flex_attention.flex_attention`, compiled.

    Returns:
        (batch, heads, n, features).
    """
    queries, keys, mask = _block_mask(part, q.shape[2], q.device)
    if not len(keys):
        return torch.zeros_like(q)
    y = kernel(q[:, :, queries], k[:, :, keys], v[:, :, keys], block_mask=mask)
    return torch.empty_like(y).index_copy(2, queries, y)


@functools.lru_cache(maxsize=16)
def _block_mask(part: Part, n: int, device: torch.device) -> tuple[Tensor, Tensor, Any]:
    from torch.nn.attention.flex_attention import create_block_mask

    queries, keys = (positions.to(device) for positions in part.layout(n))

    def attends(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return part.attends(queries[query], keys[key])

    if not len(keys):
        return queries, keys, None
    # Compiled, the n x n booleans are not all in memory at once.
    mask = create_block_mask(attends, None, None, n, len(keys), device=device, _compile=device.type == "cuda")
    return queries, keys, mask


@functools.cache
def _compiled_flex_attention() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)
