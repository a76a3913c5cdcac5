"""Several processes train as one with their batches together, and count every validation example once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ancestral.data import load
from ancestral.data.base import ArraySplit
from ancestral.training import Run, TrainConfig, create_model, fit, resume

CONFIG = dict(
    steps=12, learning_rate=3e-3, clip=5.0, seed=1, samples=0, evaluate_every=0.5, log_every=1, ema=0.9,
    precision="64", loggers=("csv",),
)  # fmt: skip
SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from ancestral.data import load
from ancestral.training import TrainConfig, create_model, fit
data = load("digits")
model = create_model("{model}", data.event, seed=2, **{options})
fit(model, data, sys.argv[1], TrainConfig(batch_size=32, **{config}), progress=False)
"""


def torchrun(path: Path, script: str) -> None:
    file = path / "train.py"
    file.write_text(script)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        str(file),
        str(path / "two"),
    ]
    result = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]


def test_two_processes_equal_one_with_twice_the_batch(tmp_path: Path) -> None:
    options = dict(hidden=(32,))
    torchrun(tmp_path, SCRIPT.format(model="made", options=options, config=CONFIG))
    data = load("digits")
    model = create_model("made", data.event, seed=2, **options)
    one = fit(model, data, tmp_path / "one", TrainConfig(batch_size=64, **CONFIG), progress=False).metrics
    two = Run(tmp_path / "two").metrics
    columns = ["step", "split", "metric"]
    assert one[columns].equals(two[columns])
    assert one["value"].to_numpy() == pytest.approx(two["value"].to_numpy(), rel=1e-9)


def test_two_processes_count_every_validation_example_once(tmp_path: Path) -> None:
    # 33 examples do not divide among two processes: padding or dropping would move the mean.
    script = SCRIPT.format(model="made", options=dict(hidden=(8,)), config={**CONFIG, "steps": 1}).replace(
        'data = load("digits")\n',
        'data = load("digits")\nfrom ancestral.data.base import ArraySplit\n'
        'data.splits["validation"] = ArraySplit(data.splits["validation"].batch(torch.arange(33))[0])\n',
    )
    torchrun(tmp_path, script)
    run = Run(tmp_path / "two")
    model = run.model().double()
    data = load("digits")
    x, _ = data.splits["validation"].batch(__import__("torch").arange(33))
    expected = -model.log_prob(x).mean().item()
    metrics = run.metrics
    measured = metrics[(metrics["split"] == "validation") & (metrics["metric"] == "nats")]["value"].iloc[-1]
    assert measured == pytest.approx(expected, rel=1e-9)
    assert isinstance(data.splits["validation"], ArraySplit)


def test_two_parameter_groups_train_under_ddp(tmp_path: Path) -> None:
    options = dict(latent=4, hidden=(16,))
    torchrun(tmp_path, SCRIPT.format(model="gan", options=options, config={**CONFIG, "steps": 4}))
    assert Run(tmp_path / "two").metrics["step"].max() == 4


def test_fsdp_equals_one_process_and_resumes(tmp_path: Path) -> None:
    options = dict(hidden=(32,))
    # Sharded parameters are computed in other blocks: equal within float tolerance, not to the digit.
    config = {**CONFIG, "checkpoint_every": 5}
    sharded = SCRIPT.format(model="made", options=options, config={**config, "strategy": "fsdp", "accelerator": "cpu"})
    resumed = '\nfrom ancestral.training import resume\nresume(sys.argv[1], steps=16, schedule="constant", progress=False)\n'
    torchrun(tmp_path, sharded + resumed)
    data = load("digits")
    model = create_model("made", data.event, seed=2, **options)
    one = fit(model, data, tmp_path / "one", TrainConfig(batch_size=64, **config), progress=False)
    resume(one.path, steps=16, schedule="constant", batch_size=64, progress=False)
    assert one.metrics["value"].to_numpy() == pytest.approx(Run(tmp_path / "two").metrics["value"].to_numpy(), rel=1e-9)
