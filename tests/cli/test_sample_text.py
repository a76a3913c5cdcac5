"""`ancestral sample` of models of text: what is printed, what is written, and what is refused."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ancestral.cli.main import main
from ancestral.models import store
from ancestral.verbs.fit import fit
from ancestral.verbs.sample import sample

TEXT = "ROMEO: to be, or not to be.\nJULIET: the café is closed.\n" * 30


def trained(folder: Path, level: str) -> Path:
    text = folder / "text.txt"
    text.write_text(TEXT)
    options = {"steps": 1, "samples": 0, "loggers": ("csv",), "width": 8, "layers": 1, "batch_size": 4}
    data_options = {"level": level, "length": 16}
    return fit("lstm-lm", str(text), output=folder / "run", data_options=data_options, progress=False, **options).path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a small model of characters."""
    return trained(tmp_path_factory.mktemp("text"), "character")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a small model of words."""
    return trained(tmp_path_factory.mktemp("words"), "word")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def drawn(run: Path, **options: object) -> list[str]:
    model, _ = store.load(run)
    assert model.event.encoding is not None
    return [model.event.encoding.decode_text(x) for x in sample(model, **{"n": 1, **options})]  # type: ignore[arg-type]


def test_text_is_printed_and_streamed_alike(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--prompt", "ROMEO:", "--length", "40", "--temperature", "0.8", "--seed", "3"]
    assert main(["sample", str(run), *options]) == 0
    out, err = capsys.readouterr()
    (text,) = drawn(run, prompt="ROMEO:", length=40, temperature=0.8, seed=3)
    assert out == text.removesuffix("\n") + "\n"
    assert out.startswith("ROMEO:")
    assert err == "not exact draws from the model: temperature 0.8\n"
    assert main(["sample", str(run), *options, "--stream"]) == 0
    assert capsys.readouterr() == (out, err)
    assert not list(here.iterdir())


def test_several_passages_go_into_one_file(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["sample", str(run), "--prompt", "ROMEO:", "--length", "30", "--top-p", "1", "-n", "3", "-o", "romeo.txt"]
    assert main(argv) == 0
    assert capsys.readouterr() == ("", "wrote 3 samples (36 character tokens of 30 levels) to romeo.txt\n")
    texts = drawn(run, n=3, prompt="ROMEO:", length=30)
    written = (here / "romeo.txt").read_bytes().decode()
    assert written == "".join(f"======== {i} of 3 ========\n{text}\n" for i, text in enumerate(texts, 1))
    assert main([*argv[:-2], "--batch_size", "2"]) == 0
    assert capsys.readouterr().out == written


def test_other_files_hold_prompt_and_text(run: Path) -> None:
    for name in ("x.npy", "x.png"):
        assert main(["sample", str(run), "--prompt", "ROMEO:", "-n", "2", "-o", name]) == 0
    assert np.load("x.npy").shape == (2, 6 + 16)
    with Image.open("x.png") as image:
        assert image.size[0] > 100


def test_prompts_from_files_and_standard_input(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "scene.txt").write_text("JULIET: the\n")
    assert main(["sample", str(run), "--prompt-file", "scene.txt", "--stream"]) == 0
    out = capsys.readouterr().out
    (text,) = drawn(run, prompt="JULIET: the\n")
    assert out == text.removesuffix("\n") + "\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"JULIET: the\n")))
    assert main(["sample", str(run), "--prompt-file", "-"]) == 0
    assert capsys.readouterr().out == out
    (here / "empty.txt").touch()
    assert main(["sample", str(run), "--prompt-file", "empty.txt"]) == 0
    assert capsys.readouterr().out.removesuffix("\n") == drawn(run)[0].removesuffix("\n")


def test_unknown_words_are_warned_of_before_the_text(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--stream"]):
        assert main(["sample", str(words), "--prompt", "ROMEO: zounds", *more]) == 0
        out, err = capsys.readouterr()
        assert err == "ancestral: warning: the prompt has words that the model does not know: 'zounds'\n"
        assert out.startswith("ROMEO: zounds")


class Terminal(io.StringIO):
    encoding = "ascii"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_given_no_commands_and_what_it_can_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(b"\x1b[2J\x07\ttab\xc3\xa9\n" * 30)
    options = {"steps": 1, "samples": 0, "loggers": ("csv",), "width": 8, "layers": 1, "batch_size": 2}
    path = fit("lstm-lm", str(text), output=tmp_path / "run", data_options={"length": 8}, progress=False, **options).path
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["sample", str(path), "--prompt-file", str(text), "--stream"]) == 0
    assert terminal.getvalue().startswith("?[2J?\ttab?\n")
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prompt", "R", "--prompt-file", "a"], "got both --prompt and --prompt-file"),
        (["--prompt-file", "nowhere.txt"], "nowhere.txt: No such file"),
        (["--prompt-file", "bad.txt"], "byte 5 of the prompt is 0xff, where UTF-8 has no such byte"),
        (["--prompt", "ROMÉO@"], "does not know: 'É', '@'"),
        (["--stream", "-n", "4"], "--stream prints one text, got -n 4"),
        (["--stream", "-o", "a.txt"], "--stream prints, got -o a.txt"),
        (["--stream", "--method", "parallel"], "--stream draws entry by entry"),
        (["--prompt", "R", "--method", "parallel"], "method: what follows a prompt"),
        (["--length", "0"], "length is 0, expected at least 1"),
        (["--length", "many"], "--length is many, expected a whole number"),
        (["-o", "a.gif"], "animations are of images"),
        (["--temperature", "0", "--stream"], "temperature is 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    (here / "bad.txt").write_bytes(b"ROMEO\xff")
    assert main(["sample", str(run), *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ancestral: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert [path.name for path in here.iterdir()] == ["bad.txt"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prompt", "R"], "a prompt is for data that are one entry after another, this made is of 1x8x8 17 levels"),
        (["--length", "9"], "a length is for data"),
        (["--stream"], "a stream of text is for models of text"),
        (["-o", "a.txt"], "the suffix .txt is for models of text"),
    ],
)
def test_models_of_something_else(
    digits_run: Path, here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert main(["sample", str(digits_run), "-n", "1", *argv]) == 2
    assert message in capsys.readouterr().err
    assert not list(here.iterdir())


def test_other_texts_are_read_in_the_models_own_tokens(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "other.txt").write_text("to be is to be; ABC.\n" * 40)
    for verb in ("evaluate", "score"):
        assert main([verb, str(run), "other.txt", "--limit", "2"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "other.txt", "--data.level", "byte", "--data.length", "16"]) == 2
    assert "of 30 levels data, other.txt is 16 byte tokens of 256 levels" in capsys.readouterr().err
