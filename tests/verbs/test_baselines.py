import bz2
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from ancestral.data import ArraySplit, Data, load
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.pcm import PCM
from ancestral.verbs.baselines import (
    CODECS,
    _file_size,
    _mosaic,
    baselines,
    codecs,
    independent_entries,
    sound_codecs,
    stream_codecs,
    text_codecs,
)
from ancestral.verbs.sound_baselines import flac_bytes, predicted_nats


def images(n=20, shape=(1, 4, 4), levels=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = [torch.randint(levels, (k, *shape), generator=generator, dtype=torch.uint8) for k in (3 * n, n)]
    return Data("noise", Event.integers(shape, levels), {"train": ArraySplit(x[0]), "test": ArraySplit(x[1])})


def test_independent_entries_by_hand():
    x = torch.tensor([[0], [0], [0], [1]], dtype=torch.uint8)
    data = Data("coin", Event.binary((1,)), {"train": ArraySplit(x), "test": ArraySplit(x[2:])})
    heads, tails = -math.log2(3.5 / 5), -math.log2(1.5 / 5)
    found = independent_entries(data)
    assert found.bits_per_dim == pytest.approx((heads + tails) / 2)
    assert found.standard_error == pytest.approx((tails - heads) / 2)


def test_uniform_noise_costs_its_entropy():
    assert independent_entries(images(n=2000)).bits_per_dim == pytest.approx(math.log2(5), abs=0.01)


def test_probabilities_of_unseen_levels_are_not_zero():
    data = images()
    data.splits["train"] = ArraySplit(torch.zeros(9, 1, 4, 4, dtype=torch.uint8))
    assert math.isfinite(independent_entries(data).bits_per_dim)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 4)])
def test_codecs_are_lossless_and_counted_in_bits_per_entry(shape):
    data = images(shape=shape, levels=256)
    x = data.splits["test"].x
    buffer = io.BytesIO()
    mosaic = _mosaic(x)
    pixels = mosaic.permute(1, 2, 0).numpy().squeeze()
    for name, options in CODECS.items():
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, **options)
        with Image.open(buffer) as image:
            decoded = np.asarray(image.convert("RGB" if shape[0] == 3 else "L"))
        assert np.array_equal(decoded, pixels), name
        assert _file_size(mosaic, options) == len(buffer.getvalue())
    found = {b.name: b for b in codecs(data)}
    assert len(found) == 4
    one, each = found["PNG, all images in one file"], found["PNG, a file for each image"]
    assert 8.0 <= one.bits_per_dim < each.bits_per_dim, "noise cannot be compressed"
    assert one.standard_error is None
    assert each.standard_error is not None


def test_a_mosaic_holds_every_image():
    x = torch.arange(5 * 2 * 3, dtype=torch.uint8).view(5, 1, 2, 3)
    mosaic = _mosaic(x)
    assert mosaic.shape == (1, 4, 9)
    assert torch.equal(mosaic[:, 2:, 3:6], x[4])


def test_refused():
    real = Data("table", Event.real((2,)), {"train": ArraySplit(torch.zeros(3, 2)), "test": ArraySplit(torch.zeros(3, 2))})
    with pytest.raises(InvalidInput, match="expected data with levels"):
        independent_entries(real)
    with pytest.raises(InvalidInput, match="expected grey or RGB images"):
        codecs(real)


def test_codecs_of_bytes_are_lossless():
    content = b"to be or not to be, that is the question. " * 9
    for codec in stream_codecs():
        assert codec.decode(codec.encode(content)) == content


def test_texts_are_counted_in_bits_per_byte(tmp_path):
    line = b"To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer\n"
    (tmp_path / "a.txt").write_bytes(b"".join(b"%d %s" % (i * i * 7919, line) for i in range(200)))
    data = load(str(tmp_path / "a.txt"), level="byte", length=16, test=0.1)
    text = data.event.encoding.decode(data.split("test").tokens)
    found = {b.name: b.bits_per_dim for b in text_codecs(data)}
    assert found["bzip2 -9, the split alone"] == 8 * len(bz2.compress(text)) / len(text)
    assert found["xz -9e, after the training text"] < found["xz -9e, the split alone"]


