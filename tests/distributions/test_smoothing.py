"""Label smoothing straight from features: beside PyTorch's cross entropy, with its gradients."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ancestral.distributions import smoothing as module
from ancestral.distributions.smoothing import smoothed_nats


@given(st.integers(0, 300), st.integers(2, 9), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
def test_it_is_the_cross_entropy(n: int, count: int, smoothing: float, biased: bool) -> None:
    generator = torch.Generator().manual_seed(n)
    h, w, b = (torch.randn(*shape, generator=generator).double() for shape in ((n, 5), (count, 5), (count,)))
    parts = [part.requires_grad_() for part in (h, w, *([b] if biased else []))]
    y = torch.randint(count, (n,), generator=generator)
    nats, smoothed = smoothed_nats(h, w, b if biased else None, y, smoothing)
    logits = F.linear(h, w, b if biased else None)
    torch.testing.assert_close(nats, F.cross_entropy(logits, y, reduction="sum").detach())
    expected = F.cross_entropy(logits, y, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(smoothed, expected)
    assert not nats.requires_grad
    for mine, theirs in zip(
        torch.autograd.grad(3.0 * smoothed, parts), torch.autograd.grad(3.0 * expected, parts), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_the_plain_way_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other devices compute, and mixed precision."""
    h, w = torch.randn(7, 3, requires_grad=True), torch.randn(5, 3)
    y = torch.arange(7) % 5
    written = smoothed_nats(h, w, None, y, 0.2)
    gradient = torch.autograd.grad(written[1], h)[0]
    monkeypatch.setattr(module.torch, "is_autocast_enabled", lambda device: True)
    plain = smoothed_nats(h, w, None, y, 0.2)
    for one, other in zip(written, plain, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(torch.autograd.grad(plain[1], h)[0], gradient)
