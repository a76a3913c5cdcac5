"""Sound from the command line: recordings in, recordings out."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ancestral.cli import recognise as command
from ancestral.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some recordings of tones, and the run of a small model of them."""
    place = tmp_path_factory.mktemp("sound")
    (place / "tones").mkdir()
    for i in range(12):
        tone = 0.5 * np.sin(2 * np.pi * (200 + 50 * i) * np.arange(64) / 8000)
        soundfile.write(place / "tones" / f"{i}.wav", tone, 8000)
    options = ["--data.length", "64", "--model.channels", "4", "--model.skip", "4", "--model.sets", "1"]
    options += ["--model.max_dilation", "4", "--train.steps", "1", "--train.samples", "2", "--quiet"]
    assert main(["fit", "wavenet", str(place / "tones"), *options, "-o", str(place / "run")]) == 0
    return place


def test_samples_are_written_as_sound(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(folder / "run"), "-n", "2", "-o", str(tmp_path / "a.wav")]) == 0
    samples, rate = soundfile.read(tmp_path / "a.wav")
    assert (rate, len(samples)) == (8000, 2 * 64 + 2000)  # a quarter of a second between them
    assert (folder / "run" / "samples.png").is_file()
    assert main(["sample", str(folder / "run"), "-n", "1", "--length", "100", "-o", str(tmp_path / "b.wav")]) == 0
    assert len(soundfile.read(tmp_path / "b.wav")[0]) == 100


def test_completions_are_written_as_sound(folder: Path, tmp_path: Path) -> None:
    observed = np.ones(64, dtype=bool)
    observed[32:] = False
    np.save(tmp_path / "half.npy", observed)
    command = ["complete", str(folder / "run"), "--observed", str(tmp_path / "half.npy"), "--limit", "1", "-n", "2"]
    assert main([*command, "-o", str(tmp_path / "a.wav")]) == 0
    assert len(soundfile.read(tmp_path / "a.wav")[0]) == 2 * 64 + 2000


def test_the_missing_middle_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["complete", str(folder / "run"), "--limit", "1", "-n", "2", "-o", str(tmp_path / "a.wav"), "--observed"]
    assert main([*command, "ends"]) == 0
    assert len(soundfile.read(tmp_path / "a.wav")[0]) == 2 * 64 + 2000
    assert main([*command, "left"]) == 2
    assert "'left' is a part of images" in capsys.readouterr().err


def test_figures_are_bits_a_sample_beside_codecs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder / "run"), "--baselines", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all("bits/sample" in line for line in lines)
    assert [line.split(":")[0] for line in lines[1:]] == [
        "independent samples",
        "FLAC, all sounds in one file",
        "FLAC, a file for each sound",
        "linear predictor of order 32",
    ]
    assert main(["evaluate", str(folder / "run"), "--baselines", "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unit"] == "bits/sample"
    assert len(found["baselines"]) == 4
    assert "receptive field: 8 samples, 1.0 ms" in (folder / "run" / "README.md").read_text()


def test_scores_comparisons_and_archives_are_bits_a_sample(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(folder / "run")
    assert main(["score", run, "--limit", "2", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "index,log_prob,bits_per_sample"
    assert main(["compare", run, run, "--limit", "2", "--quiet"]) == 0
    assert "bits/sample" in capsys.readouterr().out.splitlines()[1]
    assert main(["compress", run, str(folder / "tones"), "-o", str(tmp_path / "a.anc"), "--limit", "1", "--quiet"]) == 0
    assert "bits/sample on disk" in capsys.readouterr().err


def test_a_vocoder_from_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data.length", "64", "--data.condition", "mel", "--model.channels", "4", "--model.skip", "4"]
    options += ["--model.sets", "1", "--model.max_dilation", "4", "--train.steps", "1", "--train.samples", "1", "--quiet"]
    assert main(["fit", "wavenet", str(folder / "tones"), *options, "-o", str(tmp_path / "run")]) == 0
    command = ["vocode", str(tmp_path / "run"), "--quiet", "--split", "train", "--limit", "2"]
    assert main([*command, "-o", str(tmp_path / "a.wav")]) == 0
    assert "multi-resolution spectral distance of 2 sounds" in capsys.readouterr().out
    assert len(soundfile.read(tmp_path / "a.wav")[0]) == 2 * 64 + 2000
    assert main(["vocode", str(folder / "run")]) == 2
    assert "train one with --data.condition mel" in capsys.readouterr().err
    assert main(["recognise", str(folder / "run")]) == 2
    assert "train a model with --data.condition label" in capsys.readouterr().err


def test_as_many_sounds_are_recognised_as_are_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    @functools.wraps(command.recognise)
    def recognise(*_: object, progress: bool, **options: object) -> tuple[()]:
        asked.append(options)
        return ()

    monkeypatch.setattr(command, "recognise", recognise)
    for more in ([], ["-n", "7"], ["--count", "7", "--seed", "2"]):
        assert main(["recognise", str(folder / "run"), *more]) == 0
    assert asked == [{}, {"n": 7}, {"n": 7, "seed": 2}]


def test_other_data_are_no_sound(digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(digits_run), "-n", "1", "-o", str(tmp_path / "a.wav")]) == 2
    assert "is a sound file, the data are" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
