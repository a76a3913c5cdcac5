"""Scores of how unusual data are, the larger the more, and what a score is worth beside those of inliers."""

import io
import lzma
import math
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event

SCORES = ("likelihood", "typicality", "ratio", "complexity")
"""Scores that there are."""


def typicality(nats: Tensor, inliers: Tensor) -> tuple[Tensor, Tensor]:
    """Return |nats - mean of inliers|, of data and of the inliers themselves.

    Data of a higher density than inliers have are as unusual as those of a lower one. Each inlier is held against the mean of
    the others, as a datum is that is none of them: |v_i - mean_(-i)| = n / (n - 1) |v_i - mean|.

    Args:
        nats: -log p of data, (batch,).
        inliers: -log p of inliers that the model was not trained on, (n,), at least 2.

    Returns:
        (batch,) and (n,), nats.

    References:
        Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality (Nalisnick et al., 2019),
        https://arxiv.org/abs/1906.02994. There of the mean over a batch of data; here of one datum.

    >>> typicality(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0]))
    (tensor([2., 0.]), tensor([2., 2.]))
    """
    mean, n = inliers.mean(), len(inliers)
    return (nats - mean).abs(), (inliers - mean).abs() * (n / (n - 1))


def ratio(nats: Tensor, background: Tensor) -> Tensor:
    """Return -log p + log p_background: how much less like the model's data a datum is than like those of a background model.

    What has no probability under either model is as unusual as can be: inf - inf would say nothing.

    Args:
        nats: -log p of data under the model, (batch,).
        background: -log p of them under the background model, (batch,).

    Returns:
        (batch,), nats.

    References:
        Likelihood Ratios for Out-of-Distribution Detection (Ren et al., 2019), https://arxiv.org/abs/1906.02845.

    >>> ratio(torch.tensor([5.0, math.inf, math.inf]), torch.tensor([2.0, 2.0, math.inf]))
    tensor([3., inf, inf])
    """
    return (nats - background).nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)


def p_values(scores: Tensor, inliers: Tensor) -> Tensor:
    r"""Return the conformal p-value of each score: p = (1 + #{i : inliers_i >= score}) / (1 + n).

    If a datum is drawn as the inliers are, p <= alpha has a probability of at most alpha, whatever the model is.

    Args:
        scores: (batch,), the larger the more unusual.
        inliers: scores of inliers that the model was not trained on, (n,).

    Returns:
        (batch,), in [1 / (1 + n), 1], in float64.

    References:
        Algorithmic Learning in a Random World (Vovk, Gammerman & Shafer, 2005), https://doi.org/10.1007/b106715.
        Testing for Outliers with Conformal p-values (Bates et al., 2023), https://arxiv.org/abs/2104.08279.

    >>> p_values(torch.tensor([0.5, 2.0, 9.0]), torch.tensor([1.0, 2.0, 3.0]))
    tensor([1.0000, 0.7500, 0.2500], dtype=torch.float64)
    """
    below = torch.searchsorted(inliers.sort().values, scores)  # strictly below: ties count as unusual as the datum
    return (1 + len(inliers) - below).double() / (1 + len(inliers))


def code_bits(x: Tensor, event: Event) -> Tensor:
    """Return the bits that a general codec takes for each datum: the fewest of two codecs.

    Images of one or three channels are coded as PNG and as WebP without loss, all else by zlib and by lzma, row after row of
    bytes. Headers are counted; they are the same for all data.

    Args:
        x: data, (batch, *event.shape).
        event: what a datum is, of whole numbers.

    Returns:
        (batch,), bits, in float64.

    Raises:
        Unsupported: if the event is real: the bits of a density depend on the unit of the data, those of a codec do not.

    References:
        Input Complexity and Out-of-distribution Detection with Likelihood-based Generative Models (Serrà et al., 2020),
        https://arxiv.org/abs/1909.11480. There PNG, JPEG 2000 and FLIF.

    >>> flat, noise = torch.zeros(1, 1, 16, 16), torch.randint(2, (1, 1, 16, 16))
    >>> bool(code_bits(flat, Event.binary((1, 16, 16))) < code_bits(noise, Event.binary((1, 16, 16))))
    True
    """
    if event.levels is None:
        raise Unsupported(f"a codec's bits are of whole numbers, the data are {event}: leave the score complexity out")
    values = x.cpu().numpy().astype(np.uint8 if event.levels <= 256 else np.int32)
    image = event.is_image and event.shape[0] in (1, 3) and event.levels <= 256
    sizes = [_image_bytes(v, binary=event.is_binary) if image else _bytes(v.tobytes()) for v in values]
    return torch.tensor(sizes, dtype=torch.float64) * 8.0


def _bytes(content: bytes) -> int:
    return min(
        len(zlib.compress(content, 9)), len(lzma.compress(content, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}]))
    )


def _image_bytes(values: NDArray[Any], *, binary: bool) -> int:
    """Return the bytes of an image, (channels, height, width), in the better of two formats."""
    from PIL import Image

    if len(values) == 3:
        picture = Image.fromarray(np.ascontiguousarray(values.transpose(1, 2, 0)))
    else:
        picture = Image.fromarray(values[0].astype(bool) if binary else values[0])
    sizes = []
    for form, shown, options in (("PNG", picture, {"optimize": True}), ("WEBP", picture.convert("RGB"), {"lossless": True})):
        content = io.BytesIO()
        shown.save(content, form, **options)
        sizes.append(content.tell())
    return min(sizes)


def combined(p: Tensor) -> Tensor:
    """Return one p-value of several: min(1, m min_j p_j), which keeps what each promises, whatever ties them (Bonferroni).

    Args:
        p: (m, batch).

    >>> combined(torch.tensor([[0.01, 0.9], [0.5, 0.8]]))
    tensor([0.0200, 1.0000])
    """
    return (len(p) * p.amin(0)).clamp(max=1.0)


def auroc(inliers: Tensor, outliers: Tensor) -> tuple[float, float]:
    """Return the area under the ROC curve, the probability that an outlier has the larger score, and its standard error.

    Args:
        inliers: scores, (n,), the larger the more unusual.
        outliers: scores, (m,).

    Raises:
        InvalidInput: if either has fewer than two.

    References:
        Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves (DeLong, DeLong &
        Clarke-Pearson, 1988), https://doi.org/10.2307/2531595, for the standard error.

    >>> auroc(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    (1.0, 0.0)
    """
    from scipy.stats import rankdata
    from sklearn.metrics import roc_auc_score

    n, m = len(inliers), len(outliers)
    if min(n, m) < 2:
        raise InvalidInput(f"got {n} inliers and {m} outliers, expected at least two of each for an AUROC")
    both = torch.cat((inliers, outliers)).double().numpy()
    both = rankdata(both)  # infinite scores, which roc_auc_score refuses, have ranks too
    area = float(roc_auc_score(np.repeat((0, 1), (n, m)), both))
    above = 1.0 - (both[:n] - rankdata(both[:n])) / m  # share of the outliers above each inlier
    below = (both[n:] - rankdata(both[n:])) / n  # share of the inliers below each outlier
    return area, math.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m)
