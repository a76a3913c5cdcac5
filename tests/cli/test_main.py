import json
import subprocess
import sys

import pytest

import ancestral
from ancestral.cli import main as module
from ancestral.cli.main import COMMANDS, main, one_line
from ancestral.errors import InvalidInput


def test_help_lists_every_command_without_importing_torch():
    code = "import sys; from ancestral.cli.main import main; sys.exit(main(['--help']) or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for command, (_, about) in COMMANDS.items():
        assert command in done.stdout
        assert about in done.stdout


@pytest.mark.parametrize("argv", [[], ["help"], ["-h"], ["--help"]])
def test_ways_to_ask_for_help(argv, capsys):
    assert main(argv) == 0
    assert "usage: ancestral COMMAND" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ancestral {ancestral.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert main([command, "--help"]) == 0
    first = capsys.readouterr().out
    assert f"usage: ancestral {command}" in first
    assert main(["help", command]) == 0
    assert capsys.readouterr().out == first


def test_help_of_a_model_shows_its_options(capsys):
    assert main(["help", "made"]) == 0
    assert "--model.hidden" in capsys.readouterr().out


def test_an_unknown_command(capsys):
    assert main(["evalaute", "x"]) == 2
    assert capsys.readouterr().err.startswith("ancestral: error: there is no command 'evalaute'. Did you mean evaluate")


def test_debug_shows_where_it_comes_from():
    with pytest.raises(InvalidInput):
        main(["--debug", "evalaute"])


def test_a_defect_is_not_hidden(monkeypatch):
    def broken(_):
        raise RuntimeError("a defect")

    monkeypatch.setattr(module, "dispatch", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["models"])


def test_interrupted_before_training(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "dispatch", interrupted)
    assert main(["models"]) == 130
    assert capsys.readouterr().err.strip() == "ancestral: interrupted"


def test_one_line_of_any_error():
    assert one_line(InvalidInput("a\n  b")) == "a b"
    assert one_line(OSError(28, "No space left on device", "x.npy")) == "x.npy: No space left on device"
    assert one_line(OSError(28, "No space left on device")) == "No space left on device"
    assert one_line(OSError("odd")) == "odd"
    assert one_line(InvalidInput()) == "InvalidInput"


def test_a_reader_that_leaves_is_no_error():
    code = "import sys; from ancestral.cli.main import main; sys.exit(main(['data', '--json']))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.close()
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert err == ""


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "ancestral", "--version"], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("ancestral ")


def test_lists_are_json_too(capsys):
    for command in ("models", "data", "zoo"):
        assert main([command]) == 0
        assert capsys.readouterr().out
        assert main([command, "--json"]) == 0
        assert isinstance(json.loads(capsys.readouterr().out), list)
