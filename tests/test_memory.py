"""Memory: that of a text of any size is the same, in every command that reads one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LINES = [f"{i} times {i} is {i * i}: naïve counting, {'abcdefghij'[i % 10] * (i % 7)}.\n".encode() for i in range(5000)]
MIB = 2**20
PEAK = """
import sys
from ancestral.cli.main import main
status = main(sys.argv[2:])
held = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
open(sys.argv[1], "w").write(str(held * 1024))
sys.exit(status)
"""


def peak(folder: Path, *argv: object) -> int:
    """Return the most bytes that a command held, the pages of files that it has mapped among them."""
    command = [sys.executable, "-c", PEAK, str(folder / "peak"), *map(str, argv)]
    # Freed blocks go back at once, else the size of the peak depends on how they were laid out.
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "MALLOC_TRIM_THRESHOLD_": "0",
    }
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return int((folder / "peak").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("level", ["byte", "character"])
def test_memory_does_not_grow_with_a_text(tmp_path: Path, level: str) -> None:
    whole = b"".join(LINES)
    found = {}
    for size in (16, 64):
        folder = tmp_path / str(size)
        folder.mkdir()
        with (folder / "a.txt").open("wb") as file:
            file.writelines([whole] * (size * MIB // len(whole)))
        options = [
            "--data.level",
            level,
            "--data.length",
            "64",
            "--data.test",
            "200000",
            "--model.width",
            "8",
            "--model.layers",
            "1",
        ]
        training = ["--train.steps", "3", "--train.samples", "0", "--train.evaluate_limit", "8", "--quiet"]
        commands = {
            "data": ["data", "a.txt", *options[:2]],
            "fit": ["fit", "lstm-lm", "a.txt", *options, *training, "-o", "run"],
            "evaluate": ["evaluate", "run", "--limit", "50", "--quiet"],
            "score": ["score", "run", "--limit", "50", "--quiet"],
        }
        found[size] = {name: peak(folder, *argv) for name, argv in commands.items()}
    grown = {name: (found[64][name] - found[16][name]) / MIB for name in found[16]}
    # The order of 64 MiB / 64 windows takes 8 MiB; the tokens of 48 MiB more took 48 at bytes, and 192 at characters.
    assert max(grown.values()) < 24, grown
