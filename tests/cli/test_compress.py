"""`ancestral compress` and `ancestral decompress`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ancestral.cli.main import main
from ancestral.data import load


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_data_set_comes_back(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", str(digits_run), "digits", "--limit", "30", "-o", "a/digits.anc"]) == 0
    err = capsys.readouterr().err
    assert f"wrote 30 data to a/digits.anc: {Path('a/digits.anc').stat().st_size} bytes" in err
    assert "bits/dim on disk" in err
    assert re.search(r"encoded in [\d.]+ s \([\d.]+ data a second\), checked in [\d.]+ s \([\d.]+ data a second\)", err)
    assert main(["decompress", "a/digits.anc", "--model", str(digits_run), "-o", "back.npy"]) == 0
    err = capsys.readouterr().err
    assert "wrote 30 data to back.npy" in err
    assert re.search(r"decoded in [\d.]+ s \([\d.]+ data a second\)", err)
    x, _ = load("digits", limit=100).split("test").batch(torch.arange(30))  # as the run was trained
    assert np.array_equal(np.load("back.npy"), x.numpy())
    assert main(["decompress", "a/digits.anc", "--model", str(digits_run), "-o", "two.npy", "--index", "3,5"]) == 0
    assert np.array_equal(np.load("two.npy"), x[[3, 5]].numpy())
    assert main(["decompress", "a/digits.anc", "--model", str(digits_run), "-o", "one.npy", "--index", "7"]) == 0
    assert np.array_equal(np.load("one.npy"), x[[7]].numpy())


def test_an_array_comes_back_and_json_says_what_it_took(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, _ = load("digits").split("validation").batch(torch.arange(5))
    np.save("x.npy", x.numpy())
    assert main(["compress", str(digits_run), "x.npy", "-o", "x.anc", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bytes"] == Path("x.anc").stat().st_size
    assert result["count"] == 5
    assert min(result["encode_seconds"], result["verify_seconds"]) > 0
    assert main(["decompress", "x.anc", "--model", str(digits_run), "-o", "back"]) == 0
    assert len(list(Path("back").iterdir())) == 5


def test_damage_is_named_and_what_is_intact_recovered(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", str(digits_run), "digits", "--limit", "30", "--chunk_size", "10", "-o", "d.anc"]) == 0
    content = bytearray(Path("d.anc").read_bytes())
    content[len(content) // 2] ^= 4
    Path("d.anc").write_bytes(content)
    capsys.readouterr()
    command = ["decompress", "d.anc", "--model", str(digits_run), "-o", "d.npy"]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "d.anc is damaged" in err
    assert "20 data are intact" in err
    assert not Path("d.npy").exists()
    assert main([*command, "--recover"]) == 0
    assert "(data 10 to 19: the checksum is wrong)" in capsys.readouterr().err
    assert len(np.load("d.npy")) == 20


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["compress", "RUN", "digits"], "name it with -o"),
        (["compress", "RUN", "digitz", "-o", "a.anc"], "digits"),
        (["compress", "RUN", "digits", "-o", "."], "is a folder"),
        (["decompress", "missing.anc", "-o", "out"], "missing.anc"),
        (["decompress", "missing.anc"], "with -o"),
    ],
)
def test_bad_input_is_one_line(
    command: list[str], words: str, digits_run: Path, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    assert main([str(digits_run) if part == "RUN" else part for part in command]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert list(here.iterdir()) == []


def test_a_text_comes_back_to_the_byte(capsys: pytest.CaptureFixture[str]) -> None:
    Path("novel.txt").write_bytes(b"the cat sat on the mat. " * 60)
    fit = ["fit", "lstm-lm", "novel.txt", "--data.length", "16", "--model.width", "8", "--train.steps", "2", "--quiet"]
    assert main([*fit, "-o", "run"]) == 0
    Path("other.txt").write_bytes(b"the mat sat on the cat.\n" * 3)
    capsys.readouterr()
    assert main(["compress", "run", "other.txt", "-o", "other.anc"]) == 0
    err = capsys.readouterr().err
    assert f"wrote 72 tokens to other.anc: {Path('other.anc').stat().st_size} bytes" in err
    assert "bits/byte on disk" in err
    Path("back.txt").write_bytes(b"an older file")
    assert main(["decompress", "other.anc", "--model", "run", "-o", "back.txt"]) == 0
    assert "wrote 72 bytes of text to back.txt" in capsys.readouterr().err
    assert Path("back.txt").read_bytes() == Path("other.txt").read_bytes()
    assert main(["decompress", "other.anc", "--model", "run", "-o", "back.txt", "--index", "1"]) == 2
    assert "no data at places" in capsys.readouterr().err
