import re
import shlex

import pytest

from ancestral.cli import demo
from ancestral.cli.main import main


@pytest.fixture
def quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "OPTIONS", {"channels": 4, "layers": 1})
    monkeypatch.setattr(demo, "TRAIN", {"steps": 2, "batch_size": 8, "loggers": ("csv",), "samples": 0})
    monkeypatch.setattr(demo, "SAMPLES", 4)
    return tmp_path


def test_it_measures_draws_and_says_what_to_type_next(quick, capsys):
    assert main(["demo", "--quiet"]) == 0
    out = capsys.readouterr().out
    figures = dict(re.findall(r"^(\S.*?) {2,}(\d+\.\d+)", out, re.MULTILINE))
    assert len(figures) == 6, out
    assert 2.3 < float(figures["independent pixels"]) < 2.6
    assert float(figures["PNG, a file for each image"]) > float(figures["PNG, all images in one file"])
    for name in ("samples.png", "learning-curve.png", "model.safetensors", "metrics.csv"):
        assert (quick / "demo" / name).is_file()
    commands = [shlex.split(line, comments=True) for line in out.split("Next:")[1].strip().splitlines()]
    assert len(commands) == 3
    for command in commands:
        assert command[0] == "ancestral"
        # The second one trains for seconds; here some steps are enough.
        extra = ["--train.steps", "2", "--quiet"] if command[1] == "fit" else []
        assert main([*command[1:], *extra]) == 0, command


def test_a_second_demo_leaves_the_first_alone(quick, capsys):
    (quick / "demo").mkdir()
    assert main(["demo", "--quiet"]) == 0
    assert (quick / "demo-2" / "samples.png").is_file()
    assert not list((quick / "demo").iterdir())
    assert main(["demo", "--quiet", "-o", "demo-2"]) == 2
    assert main(["demo", "--quiet", "-o", "demo-2", "--overwrite"]) == 0