def test_texts_that_are_not_known_to_the_byte_are_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"word " * 300 + b"other " * 300)
    with pytest.raises(InvalidInput, match="its bytes are not known"):
        text_codecs(load(str(tmp_path / "a.txt"), level="word", length=4))
    with pytest.raises(InvalidInput, match="expected text"):
        text_codecs(images())


def sounds(n=12, length=400, pcm=None, seed=0):
    """Tones in noise, which the samples before tell a good deal of."""
    pcm = pcm or PCM(8000)
    generator = torch.Generator().manual_seed(seed)
    phase, noise = torch.rand(4 * n, 1, generator=generator), torch.randn(4 * n, length, generator=generator)
    x = torch.from_numpy(pcm.encode((0.3 * torch.sin(0.2 * torch.arange(length) + 6.3 * phase) + 0.003 * noise).numpy()))
    event = Event.audio(length, pcm)
    x = x.to(event.dtype)
    return Data("tones", event, {"train": ArraySplit(x[n:]), "test": ArraySplit(x[:n])})


def test_probabilities_under_a_predictor_sum_to_one():
    train = torch.randint(4, (9, 50), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    everything = torch.cartesian_prod(*[torch.arange(4)] * 4).to(torch.uint8)
    nats = predicted_nats(train, everything, 4)
    assert float((-nats).exp().sum()) == pytest.approx(1.0, abs=1e-9)
    assert float(nats.std()) > 0


def test_a_predictor_knows_a_tone_and_silence_is_free():
    data = sounds()
    train, x = (data.split(name).x for name in ("train", "test"))
    bits = float(predicted_nats(train, x, 256).mean()) / math.log(2) / 400
    assert 1.0 < bits < independent_entries(data).bits_per_dim - 1.0
    silence = torch.full((1, 400), 128, dtype=torch.uint8)
    assert float(predicted_nats(torch.cat([train, silence]), silence, 256)) / math.log(2) / 400 < bits / 5


@pytest.mark.parametrize("pcm", [PCM(8000), PCM(8000, 2**16)])
def test_flac_keeps_the_levels(pcm, tmp_path):
    import soundfile

    data = sounds(pcm=pcm)
    x = data.split("test").x[0]
    written = io.BytesIO()
    bits, shift = (8, 8) if pcm.levels == 256 else (16, 0)
    samples = ((x.int() - pcm.levels // 2) << shift).short().numpy()
    soundfile.write(written, samples, 8000, format="FLAC", subtype="PCM_S8" if bits == 8 else "PCM_16")
    written.seek(0)
    back = soundfile.read(written, dtype="int16")[0]
    assert np.array_equal((back.astype(np.int64) >> shift) + pcm.levels // 2, x.numpy())
    assert 100 < flac_bytes(x, pcm) <= len(written.getvalue())
    assert flac_bytes(x, pcm) < 9000


def test_baselines_of_sounds_and_of_images():
    names = [b.name for b in baselines(sounds())]
    assert names[0] == "independent samples"
    assert names[1:] == [b.name for b in sound_codecs(sounds())]
    whole, each = (b.bits_per_dim for b in baselines(sounds())[1:3])
    assert 1.0 < whole < each
    assert [b.name for b in baselines(sounds(pcm=PCM(8000, 2**16)))] == names[1:]
    assert baselines(images())[0].name == "independent pixels"
    real = Data("table", Event.real((2,)), {"train": ArraySplit(torch.zeros(3, 2)), "test": ArraySplit(torch.zeros(3, 2))})
    with pytest.raises(InvalidInput, match="no baselines for table"):
        baselines(real)
    with pytest.raises(InvalidInput, match="expected sounds"):
        sound_codecs(images())
