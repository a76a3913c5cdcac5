"""Recordings to data: what is padded, cropped, cut and held out, conditions, and what is refused."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.data import load
from ancestral.data.audio import _cut
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.mel import Mel
from ancestral.pcm import PCM

from .conftest import contents, equal_splits


def recordings(count, shortest=20, longest=60, seed=0):
    generator = np.random.default_rng(seed)
    return [
        generator.integers(-(2**14), 2**14, generator.integers(shortest, longest + 1)).astype(np.int16) for _ in range(count)
    ]


def save(folder, sounds, rate=8000, kind="wav"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, samples in enumerate(sounds):
        soundfile.write(folder / f"{i:03d}.{kind}", samples, rate)


def save_parquet(path, sounds, **columns):
    """Save sounds as parquet in the way of `datasets`: a column of files, and columns of classes by their names."""
    cells = []
    for samples in sounds:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 8000, format="FLAC")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    features = {"audio": {"_type": "Audio"}}
    for name, (_, names) in columns.items():
        features[name] = {"names": names, "_type": "ClassLabel"} if names else {"dtype": "int64", "_type": "Value"}
    cells = pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    table = pa.table({"audio": cells, **{name: values for name, (values, _) in columns.items()}})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)


def everything(data):
    return torch.cat([contents(data, split)[0] for split in data.splits])


# What a datum is


@given(
    samples=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=40), length=st.integers(1, 20), crop=st.booleans()
)
def test_a_recording_is_cut_and_padded_and_nothing_else(samples, length, crop):
    pcm = PCM(8000, 2**16)
    x, recorded = _cut(np.array(samples, np.float32) / 2**15, pcm, length, crop=crop)
    kept = samples[:length] if crop else samples
    n = 1 if crop else -(-len(samples) // length)
    assert x.shape == (n, length)
    assert recorded.sum() == len(kept)
    assert (x.ravel() - 2**15).tolist() == kept + [0] * (n * length - len(kept))
    assert [int(part) for part in recorded] == [min(length, len(kept) - i * length) for i in range(n)]


def test_a_folder_of_recordings(folder):
    sounds = recordings(20)
    save(folder, sounds)
    data = load(folder, length=32)
    assert data.event == Event.audio(32, PCM(8000))
    parts = [part for samples in sounds for part in range(-(-len(samples) // 32))]
    assert sum(len(split) for split in data.splits.values()) == len(parts)
    assert sum(data.record["recorded"].values()) == sum(map(len, sounds))
    expected = set()
    for samples in sounds:
        padded = np.zeros(-(-len(samples) // 32) * 32)
        padded[: len(samples)] = samples / 2**15
        expected |= {tuple(row) for row in PCM(8000).encode(padded).reshape(-1, 32).tolist()}
    assert {tuple(row) for row in everything(data).tolist()} == expected
    assert equal_splits(data, load(data.record["source"], **data.record["options"]))
    assert data.record["preprocessing"] == [
        "mu-law samples of 256 levels at 8000 Hz; recordings cut or padded with silence to 32 samples"
    ]


def test_cropped_recordings_are_one_datum_each(folder):
    sounds = recordings(10)
    save(folder, sounds)
    data = load(folder, length=32, crop=True, validation=0, test=0)
    x, _ = contents(data, "train")
    assert len(x) == 10
    assert data.record["recorded"] == {"train": sum(min(len(samples), 32) for samples in sounds)}


def test_sixteen_bits_are_as_they_were_recorded(folder):
    (samples,) = recordings(1, 64, 64)
    save(folder, [samples])
    data = load(folder / "000.wav", length=64, levels=65536, validation=0, test=0)
    assert data.event == Event.audio(64, PCM(8000, 65536))
    x, _ = contents(data, "train")
    assert x.dtype == torch.int64
    assert (x[0] - 2**15).tolist() == samples.tolist()


def test_larger_data_are_memory_mapped_and_the_same(folder):
    save(folder, recordings(10))
    held, mapped = (load(folder, length=32, levels=65536, memory=memory) for memory in (1.0, 1e-9))
    assert (held.record["memory_mapped"], mapped.record["memory_mapped"]) == (False, True)
    assert equal_splits(held, mapped)


def test_one_rate_for_all(folder):
    save(folder / "a", recordings(3))
    save(folder / "b", recordings(3), 16000)
    with pytest.raises(InvalidInput, match=r"b/000.wav\) has 16000 samples per second, expected 8000 as .*a/000.wav"):
        load(folder)
    data = load(folder, rate=4000, length=16)
    assert data.event.pcm.rate == 4000
    assert data.record["preprocessing"][1] == "brought to 4000 Hz by a polyphase filter where recorded at another rate"


def test_data_for_a_model_are_at_its_rate_and_length(folder):
    save(folder, recordings(10))
    event = Event.audio(24, PCM(8000, 16))
    assert load(folder, event=event).event == event
    assert load(folder, event=event.to_json()).event == event
    with pytest.raises(InvalidInput, match="has 8000 samples per second, expected 16000 as the data that it is for"):
        load(folder, event=Event.audio(24, PCM(16000)))
    assert load(folder, event=Event.audio(24, PCM(16000)), rate=16000).event.pcm.rate == 16000
    with pytest.raises(InvalidInput, match="leave length= out"):
        load(folder, event=event, length=16)
    with pytest.raises(InvalidInput, match=r"is sound, which needs an Event.audio"):
        load(folder, event="real")


def test_arrays_can_be_sound():
    event = Event.audio(16, PCM(8000))
    data = load(np.random.default_rng(0).integers(0, 256, (20, 16)), event=event)
    assert data.event == event


# Splits


def test_recordings_are_held_out_whole_but_for_the_one_that_is_cut(folder):
    """The windows of a recording stay in their order, and at most two recordings are in more than one split."""
    sounds = [np.full(32 * n, i + 1, np.int16) for i, n in enumerate((5, 3, 8, 2, 7, 9, 4, 6))]
    save(folder, sounds)
    data = load(folder, length=32, levels=65536)
    assert [len(split) for split in data.splits.values()] == [36, 4, 4]
    found = [set(contents(data, split)[0][:, 0].tolist()) for split in data.splits]
    assert sum(map(len, found)) <= len(sounds) + 2
    assert (
        load(folder, length=32, levels=65536, seed=1).splits["test"].batch(torch.arange(4))[0].tolist()
        != contents(data, "test")[0].tolist()
    )


def test_the_end_of_a_single_recording_is_held_out(folder):
    save(folder, [np.arange(320, dtype=np.int16)])
    data = load(folder / "000.wav", length=16, levels=65536)
    starts = {split: (contents(data, split)[0][:, 0] - 2**15).tolist() for split in data.splits}
    assert starts == {"train": list(range(0, 256, 16)), "validation": [256, 272], "test": [288, 304]}


def test_splits_of_a_folder_are_kept(folder):
    for split, count in (("train", 4), ("test", 2)):
        save(folder / split, recordings(count))
    data = load(folder, length=64, validation=1)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 3, "validation": 1, "test": 2}


# Conditions


def test_folders_are_classes_of_all_that_is_cut_from_a_recording(folder):
    save(folder / "low", [np.full(100, -5, np.int16)] * 3)
    save(folder / "high", [np.full(100, 5, np.int16)] * 3)
    data = load(folder, condition="label", length=32, levels=65536, validation=0, test=0)
    x, label = contents(data, "train")
    assert data.record["classes"] == ["high", "low"]
    assert len(x) == 24
    assert torch.equal((x[:, 0] < 2**15).long(), label)


def test_several_columns_of_classes_are_several_labels(folder):
    path = folder / "a.parquet"
    digit, speaker = [0, 1, 2, 0, 1, 2, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    sounds = [np.full(40, 10 * d + s, np.int16) for d, s in zip(digit, speaker, strict=True)]
    save_parquet(path, sounds, digit=(digit, ["one", "two", "three"]), speaker=(speaker, ["ann", "bob"]), age=([7] * 8, None))
    data = load(path, condition=["digit", "speaker"], length=16, levels=65536)
    assert data.condition == Event.labels((3, 2))
    assert data.record["classes"] == [["one", "two", "three"], ["ann", "bob"]]
    for split in data.splits:
        x, labels = contents(data, split)
        assert torch.equal(x[:, 0] - 2**15, 10 * labels[:, 0] + labels[:, 1])
    # Numbers are no classes: with them the condition is a vector.
    assert load(path, condition=["digit", "age"], length=16).condition.levels is None


# What is refused


def test_a_sound_s_own_spectrum_is_a_condition(folder):
    save(folder / "data", recordings(20, 300, 400))
    data = load(folder / "data", length=320, condition="mel")
    mel = Mel(8000)
    assert data.condition.shape == (mel.frames(320), 40)
    assert data.condition.axes == ("time", "band")
    x, frames = contents(data, "train")
    expected = mel(torch.from_numpy(data.event.pcm.decode(x)).float())
    torch.testing.assert_close(frames, expected)
    # One mean and one deviation for each band, over time.
    loc, scale = (torch.tensor(values).view(data.condition.shape) for values in (data.condition.loc, data.condition.scale))
    torch.testing.assert_close(loc, expected.mean((0, 1)).expand_as(loc), rtol=1e-4, atol=1e-4)
    deviation = expected.std((0, 1), correction=0)
    torch.testing.assert_close(scale, deviation.expand_as(scale), rtol=1e-4, atol=1e-4)
    with pytest.raises(InvalidInput, match="a condition by themselves"):
        load(folder / "data", length=320, condition=["mel", "mel"])


def test_what_sound_takes(folder):
    save(folder, recordings(2))
    with pytest.raises(InvalidInput, match=r"takes no binarize: leave it out. It takes audio, .*rate"):
        load(folder, binarize=1)
    with pytest.raises(InvalidInput, match="is sound, which is memory-mapped and not streamed"):
        load(folder, stream=True)
    with pytest.raises(InvalidInput, match="rate= takes a positive number, got 0"):
        load(folder, rate=0)
    with pytest.raises(InvalidInput, match="even number of levels from 2 to 65536, got 255"):
        load(folder, levels=255)
    with pytest.raises(InvalidInput, match="has no column 'voice' for condition="):
        load(folder, condition="voice")


def test_a_column_of_sounds_can_be_chosen(folder):
    path = folder / "a.parquet"
    save_parquet(path, recordings(10), label=([0] * 10, ["a"]))
    assert load(path, audio="audio", length=16).event.pcm is not None
    with pytest.raises(InvalidInput, match=r"column 'label' of .* holds no sounds, expected one of: audio"):
        load(path, audio="label")


@pytest.mark.parametrize("content", [b"", b"text"])
def test_a_file_that_is_no_sound_is_named_and_nothing_is_kept(folder, tmp_path, content):
    save(folder, recordings(3))
    (folder / "001.wav").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"001.wav\) cannot be read as sound"):
        load(folder)
    assert list((tmp_path / "cache" / "ancestral" / "data").iterdir()) == []


def test_sound_of_no_length_is_named(folder):
    save(folder, [*recordings(1), np.zeros(0, np.int16)])
    with pytest.raises(InvalidInput, match=r"001.wav\) holds no samples"):
        load(folder)


# The known set


def test_the_free_spoken_digits(real_data, monkeypatch):
    if not (real_data / "fsdd").is_dir():
        pytest.skip("fsdd is not in the data folder")
    monkeypatch.setenv("ANCESTRAL_DATA", str(real_data))
    data = load("fsdd", condition=["digit", "speaker"])
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2430, "validation": 270, "test": 300}
    x, labels = contents(data, "test")
    assert torch.unique(labels, dim=0, return_counts=True)[1].tolist() == [5] * 60
    assert data.condition == Event.labels((10, 6))
    # The first of the test recordings, sample by sample, straight from the file.
    cells = pq.read_table(real_data / "fsdd" / "test.parquet").column("audio").to_pylist()
    samples, rate = soundfile.read(io.BytesIO(cells[0]["bytes"]))
    assert rate == data.event.pcm.rate
    assert x[0, : len(samples)].tolist() == PCM(rate).encode(samples)[:6000].tolist()
    assert bool((x[0, len(samples) :] == PCM(rate).silence).all())
    with pytest.raises(InvalidInput, match="fsdd has its own crop="):
        load("fsdd", crop=True)
