"""A run that is killed and resumed equals one that was not, to the bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ancestral.data import load
from ancestral.errors import InvalidInput
from ancestral.training import Run, TrainConfig, TrainingInterrupted, create_model, fit, resume
from ancestral.training import checkpoint as checkpoints

CHILD = """
import sys, torch
torch.set_num_threads(1)
from ancestral.data import load
from ancestral.training import TrainConfig, create_model, fit
data = load("digits", condition="label")
model = create_model({model!r}, data.event, data.condition, seed=3, **{options!r})
fit(model, data, sys.argv[1], TrainConfig(**{config!r}), progress=False)
"""

CONFIG = dict(
    steps=60, batch_size=64, learning_rate=3e-3, ema=0.95, clip=1.0, warmup_steps=5, seed=7, samples=0,
    evaluate_every=1.0, log_every=7, checkpoint_every=5, keep_checkpoints=3, accumulate=1, loggers=("csv",),
)  # fmt: skip
MODELS = {
    "vae": dict(hidden=(32,), latent=4),
    # Two optimizers, batch norm in the generator, vectors of spectral norms, running means, and a step of one group alone.
    "dcgan": dict(
        channels=(4, 8), latent=4, critic_normalization="spectral", critic_steps=2, critic_rate=2.0,
        regularisers=("historical-averaging=0.01", "instance-noise"),
    ),
}  # fmt: skip


def start(path: Path, model: str, config: dict) -> subprocess.Popen:
    code = CHILD.format(model=model, options=MODELS[model], config=config)
    return subprocess.Popen([sys.executable, "-c", code, str(path)], env={**os.environ, "OMP_NUM_THREADS": "1"})


def rows(run: Run):
    return run.metrics.drop(columns="seconds")


def assert_equal_runs(a: Path, b: Path) -> None:
    for name in ("model.safetensors",):
        left, right = load_file(a / name), load_file(b / name)
        assert left.keys() == right.keys()
        for key in left:
            assert torch.equal(left[key], right[key]), key
    left, right = checkpoints.load(a / "checkpoints"), checkpoints.load(b / "checkpoints")
    assert left.tensors.keys() == right.tensors.keys()
    for key in left.tensors:
        assert torch.equal(left.tensors[key], right.tensors[key]), key
    for scalars in (left.scalars, right.scalars):
        del scalars["elapsed"]
    assert left.scalars == right.scalars
    assert rows(Run(a)).equals(rows(Run(b)))


@pytest.mark.parametrize(("model", "accumulate"), [("vae", 1), ("vae", 2), ("dcgan", 1)])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, model: str, accumulate: int) -> None:
    config = {**CONFIG, "accumulate": accumulate}
    whole = start(tmp_path / "whole", model, config)
    assert whole.wait(timeout=120) == 0
    killed = start(tmp_path / "killed", model, config)
    # Kill at a random moment after the first checkpoint: in a step, an evaluation or the writing of a file.
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed" / "checkpoints").glob("step-*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(random.uniform(0.0, 0.05))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    resume(tmp_path / "killed", progress=False)
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")


def run_in(path: Path, **changes) -> Run:
    data = load("digits", condition="label")
    model = create_model("vae", data.event, data.condition, seed=3, hidden=(16,), latent=2)
    return fit(model, data, path, TrainConfig(**{**CONFIG, "steps": 20, **changes}), progress=False)


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def damage_flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def damage_remove(path: Path) -> None:
    path.unlink()


def damage_manifest(path: Path) -> None:
    path.with_suffix(".json").write_text('{"format": 1')


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_remove, damage_manifest])
def test_damaged_checkpoint_is_refused_and_the_last_good_one_named(tmp_path: Path, damage) -> None:
    run = run_in(tmp_path / "run")
    *_, good, newest = checkpoints.paths(run.checkpoints)
    before = good.read_bytes()
    damage(newest)
    with pytest.raises(InvalidInput, match=f"the last good one is .*{good.name}"):
        resume(run.path, progress=False)
    assert good.read_bytes() == before
    resumed = resume(run.path, checkpoint=good, progress=False)
    assert checkpoints.load(resumed.checkpoints).scalars["step"] == 20


def test_no_good_checkpoint_is_said(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", keep_checkpoints=1)
    damage_flip(checkpoints.paths(run.checkpoints)[0])
    with pytest.raises(InvalidInput, match="start again"):
        resume(run.path, progress=False)


def test_resume_with_more_steps_goes_on(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    resumed = resume(run.path, steps=30, progress=False)
    assert resumed.metrics["step"].max() == 30


def test_two_seeded_runs_agree_to_the_bit_and_another_seed_does_not(tmp_path: Path) -> None:
    a, b, c = run_in(tmp_path / "a"), run_in(tmp_path / "b"), run_in(tmp_path / "c", seed=8)
    assert_equal_runs(a.path, b.path)
    assert not rows(a).equals(rows(c))


def test_a_signal_saves_and_says_how_to_resume(tmp_path: Path) -> None:
    data = load("digits")
    model = create_model("vae", data.event, hidden=(16,), latent=2)
    original = model.after_step

    def after_step(group: str) -> None:
        original(group)
        os.kill(os.getpid(), signal.SIGINT)

    model.after_step = after_step  # type: ignore[method-assign]
    with pytest.raises(TrainingInterrupted, match=r"fit --resume .*run"):
        fit(model, data, tmp_path / "run", TrainConfig(**CONFIG), progress=False)
    assert checkpoints.load(tmp_path / "run" / "checkpoints").scalars["step"] == 1
    manifest = json.loads(checkpoints.paths(tmp_path / "run" / "checkpoints")[-1].with_suffix(".json").read_text())
    assert manifest["step"] == 1


def test_a_run_directory_in_use_is_refused(tmp_path: Path) -> None:
    run_in(tmp_path / "run")
    before = sorted(p.name for p in (tmp_path / "run").iterdir())
    with pytest.raises(InvalidInput, match="--overwrite"):
        run_in(tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == before
