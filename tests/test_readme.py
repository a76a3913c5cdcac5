"""The commands and programs of README.md and of the quickstart run as they are printed, in order, on a bare machine."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass
class Block:
    line: int
    language: str
    code: str
    why_not: str | None


def blocks(text: str) -> Iterator[Block]:
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        yield Block(line, match["language"], match["code"], match["why"])


def run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    interpreter = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[block.language]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANCESTRAL_", "PYTEST_"))}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [*interpreter, block.code],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


@pytest.mark.parametrize("document", ["README.md", "docs/quickstart.md"])
def test_every_block_runs(document: str, tmp_path: Path) -> None:
    found = [b for b in blocks((ROOT / document).read_text()) if b.language in ("sh", "python")]
    ran = [b for b in found if b.why_not is None]
    assert {b.language for b in ran} == {"sh", "python"}, "the document shows both ways of use"
    for block in ran:
        done = run(block, tmp_path)
        assert done.returncode == 0, f"{document}:{block.line}\n{block.code}\n{done.stdout}\n{done.stderr}"


def test_a_block_that_is_not_run_says_why() -> None:
    text = "<!-- not run: no network -->\n```sh\ncurl example\n```\n\n```sh\necho 1\n```\n"
    assert [(b.line, b.why_not) for b in blocks(text)] == [(3, "no network"), (7, None)]


def test_the_command_that_fails_is_named(tmp_path: Path) -> None:
    done = run(Block(1, "sh", "echo first\nancestral evaluate nothing-here\necho last\n", None), tmp_path)
    assert done.returncode == 2
    assert "first" in done.stdout
    assert "last" not in done.stdout
    assert "nothing-here" in done.stderr


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)]+)\)", text) if "://" not in t]
    missing = [t for t in targets if t and not (ROOT / t).exists()]
    assert not missing
