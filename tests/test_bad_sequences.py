"""What a person can get wrong with text, sound, translations and drawings: one line, exit status 2, nothing half-written."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ancestral.cli.main import main
from tests.test_bad_input import Refused, here, refused, says

__all__ = ["here", "refused"]

TEXT = b"the cat sat on the mat, and the rat sat on the cat. " * 30
POINTS = np.array([[3, 0, 0], [0, -4, 1], [5, 5, 1], [1, 2, 0], [2, 1, 1]] * 4, np.float64)
LENGTHS = np.array([3, 2] * 4, np.int32)
MODELS = {
    "text": ["lstm-lm", "t.txt", "--data.level", "character", "--data.length", "16", "--model.width", "4"],
    "sound": ["wavenet", "tones", "--data.length", "64", "--model.channels", "4", "--model.skip", "4", "--model.sets", "1"],
    "pairs": ["transformer-mt", "aligned", "--data.languages", "en-de", "--data.level", "character", "--data.length", "30"],
    "drawings": ["handwriting-rnn", "z.npz", "--model.hidden", "4"],
}
MORE = {
    "text": ["--model.layers", "1"],
    "sound": ["--model.max_dilation", "2"],
    "pairs": ["--model.width", "8", "--model.layers", "1", "--model.heads", "1"],
    "drawings": ["--model.layers", "1"],
}


def tone(samples: int = 64) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return 0.5 * np.sin(0.2 * np.arange(samples))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model of each kind of sequences, and the data that they are of."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Path("t.txt").write_bytes(TEXT)
        Path("tones").mkdir()
        for i in range(12):
            soundfile.write(f"tones/{i}.wav", tone(), 8000)
        Path("aligned").mkdir()
        for language, word in (("en", "cat"), ("de", "katze")):
            Path(f"aligned/train.{language}").write_text(f"a {word} .\n" * 40)
        np.savez("z.npz", train_strokes=POINTS, train_lengths=LENGTHS)
        training = ["--train.steps", "1", "--train.samples", "0", "--train.loggers", "csv", "--quiet"]
        for kind, options in MODELS.items():
            assert main(["fit", *options, *MORE[kind], *training, "-o", kind]) == 0
    return place


# Text


@pytest.mark.parametrize("level", ["byte", "character", "word", "subword"])
def test_texts_of_next_to_nothing(refused: Refused, here: Path, level: str) -> None:
    (here / "one.txt").write_bytes(b"a")
    (here / "empty.txt").touch()
    options = ("--data.level", level, "--data.validation", "0", "--data.test", "0", "-o", "run")
    parts = ["no word of the text occurs"] if level == "word" else ["1 tokens", "at least the 256", "give more text"]
    says(refused("fit", "lstm-lm", "one.txt", *options), "one.txt", *parts)
    says(refused("fit", "lstm-lm", "empty.txt", *options), "empty.txt is empty (0 bytes), expected data")


def test_a_text_that_is_not_utf8(refused: Refused, here: Path, runs: Path) -> None:
    (here / "bad.txt").write_bytes(b"the cat \xff " * 100)
    run = runs / "text"
    for argv in (
        ("fit", "lstm-lm", "bad.txt", "--data.level", "character", "-o", "run"),
        ("evaluate", run, "bad.txt"),
        ("score", run, "bad.txt"),
        ("compress", run, "bad.txt", "-o", "a.anc"),
        ("sample", run, "--prompt-file", "bad.txt"),
    ):
        says(refused(*argv), "byte 8 of the", "0xff", "repair it")
    says(refused("evaluate", run, runs / "t.txt", "--cache", "--given", "bad.txt"), "bad.txt: byte 8")


def test_a_given_text_that_is_empty(refused: Refused, here: Path, runs: Path) -> None:
    (here / "empty.txt").touch()
    line = refused("evaluate", runs / "text", runs / "t.txt", "--cache", "--given", "empty.txt")
    says(line, "empty.txt is empty (0 bytes)", "expected the text that is given")
    says(refused("compress", runs / "text", "empty.txt", "-o", "a.anc"), "nothing to compress: the text is empty")


def test_characters_never_seen(refused: Refused, runs: Path) -> None:
    says(refused("sample", runs / "text", "--prompt", "zebra 猫"), "does not know: 'z', 'b', '猫'", "replace them")


def test_a_text_for_a_model_of_something_else(refused: Refused, runs: Path) -> None:
    says(refused("evaluate", runs / "sound", runs / "t.txt"), "t.txt is text")
    says(refused("evaluate", runs / "drawings", runs / "t.txt"), "t.txt is text")
    says(refused("evaluate", runs / "pairs", runs / "t.txt"), "t.txt holds no translations", "train.en and train.de")
    says(refused("evaluate", runs / "text", runs / "tones"), "model of 16 character tokens", "samples")


# Sound


def sounds(folder: Path, samples: object = None, rate: int = 8000, subtype: str | None = None) -> Path:
    """A folder of recordings, of which the last, 11.wav, is another one."""
    folder.mkdir()
    for i in range(12):
        kept = (samples, rate, subtype) if i == 11 and samples is not None else (tone(), 8000, None)
        soundfile.write(folder / f"{i:02d}.wav", *kept)
    return folder


def fit(folder: Path) -> tuple[object, ...]:
    return ("fit", "wavenet", folder, "--data.length", "64", "-o", "run")


@pytest.mark.parametrize(
    ("samples", "rate", "subtype", "parts"),
    [
        (tone(), 16000, None, ["16000 samples per second, expected 8000", "--data.rate"]),
        (np.stack([tone(), tone()], 1), 8000, None, ["2 channels, expected one", "--data.mono"]),
        (np.zeros(0), 8000, None, ["holds no samples (0 s)", "leave it out"]),
        (8000 * tone(), 8000, "FLOAT", ["amplitudes up to 39", "expected -1 to 1", "divide"]),
        (np.array([0.0, np.nan]), 8000, "FLOAT", ["1 NaN or infinite samples", "repair it"]),
    ],
)
def test_a_recording_unlike_the_others(
    refused: Refused, here: Path, samples: object, rate: int, subtype: str | None, parts: list[str]
) -> None:
    says(refused(*fit(sounds(here / "s", samples, rate, subtype))), "11.wav", *parts)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_other_ways_to_store_samples_are_read(here: Path, subtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    loud = np.clip(4 * tone(), -1.0, 1.0)
    assert main(["data", str(sounds(here / "s", loud, 8000, subtype)), "--data.length", "64", "--json"]) == 0
    assert '"clipped": 0' not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"this is text\n" * 9, b"RIFF\x24\x00\x00\x00WAVEfmt "])
def test_a_file_that_is_no_sound(refused: Refused, here: Path, content: bytes) -> None:
    folder = sounds(here / "s")
    (folder / "05.wav").write_bytes(content)
    says(refused(*fit(folder)), "05.wav", "cannot be read as sound", "repair it or leave it out")


@pytest.mark.parametrize("left", [1, 44, 100, 101, 170])
def test_a_recording_that_is_cut_off(refused: Refused, here: Path, runs: Path, left: int) -> None:
    folder = sounds(here / "s")
    whole = (folder / "05.wav").read_bytes()
    (folder / "05.wav").write_bytes(whole[:left])
    parts = ["cannot be read as sound"] if left < 44 else ["cut off", f"it has {left - 44} bytes", "expected the 128"]
    says(refused(*fit(folder)), "05.wav", *parts)
    says(refused("evaluate", runs / "sound", folder), "05.wav", *parts)


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF])
def test_a_recording_written_to_a_pipe_does_not_know_its_size(here: Path, size: int) -> None:
    folder = sounds(here / "s")
    content = (folder / "05.wav").read_bytes()
    place = content.index(b"data") + 4
    (folder / "05.wav").write_bytes(content[:place] + struct.pack("<I", size) + content[place + 4 :])
    status = main(["data", str(folder), "--data.length", "64"])
    assert status == (2 if size == 0 else 0), "a decoder takes a size of 0 at its word"


def test_other_recordings_are_read_for_the_model(runs: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(runs / "sound"), str(sounds(here / "s")), "--quiet"]) == 0
    assert "bits/sample" in capsys.readouterr().out


def test_other_recordings_of_another_rate(refused: Refused, runs: Path, here: Path) -> None:
    (here / "s").mkdir()
    for i in range(3):
        soundfile.write(here / "s" / f"{i}.wav", tone(), 11025)
    says(refused("evaluate", runs / "sound", "s"), "11025 samples per second, expected 8000", "--data.rate")


# Translations


def pairs(folder: Path, english: bytes, german: bytes) -> tuple[object, ...]:
    folder.mkdir()
    (folder / "train.en").write_bytes(english)
    (folder / "train.de").write_bytes(german)
    return ("fit", "transformer-mt", folder, "--data.languages", "en-de", "--data.length", "30", "-o", "run")


LINES = b"a cat .\n" * 20


@pytest.mark.parametrize(
    ("german", "parts"),
    [
        (LINES + b"more\n", ["train.en has 20 lines", "train.de 21", "align them"]),
        (b"\n" + LINES[8:], ["train.de has 1 empty of 20 lines (line 1)", "drop them"]),
        (b"", ["train.de is empty (0 lines)"]),
        (b"a \xff\n" + LINES[8:], ["line 1 of", "train.de is not UTF-8 (byte 0xff)"]),
        (b"\xef\xbb\xbfa \xff\n" + LINES[8:], ["line 1 of", "train.de is not UTF-8 (byte 0xff)"]),
        (b"cat " * 90 + b"\n" + LINES[8:], ["1 of 20 sentences", "more than 30 tokens", "--data.crop"]),
    ],
)
def test_translations_that_do_not_fit(refused: Refused, here: Path, german: bytes, parts: list[str]) -> None:
    says(refused(*pairs(here / "p", LINES, german)), *parts)


def test_lines_end_with_line_breaks_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = "a\x0bcat\u2028or\x85two\x1c .\r\n".encode()
    _, _, *options = pairs(here / "p", LINES, b"\xef\xbb\xbf" + odd + LINES[8:])
    assert main(["data", *map(str, options[:3]), "--data.level", "byte"]) == 0
    assert "train" in capsys.readouterr().out


def test_sentences_that_cannot_be_translated(refused: Refused, here: Path, runs: Path) -> None:
    run = runs / "pairs"
    says(refused("translate", run, ""), "sentence 1 of 1 is empty")
    says(refused("translate", run, "a cat " * 20), "the model reads 30 at most", "--data.crop")
    (here / "in.txt").write_bytes(b"a cat\n\xff\n")
    says(refused("translate", run, "--file", "in.txt"), "line 2 of in.txt is not UTF-8")
    (here / "in.txt").write_bytes(b"")
    says(refused("translate", run, "--file", "in.txt"), "there are no sentences to translate")
    long = pairs(here / "p", b"cat " * 90 + b"\n" + LINES[8:], LINES)[2]
    line = refused("evaluate", run, long)
    says(line, "more than 30 tokens", "--data.crop")
    assert "--data.length" not in line, "a model is for its own length"


def test_each_line_of_a_file_is_one_sentence(here: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in.txt").write_text("a\u2028cat\na zebra\n", encoding="utf-8")
    assert main(["translate", str(runs / "pairs"), "--file", "in.txt", "-o", "out.txt", "--beam", "1", "--quiet"]) == 0
    assert (here / "out.txt").read_bytes().count(b"\n") == 2
    assert "the model does not know" in capsys.readouterr().err


# Drawings


@pytest.mark.parametrize(
    ("points", "lengths", "parts"),
    [
        (np.where(np.arange(60).reshape(20, 3) == 9, np.nan, POINTS), LENGTHS, ["NaN or infinite values in 1 of 20 points"]),
        (POINTS[:, :2], LENGTHS, ["shape (20, 2), expected numbers of shape (points, 3)"]),
        (np.concatenate([POINTS, POINTS[:, :1]], 1), LENGTHS, ["shape (20, 4), expected numbers of shape (points, 3)"]),
        (POINTS + np.array([0.0, 0.0, 2.0]), LENGTHS, ["pens 2, 3, expected 0 (down) or 1"]),
        (POINTS, LENGTHS[:-1], ["20 points, its lengths sum to 18"]),
        (POINTS, -LENGTHS, ["expected a count of 1 or more each"]),
        (POINTS.astype(str), LENGTHS, ["expected numbers"]),
    ],
)
def test_strokes_that_are_none(refused: Refused, here: Path, points: object, lengths: object, parts: list[str]) -> None:
    np.savez(here / "a.npz", train_strokes=points, train_lengths=lengths)
    says(refused("fit", "handwriting-rnn", "a.npz", "-o", "run"), "a.npz", *parts)


def test_files_of_strokes_that_are_damaged(refused: Refused, here: Path, runs: Path) -> None:
    (here / "a.npz").write_bytes((runs / "z.npz").read_bytes()[:300])
    says(refused("fit", "handwriting-rnn", "a.npz", "-o", "run"), "a.npz is not an .npz file of numbers")
    for name, content in (("a.svg", '<svg><path d="M 0 0 L'), ("a.json", "[[1, 2,")):
        (here / name).write_text(content)
        says(refused("score", runs / "drawings", name), f"{name} is of a kind that is not read", ".npz")
        says(refused("sample", runs / "drawings", "--prompt-file", name, "-o", "b.svg"), "numbers")


@pytest.mark.parametrize(
    ("hand", "parts"),
    [
        (np.full((2, 3), np.nan), ["6 NaN or infinite values"]),
        (np.zeros((2, 4)), ["expected points (dx, dy, pen)"]),
        (np.zeros((50, 3)), ["prompt of 150 entries", "give at most"]),
        (np.array([["a"] * 3]), ["hand.npy holds str", "expected numbers"]),
        (np.zeros((2, 3), complex), ["hand.npy holds complex128", "expected numbers"]),
    ],
)
def test_a_hand_that_cannot_be_gone_on_in(refused: Refused, here: Path, runs: Path, hand: object, parts: list[str]) -> None:
    np.save(here / "hand.npy", hand)  # type: ignore[arg-type]
    says(refused("sample", runs / "drawings", "--prompt-file", "hand.npy", "-o", "b.svg"), *parts)


def test_numbers_in_the_order_of_another_machine(here: Path, runs: Path) -> None:
    np.save(here / "hand.npy", np.array([[1.0, 1.0, 0.0]], ">f8"))
    assert main(["sample", str(runs / "drawings"), "--prompt-file", "hand.npy", "-n", "1", "-o", "b.npy", "--quiet"]) == 0


def test_a_drawing_too_long_for_the_model(refused: Refused, here: Path, runs: Path) -> None:
    np.save(here / "long.npy", np.tile([1.0, 0.5, 0.0], (50, 1)))
    line = refused("score", runs / "drawings", "long.npy", "--split", "train")
    says(line, "long.npy has a drawing of 50 points, expected at most 3")
