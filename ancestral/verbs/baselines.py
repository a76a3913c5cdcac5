"""Baselines that any model of images or sounds should beat: independent entries, and what is used without a model."""

import io
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.errors import InvalidInput
from ancestral.verbs.evaluate import Moments
from ancestral.verbs.sound_baselines import flac_bytes, predicted_nats

CODECS = {"PNG": {"format": "PNG", "optimize": True}, "WebP": {"format": "WEBP", "lossless": True, "quality": 100}}
"""Codec to the arguments of `PIL.Image.Image.save` for its smallest lossless file, about."""


@dataclass(frozen=True)
class Baseline:
    """The cost of a split under a baseline.

    Args:
        name: what it is.
        bits_per_dim: mean over the data, in bits per entry.
        standard_error: of the mean over the data; None where data are not coded one by one.
    """

    name: str
    bits_per_dim: float
    standard_error: float | None


def independent_entries(data: Data, split: str = "test") -> Baseline:
    r"""Return the cost under a categorical distribution for each entry, fitted on the training split.

    p(x_d = k) = (n_dk + 1/2) / (n + levels / 2), with n_dk how often entry d is k in training (Krichevsky & Trofimov, 1981).

    Args:
        data: discrete data with a split "train".
        split: the split that is read.

    Raises:
        InvalidInput: if the data are real.
    """
    if data.event.levels is None:
        raise InvalidInput(f"{data.name} is real, expected data with levels: a table of frequencies needs them")
    train, x = _all(data, "train").flatten(1).long(), _all(data, split).flatten(1).long()
    counts = torch.zeros(data.event.numel, data.event.levels, dtype=torch.double)
    for level in range(data.event.levels):
        counts[:, level] = (train == level).sum(0)
    log_p = torch.log((counts + 0.5) / (len(train) + 0.5 * data.event.levels))  # (d, levels)
    nats = -log_p[torch.arange(data.event.numel), x].sum(1)  # (n,)
    moments = Moments.of(nats)
    error = moments.standard_error
    bits = data.event.bits_per_dim
    return Baseline(_independent(data), bits(moments.mean), None if error is None else bits(error))


def codecs(data: Data, split: str = "test") -> list[Baseline]:
    """Return the cost of a split of images as PNG and as lossless WebP: each image a file, and all in one picture.

    A file has some dozens of bytes that say nothing of a small image, so that one picture of all images is the fairer
    figure; the sizes are those of whole files in either case.

    Args:
        data: images with at most 256 levels, grey or RGB.
        split: the split that is read.

    Raises:
        InvalidInput: if the data are no such images.
    """
    event = data.event
    if not event.is_image or event.levels is None or event.levels > 256 or event.shape[0] not in (1, 3):
        raise InvalidInput(f"{data.name} is {event}, expected grey or RGB images of at most 256 levels")
    x = _all(data, split)
    found = []
    for name, options in CODECS.items():
        sizes = torch.tensor([8.0 * _file_size(image, options) for image in x], dtype=torch.double) / event.numel
        moments = Moments.of(sizes)
        whole = 8.0 * _file_size(_mosaic(x), options) / x.numel()
        found.append(Baseline(f"{name}, all images in one file", whole, None))
        found.append(Baseline(f"{name}, a file for each image", moments.mean, moments.standard_error))
    return found


def sound_codecs(data: Data, split: str = "test") -> list[Baseline]:
    """Return the cost of sounds as FLAC, all in one file and each in its own, and under a linear predictor of order 32.

    FLAC stores the levels as they are, so that it is without loss on the same data as a model's figure. Each file has a
    header; in one file of all, blocks of samples that are coded together do not end where sounds do.

    Args:
        data: sounds with a split "train".
        split: the split that is read.

    Raises:
        InvalidInput: if the data are no sounds.
    """
    event = data.event
    if event.pcm is None:
        raise InvalidInput(f"{data.name} is {event}, expected sounds")
    x, pcm = _all(data, split), event.pcm
    whole = 8.0 * flac_bytes(x.flatten(), pcm) / x.numel()
    sizes = Moments.of(torch.tensor([8.0 * flac_bytes(one, pcm) for one in x], dtype=torch.double) / event.numel)
    nats = Moments.of(predicted_nats(_all(data, "train"), x, pcm.levels))
    bits, error = event.bits_per_dim, nats.standard_error
    return [
        Baseline("FLAC, all sounds in one file", whole, None),
        Baseline("FLAC, a file for each sound", sizes.mean, sizes.standard_error),
        Baseline("linear predictor of order 32", bits(nats.mean), None if error is None else bits(error)),
    ]


def baselines(data: Data, split: str = "test") -> list[Baseline]:
    """Return the baselines that there are for data: independent entries; of images codecs; of sounds FLAC and prediction.

    Args:
        data: discrete data with a split "train".
        split: the split that is read.

    Raises:
        InvalidInput: if there is none.
    """
    event = data.event
    found = []
    if event.levels is not None and event.levels <= 256:
        found.append(independent_entries(data, split))
    if event.is_image and event.levels is not None and event.levels <= 256 and event.shape[0] in (1, 3):
        found += codecs(data, split)
    if event.pcm is not None:
        found += sound_codecs(data, split)
    if not found:
        raise InvalidInput(
            f"there are no baselines for {data.name}, which is {event}: they are for data of at most 256 levels"
        )
    return found


def _independent(data: Data) -> str:
    if data.event.pcm is not None:
        return "independent samples"
    return "independent pixels" if data.event.is_image else "independent entries"


def _all(data: Data, split: str) -> Tensor:
    part = data.split(split)
    return part.batch(torch.arange(len(part)), torch.Generator().manual_seed(0))[0]


def _mosaic(x: Tensor) -> Tensor:
    """Return images, (n, c, h, w), as one, (c, rows h, columns w); what is left over is 0."""
    n, c, h, w = x.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    padded = torch.cat([x, x.new_zeros(rows * columns - n, c, h, w)])
    return padded.view(rows, columns, c, h, w).permute(2, 0, 3, 1, 4).reshape(c, rows * h, columns * w)


def _file_size(image: Tensor, options: dict[str, object]) -> int:
    """Return the bytes of an image, (c, h, w), as a file."""
    from PIL import Image

    pixels = image.permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    # The levels are stored as they are: spreading them over 0..255 carries nothing more.
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(buffer, **options)  # type: ignore[arg-type]
    return buffer.tell()
