"""What sounds cost without a network: as FLAC, and under a linear predictor whose errors are coded."""

import io
import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import expit
from torch import Tensor

from ancestral.pcm import PCM

ORDER = 32
"""Samples that one is predicted from."""
MEMORY = 0.9
"""How much of the mean of absolute errors is kept from one sample to the next."""
FIRST = 2.0
"""That mean before the first sample, of levels."""
CLASSES = 32
"""Classes of that mean, each with a scale of its own."""
SMALLEST = 1e-3
"""Least scale, of levels."""
FITTED = 256
"""Training sounds that a predictor is fitted on, evenly taken: its 32 weights need no more."""
PART = 64
"""Sounds that are worked on at a time, to spare memory."""
RIDGE = 1e-6
"""Share of the samples' power that is added, for silence to have a predictor."""


def flac_bytes(x: Tensor, pcm: PCM) -> int:
    """Return the bytes of levels, (samples,), as a FLAC file of 8 bits, or 16 above 256 levels, at the best compression."""
    import soundfile

    centred = x.numpy().astype(np.int32) - pcm.levels // 2
    narrow = pcm.levels <= 256
    samples = (centred << 8 if narrow else centred).astype(np.int16)  # of which the file keeps the upper 8
    buffer = io.BytesIO()
    subtype = "PCM_S8" if narrow else "PCM_16"
    soundfile.write(buffer, samples, pcm.rate, format="FLAC", subtype=subtype, compression_level=1.0)
    return len(buffer.getvalue())


def predicted_nats(train: Tensor, x: Tensor, levels: int) -> Tensor:
    r"""Return the cost of sounds under a linear predictor, fitted on up to 256 others.

    p(x_t = k) = F((k + 1/2 - m_t) / s_t) - F((k - 1/2 - m_t) / s_t), F the logistic function, the outermost levels reaching to
    infinity; m_t = sum_{i=1}^{32} a_i x_{t-i}, by least squares; s_t = mean |e| / (2 log 2) over the training samples of
    the class of c_t = 0.9 c_{t-1} + 0.1 |e_{t-1}|, c_0 = 2, where e = x - m. A decoder knows all of it before it reads x_t.

    Args:
        train: levels, (m, samples).
        x: levels, (n, samples).
        levels: how many there are.

    Returns:
        (n,), nats.
    """
    train = train[:: math.ceil(len(train) / FITTED)]
    weights = _least_squares(train, levels)
    scales = _scales(train, weights, levels)
    nats = []
    for part in x.split(PART):
        error, classes = _errors(part, weights, levels)
        k, s = part.numpy(), scales[classes]
        upper = np.where(k == levels - 1, np.inf, (error + 0.5) / s)
        lower = np.where(k == 0, -np.inf, (error - 0.5) / s)
        # The difference of two values near 1 has no digits: take it at the other end.
        flip = lower > 0
        upper, lower = np.where(flip, -lower, upper), np.where(flip, -upper, lower)
        nats.append(-np.log(np.maximum(expit(upper) - expit(lower), np.finfo(np.float64).tiny)).sum(1))
    return torch.from_numpy(np.concatenate(nats))


def _past(x: Tensor, levels: int) -> NDArray[np.float64]:
    """Return the 32 samples before each, the last first, (n, samples, 32), of levels about silence, which comes first."""
    centred = x.numpy().astype(np.float64) - levels // 2
    padded = np.pad(centred, ((0, 0), (ORDER, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, ORDER, axis=1)[:, : x.shape[1]]
    return windows[..., ::-1]


def _least_squares(train: Tensor, levels: int) -> NDArray[np.float64]:
    gram, target = np.zeros((ORDER, ORDER)), np.zeros(ORDER)
    for part in train.split(PART):
        past = _past(part, levels).reshape(-1, ORDER)
        gram += past.T @ past
        target += past.T @ (part.numpy().astype(np.float64).ravel() - levels // 2)
    ridge = RIDGE * (np.trace(gram) / ORDER + 1.0)
    weights: NDArray[np.float64] = np.linalg.solve(gram + ridge * np.eye(ORDER), target)
    return weights


def _errors(x: Tensor, weights: NDArray[np.float64], levels: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return e and the class of c at each sample, (n, samples) both."""
    centred = x.numpy().astype(np.float64) - levels // 2
    error = centred - lfilter(np.concatenate(([0.0], weights)), [1.0], centred, axis=1)
    first = np.full((len(error), 1), FIRST)
    recent, _ = lfilter([0.0, 1.0 - MEMORY], [1.0, -MEMORY], np.abs(error), axis=1, zi=first)
    octave = np.log2(np.maximum(recent, 2.0**-8)) + 8.0  # half an octave for each class
    return error, np.minimum((2.0 * octave).astype(np.int64), CLASSES - 1)


def _scales(train: Tensor, weights: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    total, count = np.zeros(CLASSES), np.zeros(CLASSES)
    for part in train.split(PART):
        error, classes = _errors(part, weights, levels)
        total += np.bincount(classes.ravel(), np.abs(error).ravel(), CLASSES)
        count += np.bincount(classes.ravel(), minlength=CLASSES)
    typical = 2.0 ** (np.arange(CLASSES) / 2.0 - 8.0)  # of a class that training has not seen: about c itself
    mean = (total + typical) / (count + 1.0)
    scales: NDArray[np.float64] = np.maximum(mean / (2.0 * np.log(2.0)), SMALLEST)
    return scales
